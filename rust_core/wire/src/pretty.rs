//! JSON for people: indented as upstream indents it for `?pretty=true`, for curl, Wget and browsers.
//!
//! Works on bytes as they come, so that a long list is indented segment by segment.

use bytes::{BufMut, Bytes, BytesMut};

use crate::request::Request;

const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];
const TRUE: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];

/// Whether this request's answer is read by a person.
pub fn wanted(request: &Request) -> bool {
    let asked = request.query.text("pretty");
    if !asked.is_empty() {
        return TRUE.contains(&asked);
    }
    let agent = request.header("user-agent").unwrap_or("");
    PEOPLE.iter().any(|name| agent.starts_with(name))
}

/// The indented form of a whole document.
pub fn whole(document: &[u8]) -> Bytes {
    let mut printer = Printer::default();
    let mut out = printer.next(document);
    if !out.ends_with(b"\n") {
        out.put_u8(b'\n');
    }
    out.freeze()
}

/// Where in a document the printer stands.
#[derive(Default)]
pub struct Printer {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A bracket was opened and nothing has followed: an empty pair stays on its line.
    opened: bool,
}

impl Printer {
    /// The indented form of the document's next piece.
    pub fn next(&mut self, piece: &[u8]) -> BytesMut {
        let mut out = BytesMut::with_capacity(piece.len() * 2);
        for &byte in piece {
            if self.in_string {
                out.put_u8(byte);
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
            } else {
                self.outside(byte, &mut out);
            }
        }
        out
    }

    fn outside(&mut self, byte: u8, out: &mut BytesMut) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' if self.depth > 0 => return,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !self.opened {
                    self.line(out);
                }
                self.opened = false;
                out.put_u8(byte);
                return;
            }
            _ => {}
        }
        if std::mem::take(&mut self.opened) {
            self.line(out);
        }
        out.put_u8(byte);
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.put_u8(b' '),
            _ => {}
        }
    }

    fn line(&self, out: &mut BytesMut) {
        out.put_u8(b'\n');
        out.put_bytes(b' ', self.depth * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPACT: &str = r#"{"kind":"List","metadata":{},"items":[{"a":"x, {\"y\\\": [1]","n":null},[],[1,-2.5e3]]}"#;
    const INDENTED: &str = r#"{
  "kind": "List",
  "metadata": {},
  "items": [
    {
      "a": "x, {\"y\\\": [1]",
      "n": null
    },
    [],
    [
      1,
      -2.5e3
    ]
  ]
}
"#;

    #[test]
    fn a_document_is_indented_by_two_and_empty_pairs_stay_together() {
        assert_eq!(whole(COMPACT.as_bytes()), INDENTED);
        assert_eq!(whole(format!("{COMPACT}\n").as_bytes()), INDENTED);
    }

    #[test]
    fn what_is_indented_already_is_not_changed() {
        assert_eq!(whole(INDENTED.as_bytes()), INDENTED);
    }

    #[test]
    fn it_may_be_cut_anywhere() {
        for cut in 0..COMPACT.len() {
            let mut printer = Printer::default();
            let mut out = printer.next(&COMPACT.as_bytes()[..cut]);
            out.extend_from_slice(&printer.next(&COMPACT.as_bytes()[cut..]));
            assert_eq!(out, INDENTED.trim_end(), "{cut}");
        }
    }
}

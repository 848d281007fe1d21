//! Reads JSON text a token at a time, and says what is wrong with it in the words of Go's decoder.

use std::borrow::Cow;

/// Deeper nesting than this is refused: no built-in kind comes near it, and every level costs stack.
pub const DEPTH_MAX: usize = 256;

/// What is wrong with the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SyntaxError {
    #[error("unexpected end of JSON input")]
    End,
    #[error("invalid character {} {}", quote(*.found), .place)]
    Character { found: char, place: &'static str },
    #[error("exceeded max depth")]
    Depth,
    #[error("invalid UTF-8")]
    Encoding,
}

/// As Go quotes a character in its messages.
fn quote(character: char) -> String {
    match character {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        '\\' => r"'\\'".to_owned(),
        '\n' => r"'\n'".to_owned(),
        '\r' => r"'\r'".to_owned(),
        '\t' => r"'\t'".to_owned(),
        other if u32::from(other) < 0x20 || u32::from(other) == 0x7f => {
            format!("'\\x{:02x}'", u32::from(other))
        }
        other => format!("'{other}'"),
    }
}

const VALUE: &str = "looking for beginning of value";

/// A cursor over JSON text.
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Result<T> = std::result::Result<T, SyntaxError>;

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(body).map_err(|_| SyntaxError::Encoding)?;
        Ok(Self {
            text,
            at: 0,
            depth: 0,
        })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The error of whatever stands at the cursor. Go's scanner works on bytes, and feeds itself a space at the end.
    fn unexpected<T>(&self, place: &'static str) -> Result<T> {
        let found = char::from(self.byte().unwrap_or(b' '));
        Err(SyntaxError::Character { found, place })
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Result<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(SyntaxError::End)
    }

    /// After the last value nothing may follow.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            Err(SyntaxError::End) => Ok(()),
            _ => self.unexpected("after top-level value"),
        }
    }

    /// Enters the object or array that [`Self::peek`] showed.
    pub fn enter(&mut self) -> Result<()> {
        self.depth += 1;
        self.at += 1;
        if self.depth > DEPTH_MAX {
            Err(SyntaxError::Depth)
        } else {
            Ok(())
        }
    }

    /// The next key of the object being read, with its colon; None at the object's end. `first`: no comma is due yet.
    pub fn key(&mut self, first: bool) -> Result<Option<Cow<'a, str>>> {
        let mut byte = self.peek()?;
        if byte == b'}' {
            self.leave();
            return Ok(None);
        }
        if !first {
            if byte != b',' {
                return self.unexpected("after object key:value pair");
            }
            self.at += 1;
            byte = self.peek()?;
        }
        if byte != b'"' {
            return self.unexpected("looking for beginning of object key string");
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return self.unexpected("after object key");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the array being read has another element.
    pub fn element(&mut self, first: bool) -> Result<bool> {
        match self.peek()? {
            b']' => {
                self.leave();
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => self.unexpected("after array element"),
        }
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    /// A string, which [`Self::peek`] showed.
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
                }
                Some(b'\\') => return self.escaped_string(start).map(Cow::Owned),
                Some(&byte) if byte < 0x20 => return self.unexpected("in string literal"),
                Some(_) => self.at += 1,
                None => return Err(SyntaxError::End),
            }
        }
    }

    /// The rest of a string from its first backslash on.
    fn escaped_string(&mut self, start: usize) -> Result<String> {
        let mut made = self.text[start..self.at].to_owned();
        let mut plain = self.at;
        loop {
            match self.byte() {
                Some(b'"') => {
                    made.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(made);
                }
                Some(b'\\') => {
                    made.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    made.push(self.escape()?);
                    plain = self.at;
                }
                Some(byte) if byte < 0x20 => return self.unexpected("in string literal"),
                Some(_) => self.at += 1,
                None => return Err(SyntaxError::End),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let character = match self.byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.unexpected("in string escape code"),
        };
        self.at += 1;
        Ok(character)
    }

    /// `\uXXXX`, or a pair of surrogates; half a pair becomes U+FFFD as in Go.
    fn unicode_escape(&mut self) -> Result<char> {
        let unit = self.hex4()?;
        if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with("\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex4(&mut self) -> Result<u32> {
        let mut value = 0;
        for _ in 0..4 {
            match self.byte().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => value = value * 16 + digit,
                None => return self.unexpected("in \\u hexadecimal character escape"),
            }
            self.at += 1;
        }
        Ok(value)
    }

    /// A number's text, which [`Self::peek`] showed to begin with a digit or a minus.
    pub fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.unexpected("in numeric literal"),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if !matches!(self.byte(), Some(b'0'..=b'9')) {
                return self.unexpected("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !matches!(self.byte(), Some(b'0'..=b'9')) {
                return self.unexpected("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// `true`, `false` or `null`, whose first letter [`Self::peek`] showed.
    pub fn word(&mut self) -> Result<&'a str> {
        const PLACES: [(&str, [&str; 5]); 3] = [
            (
                "true",
                [
                    "",
                    "in literal true (expecting 'r')",
                    "in literal true (expecting 'u')",
                    "in literal true (expecting 'e')",
                    "",
                ],
            ),
            (
                "false",
                [
                    "",
                    "in literal false (expecting 'a')",
                    "in literal false (expecting 'l')",
                    "in literal false (expecting 's')",
                    "in literal false (expecting 'e')",
                ],
            ),
            (
                "null",
                [
                    "",
                    "in literal null (expecting 'u')",
                    "in literal null (expecting 'l')",
                    "in literal null (expecting 'l')",
                    "",
                ],
            ),
        ];
        let first = self.byte();
        let Some((word, places)) = PLACES
            .iter()
            .find(|(word, _)| word.as_bytes().first().copied() == first)
        else {
            return self.unexpected(VALUE);
        };
        for (expected, place) in word.bytes().zip(places) {
            if self.byte() != Some(expected) {
                return self.unexpected(place);
            }
            self.at += 1;
        }
        Ok(word)
    }

    /// Passes over one value, checking it, and gives its text.
    pub fn skip(&mut self) -> Result<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' => {
                self.enter()?;
                let mut first = true;
                while self.key(first)?.is_some() {
                    self.skip()?;
                    first = false;
                }
            }
            b'[' => {
                self.enter()?;
                let mut first = true;
                while self.element(first)? {
                    self.skip()?;
                    first = false;
                }
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
            }
            _ => {
                self.word()?;
            }
        }
        Ok(&self.text[start..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let mut reader = Reader::new(text.as_bytes()).expect("test text is UTF-8");
        let result = reader.skip().map(drop).and_then(|()| reader.end());
        result.expect_err("bad JSON").to_string()
    }

    #[test]
    fn bad_json_is_described_as_go_describes_it() {
        for (text, message) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (
                "{a",
                "invalid character 'a' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":1 "b"}"#,
                "invalid character '\"' after object key:value pair",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "tru",
                "invalid character ' ' in literal true (expecting 'e')",
            ),
            ("[-", "invalid character ' ' in numeric literal"),
            ("\"a", "unexpected end of JSON input"),
            (
                "{\\",
                r"invalid character '\\' looking for beginning of object key string",
            ),
            (
                "trup",
                "invalid character 'p' in literal true (expecting 'e')",
            ),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            ("{} x", "invalid character 'x' after top-level value"),
            ("\"a\nb\"", r"invalid character '\n' in string literal"),
            (r#""\q""#, "invalid character 'q' in string escape code"),
        ] {
            assert_eq!(error(text), message, "{text}");
        }
    }

    #[test]
    fn nesting_has_a_bound() {
        assert_eq!(error(&"[".repeat(100_000)), "exceeded max depth");
    }

    #[test]
    fn escapes_become_characters() {
        let text = r#""a\u00e9\ud83d\ude00\n\ud800x""#;
        let mut reader = Reader::new(text.as_bytes()).expect("test text is UTF-8");
        assert_eq!(reader.string().expect("a good string"), "aé😀\n\u{fffd}x");
    }
}

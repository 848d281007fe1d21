//! Continue tokens: where a chunked list goes on, bound to the revision of its first chunk. Opaque to clients.

use serde_json::{Value, json};

use crate::status::Status;

const VERSION: &str = "meta.k8s.io/v1";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// None: whatever is newest. What a client gets with 410 when its own revision is gone.
    pub revision: Option<u64>,
    /// The last key given, relative to the list's prefix.
    pub after: String,
}

impl ContinueToken {
    pub fn encode(&self) -> String {
        let revision = self.revision.map_or(json!(-1), |revision| json!(revision));
        let text = json!({"v": VERSION, "rv": revision, "start": format!("{}\u{0}", self.after)})
            .to_string();
        base64(text.as_bytes())
    }

    pub fn decode(token: &str) -> Result<Self, Status> {
        let invalid = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = unbase64(token).ok_or_else(|| invalid("illegal base64 data"))?;
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if value["v"] != VERSION {
            return Err(invalid("server does not recognize this encoded version"));
        }
        let revision = match value["rv"].as_i64() {
            Some(-1) => None,
            Some(revision) if revision > 0 => Some(revision.unsigned_abs()),
            _ => {
                return Err(invalid(
                    "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
                ));
            }
        };
        let start = value["start"].as_str().unwrap_or("");
        let after = start.strip_suffix('\u{0}').unwrap_or(start);
        let climbs = after.split('/').any(|part| part == ".." || part == ".");
        if after.is_empty() || after.starts_with('/') || climbs {
            return Err(invalid(&format!(
                "start {start:?} is not relative to the list"
            )));
        }
        Ok(ContinueToken {
            revision,
            after: after.to_owned(),
        })
    }
}

/// Base64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(
                ALPHABET[(word >> (18 - 6 * place)) as usize & 63],
            ));
        }
    }
    out
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for chunk in text.chunks(4) {
        let mut word = 0u32;
        for byte in chunk {
            word = word << 6 | ALPHABET.iter().position(|letter| letter == byte)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        let whole = word.to_be_bytes();
        match chunk.len() {
            4 => out.extend_from_slice(&whole[1..4]),
            3 => out.extend_from_slice(&whole[1..3]),
            2 => out.push(whole[1]),
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_went() {
        for after in ["default/a", "x", "kube-system/ünïcode", "ab", "abc"] {
            for revision in [Some(7), Some(u64::from(u32::MAX) * 9), None] {
                let token = ContinueToken {
                    revision,
                    after: after.to_owned(),
                };
                assert_eq!(ContinueToken::decode(&token.encode()).unwrap(), token);
            }
        }
    }

    #[test]
    fn a_forged_token_is_a_bad_request() {
        let climbing = base64(br#"{"v":"meta.k8s.io/v1","rv":5,"start":"../secrets/a\u0000"}"#);
        let old = base64(br#"{"v":"v0","rv":5,"start":"a"}"#);
        let zero = base64(br#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#);
        for token in ["%%%", "AAAA", "A", &climbing, &old, &zero] {
            assert_eq!(
                ContinueToken::decode(token).unwrap_err().code,
                400,
                "{token}"
            );
        }
    }
}

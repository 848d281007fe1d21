//! Which keys a request means: etcd's pair of `key` and `range_end`.
//!
//! ```text
//! range_end   means
//! (empty)     the key alone
//! "\0"        the key and everything after it
//! other       from the key up to, and without, range_end; prefix "a/" is ["a/", "a0")
//! ```

use std::sync::Arc;

use bytes::Bytes;
use kubecore_store::{Entry, View};

use crate::failure::Failure;

/// Keys that begin with it are this crate's own bookkeeping: no client reads, writes or watches them.
pub const HIDDEN: char = '\0';

pub struct Span {
    start: String,
    end: End,
}

enum End {
    Alone,
    Open,
    Before(Bytes),
}

/// A key as the store takes it.
pub fn text(key: &Bytes) -> Result<&str, Failure> {
    if key.is_empty() {
        return Err(Failure::EmptyKey);
    }
    let text = std::str::from_utf8(key).map_err(|_| Failure::NotText)?;
    if text.starts_with(HIDDEN) {
        return Err(Failure::NotText);
    }
    Ok(text)
}

impl Span {
    pub fn new(key: &Bytes, range_end: &Bytes) -> Result<Span, Failure> {
        let end = match &range_end[..] {
            b"" => End::Alone,
            b"\0" => End::Open,
            _ => End::Before(range_end.clone()),
        };
        // A range may begin before all keys: that is how "everything" is asked for.
        let start = match (&key[..], &end) {
            (b"\0", End::Open | End::Before(_)) => "\u{1}".to_owned(),
            _ => text(key)?.to_owned(),
        };
        Ok(Span { start, end })
    }

    pub fn entries<'view>(
        &'view self,
        view: &'view View,
    ) -> impl Iterator<Item = &'view Arc<Entry>> {
        let (alone, range) = match &self.end {
            End::Alone => (view.get(&self.start), None),
            End::Open => (None, Some(view.between(&self.start, None))),
            End::Before(end) => (None, Some(view.between(&self.start, Some(end)))),
        };
        alone.into_iter().chain(range.into_iter().flatten())
    }

    pub fn covers(&self, key: &str) -> bool {
        match &self.end {
            End::Alone => key == self.start,
            End::Open => key >= self.start.as_str(),
            End::Before(end) => key >= self.start.as_str() && key.as_bytes() < &end[..],
        }
    }

    /// The narrowest topic of the hub that hears of every key in it: the key, or what all keys begin with up to a slash.
    pub fn topic(&self) -> &str {
        let common = match &self.end {
            End::Alone => return &self.start,
            End::Open => "",
            End::Before(end) if is_prefix_end(self.start.as_bytes(), end) => &self.start,
            End::Before(end) => {
                let same = self
                    .start
                    .bytes()
                    .zip(&end[..])
                    .take_while(|(a, b)| a == *b);
                let mut length = same.count();
                while !self.start.is_char_boundary(length) {
                    length -= 1;
                }
                &self.start[..length]
            }
        };
        common.rfind('/').map_or("", |slash| &common[..=slash])
    }
}

/// Whether `[start, end)` is exactly the keys that begin with `start`.
fn is_prefix_end(start: &[u8], end: &[u8]) -> bool {
    let kept = start.iter().rposition(|byte| *byte != 0xff);
    kept.is_some_and(|last| {
        end.len() == last + 1 && end[..last] == start[..last] && end[last] == start[last] + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(key: &'static str, end: &'static str) -> Span {
        Span::new(&Bytes::from(key), &Bytes::from(end)).unwrap()
    }

    #[test]
    fn a_span_covers_what_etcd_says() {
        for (key, end, inside, outside) in [
            ("a", "", vec!["a"], vec!["aa", "b"]),
            ("a", "\0", vec!["a", "b", "z"], vec!["A"]),
            ("a/", "a0", vec!["a/", "a/b"], vec!["a", "a0", "b"]),
            ("\0", "\0", vec!["a", "/x"], vec!["\0hidden"]),
        ] {
            let span = span(key, end);
            assert!(inside.iter().all(|key| span.covers(key)), "{key} {end}");
            assert!(!outside.iter().any(|key| span.covers(key)), "{key} {end}");
        }
    }

    #[test]
    fn a_prefix_is_followed_where_its_keys_are_filed() {
        for (key, end, topic) in [
            (
                "/registry/core/pods/",
                "/registry/core/pods0",
                "/registry/core/pods/",
            ),
            (
                "/registry/core/pods/ns/w",
                "/registry/core/pods/ns/x",
                "/registry/core/pods/ns/",
            ),
            (
                "/registry/core/pods/ns/web",
                "",
                "/registry/core/pods/ns/web",
            ),
            ("/registry/a", "/registry/c", "/registry/"),
            ("plain", "plaio", ""),
            ("a", "\0", ""),
        ] {
            assert_eq!(span(key, end).topic(), topic, "{key} {end}");
        }
    }

    #[test]
    fn no_key_and_hidden_keys_are_refused() {
        let refused = |key: &'static str| Span::new(&Bytes::from(key), &Bytes::new()).err();
        assert!(matches!(refused(""), Some(Failure::EmptyKey)));
        assert!(matches!(refused("\0key/a"), Some(Failure::NotText)));
        let bytes = Span::new(&Bytes::from_static(b"\xff"), &Bytes::new()).err();
        assert!(matches!(bytes, Some(Failure::NotText)));
    }
}

//! Audit ids: a version 4 UUID per request, unless the client brought one. They only have to differ, so no system random is asked.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;

static KEYS: LazyLock<(RandomState, RandomState)> =
    LazyLock::new(|| (RandomState::new(), RandomState::new()));
static COUNT: AtomicU64 = AtomicU64::new(0);

pub fn fresh() -> HeaderValue {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (high, low) = (KEYS.0.hash_one(count), KEYS.1.hash_one(count));
    let text = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    );
    // Hexadecimal digits and dashes are always a header value.
    HeaderValue::try_from(text)
        .unwrap_or_else(|_| HeaderValue::from_static("00000000-0000-4000-8000-000000000000"))
}

/// A number in [0, 1) that differs each time: spreads what would otherwise happen all at once.
pub fn fraction() -> f64 {
    let bits = KEYS.0.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_differ_and_have_the_form_of_a_uuid() {
        let (one, two) = (super::fresh(), super::fresh());
        assert_ne!(one, two);
        let text = one.to_str().unwrap();
        assert_eq!(
            (text.len(), text.as_bytes()[14], text.matches('-').count()),
            (36, b'4', 4)
        );
    }
}

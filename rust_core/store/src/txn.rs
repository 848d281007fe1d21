//! What a writer asks for: compares and writes, all or nothing, under one revision.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::StoreError;
use crate::revision::Revision;

/// What must hold of a key at the applied head.
#[derive(Clone, Debug)]
pub enum Expected {
    Any,
    Absent,
    Modified(Revision),
    Created(Revision),
    Version(u64),
    Value(Bytes),
}

#[derive(Clone, Debug)]
pub struct Compare {
    pub key: Arc<str>,
    pub expected: Expected,
}

/// Bytes on their way into the store, perhaps with a place where the revision's digits go.
///
/// The revision is known only under the lock, so the copy is made before it with room for as many digits as the next
/// revision will most likely have. Only a write that crosses a power of ten is copied again.
#[derive(Clone, Debug)]
pub struct Value {
    bytes: Vec<u8>,
    /// (offset, width) of the room left for digits.
    room: Option<(usize, usize)>,
}

impl Value {
    pub fn plain(bytes: impl Into<Vec<u8>>) -> Value {
        Value {
            bytes: bytes.into(),
            room: None,
        }
    }

    /// `source` with the revision's digits to be inserted at byte `offset`. `likely`: a revision with as many digits
    /// as the coming one, `store.revision()` for example.
    pub fn spliced(source: &[u8], offset: usize, likely: Revision) -> Result<Value, StoreError> {
        if offset > source.len() || u32::try_from(offset).is_err() {
            return Err(StoreError::BadSplice {
                offset,
                size_bytes: source.len(),
            });
        }
        Ok(Value::with_room(
            &source[..offset],
            &source[offset..],
            likely.digits(),
        ))
    }

    /// `source`, with a splice where `offset` is some.
    pub fn new(
        source: &[u8],
        offset: Option<usize>,
        likely: Revision,
    ) -> Result<Value, StoreError> {
        match offset {
            Some(offset) => Value::spliced(source, offset, likely),
            None => Ok(Value::plain(source)),
        }
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn with_room(before: &[u8], after: &[u8], width: usize) -> Value {
        let mut bytes = Vec::with_capacity(before.len() + width + after.len());
        bytes.extend_from_slice(before);
        bytes.resize(before.len() + width, b'0');
        bytes.extend_from_slice(after);
        Value {
            bytes,
            room: Some((before.len(), width)),
        }
    }

    /// The final bytes and where the digits stand.
    pub(crate) fn settle(mut self, revision: Revision) -> (Bytes, Option<u32>) {
        let Some((offset, width)) = self.room else {
            return (Bytes::from(self.bytes), None);
        };
        if width != revision.digits() {
            self = Value::with_room(
                &self.bytes[..offset],
                &self.bytes[offset + width..],
                revision.digits(),
            );
        }
        revision.write_digits(&mut self.bytes[offset..offset + revision.digits()]);
        // `spliced` refused offsets beyond u32.
        (Bytes::from(self.bytes), Some(offset as u32))
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Put {
        key: Arc<str>,
        value: Value,
        /// The key deletes itself after this long.
        ttl_seconds: Option<u64>,
    },
    /// The key must be present: deleting what is absent is a failed compare.
    Delete {
        key: Arc<str>,
        /// What watchers see as the last state; without it the stored value with its revision replaced.
        last: Option<Value>,
    },
}

impl Op {
    pub fn key(&self) -> &Arc<str> {
        match self {
            Op::Put { key, .. } | Op::Delete { key, .. } => key,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Txn {
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

impl Txn {
    pub fn new() -> Txn {
        Txn::default()
    }

    pub fn expect(mut self, key: impl Into<Arc<str>>, expected: Expected) -> Txn {
        self.compares.push(Compare {
            key: key.into(),
            expected,
        });
        self
    }

    pub fn put(mut self, key: impl Into<Arc<str>>, value: Value) -> Txn {
        self.ops.push(Op::Put {
            key: key.into(),
            value,
            ttl_seconds: None,
        });
        self
    }

    pub fn put_with_ttl(mut self, key: impl Into<Arc<str>>, value: Value, ttl_seconds: u64) -> Txn {
        self.ops.push(Op::Put {
            key: key.into(),
            value,
            ttl_seconds: Some(ttl_seconds),
        });
        self
    }

    pub fn delete(mut self, key: impl Into<Arc<str>>) -> Txn {
        self.ops.push(Op::Delete {
            key: key.into(),
            last: None,
        });
        self
    }

    pub fn delete_showing(mut self, key: impl Into<Arc<str>>, last: Value) -> Txn {
        self.ops.push(Op::Delete {
            key: key.into(),
            last: Some(last),
        });
        self
    }

    /// What can be judged before the lock is taken.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), StoreError> {
        fn within(
            what: &'static str,
            size_bytes: usize,
            limit_bytes: usize,
        ) -> Result<(), StoreError> {
            if size_bytes <= limit_bytes {
                Ok(())
            } else {
                Err(StoreError::TooLarge {
                    what,
                    size_bytes,
                    limit_bytes,
                })
            }
        }
        let mut total_bytes = 0;
        for op in &self.ops {
            let value_bytes = match op {
                Op::Put { value, .. }
                | Op::Delete {
                    last: Some(value), ..
                } => value.len(),
                Op::Delete { last: None, .. } => 0,
            };
            within("a key", op.key().len(), limits.key_bytes_max)?;
            within("a value", value_bytes, limits.value_bytes_max)?;
            total_bytes += op.key().len() + value_bytes;
        }
        within("a transaction", total_bytes, limits.transaction_bytes_max)?;
        self.check_duplicates()
    }

    fn check_duplicates(&self) -> Result<(), StoreError> {
        if self.ops.len() < 2 {
            return Ok(());
        }
        let mut keys: Vec<&Arc<str>> = self.ops.iter().map(Op::key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(StoreError::DuplicateKey {
                key: pair[0].clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The bounds on what one writer may ask. At the bound: `TooLarge`.
#[derive(Clone, Debug)]
pub struct Limits {
    pub key_bytes_max: usize,
    /// etcd's own default for a request.
    pub value_bytes_max: usize,
    pub transaction_bytes_max: usize,
    /// What may wait for the disk. At the bound: `Overloaded`.
    pub pending_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            key_bytes_max: 2048,
            value_bytes_max: 1536 * 1024,
            transaction_bytes_max: 16 << 20,
            pending_bytes_max: 256 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_go_where_the_splice_says() {
        let value = Value::spliced(br#"{"rv":"","x":1}"#, 7, Revision(41)).unwrap();
        let (bytes, splice) = value.settle(Revision(42));
        assert_eq!(
            (&bytes[..], splice),
            (&br#"{"rv":"42","x":1}"#[..], Some(7))
        );
    }

    #[test]
    fn a_write_that_crosses_a_power_of_ten_gets_its_extra_digit() {
        let value = Value::spliced(br#"{"rv":"","x":1}"#, 7, Revision(99)).unwrap();
        assert_eq!(&value.settle(Revision(100)).0[..], br#"{"rv":"100","x":1}"#);
    }

    #[test]
    fn a_splice_outside_the_value_is_refused() {
        assert!(matches!(
            Value::spliced(b"{}", 3, Revision(1)),
            Err(StoreError::BadSplice { offset: 3, .. })
        ));
    }

    #[test]
    fn a_key_may_be_written_once_in_a_transaction() {
        let txn = Txn::new()
            .put("/a", Value::plain("1"))
            .delete("/b")
            .delete("/a");
        assert!(matches!(
            txn.check(&Limits::default()),
            Err(StoreError::DuplicateKey { .. })
        ));
    }
}

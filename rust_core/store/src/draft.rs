//! A transaction that is written while it is decided: it reads what stands, its own writes included, and is applied whole
//! when whoever writes it is done.
//!
//! `Txn` is for writers who know beforehand what they expect. A draft is for those who first look: etcd's transactions
//! compare, choose a branch, and read in the middle of it.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::{Attachment, Entry};
use crate::error::StoreError;
use crate::revision::Revision;
use crate::txn::{Op, Txn, Value};
use crate::view::View;

pub struct Draft {
    view: View,
    next: Revision,
    written: HashSet<Arc<str>>,
    txn: Txn,
}

impl Draft {
    pub(crate) fn new(view: View) -> Draft {
        Draft {
            next: view.revision.next(),
            view,
            written: HashSet::new(),
            txn: Txn::new(),
        }
    }

    /// What stands, with what was written so far: that has the revision of the transaction.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The revision that the transaction gets if it writes anything.
    pub fn revision(&self) -> Revision {
        if self.txn.ops.is_empty() {
            self.view.revision
        } else {
            self.next
        }
    }

    /// Raises `DuplicateKey` for a key that was written in this transaction already.
    pub fn put(&mut self, key: &str, value: Bytes) -> Result<(), StoreError> {
        let key = self.claim(key)?;
        let previous = self.view.map.get::<str>(&key);
        let entry = Entry {
            key: key.clone(),
            value: value.clone(),
            created: previous.map_or(self.next, |previous| previous.created),
            modified: self.next,
            version: previous.map_or(1, |previous| previous.version + 1),
            expires: None,
            splice: None,
            attachment: Attachment::default(),
        };
        self.view.map.insert(key.clone(), Arc::new(entry));
        self.txn.ops.push(Op::Put {
            key,
            value: Value::plain(value),
            ttl_seconds: None,
        });
        Ok(())
    }

    /// Gives what was there, None if nothing was.
    pub fn delete(&mut self, key: &str) -> Result<Option<Arc<Entry>>, StoreError> {
        if self.view.map.get::<str>(key).is_none() {
            return Ok(None);
        }
        let key = self.claim(key)?;
        let removed = self.view.map.remove::<str>(&key);
        self.txn.ops.push(Op::Delete { key, last: None });
        Ok(removed)
    }

    fn claim(&mut self, key: &str) -> Result<Arc<str>, StoreError> {
        let key: Arc<str> = self
            .view
            .map
            .get::<str>(key)
            .map_or_else(|| Arc::from(key), |entry| entry.key.clone());
        if self.written.insert(key.clone()) {
            Ok(key)
        } else {
            Err(StoreError::DuplicateKey { key })
        }
    }

    pub(crate) fn into_txn(self) -> Txn {
        self.txn
    }
}

//! Fields by which a collection's events are filed, so that whoever watches one value of a field hears of no other.
//!
//! Five thousand kubelets each watch their own pods: an event of one pod reaches the topics of the node that it was on and
//! of the node that it is on, and wakes nobody else.

use kubecore_object::scan;
use kubecore_store::Event;

/// A field of the objects under a collection's prefix.
pub struct IndexedField {
    pub collection: &'static str,
    pub field: &'static str,
    path: &'static [&'static str],
}

static INDEXED: [IndexedField; 1] = [IndexedField {
    collection: "/registry/core/pods/",
    field: "spec.nodeName",
    path: &["spec", "nodeName"],
}];

/// The field by which the events of a collection are filed, if there is one.
pub fn indexed_field(collection: &str) -> Option<&'static IndexedField> {
    INDEXED
        .iter()
        .find(|indexed| indexed.collection == collection)
}

impl IndexedField {
    /// The name of the topic of one value; no key and no prefix looks like it.
    pub(crate) fn topic(&self, value: &str) -> String {
        format!("{}#{}={value}", self.collection, self.field)
    }

    /// The topics of an event: of the value it had, and of the value it has.
    pub(crate) fn topics(&self, event: &Event) -> impl Iterator<Item = String> + use<> {
        let before = event
            .previous
            .as_ref()
            .and_then(|previous| self.topic_of(&previous.value));
        let after = self.topic_of(&event.entry.value);
        let moved = before.filter(|before| after.as_ref() != Some(before));
        moved.into_iter().chain(after)
    }

    fn topic_of(&self, object: &[u8]) -> Option<String> {
        let value = scan::find_text(object, self.path)?;
        (!value.is_empty()).then(|| self.topic(&value))
    }
}

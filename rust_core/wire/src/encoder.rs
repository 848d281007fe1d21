//! From a stored value to the object a client sees: another version, a Table, metadata only, or the bytes as they are.

use std::sync::Arc;

use bytes::Bytes;
use kubecore_store::Event;

use crate::accept::Transform;
use crate::options::IncludeObject;
use crate::resources::Resource;

/// One request's form of an object.
#[derive(Clone)]
pub struct Encoder {
    pub resource: Arc<Resource>,
    pub transform: Transform,
    pub include_object: IncludeObject,
    /// How every stored value of this kind begins; its items in a list leave it out.
    stored_head: String,
}

impl Encoder {
    pub fn new(
        resource: Arc<Resource>,
        transform: Transform,
        include_object: IncludeObject,
    ) -> Self {
        let stored_head = format!(
            r#"{{"apiVersion":"{}","kind":"{}","#,
            resource.stored_api_version, resource.kind
        );
        Encoder {
            resource,
            transform,
            include_object,
            stored_head,
        }
    }

    /// Clients get the stored bytes themselves.
    pub fn is_identity(&self) -> bool {
        self.transform == Transform::None && !self.resource.converts()
    }

    /// The whole object.
    pub fn object(&self, value: &Bytes) -> Bytes {
        value.clone()
    }

    /// The object of an event, transformed once for all watchers who want the same form.
    pub fn shared_object(&self, event: &Event) -> Bytes {
        self.object(&event.entry.value)
    }

    /// The object as an item of its list: without kind and apiVersion, as upstream's typed lists.
    pub fn item<'a>(&self, object: &'a [u8]) -> (&'static str, &'a [u8]) {
        match object.strip_prefix(self.stored_head.as_bytes()) {
            Some(rest) if self.is_identity() => ("{", rest),
            _ => ("", object),
        }
    }

    /// (kind, apiVersion) of the list.
    pub fn list_type(&self) -> (String, String) {
        match self.transform {
            Transform::PartialMetadata(version) => (
                "PartialObjectMetadataList".to_owned(),
                format!("meta.k8s.io/{version}"),
            ),
            _ => (
                format!("{}List", self.resource.kind),
                self.resource.api_version(),
            ),
        }
    }

    /// The object of a bookmark: its type and how far the watch has come.
    pub fn bookmark(&self, revision: u64, ends_initial_events: bool) -> Bytes {
        let (kind, api_version) = match self.transform {
            Transform::None => (self.resource.kind.clone(), self.resource.api_version()),
            Transform::Table(version) => ("Table".to_owned(), format!("meta.k8s.io/{version}")),
            Transform::PartialMetadata(version) => (
                "PartialObjectMetadata".to_owned(),
                format!("meta.k8s.io/{version}"),
            ),
        };
        let annotations = if ends_initial_events {
            r#","annotations":{"k8s.io/initial-events-end":"true"}"#
        } else {
            ""
        };
        let rest = if matches!(self.transform, Transform::Table(_)) {
            r#","columnDefinitions":[],"rows":[]"#
        } else {
            ""
        };
        Bytes::from(format!(
            r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}","creationTimestamp":null{annotations}}}{rest}}}"#
        ))
    }
}

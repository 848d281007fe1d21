//! From a stored value to the object a client sees: another version, a Table, metadata only, or the bytes as they are.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kubecore_object::convert::convert;
use kubecore_object::partial::partial_metadata;
use kubecore_object::table::{IncludeObject, ListMetadata, TableRequest, table};
use kubecore_store::Event;
use parking_lot::Mutex;

use crate::accept::Transform;
use crate::resources::Resource;

/// One request's form of an object.
#[derive(Clone)]
pub struct Encoder {
    pub resource: Arc<Resource>,
    pub transform: Transform,
    pub include_object: IncludeObject,
    /// How every stored value of this kind begins; its items in a list leave it out.
    stored_head: String,
    /// A watch says them once.
    column_definitions: bool,
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
            column_definitions: true,
        }
    }

    /// A client that reads Tables has been told their columns.
    pub fn columns_are_told(&mut self) {
        self.column_definitions = false;
    }

    /// Clients get the stored bytes themselves.
    pub fn is_identity(&self) -> bool {
        self.transform == Transform::None && !self.resource.converts()
    }

    /// The whole object. What is stored is JSON that this process encoded; if it were not, the bytes themselves would
    /// tell more than anything made up.
    pub fn object(&self, value: &Bytes) -> Bytes {
        match self.transform {
            Transform::None if !self.resource.converts() => value.clone(),
            Transform::None => self.converted(value),
            Transform::PartialMetadata(version) => Bytes::from(partial_metadata(value, version)),
            Transform::Table(version) => self
                .table(version, ListMetadata::default(), [&value[..]])
                .unwrap_or_else(|| value.clone()),
        }
    }

    /// The whole object; where clients get the stored bytes, those are not even counted as shared: a list has many.
    pub fn borrowed_object<'a>(&self, value: &'a Bytes) -> Cow<'a, [u8]> {
        if self.is_identity() {
            Cow::Borrowed(value)
        } else {
            Cow::Owned(self.object(value).into())
        }
    }

    /// One Table of many objects; None if one of them is not JSON.
    pub fn table<'a>(
        &self,
        version: &str,
        metadata: ListMetadata,
        values: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Bytes> {
        let request = TableRequest {
            group: &self.resource.group,
            version: &self.resource.version,
            resource: &self.resource.plural,
            table_version: version,
            include_object: self.include_object,
            now_seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0.0, |now| now.as_secs_f64()),
            column_definitions: self.column_definitions,
            metadata,
        };
        table(&request, values).ok().map(Bytes::from)
    }

    fn converted(&self, value: &Bytes) -> Bytes {
        match convert(value, &self.resource.group, &self.resource.version) {
            Ok(Cow::Owned(converted)) => Bytes::from(converted),
            Ok(Cow::Borrowed(_)) | Err(_) => value.clone(),
        }
    }

    /// The object of an event, made once for all watchers who want the same form.
    pub fn shared_object(&self, event: &Event) -> Bytes {
        if self.is_identity() {
            return event.entry.value.clone();
        }
        let Some(forms) = event.attachment.get_or_init(Forms::default) else {
            return self.object(&event.entry.value);
        };
        let form = (
            self.transform,
            self.include_object,
            self.column_definitions,
            self.resource.clone(),
        );
        let mut made = forms.0.lock();
        if let Some((_, object)) = made.iter().find(|(known, _)| *known == form) {
            return object.clone();
        }
        let object = self.object(&event.entry.value);
        if made.len() < FORMS_PER_EVENT_MAX {
            made.push((form, object.clone()));
        }
        object
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

/// Transform, what rows carry, with column definitions, and in which version.
type Form = (Transform, IncludeObject, bool, Arc<Resource>);

/// What an event looks like in the forms that somebody wanted, kept with the event.
#[derive(Default)]
struct Forms(Mutex<Vec<(Form, Bytes)>>);

/// More forms of one event are made anew for each watcher.
const FORMS_PER_EVENT_MAX: usize = 8;

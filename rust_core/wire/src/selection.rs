//! Which objects of a collection a request means: its label and its field selector.

use kubecore_object::field_selector::FieldSelector;
use kubecore_object::selector::Selector;

use crate::options::Options;
use crate::resources::Resource;
use crate::status::Status;

pub struct Selection {
    labels: Selector,
    fields: FieldSelector,
    everything: bool,
}

impl Selection {
    pub fn parse(resource: &Resource, options: &Options) -> Result<Self, Status> {
        let labels = Selector::parse(&options.label_selector)
            .map_err(|error| Status::bad_request(error.0))?;
        let fields = FieldSelector::parse(
            &resource.group,
            &resource.version,
            &resource.plural,
            &options.field_selector,
        )
        .map_err(|error| Status::bad_request(error.0))?;
        let everything = labels.is_everything() && fields.is_everything();
        Ok(Selection {
            labels,
            fields,
            everything,
        })
    }

    /// No selector at all.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// The one name that can match.
    pub fn name(&self) -> Option<&str> {
        self.fields
            .exact("metadata.name")
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// The one value that a field can have.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.fields.exact(field).filter(|value| !value.is_empty())
    }

    pub fn matches(&self, object: &[u8]) -> bool {
        self.everything || (self.fields.matches(object) && self.labels.matches(object))
    }
}

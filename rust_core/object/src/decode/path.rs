//! Where in the body the decoder is: a chain of segments on the stack, spelled out only when something is wrong.

use crate::facts::{Definition, Field};

pub(super) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    segment: Segment<'p>,
}

enum Segment<'p> {
    Root,
    Field(&'p Definition, &'p Field),
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    pub fn root() -> Path<'static> {
        Path {
            parent: None,
            segment: Segment::Root,
        }
    }

    pub fn field(&'p self, definition: &'p Definition, field: &'p Field) -> Path<'p> {
        Path {
            parent: Some(self),
            segment: Segment::Field(definition, field),
        }
    }

    pub fn key(&'p self, key: &'p str) -> Path<'p> {
        Path {
            parent: Some(self),
            segment: Segment::Key(key),
        }
    }

    pub fn index(&'p self, index: usize) -> Path<'p> {
        Path {
            parent: Some(self),
            segment: Segment::Index(index),
        }
    }

    /// `spec.containers[0].foo`: with list indices and map keys, as strict errors say it.
    pub fn full(&self, last: Option<&str>) -> String {
        let mut text = match self.parent {
            Some(parent) => parent.full(None),
            None => String::new(),
        };
        let mut push = |name: &str| {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        };
        match self.segment {
            Segment::Root => {}
            Segment::Field(_, field) => push(field.name),
            Segment::Key(key) => push(key),
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
        if let Some(last) = last {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(last);
        }
        text
    }

    /// `Go struct field DeploymentSpec.spec.replicas` or `Go value`: fields only, as type errors say it.
    pub fn go_place(&self) -> String {
        let mut names = Vec::new();
        let mut owner = None;
        let mut at = Some(self);
        while let Some(path) = at {
            if let Segment::Field(definition, field) = path.segment {
                owner = owner.or(Some(definition.short_name()));
                names.push(format!("{}{}", field.embedded, field.name));
            }
            at = path.parent;
        }
        names.reverse();
        match owner {
            Some(owner) => format!("Go struct field {owner}.{}", names.join(".")),
            None => "Go value".to_owned(),
        }
    }

    /// The type of the value here, as Go names it.
    pub fn go_type(&self) -> String {
        match (&self.segment, self.parent) {
            (Segment::Field(_, field), _) => field
                .go_type
                .map_or_else(|| super::typed::usual_go_type(&field.kind), str::to_owned),
            (Segment::Key(_) | Segment::Index(_), Some(parent)) => {
                element_type(&parent.go_type()).to_owned()
            }
            _ => String::new(),
        }
    }
}

/// What a list or map type holds. Named list types hide it; all of those hold strings.
fn element_type(text: &str) -> &str {
    match (text.strip_prefix("[]"), text.strip_prefix("map[")) {
        (Some(element), _) => element,
        (None, Some(rest)) => rest.split_once(']').map_or(rest, |(_, element)| element),
        (None, None) if text == "v1.ResourceList" => "resource.Quantity",
        (None, None) => "string",
    }
}

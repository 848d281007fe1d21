//! A decoded object: a tree whose structs are addressed by the fact table's field places.
//!
//! Strings are borrowed from the body they were decoded from where they need no change. Structs hold only what Go's encoder
//! would write, in the order it would write it, so that equal objects have equal bytes.

use std::borrow::Cow;

use crate::facts::{Definition, DefinitionId, Field, Scalar, Type, facts};

/// One JSON value, typed where the fact table types it.
#[derive(Clone, PartialEq, Debug)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Free keys. Typed maps are sorted by key, as Go writes them; embedded objects keep their order.
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
    Struct(Struct<'a>),
}

/// A value of one definition: pairs of a field's place and its value, ascending.
#[derive(Clone, PartialEq, Debug)]
pub struct Struct<'a> {
    pub definition: DefinitionId,
    pub fields: Vec<(u16, Node<'a>)>,
}

impl<'a> Node<'a> {
    /// A string that lives as long as the process, as defaults do.
    pub fn text(text: &'static str) -> Self {
        Node::String(Cow::Borrowed(text))
    }

    /// The same value without borrowing from the body.
    pub fn into_owned(self) -> Node<'static> {
        match self {
            Node::Null => Node::Null,
            Node::Bool(value) => Node::Bool(value),
            Node::Integer(value) => Node::Integer(value),
            Node::Float(value) => Node::Float(value),
            Node::String(text) => Node::String(Cow::Owned(text.into_owned())),
            Node::List(items) => Node::List(items.into_iter().map(Node::into_owned).collect()),
            Node::Map(entries) => Node::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
            Node::Struct(value) => Node::Struct(Struct {
                definition: value.definition,
                fields: value
                    .fields
                    .into_iter()
                    .map(|(place, node)| (place, node.into_owned()))
                    .collect(),
            }),
        }
    }

    /// A struct's field or a map's entry.
    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Node::Struct(value) => value.get(name),
            Node::Map(entries) => entries
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_struct_mut(&mut self) -> Option<&mut Struct<'a>> {
        match self {
            Node::Struct(value) => Some(value),
            _ => None,
        }
    }

    /// Whether Go would call it empty: null, false, 0, "", no items, no entries. A struct never is.
    pub fn is_empty(&self) -> bool {
        match self {
            Node::Null => true,
            Node::Bool(value) => !value,
            Node::Integer(value) => *value == 0,
            Node::Float(value) => *value == 0.0,
            Node::String(text) => text.is_empty(),
            Node::List(items) => items.is_empty(),
            Node::Map(entries) => entries.is_empty(),
            Node::Struct(_) => false,
        }
    }
}

impl<'a> Struct<'a> {
    /// Go's zero value as its encoder writes it: only the fields that are written even when empty.
    pub fn zero(definition: DefinitionId) -> Self {
        let mut made = Struct {
            definition,
            fields: Vec::new(),
        };
        made.complete();
        made
    }

    pub fn definition(&self) -> &'static Definition {
        facts().definition(self.definition)
    }

    pub fn get(&self, name: &str) -> Option<&Node<'a>> {
        let (place, _) = self.definition().field(name)?;
        self.at(place)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        let (place, _) = self.definition().field(name)?;
        self.at_mut(place)
    }

    /// The value at a field's place.
    pub fn at(&self, place: usize) -> Option<&Node<'a>> {
        self.search(place).ok().map(|found| &self.fields[found].1)
    }

    pub fn at_mut(&mut self, place: usize) -> Option<&mut Node<'a>> {
        let found = self.search(place).ok()?;
        Some(&mut self.fields[found].1)
    }

    pub fn remove_at(&mut self, place: usize) {
        if let Ok(found) = self.search(place) {
            self.fields.remove(found);
        }
    }

    /// Sets the value at a field's place.
    pub fn set_at(&mut self, place: usize, node: Node<'a>) {
        match self.search(place) {
            Ok(found) => self.fields[found].1 = node,
            Err(gap) => self.fields.insert(gap, (place as u16, node)),
        }
    }

    /// Sets a field by its name, which the caller knows to exist; gives whether it does.
    pub fn set(&mut self, name: &str, node: Node<'a>) -> bool {
        match self.definition().field(name) {
            Some((place, _)) => {
                self.set_at(place, node);
                true
            }
            None => false,
        }
    }

    fn search(&self, place: usize) -> Result<usize, usize> {
        self.fields
            .binary_search_by_key(&place, |(at, _)| usize::from(*at))
    }

    /// Adds the zero values of the fields that are always written. `fields` is in order before and after.
    pub(crate) fn complete(&mut self) {
        let definition = self.definition();
        for &place in &definition.always_written {
            let place = usize::from(place);
            if let Err(gap) = self.search(place) {
                self.fields
                    .insert(gap, (place as u16, zero_of(&definition.fields[place])));
            }
        }
    }
}

/// What Go's encoder writes for a field that was never set.
pub(crate) fn zero_of(field: &Field) -> Node<'static> {
    if field.pointer {
        Node::Null
    } else {
        zero(&field.kind)
    }
}

/// The zero value of a type.
pub(crate) fn zero(kind: &Type) -> Node<'static> {
    match kind {
        Type::Struct(id) => Node::Struct(Struct::zero(*id)),
        Type::List(_) | Type::Map(_) => Node::Null,
        Type::Scalar(scalar) | Type::Named(scalar, _) => match scalar {
            Scalar::String => Node::text(""),
            Scalar::Bool => Node::Bool(false),
            Scalar::Int32
            | Scalar::Int64
            | Scalar::Uint16
            | Scalar::IntOrString
            | Scalar::Float64 => Node::Integer(0),
            Scalar::Quantity => Node::text("0"),
            Scalar::Duration => Node::text("0s"),
            Scalar::Bytes | Scalar::Time | Scalar::MicroTime | Scalar::Raw | Scalar::Json => {
                Node::Null
            }
        },
    }
}

/// Whether Go's encoder leaves a field out when it holds this value.
pub(crate) fn omitted(field: &Field, node: &Node<'_>) -> bool {
    if field.pointer {
        return matches!(node, Node::Null);
    }
    match &field.kind {
        // `omitempty` means nothing for a struct, and these are structs in Go.
        Type::Struct(_) => false,
        Type::Named(scalar, _) if !matches!(scalar, Scalar::Json) => {
            field.omit_zero && node.is_empty()
        }
        _ => field.omit_empty && node.is_empty(),
    }
}

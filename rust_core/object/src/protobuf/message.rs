//! One message as a struct of the fact table.

use std::borrow::Cow;

use super::numbers::{Entry, Numbers, numbers};
use super::special;
use super::wire::{Reader, Tag, WireError};
use crate::facts::{Definition, DefinitionId, Field, Scalar, Type, facts};
use crate::reader::DEPTH_MAX;
use crate::tree::{Node, Struct, omitted, zero};

type Result<T> = std::result::Result<T, WireError>;

pub(super) fn decode<'a>(id: DefinitionId, message: &'a [u8]) -> Result<Node<'a>> {
    structure(id, message, 0)
}

pub(super) fn structure<'a>(id: DefinitionId, message: &'a [u8], depth: usize) -> Result<Node<'a>> {
    if depth > DEPTH_MAX {
        return Err(WireError::Depth);
    }
    let mut collector = Collector {
        definition: facts().definition(id),
        fields: Vec::new(),
        depth,
    };
    collector.message(numbers(id), message)?;
    let definition = collector.definition;
    let mut fields = collector.fields;
    fields.retain_mut(|(place, node)| {
        if let Node::Map(entries) = node {
            sort_entries(entries);
        }
        !omitted(&definition.fields[usize::from(*place)], node)
    });
    fields.sort_unstable_by_key(|(place, _)| *place);
    let mut made = Struct {
        definition: id,
        fields,
    };
    made.complete();
    Ok(Node::Struct(made))
}

/// By key; of equal keys the last one counts.
fn sort_entries(entries: &mut Vec<(Cow<'_, str>, Node<'_>)>) {
    entries.reverse();
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    entries.dedup_by(|(later, _), (kept, _)| later == kept);
}

/// The fields of one struct, from its message and those embedded in it.
struct Collector<'a> {
    definition: &'static Definition,
    fields: Vec<(u16, Node<'a>)>,
    depth: usize,
}

impl<'a> Collector<'a> {
    fn message(&mut self, numbers: &Numbers, message: &'a [u8]) -> Result<()> {
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match numbers.get(tag.number) {
                Some(Entry::Field(place)) => self.field(*place, &mut reader, tag)?,
                Some(Entry::Embedded(inner)) => {
                    let message = reader.bytes(tag)?;
                    self.message(inner, message)?;
                }
                None => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn field(&mut self, place: u16, reader: &mut Reader<'a>, tag: Tag) -> Result<()> {
        let field = &self.definition.fields[usize::from(place)];
        let depth = self.depth + 1;
        match &field.kind {
            Type::List(element) if is_message_of_items(field) => {
                let items = items(element, reader.bytes(tag)?, depth)?;
                self.set(place, items);
            }
            Type::List(element) => {
                let numbers = match **element {
                    Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Uint16) => {
                        reader.packed(tag)?
                    }
                    _ => None,
                };
                let Node::List(list) = self.slot(place, || Node::List(Vec::new())) else {
                    return Ok(());
                };
                match numbers {
                    Some(numbers) => list.extend(numbers.into_iter().map(Node::Integer)),
                    None => list.push(value(element, reader, tag, depth)?),
                }
            }
            Type::Map(element) => {
                let entry = entry(element, reader.bytes(tag)?, depth)?;
                let Node::Map(entries) = self.slot(place, || Node::Map(Vec::new())) else {
                    return Ok(());
                };
                entries.push(entry);
            }
            kind => {
                let node = value(kind, reader, tag, depth)?;
                self.set(place, node);
            }
        }
        Ok(())
    }

    fn slot(&mut self, place: u16, empty: impl FnOnce() -> Node<'a>) -> &mut Node<'a> {
        let found = self.fields.iter().position(|(at, _)| *at == place);
        let at = found.unwrap_or_else(|| {
            self.fields.push((place, empty()));
            self.fields.len() - 1
        });
        &mut self.fields[at].1
    }

    fn set(&mut self, place: u16, node: Node<'a>) {
        *self.slot(place, || Node::Null) = node;
    }
}

/// Named lists of strings (`v1.Verbs`) are messages of their own with the items in field 1.
fn is_message_of_items(field: &Field) -> bool {
    let is_list_of_strings =
        matches!(&field.kind, Type::List(element) if **element == Type::Scalar(Scalar::String));
    is_list_of_strings && field.go_type.is_some_and(|name| !name.starts_with("[]"))
}

fn items<'a>(element: &Type, message: &'a [u8], depth: usize) -> Result<Node<'a>> {
    let mut list = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => list.push(value(element, &mut reader, tag, depth)?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(Node::List(list))
}

/// A map's entry: key in field 1, value in field 2.
fn entry<'a>(element: &Type, message: &'a [u8], depth: usize) -> Result<(Cow<'a, str>, Node<'a>)> {
    let (mut key, mut found) = ("", None);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag.number {
            1 => key = reader.text(tag)?,
            2 => {
                found = Some(match element {
                    Type::List(item) => items(item, reader.bytes(tag)?, depth)?,
                    other => value(other, &mut reader, tag, depth)?,
                });
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok((Cow::Borrowed(key), found.unwrap_or_else(|| zero(element))))
}

fn value<'a>(kind: &Type, reader: &mut Reader<'a>, tag: Tag, depth: usize) -> Result<Node<'a>> {
    Ok(match kind {
        Type::Struct(id) => structure(*id, reader.bytes(tag)?, depth)?,
        Type::List(element) => items(element, reader.bytes(tag)?, depth)?,
        Type::Map(element) => Node::Map(vec![entry(element, reader.bytes(tag)?, depth)?]),
        Type::Named(scalar, id) => {
            special::message(*scalar, *id, reader.bytes(tag)?, tag.number, depth)?
        }
        Type::Scalar(scalar) => match scalar {
            Scalar::Bool => Node::Bool(reader.varint(tag)? != 0),
            Scalar::Int32 => Node::Integer(i64::from(reader.varint(tag)? as i32)),
            Scalar::Int64 | Scalar::Uint16 => Node::Integer(reader.varint(tag)?),
            Scalar::Float64 => special::float(reader.float(tag)?),
            Scalar::Bytes => special::base64(reader.bytes(tag)?),
            Scalar::String => Node::String(Cow::Borrowed(reader.text(tag)?)),
            // The rest have definitions of their own wherever protobuf carries them.
            Scalar::Quantity
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::Duration
            | Scalar::IntOrString
            | Scalar::Raw
            | Scalar::Json => {
                reader.skip(tag)?;
                Node::Null
            }
        },
    })
}

//! The decoder that the fact table drives: one pass over the text, no copy of strings that need no change.

use std::borrow::Cow;

use super::path::Path;
use super::scalar::{self, OtherError};
use super::untyped::untyped_value;
use super::{STRICT_ERRORS_MAX, token_name};
use crate::facts::{Definition, DefinitionId, Facts, Field, Scalar, Type, facts};
use crate::reader::{Reader, SyntaxError};
use crate::tree::{Node, Struct, omitted, zero};

/// Why the text could not be read as the definition.
pub(super) enum Refusal {
    Syntax(SyntaxError),
    Type(String),
}

impl From<SyntaxError> for Refusal {
    fn from(error: SyntaxError) -> Self {
        Refusal::Syntax(error)
    }
}

type Result<T> = std::result::Result<T, Refusal>;

/// The text as a value of one definition, and what strict decoding would object to.
pub(super) fn decode<'a>(id: DefinitionId, body: &'a [u8]) -> Result<(Node<'a>, Vec<String>)> {
    let mut decoder = Decoder {
        facts: facts(),
        reader: Reader::new(body)?,
        strict_errors: Vec::new(),
        type_error: None,
    };
    let result = decoder.root(id);
    match (result, decoder.type_error) {
        (Ok(node), None) => Ok((node, decoder.strict_errors)),
        (Err(Refusal::Syntax(error)), _) => Err(Refusal::Syntax(error)),
        (Err(Refusal::Type(message)), _) | (Ok(_), Some(message)) => Err(Refusal::Type(message)),
    }
}

/// How Go names a type, unless the field has a named type of its own.
pub(super) fn usual_go_type(kind: &Type) -> String {
    match kind {
        Type::Scalar(scalar) => match scalar {
            Scalar::Bool => "bool",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Uint16 => "uint16",
            Scalar::Float64 => "float64",
            Scalar::Bytes => "[]uint8",
            Scalar::Json => "interface {}",
            _ => "string",
        }
        .to_owned(),
        Type::Named(_, id) | Type::Struct(id) => {
            let mut parts = facts().definition(*id).name.rsplit('.');
            let (name, package) = (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
            format!("{package}.{name}")
        }
        Type::List(element) => format!("[]{}", usual_go_type(element)),
        Type::Map(element) => format!("map[string]{}", usual_go_type(element)),
    }
}

struct Decoder<'a> {
    facts: &'static Facts,
    reader: Reader<'a>,
    strict_errors: Vec<String>,
    /// The first value of a wrong type. As in Go, decoding goes on, and fails at the end.
    type_error: Option<String>,
}

impl<'a> Decoder<'a> {
    fn root(&mut self, id: DefinitionId) -> Result<Node<'a>> {
        let node = match self.reader.peek()? {
            b'{' => self.structure(id, &Path::root())?,
            _ => {
                // Only null gets here: anything else has no kind.
                self.reader.skip()?;
                Node::Struct(Struct::zero(id))
            }
        };
        self.reader.end()?;
        Ok(node)
    }

    /// A value, or None for null and for a value of a wrong type.
    fn value(&mut self, kind: &Type, path: &Path<'_>) -> Result<Option<Node<'a>>> {
        let token = self.reader.peek()?;
        match (kind, token) {
            (Type::Scalar(Scalar::String), b'"') => Ok(Some(Node::String(self.reader.string()?))),
            (Type::Scalar(Scalar::Json) | Type::Named(Scalar::Json | Scalar::Raw, _), _) => {
                Ok(Some(untyped_value(&mut self.reader)?).filter(|node| *node != Node::Null))
            }
            (_, b'n') => {
                self.reader.word()?;
                Ok(None)
            }
            (Type::Struct(id), b'{') => self.structure(*id, path).map(Some),
            (Type::List(element), b'[') => self.list(element, path).map(Some),
            (Type::Map(element), b'{') => self.map(element, path).map(Some),
            (Type::Named(scalar, _), _) => self.named(*scalar, path).map(Some),
            (Type::Scalar(scalar), _) => self.plain(*scalar, token, path),
            _ => {
                self.reader.skip()?;
                self.wrong_type(token_name(token), path);
                Ok(None)
            }
        }
    }

    fn wrong_type(&mut self, found: &str, path: &Path<'_>) {
        if self.type_error.is_none() {
            let (place, kind) = (path.go_place(), path.go_type());
            self.type_error = Some(format!(
                "json: cannot unmarshal {found} into {place} of type {kind}"
            ));
        }
    }

    fn strict_error(&mut self, what: &str, path: &Path<'_>, name: &str) {
        if self.strict_errors.len() < STRICT_ERRORS_MAX {
            let error = format!("{what} field {:?}", path.full(Some(name)));
            if !self.strict_errors.contains(&error) {
                self.strict_errors.push(error);
            }
        }
    }

    fn structure(&mut self, id: DefinitionId, path: &Path<'_>) -> Result<Node<'a>> {
        let definition = self.facts.definition(id);
        let mut fields: Vec<(u16, Node<'a>)> = Vec::with_capacity(4);
        let mut seen = 0u128;
        let mut next_place = 0;
        let mut ordered = true;
        self.reader.enter()?;
        let mut first = true;
        while let Some(key) = self.reader.key(first)? {
            first = false;
            let Some(place) = find(definition, &key, next_place) else {
                self.strict_error("unknown", path, &key);
                self.reader.skip()?;
                continue;
            };
            let field = &definition.fields[place];
            let bit = 1u128 << place;
            if seen & bit != 0 {
                self.strict_error("duplicate", path, field.name);
                fields.retain(|(at, _)| usize::from(*at) != place);
            }
            seen |= bit;
            let value = self.value(&field.kind, &path.field(definition, field))?;
            if let Some(node) = value.filter(|node| !omitted(field, node)) {
                ordered &= place >= next_place;
                next_place = next_place.max(place + 1);
                fields.push((place as u16, node));
            }
        }
        if !ordered {
            fields.sort_unstable_by_key(|(place, _)| *place);
        }
        let mut made = Struct {
            definition: id,
            fields,
        };
        made.complete();
        Ok(Node::Struct(made))
    }

    fn list(&mut self, element: &Type, path: &Path<'_>) -> Result<Node<'a>> {
        let mut items = Vec::new();
        self.reader.enter()?;
        while self.reader.element(items.is_empty())? {
            let item = self.value(element, &path.index(items.len()))?;
            items.push(item.unwrap_or_else(|| zero(element)));
        }
        Ok(Node::List(items))
    }

    fn map(&mut self, element: &Type, path: &Path<'_>) -> Result<Node<'a>> {
        let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
        self.reader.enter()?;
        let mut first = true;
        while let Some(key) = self.reader.key(first)? {
            first = false;
            let value = self.value(element, &path.key(&key))?;
            entries.push((key, value.unwrap_or_else(|| zero(element))));
        }
        // Stable: of duplicates, the last stays last, and wins.
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut kept: Vec<(Cow<'a, str>, Node<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match kept.last_mut() {
                Some((last, slot)) if *last == key => {
                    self.strict_error("duplicate", path, &key);
                    *slot = value;
                }
                _ => kept.push((key, value)),
            }
        }
        Ok(Node::Map(kept))
    }

    /// A type that reads its own JSON: a mistake ends the decoding at once, as in Go.
    fn named(&mut self, scalar: Scalar, path: &Path<'_>) -> Result<Node<'a>> {
        let token = self.reader.peek()?;
        if token == b'"' {
            let text = self.reader.string()?;
            return scalar::from_text(scalar, text).map_err(Refusal::Type);
        }
        let text = self.reader.skip()?;
        scalar::from_other(scalar, token, text).map_err(|error| {
            Refusal::Type(match error {
                OtherError::Message(message) => message,
                OtherError::Type { found, kind } => {
                    let place = path.go_place();
                    format!("json: cannot unmarshal {found} into {place} of type {kind}")
                }
            })
        })
    }

    fn plain(&mut self, scalar: Scalar, token: u8, path: &Path<'_>) -> Result<Option<Node<'a>>> {
        match (scalar, token) {
            (Scalar::Bool, b't' | b'f') => {
                let word = self.reader.word()?;
                return Ok(Some(Node::Bool(word == "true")));
            }
            (Scalar::Bytes, b'"') => {
                let text = self.reader.string()?;
                let node = scalar::bytes(text);
                return Ok(node
                    .map_err(|message| self.type_error.get_or_insert(message).clone())
                    .ok());
            }
            (
                Scalar::Int32 | Scalar::Int64 | Scalar::Uint16 | Scalar::Float64,
                b'-' | b'0'..=b'9',
            ) => {
                let text = self.reader.number()?;
                let number = scalar::number(scalar, text);
                if number.is_none() {
                    self.wrong_type(&format!("number {text}"), path);
                }
                return Ok(number);
            }
            (
                Scalar::Duration
                | Scalar::Time
                | Scalar::MicroTime
                | Scalar::Quantity
                | Scalar::IntOrString,
                _,
            ) => {
                return self.named(scalar, path).map(Some);
            }
            _ => {}
        }
        self.reader.skip()?;
        self.wrong_type(token_name(token), path);
        Ok(None)
    }
}

/// A field's place. Bodies mostly follow the table's order, so the search begins where the last one ended.
fn find(definition: &Definition, name: &str, from: usize) -> Option<usize> {
    let is_it = |field: &Field| field.name == name;
    let (before, after) = definition
        .fields
        .split_at(from.min(definition.fields.len()));
    match after.iter().position(is_it) {
        Some(place) => Some(before.len() + place),
        None => before.iter().position(is_it),
    }
}

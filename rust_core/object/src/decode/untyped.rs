//! JSON that no definition describes: embedded objects, and fields that hold anything.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::reader::{Reader, SyntaxError};
use crate::tree::Node;

/// A whole text as a tree without structs.
pub fn untyped(body: &[u8]) -> Result<Node<'_>, SyntaxError> {
    let mut reader = Reader::new(body)?;
    let node = untyped_value(&mut reader)?;
    reader.end()?;
    Ok(node)
}

pub(super) fn untyped_value<'a>(reader: &mut Reader<'a>) -> Result<Node<'a>, SyntaxError> {
    Ok(match reader.peek()? {
        b'"' => Node::String(reader.string()?),
        b'{' => Node::Map(object(reader)?),
        b'[' => {
            let mut items = Vec::new();
            reader.enter()?;
            while reader.element(items.is_empty())? {
                items.push(untyped_value(reader)?);
            }
            Node::List(items)
        }
        b'-' | b'0'..=b'9' => number(reader.number()?),
        _ => match reader.word()? {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            _ => Node::Null,
        },
    })
}

/// Entries in their order; of equal keys the last one counts.
fn object<'a>(reader: &mut Reader<'a>) -> Result<Vec<(Cow<'a, str>, Node<'a>)>, SyntaxError> {
    const SMALL: usize = 16;
    let mut entries: Vec<(Cow<'a, str>, Node<'a>)> = Vec::new();
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    reader.enter()?;
    let mut first = true;
    while let Some(key) = reader.key(first)? {
        first = false;
        let value = untyped_value(reader)?;
        if entries.len() == SMALL && places.is_empty() {
            places = entries
                .iter()
                .enumerate()
                .map(|(place, (key, _))| (key.clone(), place))
                .collect();
        }
        let known = if entries.len() < SMALL {
            entries.iter().position(|(other, _)| *other == key)
        } else {
            places.get(&key).copied()
        };
        match known {
            Some(place) => entries[place].1 = value,
            None => {
                if entries.len() >= SMALL {
                    places.insert(key.clone(), entries.len());
                }
                entries.push((key, value));
            }
        }
    }
    Ok(entries)
}

fn number(text: &str) -> Node<'static> {
    match text.parse() {
        Ok(integer) => Node::Integer(integer),
        // JSON's numbers all parse as floats; too large ones become infinite and are written as null.
        Err(_) => Node::Float(text.parse().unwrap_or(f64::INFINITY)),
    }
}

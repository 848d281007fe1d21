//! Strategic merge patch: maps merge; lists merge or are replaced as the fact table says; directives say the rest.
//!
//! | in the patch | means |
//! |---|---|
//! | `$patch: replace` in a map | this map instead of the old one |
//! | `$patch: delete` in a map | an empty map; in a list's element: remove the element with that key |
//! | `$patch: replace` in a list's element | this list (without that element) instead of the old one |
//! | `$retainKeys: [..]` in a map | drop all other members |
//! | `$deleteFromPrimitiveList/x: [..]` | remove these values from the list `x` |
//! | `$setElementOrder/x: [..]` | order the list `x` like this; elements only the server has keep their place among them |
//! | null | remove the member |

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::strategic_list::{self, ListFacts};
use super::{MAP, PatchError, parse, wrong_type};
use crate::facts::{DefinitionId, Field, Type, facts};

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

pub fn apply(
    current: Value,
    body: &[u8],
    definition: Option<DefinitionId>,
) -> Result<Value, PatchError> {
    let patch = parse(body).or_else(|error| malformed(&error))?;
    match (current, patch) {
        (Value::Object(current), Value::Object(patch)) => {
            Ok(Value::Object(merge_map(current, patch, definition)?))
        }
        (Value::Object(_), other) => malformed(&wrong_type(&other, MAP)),
        _ => malformed("invalid JSON document"),
    }
}

pub(super) fn malformed<T>(message: &str) -> Result<T, PatchError> {
    Err(PatchError::Malformed(message.to_owned()))
}

/// What the fact table says about a member: how it merges, and what its (element's) definition is.
struct Member {
    replaced: bool,
    list: ListFacts,
    definition: Option<DefinitionId>,
}

fn member(definition: Option<DefinitionId>, name: &str) -> Member {
    let field = definition
        .and_then(|id| facts().definition(id).field(name))
        .map(|(_, field)| field);
    let strategy = |wanted: &str| {
        field.is_some_and(|field: &Field| field.patch_strategy.split(',').any(|one| one == wanted))
    };
    let inner = field.and_then(|field| match &field.kind {
        Type::Struct(id) => Some(*id),
        Type::List(element) => match **element {
            Type::Struct(id) => Some(id),
            _ => None,
        },
        _ => None,
    });
    Member {
        replaced: strategy("replace"),
        list: ListFacts {
            merges: strategy("merge"),
            key: field.and_then(|field| field.patch_merge_key),
            definition: inner,
        },
        definition: inner,
    }
}

/// Merges a patch into a map; `definition` is that of the map, if it is an object of known fields.
pub(super) fn merge_map(
    mut current: Map<String, Value>,
    mut patch: Map<String, Value>,
    definition: Option<DefinitionId>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str()) {
        None => {}
        Some(Some("replace")) => {
            patch.shift_remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Some("delete")) => return Ok(Map::new()),
        Some(other) => {
            let shown = Value::Object(patch.clone());
            return malformed(&format!(
                "unknown patch type: {} in map: {shown}",
                other.unwrap_or("<nil>")
            ));
        }
    }
    retain_keys(&mut current, &mut patch)?;
    set_element_orders(&mut current, &mut patch, definition)?;
    // Removed together: each on its own would move all that follow.
    let mut gone = HashSet::new();
    for (name, change) in patch {
        match name.strip_prefix(DELETE_FROM_LIST) {
            Some(list) => delete_from_list(&mut current, list, &change)?,
            None if change.is_null() => {
                gone.insert(name);
            }
            None => {
                // The member keeps its place: the order of fields is the order in which objects are written.
                let before = current.get_mut(&name).map(Value::take);
                match merge_member(before, change, &member(definition, &name))? {
                    Some(merged) => {
                        current.insert(name, merged);
                    }
                    None => {
                        gone.insert(name);
                    }
                }
            }
        }
    }
    if !gone.is_empty() {
        current.retain(|name, _| !gone.contains(name));
    }
    Ok(current)
}

/// Merges one member; `None` if nothing is left of it.
fn merge_member(
    before: Option<Value>,
    change: Value,
    member: &Member,
) -> Result<Option<Value>, PatchError> {
    match (before, change) {
        (Some(Value::Object(before)), Value::Object(change)) => {
            let merged = if member.replaced {
                change
            } else {
                merge_map(before, change, member.definition)?
            };
            Ok(Some(Value::Object(merged)))
        }
        (Some(Value::Array(before)), Value::Array(change)) => {
            let merged = if member.list.merges {
                strategic_list::merge(before, change, &member.list)?
            } else {
                change
            };
            Ok(Some(Value::Array(merged)))
        }
        (_, change) => Ok(without_directives(without_nulls(change))),
    }
}

/// `$retainKeys`: every member of the patch must be listed, and what is not listed goes.
fn retain_keys(
    current: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), PatchError> {
    let Some(listed) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(listed) = listed else {
        return malformed("invalid patch format of retainKeys");
    };
    let is_listed = |name: &str| listed.iter().any(|listed| listed == name);
    let is_directive =
        |name: &str| name.starts_with(DELETE_FROM_LIST) || name.starts_with(SET_ORDER);
    if patch
        .iter()
        .any(|(name, value)| !value.is_null() && !is_directive(name) && !is_listed(name))
    {
        return malformed("invalid patch format of retainKeys");
    }
    current.retain(|name, _| is_listed(name));
    Ok(())
}

/// `$setElementOrder/x`: merges the list `x` and orders it.
fn set_element_orders(
    current: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    definition: Option<DefinitionId>,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let name = &directive[SET_ORDER.len()..];
        let order = list(patch.shift_remove(&directive))?.unwrap_or_default();
        let change = list(patch.get(name).cloned())?;
        let facts = member(definition, name).list;
        let Some(before) = list(current.get(name).cloned())? else {
            // Nothing to order among: the patch's own order holds, and it is merged as a new list below.
            strategic_list::check_order(change.as_deref().unwrap_or_default(), &order, &facts)?;
            continue;
        };
        strategic_list::check_order(change.as_deref().unwrap_or_default(), &order, &facts)?;
        strategic_list::bounded(before.len() + order.len())?;
        let (merged, server_order) = match change {
            None => (before.clone(), before),
            Some(change) if facts.merges => {
                let server_order = strategic_list::server_order(&before, &change, facts.key);
                (strategic_list::merge(before, change, &facts)?, server_order)
            }
            Some(change) => (change, before),
        };
        let woven = strategic_list::ordered(merged, &order, &server_order, facts.key)?;
        current.insert(name.to_owned(), Value::Array(woven));
        patch.shift_remove(name);
    }
    Ok(())
}

/// A list, or the error that something else stands where a list must.
fn list(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => malformed("invalid patch format of setElementOrder list"),
    }
}

fn delete_from_list(
    current: &mut Map<String, Value>,
    name: &str,
    values: &Value,
) -> Result<(), PatchError> {
    let Value::Array(values) = values else {
        return malformed("invalid patch format of primitive list");
    };
    if let Some(Value::Array(items)) = current.get_mut(name) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// A new value without the nulls in it, which would remove what is not there.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                kept.map(|(name, value)| (name, without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A new value without directives, which have nothing to direct; `None` if the value is itself one.
pub(super) fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key(DIRECTIVE) => None,
        Value::Object(members) => {
            let is_directive = |name: &str| {
                name == RETAIN_KEYS
                    || name.starts_with(DELETE_FROM_LIST)
                    || name.starts_with(SET_ORDER)
            };
            let kept = members.into_iter().filter(|(name, _)| !is_directive(name));
            Some(Value::Object(
                kept.filter_map(|(name, value)| Some((name, without_directives(value)?)))
                    .collect(),
            ))
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;

//! Lists in a strategic merge patch: elements are matched by their merge key, or by value if they are scalars.
//!
//! The order of a merged list: what the patch names stands in the patch's order, what only the server has keeps its order, and the two
//! are woven so that a server's element stays before a patch's one if it was before it. Example: server `[a, b, c]`, patch order
//! `[c, a]` gives `[b, c, a]`: `b` was before `c`.

use serde_json::Value;

use super::PatchError;
use super::strategic::{DIRECTIVE, malformed, merge_map, without_directives};
use crate::facts::DefinitionId;

/// Of a list and its patch together. Each element is looked for among all others, and everybody waits for a patch: no list that is
/// merged (ports, owners, conditions) comes near it.
const ELEMENTS_MAX: usize = 10_000;

/// What the fact table says about a list.
pub(super) struct ListFacts {
    pub merges: bool,
    pub key: Option<&'static str>,
    /// Of the elements, if they are objects of known fields.
    pub definition: Option<DefinitionId>,
}

pub(super) fn bounded(elements: usize) -> Result<(), PatchError> {
    if elements <= ELEMENTS_MAX {
        return Ok(());
    }
    Err(PatchError::TooLarge(format!(
        "The allowed maximum elements in a merged list is {ELEMENTS_MAX}, got {elements}"
    )))
}

/// Merges a patch's list into the server's.
pub(super) fn merge(
    before: Vec<Value>,
    patch: Vec<Value>,
    facts: &ListFacts,
) -> Result<Vec<Value>, PatchError> {
    let Some(first) = before.first().or(patch.first()) else {
        return Ok(before);
    };
    bounded(before.len() + patch.len())?;
    let is_map = first.is_object();
    if before.iter().chain(&patch).any(|item| item.is_array()) {
        return Err(PatchError::DoesNotApply(
            "lists of lists are not supported".to_owned(),
        ));
    }
    if before
        .iter()
        .chain(&patch)
        .any(|item| item.is_object() != is_map)
    {
        return malformed("list element types are not identical");
    }
    if !is_map {
        let mut merged: Vec<Value> = Vec::with_capacity(before.len() + patch.len());
        for item in before.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return ordered(merged, &patch, &before, None);
    }
    let Some(key) = facts.key else {
        return malformed("cannot merge lists without merge key");
    };
    let (before, patch) = obey_directives(before, patch, key)?;
    let mut merged = before.clone();
    for change in patch.clone() {
        let wanted = key_of(&change, key)?;
        let place = merged.iter().position(|item| item.get(key) == Some(wanted));
        match (place, change) {
            (Some(place), Value::Object(change)) => {
                if let Value::Object(item) = merged[place].take() {
                    merged[place] = Value::Object(merge_map(item, change, facts.definition)?);
                }
            }
            (_, change) => merged.extend(without_directives(change)),
        }
    }
    ordered(merged, &patch, &before, Some(key))
}

/// Carries out the `$patch` elements of a patch's list. Gives what is left of the server's list and of the patch's.
fn obey_directives(
    before: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (directives, patch): (Vec<Value>, Vec<Value>) = patch
        .into_iter()
        .partition(|item| item.get(DIRECTIVE).is_some());
    let mut before = before;
    let mut replaced = false;
    for directive in &directives {
        match directive[DIRECTIVE].as_str() {
            Some("delete") => {
                let gone = key_of(directive, key)?;
                before.retain(|item| item.get(key) != Some(gone));
            }
            Some("replace") => replaced = true,
            Some("merge") => {
                return malformed("merging lists cannot yet be specified in the patch");
            }
            other => {
                return malformed(&format!(
                    "unknown patch type: {} in map: {directive}",
                    other.unwrap_or("<nil>")
                ));
            }
        }
    }
    Ok(if replaced {
        (patch, Vec::new())
    } else {
        (before, patch)
    })
}

fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, PatchError> {
    match item.get(key) {
        Some(value) => Ok(value),
        None => malformed(&format!(
            "map: {item} does not contain declared merge key: {key}"
        )),
    }
}

/// The server's order as `ordered` needs it: elements that the patch adds stand behind the kept ones, but only as many as it deletes.
/// So a container that replaces another stays behind those that only the server has. (Upstream: new elements fill the places that
/// deleted ones leave in the list.)
pub(super) fn server_order(before: &[Value], patch: &[Value], key: Option<&str>) -> Vec<Value> {
    let Some(key) = key else {
        return before.to_vec();
    };
    let same =
        |left: &Value, right: &Value| left.get(key).is_some() && left.get(key) == right.get(key);
    let is_deleted = |item: &Value| {
        patch
            .iter()
            .any(|change| change[DIRECTIVE] == "delete" && same(change, item))
    };
    let mut order: Vec<Value> = before
        .iter()
        .filter(|item| !is_deleted(item))
        .cloned()
        .collect();
    for change in patch
        .iter()
        .filter(|change| change.get(DIRECTIVE).is_none())
    {
        if order.len() < before.len() && !order.iter().any(|item| same(item, change)) {
            order.push(change.clone());
        }
    }
    order
}

/// Where an element stands in a list: by its key, or by value.
fn place(list: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    match key {
        Some(key) => list
            .iter()
            .position(|other| other.get(key).is_some() && other.get(key) == item.get(key)),
        None => list.iter().position(|other| other == item),
    }
}

/// Puts a merged list in order (see above). Every element must have the key.
pub(super) fn ordered(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for item in merged.iter().chain(patch_order) {
            key_of(item, key)?;
        }
    }
    let (mut from_patch, mut server_only): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(patch_order, item, key).is_some());
    from_patch.sort_by_key(|item| place(patch_order, item, key));
    server_only.sort_by_key(|item| place(server_order, item, key));
    let mut woven = Vec::with_capacity(from_patch.len() + server_only.len());
    let mut server_only = server_only.into_iter().peekable();
    for item in from_patch {
        let here = place(server_order, &item, key);
        while let Some(next) = server_only.peek() {
            let before_it = matches!((place(server_order, next, key), here), (Some(next), Some(here)) if next < here);
            if !before_it {
                break;
            }
            woven.extend(server_only.next());
        }
        woven.push(item);
    }
    woven.extend(server_only);
    Ok(woven)
}

/// The elements of a patch's list must stand in the order that `$setElementOrder` gives.
pub(super) fn check_order(
    patch: &[Value],
    order: &[Value],
    facts: &ListFacts,
) -> Result<(), PatchError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let same = |ordered: &Value| match facts.key {
            Some(key) => ordered.get(key) == item.get(key),
            None => ordered == item,
        };
        if !rest.any(same) {
            let (patch, order) = (Value::from(patch), Value::from(order));
            return malformed(&format!(
                "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
            ));
        }
    }
    Ok(())
}

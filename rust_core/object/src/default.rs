//! Defaults: what upstream fills in when a field was left out.
//!
//! In: `facts/1.35/defaults.json`, rules by type name, and the defaults that the fact table carries from the OpenAPI document.
//! A rule belongs to a type, so a pod template gets it wherever it stands. A struct's rules run in order, before those of the
//! structs inside it, as upstream's generated defaulters do. Rules that need more than the object (cluster IPs, clocks) are the
//! registry's. Format: docs/design/facts.md.

use std::borrow::Cow;

use crate::facts::{DefinitionId, Facts, Field, Scalar, Type, facts};
use crate::quantity::round_up_to_milli;
use crate::tree::{Node, Struct};

mod rules;

use rules::{Action, Condition, Rule, Source, Step, Test, rules};

/// Fills in the defaults of an object.
pub fn apply(object: &mut Node<'_>) {
    match object {
        Node::Struct(value) => apply_to_struct(value),
        Node::List(items) => items.iter_mut().for_each(apply),
        Node::Map(entries) => entries.iter_mut().for_each(|(_, value)| apply(value)),
        _ => {}
    }
}

fn apply_to_struct(value: &mut Struct<'_>) {
    let rules = &rules()[value.definition.index()];
    if !rules.reaches_any {
        return;
    }
    for rule in &rules.rules {
        apply_rule(rule, value);
    }
    for &place in &rules.resource_lists {
        if let Some(Node::Map(entries)) = value.at_mut(place.into()) {
            round_resources(entries);
        }
    }
    for (_, node) in &mut value.fields {
        apply(node);
    }
}

/// Upstream keeps resource lists exact to a thousandth.
fn round_resources(entries: &mut [(Cow<'_, str>, Node<'_>)]) {
    for (_, node) in entries {
        if let Node::String(text) = node
            && let Some(rounded) = round_up_to_milli(text)
        {
            *node = Node::String(Cow::Owned(rounded));
        }
    }
}

fn apply_rule(rule: &Rule, value: &mut Struct<'_>) {
    if !rule.when.iter().all(|condition| holds(condition, value)) {
        return;
    }
    let outer = match &rule.source {
        Source::Path(path) => match lookup(value, path).filter(|node| !node.is_empty()) {
            Some(node) => Some(node.clone()),
            None => return,
        },
        _ => None,
    };
    let (target, parents) = rule
        .target
        .split_last()
        .expect("a rule's path is not empty");
    let Step::Field(place) = *target else { return };
    each_parent(value, parents, &mut |parent| {
        if !rule
            .when_sibling
            .iter()
            .all(|condition| holds(condition, parent))
        {
            return;
        }
        let made = match &rule.source {
            Source::Constant(node) => Some(node.clone()),
            Source::Path(_) => outer.clone(),
            Source::Sibling(place) => parent
                .at(usize::from(*place))
                .filter(|node| !node.is_empty())
                .cloned(),
            Source::TagOf(place) => Some(Node::text(pull_policy(parent.at(usize::from(*place))))),
            Source::ListOf { place, holder } => {
                let item = parent
                    .at(usize::from(*place))
                    .filter(|node| !node.is_empty())
                    .cloned();
                item.map(|item| Node::List(vec![held(item, *holder)]))
            }
            Source::Nothing => None,
        };
        act(&rule.action, parent, usize::from(place), made);
    });
}

/// The value itself, or in a struct at a place.
fn held<'a>(item: Node<'a>, holder: Option<(DefinitionId, u16)>) -> Node<'a> {
    match holder {
        Some((id, place)) => {
            let mut made = Struct::zero(id);
            made.set_at(place.into(), item);
            Node::Struct(made)
        }
        None => item,
    }
}

fn act<'a>(action: &Action, parent: &mut Struct<'a>, place: usize, made: Option<Node<'a>>) {
    match (action, made) {
        (Action::Set, Some(node))
            if is_absent(&parent.definition().fields[place], parent.at(place)) =>
        {
            parent.set_at(place, node);
        }
        (Action::Lead, Some(Node::List(made))) => {
            let leads = matches!(parent.at(place), Some(Node::List(items)) if items.first() == made.first());
            if !leads {
                parent.set_at(place, Node::List(made));
            }
        }
        (Action::Force, Some(node)) => parent.set_at(place, node),
        (Action::Remove, _) => parent.remove_at(place),
        (Action::Fill, Some(Node::Map(source))) => {
            let entries = map_at(parent, place);
            for (key, value) in source {
                put(entries, key, value, false);
            }
        }
        (Action::Put(key), Some(node)) => {
            put(map_at(parent, place), Cow::Borrowed(key), node, true)
        }
        _ => {}
    }
}

type Entries<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// The map at a field's place, made if it is not there.
fn map_at<'s, 'a>(parent: &'s mut Struct<'a>, place: usize) -> &'s mut Entries<'a> {
    if !matches!(parent.at(place), Some(Node::Map(_))) {
        parent.set_at(place, Node::Map(Vec::new()));
    }
    match parent.at_mut(place) {
        Some(Node::Map(entries)) => entries,
        _ => unreachable!("a map was put there above"),
    }
}

fn put<'a>(entries: &mut Entries<'a>, key: Cow<'a, str>, value: Node<'a>, replace: bool) {
    match entries.binary_search_by(|(other, _)| other.cmp(&key)) {
        Ok(found) if replace => entries[found].1 = value,
        Ok(_) => {}
        Err(gap) => entries.insert(gap, (key, value)),
    }
}

/// Go's test before it sets a default: a nil pointer, or the zero value.
fn is_absent(field: &Field, node: Option<&Node<'_>>) -> bool {
    match node {
        None | Some(Node::Null) => true,
        Some(node) => !field.pointer && node.is_empty(),
    }
}

fn each_parent<'a>(value: &mut Struct<'a>, steps: &[Step], visit: &mut dyn FnMut(&mut Struct<'a>)) {
    let Some((first, rest)) = steps.split_first() else {
        return visit(value);
    };
    let Step::Field(place) = *first else { return };
    let Some(node) = value.at_mut(usize::from(place)) else {
        return;
    };
    match (node, rest.split_first()) {
        (Node::List(items), Some((Step::Each, rest))) => {
            for item in items {
                if let Node::Struct(item) = item {
                    each_parent(item, rest, visit);
                }
            }
        }
        (Node::Struct(inner), _) => each_parent(inner, rest, visit),
        _ => {}
    }
}

fn lookup<'s, 'a>(value: &'s Struct<'a>, path: &[u16]) -> Option<&'s Node<'a>> {
    let (first, rest) = path.split_first()?;
    let node = value.at(usize::from(*first))?;
    match (node, rest.is_empty()) {
        (node, true) => Some(node),
        (Node::Struct(inner), false) => lookup(inner, rest),
        _ => None,
    }
}

fn holds(condition: &Condition, value: &Struct<'_>) -> bool {
    let node = lookup(value, &condition.path);
    match &condition.test {
        Test::Is(allowed) => node.is_some_and(|node| allowed.contains(node)),
        Test::Present => node.is_some_and(|node| !node.is_empty()),
        Test::Absent => node.is_none_or(|node| node.is_empty()),
        Test::Only => value
            .fields
            .iter()
            .all(|(place, _)| condition.path.contains(place)),
    }
}

/// Always for the tag `latest` and for none, IfNotPresent else; as upstream, which reads image names as Docker does.
fn pull_policy(image: Option<&Node<'_>>) -> &'static str {
    let image = image.and_then(Node::as_str).unwrap_or_default();
    let (name, digest) = image
        .split_once('@')
        .map_or((image, ""), |(name, digest)| (name, digest));
    let last = name.rsplit('/').next().unwrap_or(name);
    let tag = last.split_once(':').map_or("", |(_, tag)| tag);
    // A name that cannot be one has no tag at all.
    let valid = !name.is_empty()
        && !name
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() && !tag.as_bytes().contains(&byte));
    match tag {
        "latest" => "Always",
        "" if digest.is_empty() && valid => "Always",
        _ => "IfNotPresent",
    }
}

#[cfg(test)]
mod tests;

//! The rules of `defaults.json`, with names turned into the fact table's places.
//!
//! The file is part of the build and a test reads all of it, so a rule that names an unknown type or field panics.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::*;

/// All that is defaulted in one definition.
#[derive(Default)]
pub(super) struct Rules {
    pub rules: Vec<Rule>,
    /// Places of the fields that are `v1.ResourceList`.
    pub resource_lists: Vec<u16>,
    /// Whether anything in it or below it has a default.
    pub reaches_any: bool,
}

pub(super) struct Rule {
    pub when: Vec<Condition>,
    pub when_sibling: Vec<Condition>,
    pub target: Vec<Step>,
    pub source: Source,
    pub action: Action,
}

#[derive(Clone, Copy)]
pub(super) enum Step {
    Field(u16),
    /// Every item of the list that the step before names.
    Each,
}

pub(super) enum Action {
    /// If absent.
    Set,
    /// Whatever is there.
    Force,
    Remove,
    /// A list's first item: if it is another, the list becomes this one.
    Lead,
    /// The keys that a map lacks.
    Fill,
    /// One key of a map.
    Put(&'static str),
}

pub(super) enum Source {
    Nothing,
    Constant(Node<'static>),
    /// From the struct that the rule belongs to.
    Path(Vec<u16>),
    /// From the struct that holds the target.
    Sibling(u16),
    /// The pull policy that an image's tag implies.
    TagOf(u16),
    /// A list whose only item is a field beside the target: itself, or a struct that holds it at a place.
    ListOf {
        place: u16,
        holder: Option<(DefinitionId, u16)>,
    },
}

pub(super) struct Condition {
    pub path: Vec<u16>,
    pub test: Test,
}

pub(super) enum Test {
    Is(Vec<Node<'static>>),
    Present,
    Absent,
    /// Nothing but this field is there.
    Only,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleRow {
    set: Option<&'static str>,
    fill: Option<&'static str>,
    lead: Option<&'static str>,
    put: Option<&'static str>,
    remove: Option<&'static str>,
    key: Option<&'static str>,
    to: Option<Value>,
    from: Option<&'static str>,
    from_sibling: Option<&'static str>,
    tag_of: Option<&'static str>,
    list_of: Option<&'static str>,
    r#as: Option<&'static str>,
    #[serde(default)]
    when: Vec<ConditionRow>,
    #[serde(default)]
    when_sibling: Vec<ConditionRow>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionRow {
    field: &'static str,
    is: Option<Vec<Value>>,
    #[serde(default)]
    present: bool,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    only: bool,
}

/// By definition.
pub(super) fn rules() -> &'static [Rules] {
    static RULES: OnceLock<Vec<Rules>> = OnceLock::new();
    RULES.get_or_init(|| compile(facts(), include_str!("../../facts/1.35/defaults.json")))
}

fn compile(facts: &'static Facts, text: &'static str) -> Vec<Rules> {
    let rows: HashMap<&'static str, Vec<RuleRow>> =
        serde_json::from_str(text).expect("the defaults are checked when they are built");
    let mut all: Vec<Rules> = facts.definitions.iter().map(|_| Rules::default()).collect();
    for (name, rows) in rows {
        let id = facts
            .by_name(&format!("io.k8s.api.{name}"))
            .unwrap_or_else(|| panic!("no type {name}"));
        all[id.index()].rules = rows.into_iter().map(|row| rule(facts, id, row)).collect();
    }
    for (definition, rules) in facts.definitions.iter().zip(&mut all) {
        for (place, field) in (0u16..).zip(&definition.fields) {
            if let Some(value) = &field.schema_default {
                rules.rules.push(Rule {
                    when: Vec::new(),
                    when_sibling: Vec::new(),
                    target: vec![Step::Field(place)],
                    source: Source::Constant(constant(facts, &field.kind, value)),
                    action: Action::Set,
                });
            }
            // Upstream's other groups leave theirs alone.
            if field.go_type == Some("v1.ResourceList")
                && definition.name.starts_with("io.k8s.api.core.v1.")
            {
                rules.resource_lists.push(place);
            }
        }
        rules.reaches_any = !rules.rules.is_empty() || !rules.resource_lists.is_empty();
    }
    spread_reach(facts, &mut all);
    all
}

/// A definition reaches a default if one of its fields does.
fn spread_reach(facts: &Facts, all: &mut [Rules]) {
    loop {
        let reaching: Vec<usize> = facts
            .definitions
            .iter()
            .enumerate()
            .filter(|(place, definition)| {
                !all[*place].reaches_any
                    && definition.fields.iter().any(|field| {
                        struct_of(&field.kind).is_some_and(|id| all[id.index()].reaches_any)
                    })
            })
            .map(|(place, _)| place)
            .collect();
        if reaching.is_empty() {
            return;
        }
        for place in reaching {
            all[place].reaches_any = true;
        }
    }
}

/// The struct that a type is or holds.
fn struct_of(kind: &Type) -> Option<DefinitionId> {
    match kind {
        Type::Struct(id) => Some(*id),
        Type::List(element) | Type::Map(element) => struct_of(element),
        Type::Scalar(_) | Type::Named(..) => None,
    }
}

fn rule(facts: &'static Facts, id: DefinitionId, row: RuleRow) -> Rule {
    let set = if row.force {
        Action::Force
    } else {
        Action::Set
    };
    let put = Action::Put(row.key.unwrap_or_default());
    let mut actions = [
        (row.set, set),
        (row.fill, Action::Fill),
        (row.lead, Action::Lead),
        (row.put, put),
        (row.remove, Action::Remove),
    ]
    .into_iter()
    .filter_map(|(text, action)| Some((text?, action)));
    let (Some((text, action)), None) = (actions.next(), actions.next()) else {
        panic!("a rule does one thing")
    };
    let (target, parent, field) = target(facts, id, text);
    let sibling = |name: &str| place(facts, parent, name).0;
    let source = if let Some(value) = row.to {
        Source::Constant(constant(facts, &field.kind, &value))
    } else if let Some(path) = row.from {
        Source::Path(places(facts, id, path).0)
    } else if let Some(name) = row.from_sibling {
        Source::Sibling(sibling(name))
    } else if let Some(name) = row.tag_of {
        Source::TagOf(sibling(name))
    } else if let Some(name) = row.list_of {
        let item = struct_of(&field.kind).zip(row.r#as);
        let holder = item.map(|(id, inner)| (id, place(facts, id, inner).0));
        Source::ListOf {
            place: sibling(name),
            holder,
        }
    } else {
        Source::Nothing
    };
    Rule {
        when: row
            .when
            .into_iter()
            .map(|row| condition(facts, id, row))
            .collect(),
        when_sibling: row
            .when_sibling
            .into_iter()
            .map(|row| condition(facts, parent, row))
            .collect(),
        target,
        source,
        action,
    }
}

fn condition(facts: &'static Facts, id: DefinitionId, row: ConditionRow) -> Condition {
    let (path, field) = places(facts, id, row.field);
    let test = match (row.is, row.present, row.absent, row.only) {
        (Some(values), false, false, false) => Test::Is(
            values
                .iter()
                .map(|value| constant(facts, &field.kind, value))
                .collect(),
        ),
        (None, true, false, false) => Test::Present,
        (None, false, true, false) => Test::Absent,
        (None, false, false, true) => Test::Only,
        _ => panic!("a condition tests one thing"),
    };
    Condition { path, test }
}

fn place(facts: &'static Facts, id: DefinitionId, name: &str) -> (u16, &'static Field) {
    let definition = facts.definition(id);
    let (place, field) = definition
        .field(name)
        .unwrap_or_else(|| panic!("{} has no {name}", definition.name));
    (place as u16, field)
}

/// `spec.containers[*].image`: the steps, the definition that holds the last field, and that field.
fn target(
    facts: &'static Facts,
    id: DefinitionId,
    text: &str,
) -> (Vec<Step>, DefinitionId, &'static Field) {
    let (mut steps, mut holder) = (Vec::new(), id);
    let (parents, last) = text
        .rsplit_once('.')
        .map_or((None, text), |(parents, last)| (Some(parents), last));
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let name = part.strip_suffix("[*]").unwrap_or(part);
        let (at, field) = place(facts, holder, name);
        steps.push(Step::Field(at));
        if name != part {
            steps.push(Step::Each);
        }
        holder = struct_of(&field.kind).unwrap_or_else(|| panic!("{part} of {text} is no struct"));
    }
    let (at, field) = place(facts, holder, last);
    steps.push(Step::Field(at));
    (steps, holder, field)
}

/// A path without lists, and its last field.
fn places(facts: &'static Facts, id: DefinitionId, text: &str) -> (Vec<u16>, &'static Field) {
    let (steps, _, field) = target(facts, id, text);
    let path = steps.into_iter().map(|step| match step {
        Step::Field(place) => place,
        Step::Each => panic!("{text} passes a list"),
    });
    (path.collect(), field)
}

/// A rule's JSON as a typed value.
fn constant(facts: &'static Facts, kind: &Type, value: &Value) -> Node<'static> {
    match (kind, value) {
        (Type::Struct(id), Value::Object(entries)) => {
            let mut made = Struct::zero(*id);
            for (name, value) in entries {
                let (at, field) = place(facts, *id, name);
                made.set_at(at.into(), constant(facts, &field.kind, value));
            }
            Node::Struct(made)
        }
        (Type::List(element), Value::Array(items)) => Node::List(
            items
                .iter()
                .map(|item| constant(facts, element, item))
                .collect(),
        ),
        (
            Type::Scalar(Scalar::String) | Type::Named(Scalar::IntOrString, _),
            Value::String(text),
        ) => Node::String(Cow::Owned(text.clone())),
        (Type::Scalar(Scalar::Bool), Value::Bool(value)) => Node::Bool(*value),
        (
            Type::Scalar(Scalar::Int32 | Scalar::Int64) | Type::Named(Scalar::IntOrString, _),
            Value::Number(number),
        ) => Node::Integer(number.as_i64().expect("defaults are whole numbers")),
        _ => panic!("{value} is no {kind:?}"),
    }
}

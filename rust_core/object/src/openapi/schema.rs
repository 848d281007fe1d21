//! A definition of the fact table as an OpenAPI schema.

use serde_json::{Map, Value, json};

use crate::facts::{Definition, DefinitionId, Field, ListType, Scalar, Type, facts};

/// The two versions of OpenAPI. v3 has defaults and `oneOf`, and puts a reference that has siblings under `allOf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

impl Dialect {
    /// The address of a definition's schema.
    pub fn reference(self, id: DefinitionId) -> String {
        let name = facts().definition(id).name;
        match self {
            Dialect::V2 => format!("#/definitions/{name}"),
            Dialect::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The schema of a definition.
pub(super) fn definition(definition: &Definition, dialect: Dialect) -> Value {
    let mut schema = match (&definition.schema, definition.scalar) {
        (_, Some(Scalar::IntOrString)) if dialect == Dialect::V3 => object(
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        (_, Some(Scalar::Quantity)) if dialect == Dialect::V3 => {
            object(json!({"oneOf": [{"type": "string"}, {"type": "number"}]}))
        }
        (Some(schema), _) => object(schema.clone()),
        (None, _) => object(json!({"type": "object"})),
    };
    if !definition.fields.is_empty() {
        let properties = definition
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), property(field, dialect)));
        schema.insert("properties".to_owned(), Value::Object(properties.collect()));
    }
    let required: Vec<&str> = definition
        .fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name)
        .collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    if definition.atomic_map {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(unions) = &definition.unions {
        schema.insert("x-kubernetes-unions".to_owned(), unions.clone());
    }
    if !definition.kinds.is_empty() {
        let kinds = definition
            .kinds
            .iter()
            .map(|gvk| json!({"group": gvk.group, "kind": gvk.kind, "version": gvk.version}));
        schema.insert(
            "x-kubernetes-group-version-kind".to_owned(),
            kinds.collect(),
        );
    }
    Value::Object(schema)
}

/// The definitions that a definition's fields name.
pub(super) fn references(definition: &Definition) -> Vec<DefinitionId> {
    definition
        .fields
        .iter()
        .filter_map(|field| reference(&field.kind))
        .collect()
}

fn reference(kind: &Type) -> Option<DefinitionId> {
    match kind {
        Type::Struct(id) | Type::Named(_, id) => Some(*id),
        Type::List(inner) | Type::Map(inner) => reference(inner),
        Type::Scalar(_) => None,
    }
}

fn property(field: &Field, dialect: Dialect) -> Value {
    let mut siblings = Map::new();
    if dialect == Dialect::V3 {
        if let Some(default) = &field.schema_default {
            siblings.insert("default".to_owned(), default.clone());
        } else if let Some(zero) = zero(&field.kind).filter(|_| is_always_there(field)) {
            siblings.insert("default".to_owned(), zero);
        }
    }
    if let Some(format) = field.format {
        siblings.insert("format".to_owned(), format.into());
    }
    let list_type = field.list_type.map(|list_type| match list_type {
        ListType::Atomic => "atomic",
        ListType::Set => "set",
        ListType::Map => "map",
    });
    let map_keys =
        (!field.list_map_keys.is_empty()).then(|| Value::from(field.list_map_keys.clone()));
    let strategy = (!field.patch_strategy.is_empty()).then_some(field.patch_strategy);
    for (name, value) in [
        ("x-kubernetes-list-map-keys", map_keys),
        ("x-kubernetes-list-type", list_type.map(Value::from)),
        (
            "x-kubernetes-map-type",
            field.atomic_map.then(|| "atomic".into()),
        ),
        (
            "x-kubernetes-patch-merge-key",
            field.patch_merge_key.map(Value::from),
        ),
        ("x-kubernetes-patch-strategy", strategy.map(Value::from)),
    ] {
        if let Some(value) = value {
            siblings.insert(name.to_owned(), value);
        }
    }
    typed(&field.kind, siblings, dialect)
}

/// Whether Go writes the field even if nobody set it: only then is its zero a default. A struct is always there.
fn is_always_there(field: &Field) -> bool {
    !field.pointer && (!field.omit_empty || matches!(field.kind, Type::Struct(_)))
}

fn zero(kind: &Type) -> Option<Value> {
    match kind {
        Type::Scalar(Scalar::String) => Some("".into()),
        Type::Scalar(Scalar::Bool) => Some(false.into()),
        Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Uint16 | Scalar::Float64) => {
            Some(0.into())
        }
        Type::Struct(_) => Some(json!({})),
        _ => None,
    }
}

/// A type's schema, with what else stands beside it.
fn typed(kind: &Type, mut siblings: Map<String, Value>, dialect: Dialect) -> Value {
    let element = |inner: &Type| {
        let default = zero(inner).filter(|_| dialect == Dialect::V3);
        let siblings = default
            .map(|zero| ("default".to_owned(), zero))
            .into_iter()
            .collect();
        typed(inner, siblings, dialect)
    };
    match kind {
        Type::Struct(id) | Type::Named(_, id) => {
            let reference = json!({"$ref": dialect.reference(*id)});
            if dialect == Dialect::V3 && !siblings.is_empty() {
                siblings.insert("allOf".to_owned(), json!([reference]));
            } else {
                siblings.extend(object(reference));
            }
        }
        Type::List(inner) => {
            siblings.insert("items".to_owned(), element(inner));
            siblings.insert("type".to_owned(), "array".into());
        }
        Type::Map(inner) => {
            siblings.insert("additionalProperties".to_owned(), element(inner));
            siblings.insert("type".to_owned(), "object".into());
        }
        Type::Scalar(scalar) => {
            let (name, format) = scalar_type(*scalar);
            if let Some(format) = format {
                siblings.entry("format").or_insert_with(|| format.into());
            }
            siblings.insert("type".to_owned(), name.into());
        }
    }
    Value::Object(siblings)
}

fn scalar_type(scalar: Scalar) -> (&'static str, Option<&'static str>) {
    match scalar {
        Scalar::String | Scalar::Quantity | Scalar::Duration => ("string", None),
        Scalar::Bool => ("boolean", None),
        Scalar::Int32 | Scalar::Uint16 => ("integer", Some("int32")),
        Scalar::Int64 => ("integer", Some("int64")),
        Scalar::Float64 => ("number", Some("double")),
        Scalar::Bytes => ("string", Some("byte")),
        Scalar::Time | Scalar::MicroTime => ("string", Some("date-time")),
        Scalar::IntOrString => ("string", Some("int-or-string")),
        Scalar::Raw | Scalar::Json => ("object", None),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

//! From the table's text to [`Facts`]. Strings are borrowed from the text, which is part of the binary.
//!
//! The table is a build product with a test of its own, so a row that cannot be read is a broken build and panics.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    Definition, DefinitionId, Facts, Field, Gvk, ListType, Resource, Scalar, Subresource, Type,
};

#[derive(Deserialize)]
struct TableRow {
    #[serde(borrow)]
    minor: &'static str,
    kubernetes: &'static str,
    definitions: Vec<DefinitionRow>,
    resources: &'static RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionRow {
    name: &'static str,
    #[serde(default)]
    kinds: Vec<[&'static str; 3]>,
    #[serde(default)]
    fields: Vec<FieldRow>,
    scalar: Option<&'static str>,
    map_type: Option<&'static str>,
    unions: Option<Value>,
    schema: Option<Value>,
    #[serde(default)]
    unpublished: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldRow {
    name: &'static str,
    r#type: &'static str,
    go_type: Option<&'static str>,
    #[serde(default)]
    embedded: &'static str,
    #[serde(default)]
    pointer: bool,
    #[serde(default, rename = "omitempty")]
    omit_empty: bool,
    #[serde(default, rename = "omitzero")]
    omit_zero: bool,
    #[serde(default)]
    required: bool,
    list_type: Option<&'static str>,
    #[serde(default)]
    list_map_keys: Vec<&'static str>,
    map_type: Option<&'static str>,
    #[serde(default)]
    patch_strategy: &'static str,
    patch_merge_key: Option<&'static str>,
    #[serde(default)]
    protobuf: Vec<u32>,
    format: Option<&'static str>,
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceRow {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    verbs: Vec<&'static str>,
    short_names: Vec<&'static str>,
    categories: Vec<&'static str>,
    subresources: Vec<SubresourceRow>,
    storage: [&'static str; 3],
    served: bool,
}

#[derive(Deserialize)]
struct SubresourceRow {
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: Vec<&'static str>,
}

type Scalars = HashMap<&'static str, Scalar>;
type Names = HashMap<&'static str, DefinitionId>;

pub(super) fn load(text: &'static str) -> Facts {
    let table: TableRow =
        serde_json::from_str(text).expect("the fact table is checked when it is built");
    let id =
        |place: usize| DefinitionId(u16::try_from(place).expect("fewer than 65,536 definitions"));
    let by_name: Names = table
        .definitions
        .iter()
        .enumerate()
        .map(|(place, row)| (row.name, id(place)))
        .collect();
    let scalars: Scalars = table
        .definitions
        .iter()
        .filter_map(|row| Some((row.name, scalar(row.scalar?)?)))
        .collect();
    let definitions: Vec<Definition> = table
        .definitions
        .into_iter()
        .map(|row| definition(row, &by_name, &scalars))
        .collect();
    let by_kind = definitions
        .iter()
        .enumerate()
        .flat_map(|(place, definition)| definition.kinds.iter().map(move |&kind| (kind, id(place))))
        .collect();
    let rows: Vec<ResourceRow> = serde_json::from_str(table.resources.get())
        .expect("the fact table is checked when it is built");
    let resources: Vec<Resource> = rows.into_iter().map(resource).collect();
    Facts {
        minor: table.minor,
        kubernetes: table.kubernetes,
        resources_json: table.resources.get(),
        by_resource: resources
            .iter()
            .enumerate()
            .map(|(place, r)| ([r.group, r.version, r.plural], place))
            .collect(),
        by_resource_kind: resources
            .iter()
            .enumerate()
            .map(|(place, r)| (r.gvk(), place))
            .collect(),
        definitions,
        resources,
        by_name,
        by_kind,
    }
}

fn definition(row: DefinitionRow, names: &Names, scalars: &Scalars) -> Definition {
    let fields: Vec<Field> = row
        .fields
        .into_iter()
        .map(|row| field(row, names, scalars))
        .collect();
    Definition {
        always_written: (0..)
            .zip(&fields)
            .filter(|(_, field)| is_always_written(field))
            .map(|(place, _)| place)
            .collect(),
        fields,
        name: row.name,
        kinds: row
            .kinds
            .into_iter()
            .map(|[group, version, kind]| Gvk::new(group, version, kind))
            .collect(),
        scalar: row.scalar.and_then(scalar),
        atomic_map: row.map_type == Some("atomic"),
        unions: row.unions,
        schema: row.schema,
        published: !row.unpublished,
    }
}

fn field(row: FieldRow, names: &Names, scalars: &Scalars) -> Field {
    Field {
        name: row.name,
        kind: parse_type(row.r#type, names, scalars),
        go_type: row.go_type,
        embedded: row.embedded,
        required: row.required,
        pointer: row.pointer,
        omit_empty: row.omit_empty,
        omit_zero: row.omit_zero,
        list_type: row.list_type.map(|text| match text {
            "map" => ListType::Map,
            "set" => ListType::Set,
            _ => ListType::Atomic,
        }),
        list_map_keys: row.list_map_keys,
        atomic_map: row.map_type == Some("atomic"),
        patch_strategy: row.patch_strategy,
        patch_merge_key: row.patch_merge_key,
        protobuf: row.protobuf,
        format: row.format,
        schema_default: row.default,
    }
}

/// Go's encoder leaves out empty values only if told to, and an empty struct only by `omitzero`.
fn is_always_written(field: &Field) -> bool {
    if field.omit_zero {
        return false;
    }
    let is_struct = match &field.kind {
        Type::Struct(_) => true,
        // FieldsV1 and JSON are pointers wherever they may be left out.
        Type::Named(scalar, _) => !matches!(scalar, Scalar::Json),
        _ => false,
    };
    !field.omit_empty || (is_struct && !field.pointer)
}

fn resource(row: ResourceRow) -> Resource {
    Resource {
        group: row.group,
        version: row.version,
        plural: row.plural,
        singular: row.singular,
        kind: row.kind,
        namespaced: row.namespaced,
        verbs: row.verbs,
        short_names: row.short_names,
        categories: row.categories,
        subresources: row
            .subresources
            .into_iter()
            .map(|row| Subresource {
                name: row.name,
                kind: Gvk::new(row.group, row.version, row.kind),
                verbs: row.verbs,
            })
            .collect(),
        storage: row.storage,
        served: row.served,
    }
}

fn parse_type(text: &'static str, names: &Names, scalars: &Scalars) -> Type {
    if let Some(element) = text.strip_prefix("[]") {
        return Type::List(Box::new(parse_type(element, names, scalars)));
    }
    if let Some(element) = text.strip_prefix("{}") {
        return Type::Map(Box::new(parse_type(element, names, scalars)));
    }
    if let Some(scalar) = scalar(text) {
        return Type::Scalar(scalar);
    }
    let id = names[text];
    match scalars.get(text) {
        Some(&scalar) => Type::Named(scalar, id),
        None => Type::Struct(id),
    }
}

fn scalar(word: &str) -> Option<Scalar> {
    Some(match word {
        "string" => Scalar::String,
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "uint16" => Scalar::Uint16,
        "float64" => Scalar::Float64,
        "bytes" => Scalar::Bytes,
        "quantity" => Scalar::Quantity,
        "time" => Scalar::Time,
        "microtime" => Scalar::MicroTime,
        "duration" => Scalar::Duration,
        "int-or-string" => Scalar::IntOrString,
        "raw" => Scalar::Raw,
        "json" => Scalar::Json,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::facts::{Scalar, Type, facts};

    #[test]
    fn every_listed_kind_and_its_list_have_a_definition() {
        for resource in &facts().resources {
            let found = |kind: &str| facts().by_kind(resource.group, resource.version, kind);
            assert!(found(resource.kind).is_some(), "{}", resource.kind);
            if resource.verbs.contains(&"list") {
                assert!(
                    found(&format!("{}List", resource.kind)).is_some(),
                    "{}List",
                    resource.kind
                );
            }
            for subresource in &resource.subresources {
                let kind = subresource.kind;
                assert!(
                    facts()
                        .by_kind(kind.group, kind.version, kind.kind)
                        .is_some(),
                    "{kind}"
                );
            }
        }
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!(facts().resources.len(), 90);
        assert_eq!(
            facts()
                .resources
                .iter()
                .map(|resource| resource.subresources.len())
                .sum::<usize>(),
            52
        );
        assert_eq!(
            facts()
                .definitions
                .iter()
                .filter(|definition| definition.published)
                .count(),
            735
        );
    }

    #[test]
    fn replicas_of_a_deployment_are_a_pointer_so_that_zero_is_kept() {
        let spec = facts()
            .by_name("io.k8s.api.apps.v1.DeploymentSpec")
            .expect("a built-in type");
        let (place, replicas) = facts()
            .definition(spec)
            .field("replicas")
            .expect("a known field");
        assert_eq!(place, 0);
        assert!(replicas.pointer && replicas.omit_empty);
        assert_eq!(replicas.kind, Type::Scalar(Scalar::Int32));
        assert_eq!(replicas.protobuf, [1]);
    }

    #[test]
    fn events_of_both_groups_are_kept_in_one_place() {
        let stored = |group| {
            facts()
                .resource(group, "v1", "events")
                .expect("a built-in resource")
                .storage
        };
        assert_eq!(stored("events.k8s.io"), stored(""));
    }

    #[test]
    fn options_are_found_under_every_group() {
        assert!(facts().by_kind("apps", "v1", "DeleteOptions").is_some());
        assert!(facts().by_kind("apps", "v1", "CreateOptions").is_some());
        assert!(facts().by_kind("apps", "v1", "Pod").is_none());
    }
}

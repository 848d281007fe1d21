//! The fact table: what every built-in kind, field and resource of one Kubernetes minor is.
//!
//! In: `facts/1.35/table.json`, made by `tools/facts/generate.py` and built into the binary. Out: [`facts`], parsed once, and
//! everything else in this crate reads from it: decode, prune, defaults, patches, protobuf, OpenAPI, discovery. No code
//! anywhere else knows a field by itself if a row here can say it.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

mod load;

/// The fact table. The first call parses it, in a few milliseconds; it lives as long as the process.
pub fn facts() -> &'static Facts {
    static FACTS: OnceLock<Facts> = OnceLock::new();
    FACTS.get_or_init(|| load::load(include_str!("../facts/1.35/table.json")))
}

/// A definition's place in [`Facts::definitions`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DefinitionId(pub(crate) u16);

impl DefinitionId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Group, version, kind. The core group is empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Gvk<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

impl<'a> Gvk<'a> {
    pub fn new(group: &'a str, version: &'a str, kind: &'a str) -> Self {
        Self {
            group,
            version,
            kind,
        }
    }
}

impl fmt::Display for Gvk<'_> {
    /// `apps/v1, Kind=Deployment`, as upstream's messages write it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}, Kind={}",
            api_version(self.group, self.version),
            self.kind
        )
    }
}

/// `apps/v1`, or `v1` for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// What a value is in JSON when it is neither a struct, a list nor a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Uint16,
    Float64,
    /// Base64 in JSON.
    Bytes,
    Quantity,
    /// RFC 3339, whole seconds, UTC; or null.
    Time,
    MicroTime,
    /// Go's duration text, `1h0m0s`.
    Duration,
    IntOrString,
    /// An embedded object of any kind (`runtime.RawExtension`).
    Raw,
    /// Any JSON.
    Json,
}

/// The type of a field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    Scalar(Scalar),
    /// A scalar with a definition of its own: Quantity, Time, IntOrString, ...
    Named(Scalar, DefinitionId),
    Struct(DefinitionId),
    List(Box<Type>),
    /// Keys are strings.
    Map(Box<Type>),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// One JSON field. Fields stand in the order of the Go struct, which is the order objects are written in.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Type,
    /// The type as Go names it, where `kind` does not say it: `v1.PullPolicy`.
    pub go_type: Option<&'static str>,
    /// The Go structs that JSON flattens into this one, each with a dot behind it; mostly empty.
    pub embedded: &'static str,
    /// OpenAPI's `required`.
    pub required: bool,
    /// A pointer in Go: an empty value is not an absent one.
    pub pointer: bool,
    pub omit_empty: bool,
    pub omit_zero: bool,
    pub list_type: Option<ListType>,
    pub list_map_keys: Vec<&'static str>,
    /// `x-kubernetes-map-type: atomic`, on a struct or map.
    pub atomic_map: bool,
    /// `merge`, `replace`, `retainKeys`, or two with a comma; empty if none.
    pub patch_strategy: &'static str,
    pub patch_merge_key: Option<&'static str>,
    /// The path of protobuf field numbers: longer than one where protobuf nests what JSON flattens. Empty: not in protobuf.
    pub protobuf: Vec<u32>,
    /// OpenAPI's `format` where the type alone does not say it.
    pub format: Option<&'static str>,
    /// OpenAPI's `default`, if more than the type's zero.
    pub schema_default: Option<Value>,
}

impl Field {
    pub fn merges(&self) -> bool {
        self.patch_strategy
            .split(',')
            .any(|strategy| strategy == "merge")
    }
}

/// One Go type by its OpenAPI name.
#[derive(Clone, PartialEq, Debug)]
pub struct Definition {
    /// `io.k8s.api.core.v1.PodSpec`
    pub name: &'static str,
    pub kinds: Vec<Gvk<'static>>,
    /// Set for types that write themselves: they have no fields.
    pub scalar: Option<Scalar>,
    pub fields: Vec<Field>,
    /// Places of the fields that are written even when they were never set.
    pub always_written: Vec<u16>,
    /// `x-kubernetes-map-type: atomic`
    pub atomic_map: bool,
    /// `x-kubernetes-unions`, as the OpenAPI document has it.
    pub unions: Option<Value>,
    /// The whole OpenAPI schema of a scalar, without prose.
    pub schema: Option<Value>,
    /// Whether the OpenAPI document shows it.
    pub published: bool,
}

impl Definition {
    /// The Go name, `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name
            .rsplit_once('.')
            .map_or(self.name, |(_, short)| short)
    }

    /// A field and its place in `fields`.
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.name == name)
    }
}

/// A subresource and the kind of its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subresource {
    pub name: &'static str,
    pub kind: Gvk<'static>,
    pub verbs: Vec<&'static str>,
}

/// One resource of one version, as discovery shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub namespaced: bool,
    pub verbs: Vec<&'static str>,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
    pub subresources: Vec<Subresource>,
    /// Group, version and plural under which objects are kept.
    pub storage: [&'static str; 3],
    /// Whether upstream serves it unless told otherwise.
    pub served: bool,
}

impl Resource {
    pub fn gvk(&self) -> Gvk<'static> {
        Gvk::new(self.group, self.version, self.kind)
    }

    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }
}

/// The whole table.
#[derive(Debug)]
pub struct Facts {
    /// `1.35`
    pub minor: &'static str,
    /// The release the facts come from, `1.35.0`.
    pub kubernetes: &'static str,
    /// Sorted by name.
    pub definitions: Vec<Definition>,
    /// In the order of upstream's discovery: groups by their priority, resources by name.
    pub resources: Vec<Resource>,
    resources_json: &'static str,
    by_name: HashMap<&'static str, DefinitionId>,
    by_kind: HashMap<Gvk<'static>, DefinitionId>,
    by_resource: HashMap<[&'static str; 3], usize>,
    by_resource_kind: HashMap<Gvk<'static>, usize>,
}

impl Facts {
    pub fn definition(&self, id: DefinitionId) -> &Definition {
        &self.definitions[id.index()]
    }

    /// `io.k8s.api.core.v1.Pod` → its definition.
    pub fn by_name(&self, name: &str) -> Option<DefinitionId> {
        self.by_name.get(name).copied()
    }

    /// The definition that a kind's body has. Options kinds are found under every group and version.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<DefinitionId> {
        let exact = self.by_kind.get(&Gvk::new(group, version, kind));
        exact
            .or_else(|| {
                self.by_kind
                    .get(&Gvk::new("", "v1", kind))
                    .filter(|_| is_everywhere(kind))
            })
            .copied()
    }

    /// A resource by group, version and plural.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Resource> {
        self.by_resource
            .get(&[group, version, plural])
            .map(|&place| &self.resources[place])
    }

    /// The resource whose objects are of that kind.
    pub fn resource_of_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Resource> {
        self.by_resource_kind
            .get(&Gvk::new(group, version, kind))
            .map(|&place| &self.resources[place])
    }

    /// The resources as the JSON list that `kubecore._core.resources` hands to Python.
    pub fn resources_json(&self) -> &'static str {
        self.resources_json
    }
}

/// Kinds that upstream registers in every group version.
fn is_everywhere(kind: &str) -> bool {
    matches!(
        kind,
        "CreateOptions"
            | "DeleteOptions"
            | "GetOptions"
            | "ListOptions"
            | "PatchOptions"
            | "UpdateOptions"
            | "WatchEvent"
    )
}

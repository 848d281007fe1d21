//! Which paths and operations a resource has.

use crate::facts::{DefinitionId, Gvk, Resource, Subresource, api_version, facts};

/// What an operation does: upstream's `x-kubernetes-action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    List,
    Create,
    Replace,
    Patch,
    Delete,
    DeleteCollection,
    /// A stream: exec, attach, port-forward, proxy.
    Connect,
    Discovery,
}

/// One method of a path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub method: &'static str,
    pub action: Action,
    pub id: String,
    /// The kind that the operation is about.
    pub gvk: Option<Gvk<'static>>,
    /// What the body holds.
    pub body: Option<DefinitionId>,
    /// What the answer holds; `None` is text.
    pub answer: Option<DefinitionId>,
}

/// One path and its operations.
#[derive(Clone, Debug)]
pub(super) struct PathItem {
    pub path: String,
    pub tag: String,
    pub operations: Vec<Operation>,
}

impl PathItem {
    pub fn definitions(&self) -> impl Iterator<Item = DefinitionId> {
        self.operations
            .iter()
            .flat_map(|operation| operation.body.into_iter().chain(operation.answer))
    }
}

/// The path that lists the resources of a group version.
pub(super) fn discovery(group: &str, version: &str) -> PathItem {
    let names = Names::new(group, version);
    let operation = Operation {
        method: "get",
        action: Action::Discovery,
        id: format!("get{}APIResources", names.camel),
        gvk: None,
        body: None,
        answer: meta("APIResourceList"),
    };
    PathItem {
        path: format!("{}/", base(group, version)),
        tag: names.tag,
        operations: vec![operation],
    }
}

/// All paths of a resource and its subresources.
pub(super) fn of_resource(resource: &'static Resource) -> Vec<PathItem> {
    let builder = Builder::new(resource);
    let collection = match resource.namespaced {
        true => format!(
            "{}/namespaces/{{namespace}}/{}",
            builder.base, resource.plural
        ),
        false => format!("{}/{}", builder.base, resource.plural),
    };
    let one = format!("{collection}/{{name}}");
    let mut items = Vec::new();
    if resource.namespaced && resource.verbs.contains(&"list") {
        items.push((
            format!("{}/{}", builder.base, resource.plural),
            vec![builder.list_everywhere()],
        ));
    }
    items.push((
        collection,
        builder.operations(&["list", "create", "deletecollection"]),
    ));
    items.push((
        one.clone(),
        builder.operations(&["get", "update", "patch", "delete"]),
    ));
    items.extend(resource.subresources.iter().map(|subresource| {
        (
            format!("{one}/{}", subresource.name),
            builder.of_subresource(subresource),
        )
    }));
    let filled = items
        .into_iter()
        .filter(|(_, operations)| !operations.is_empty());
    filled
        .map(|(path, operations)| PathItem {
            path,
            tag: builder.names.tag.clone(),
            operations,
        })
        .collect()
}

fn base(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("/{prefix}/{}", api_version(group, version))
}

fn meta(kind: &str) -> Option<DefinitionId> {
    facts().by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))
}

/// A group version as operation ids and tags write it: `RbacAuthorizationV1`, `rbacAuthorization_v1`.
struct Names {
    camel: String,
    tag: String,
}

impl Names {
    fn new(group: &str, version: &str) -> Names {
        let group = if group.is_empty() {
            "core"
        } else {
            group.trim_end_matches(".k8s.io")
        };
        let camel: String = group.split('.').map(capitalized).collect();
        let tag = format!("{}{}_{version}", camel[..1].to_lowercase(), &camel[1..]);
        Names {
            camel: camel + &capitalized(version),
            tag,
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(characters)
        .collect()
}

/// Resources whose deletion answers with the deleted object instead of a Status. An empty plural stands for all of a group.
const ANSWERED_WITH_OBJECT: [(&str, &str); 9] = [
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", ""),
    ("storage.k8s.io", ""),
];

fn answers_with_object(resource: &Resource) -> bool {
    let listed = |(group, plural): &(&str, &str)| {
        *group == resource.group && (plural.is_empty() || *plural == resource.plural)
    };
    ANSWERED_WITH_OBJECT.iter().any(listed) && resource.plural != "csistoragecapacities"
}

struct Builder {
    resource: &'static Resource,
    base: String,
    names: Names,
    body: Option<DefinitionId>,
    list: Option<DefinitionId>,
}

impl Builder {
    fn new(resource: &'static Resource) -> Builder {
        let (group, version) = (resource.group, resource.version);
        Builder {
            resource,
            base: base(group, version),
            names: Names::new(group, version),
            body: facts().by_kind(group, version, resource.kind),
            list: facts().by_kind(group, version, &format!("{}List", resource.kind)),
        }
    }

    fn id(&self, verb: &str, middle: &str, subresource: &str) -> String {
        let namespaced = if self.resource.namespaced {
            "Namespaced"
        } else {
            ""
        };
        let suffix: String = subresource.split('/').map(capitalized).collect();
        format!(
            "{verb}{}{middle}{namespaced}{}{suffix}",
            self.names.camel, self.resource.kind
        )
    }

    fn list_everywhere(&self) -> Operation {
        Operation {
            method: "get",
            action: Action::List,
            id: format!(
                "list{}{}ForAllNamespaces",
                self.names.camel, self.resource.kind
            ),
            gvk: Some(self.resource.gvk()),
            body: None,
            answer: self.list,
        }
    }

    /// The operations for those of these verbs that the resource has.
    fn operations(&self, verbs: &[&str]) -> Vec<Operation> {
        let has = verbs
            .iter()
            .filter(|verb| self.resource.verbs.contains(verb));
        has.filter_map(|verb| self.operation(verb, self.resource.gvk(), self.body, ""))
            .collect()
    }

    fn operation(
        &self,
        verb: &str,
        gvk: Gvk<'static>,
        body: Option<DefinitionId>,
        subresource: &str,
    ) -> Option<Operation> {
        let (method, action, prefix, middle) = match verb {
            "list" => ("get", Action::List, "list", ""),
            "get" => ("get", Action::Get, "read", ""),
            "create" => ("post", Action::Create, "create", ""),
            "update" => ("put", Action::Replace, "replace", ""),
            "patch" => ("patch", Action::Patch, "patch", ""),
            "delete" => ("delete", Action::Delete, "delete", ""),
            "deletecollection" => ("delete", Action::DeleteCollection, "delete", "Collection"),
            _ => return None,
        };
        let (body, answer) = match action {
            Action::List => (None, self.list),
            Action::Get => (None, body),
            Action::Patch => (meta("Patch"), body),
            Action::Delete if answers_with_object(self.resource) => (meta("DeleteOptions"), body),
            Action::Delete | Action::DeleteCollection => (meta("DeleteOptions"), meta("Status")),
            _ => (body, body),
        };
        Some(Operation {
            method,
            action,
            id: self.id(prefix, middle, subresource),
            gvk: Some(gvk),
            body,
            answer,
        })
    }

    fn of_subresource(&self, subresource: &'static Subresource) -> Vec<Operation> {
        let gvk = subresource.kind;
        if gvk.kind.ends_with("Options") {
            return self.connections(subresource);
        }
        let body = facts().by_kind(gvk.group, gvk.version, gvk.kind);
        let verbs = subresource.verbs.iter();
        let mut operations: Vec<Operation> = verbs
            .filter_map(|verb| self.operation(verb, gvk, body, subresource.name))
            .collect();
        if subresource.name == "log" {
            operations
                .iter_mut()
                .for_each(|operation| operation.answer = None);
        }
        operations
    }

    fn connections(&self, subresource: &'static Subresource) -> Vec<Operation> {
        let method = |verb: &str| match verb {
            "get" => Some("get"),
            "create" => Some("post"),
            "update" => Some("put"),
            "patch" => Some("patch"),
            "delete" => Some("delete"),
            _ => None,
        };
        let methods = subresource.verbs.iter().filter_map(|verb| method(verb));
        let connect = |method: &'static str| Operation {
            method,
            action: Action::Connect,
            id: self.id("connect", &capitalized(method), subresource.name),
            gvk: Some(subresource.kind),
            body: None,
            answer: None,
        };
        methods.map(connect).collect()
    }
}

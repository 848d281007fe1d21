//! What a request asks for: verb, group, version, resource, subresource, namespace and name, read from method, path and query
//! by the rules of upstream's request info (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris).

use crate::request::Query;

/// Path prefixes that are verbs: `/api/v1/watch/pods`, `/api/v1/proxy/...`.
const PREFIX_VERBS: [&str; 2] = ["proxy", "watch"];
/// What may follow a namespace's name and still mean the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub is_resource: bool,
    pub verb: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// A deprecated `/watch/` path: its name, if any, is a filter.
    pub watch_by_path: bool,
    /// There is more path behind the subresource (`/proxy/some/path`).
    pub has_rest: bool,
}

impl RequestInfo {
    pub fn new(method: &str, path: &str, query: &Query) -> Self {
        let mut info = RequestInfo {
            verb: method.to_ascii_lowercase(),
            ..RequestInfo::default()
        };
        let parts: Vec<&str> = path
            .trim_matches('/')
            .split('/')
            .filter(|_| !path.is_empty())
            .collect();
        let Some(mut parts) = info.take_group_version(&parts) else {
            return info;
        };
        info.is_resource = true;
        if PREFIX_VERBS.contains(&parts[0]) && parts.len() >= 2 {
            info.verb = parts[0].to_owned();
            info.watch_by_path = parts[0] == "watch";
            parts = &parts[1..];
        } else {
            info.verb = verb_of(method).to_owned();
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].to_owned();
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        info.take_resource(parts);
        info.refine_verb(query);
        info
    }

    /// Fills group and version; gives the parts behind them, None if this is no resource path.
    fn take_group_version<'a>(&mut self, parts: &'a [&'a str]) -> Option<&'a [&'a str]> {
        let (group, rest) = match parts {
            ["api", rest @ ..] if rest.len() >= 2 => ("", rest),
            ["apis", group, rest @ ..] if rest.len() >= 2 => (*group, rest),
            _ => return None,
        };
        self.group = group.to_owned();
        self.version = rest[0].to_owned();
        Some(&rest[1..])
    }

    fn take_resource(&mut self, parts: &[&str]) {
        self.resource = parts[0].to_owned();
        self.name = parts.get(1).copied().unwrap_or("").to_owned();
        if self.verb != "proxy" {
            self.subresource = parts.get(2).copied().unwrap_or("").to_owned();
            self.has_rest = parts.len() > 3;
        }
    }

    /// No name: a get is a list or a watch, a delete is of the collection. A selector on `metadata.name` gives the name.
    fn refine_verb(&mut self, query: &Query) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" => {
                self.verb = if query.flag("watch") { "watch" } else { "list" }.to_owned();
                self.name = name_in_selector(query.text("fieldSelector")).to_owned();
            }
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => {}
        }
    }
}

fn verb_of(method: &str) -> &'static str {
    match method {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The name that a field selector fixes, if it is a possible path segment.
fn name_in_selector(selector: &str) -> &str {
    let requirement = selector
        .split(',')
        .find_map(|term| term.trim().strip_prefix("metadata.name="));
    let name = requirement
        .map(|rest| rest.strip_prefix('=').unwrap_or(rest))
        .unwrap_or("");
    let valid = !matches!(name, "." | "..") && !name.contains(['/', '%']);
    if valid { name } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &str, target: &str) -> RequestInfo {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        RequestInfo::new(method, path, &Query::parse(query))
    }

    /// method, target → verb, group, version, namespace, resource, subresource, name. The rows follow upstream's own test.
    const RESOURCE_REQUESTS: &[(&str, &str, [&str; 7])] = &[
        (
            "GET",
            "/api/v1/namespaces",
            ["list", "", "v1", "", "namespaces", "", ""],
        ),
        (
            "GET",
            "/api/v1/namespaces/other",
            ["get", "", "v1", "other", "namespaces", "", "other"],
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods",
            ["list", "", "v1", "other", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo",
            ["get", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "HEAD",
            "/api/v1/namespaces/other/pods/foo",
            ["get", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "GET",
            "/api/v1/pods",
            ["list", "", "v1", "", "pods", "", ""],
        ),
        (
            "HEAD",
            "/api/v1/pods",
            ["list", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/pods?watch=true",
            ["watch", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/pods?watch=1&fieldSelector=metadata.name%3Dfoo",
            ["watch", "", "v1", "", "pods", "", "foo"],
        ),
        (
            "GET",
            "/api/v1/pods?watch=false",
            ["list", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/watch/pods",
            ["watch", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/other/pods",
            ["watch", "", "v1", "other", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/other/pods/foo",
            ["watch", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "GET",
            "/api/v1/proxy/namespaces/other/pods/foo",
            ["proxy", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "GET",
            "/api/v1/proxy/namespaces/other/pods/foo/sub/not",
            ["proxy", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo/status",
            ["get", "", "v1", "other", "pods", "status", "foo"],
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo/proxy/a/b",
            ["get", "", "v1", "other", "pods", "proxy", "foo"],
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/finalize",
            [
                "update",
                "",
                "v1",
                "other",
                "namespaces",
                "finalize",
                "other",
            ],
        ),
        (
            "GET",
            "/api/v1/namespaces/other/status",
            ["get", "", "v1", "other", "namespaces", "status", "other"],
        ),
        (
            "POST",
            "/api/v1/namespaces/other/pods",
            ["create", "", "v1", "other", "pods", "", ""],
        ),
        (
            "POST",
            "/api/v1/namespaces/other/pods/foo/binding",
            ["create", "", "v1", "other", "pods", "binding", "foo"],
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/pods/foo",
            ["update", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "PATCH",
            "/api/v1/namespaces/other/pods/foo",
            ["patch", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "DELETE",
            "/api/v1/namespaces/other/pods/foo",
            ["delete", "", "v1", "other", "pods", "", "foo"],
        ),
        (
            "DELETE",
            "/api/v1/namespaces/other/pods",
            ["deletecollection", "", "v1", "other", "pods", "", ""],
        ),
        (
            "DELETE",
            "/api/v1/nodes",
            ["deletecollection", "", "v1", "", "nodes", "", ""],
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/d/deployments/w/scale",
            ["get", "apps", "v1", "d", "deployments", "scale", "w"],
        ),
        (
            "GET",
            "/apis/apps/v1/deployments?labelSelector=a",
            ["list", "apps", "v1", "", "deployments", "", ""],
        ),
        (
            "OPTIONS",
            "/api/v1/pods",
            ["", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/pods?fieldSelector=metadata.name==a",
            ["list", "", "v1", "", "pods", "", "a"],
        ),
        (
            "GET",
            "/api/v1/pods?fieldSelector=metadata.name!=a",
            ["list", "", "v1", "", "pods", "", ""],
        ),
        (
            "GET",
            "/api/v1/pods?fieldSelector=metadata.name=a/b",
            ["list", "", "v1", "", "pods", "", ""],
        ),
    ];

    #[test]
    fn resource_requests_are_read_as_upstream_reads_them() {
        for (method, target, expected) in RESOURCE_REQUESTS {
            let got = info(method, target);
            assert!(got.is_resource, "{method} {target}");
            let parts = [
                &got.verb,
                &got.group,
                &got.version,
                &got.namespace,
                &got.resource,
                &got.subresource,
                &got.name,
            ];
            assert_eq!(parts.map(String::as_str), *expected, "{method} {target}");
        }
    }

    #[test]
    fn other_paths_are_not_resources_and_their_verb_is_the_method() {
        let paths = [
            "/",
            "",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/healthz",
            "/other/v1/pods/x",
        ];
        for path in paths {
            let got = info("GET", path);
            assert!(!got.is_resource, "{path}");
            assert_eq!(got.verb, "get", "{path}");
            assert_eq!(got.resource, "", "{path}");
        }
        assert_eq!(info("POST", "/healthz").verb, "post");
    }
}

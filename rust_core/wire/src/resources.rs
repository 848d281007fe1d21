//! Which resources the wire serves by itself: the rows Python enables, looked up by group, version and plural.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

/// One served resource and where its objects are kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    /// `/registry/<group or core>/<plural>/`.
    pub prefix: String,
    /// The apiVersion that stored values carry.
    pub stored_api_version: String,
    /// Reads that Python has not enabled, such as those of a create-only kind, are Python's to answer.
    pub verbs: Vec<String>,
    /// What every answer warns of, empty if of nothing: a deprecated version.
    pub warning: String,
}

impl Resource {
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Stored in another version than it is served in.
    pub fn converts(&self) -> bool {
        self.stored_api_version != self.api_version()
    }

    pub fn key(&self, namespace: &str, name: &str) -> String {
        let mut key = self.key_prefix(namespace);
        key.push_str(name);
        key
    }

    /// The prefix of all objects, or of one namespace's.
    pub fn key_prefix(&self, namespace: &str) -> String {
        if self.namespaced && !namespace.is_empty() {
            format!("{}{namespace}/", self.prefix)
        } else {
            self.prefix.clone()
        }
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The served resources. Never changes; enabling more makes another.
#[derive(Default)]
pub struct Resources {
    by_plural: HashMap<String, Vec<Arc<Resource>>>,
}

impl Resources {
    /// Rows `{group, version, plural, kind, namespaced, verbs, storage: [group, version, plural]}`, as `resources()` gives them.
    pub fn from_json(rows: &[u8]) -> Result<Self, serde_json::Error> {
        let rows: Vec<Value> = serde_json::from_slice(rows)?;
        let mut resources = Resources::default();
        for row in &rows {
            let resource = Arc::new(read_row(row));
            resources
                .by_plural
                .entry(resource.plural.clone())
                .or_default()
                .push(resource);
        }
        Ok(resources)
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_plural
            .get(plural)?
            .iter()
            .find(|resource| resource.group == group && resource.version == version)
    }
}

fn read_row(row: &Value) -> Resource {
    let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
    let stored = |place: usize, name: &str| {
        row["storage"][place]
            .as_str()
            .map_or_else(|| text(name), str::to_owned)
    };
    let (group, plural) = (stored(0, "group"), stored(2, "plural"));
    let directory = if group.is_empty() { "core" } else { &group };
    Resource {
        warning: text("warning"),
        group: text("group"),
        version: text("version"),
        plural: text("plural"),
        kind: text("kind"),
        namespaced: row["namespaced"].as_bool().unwrap_or(false),
        prefix: format!("/registry/{directory}/{plural}/"),
        stored_api_version: api_version(&group, &stored(1, "version")),
        verbs: row["verbs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_knows_where_its_objects_are_kept() {
        let rows = br#"[
            {"group":"","version":"v1","plural":"pods","kind":"Pod","namespaced":true,"verbs":["get"]},
            {"group":"events.k8s.io","version":"v1","plural":"events","kind":"Event","namespaced":true,
             "verbs":["get"],"storage":["","v1","events"]}]"#;
        let resources = Resources::from_json(rows).unwrap();
        let pods = resources.find("", "v1", "pods").unwrap();
        assert_eq!(
            pods.key("default", "web"),
            "/registry/core/pods/default/web"
        );
        assert!(!pods.converts());
        let events = resources.find("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(events.key_prefix(""), "/registry/core/events/");
        assert!(events.converts());
        assert!(resources.find("apps", "v1", "pods").is_none());
    }
}

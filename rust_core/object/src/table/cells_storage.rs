//! What kubectl shows of volumes, claims, storage classes and drivers.

use serde_json::Value;

use super::cells::{Argument, Functions, at, first_few, items, strings, text, text_at};

pub const FUNCTIONS: Functions = &[
    ("access_modes", |object, argument| {
        access_modes(at(object, argument.of)).into()
    }),
    ("volume_phase", |object, _| {
        match at(object, "metadata.deletionTimestamp") {
            Value::Null => text_at(object, "status.phase").into(),
            _ => "Terminating".into(),
        }
    }),
    ("volume_claim", |volume, _| {
        match at(volume, "spec.claimRef") {
            Value::Null => "".into(),
            claim => format!("{}/{}", text_at(claim, "namespace"), text_at(claim, "name")).into(),
        }
    }),
    ("storage_class", storage_class),
    ("claim_capacity", |claim, _| {
        match (
            text_at(claim, "spec.volumeName"),
            at(claim, "status.capacity.storage"),
        ) {
            ("", _) => "".into(),
            (_, Value::Null) => "0".into(),
            (_, capacity) => text(capacity).into(),
        }
    }),
    ("claim_access_modes", |claim, _| {
        match text_at(claim, "spec.volumeName") {
            "" => "".into(),
            _ => access_modes(at(claim, "status.accessModes")).into(),
        }
    }),
    ("default_class_name", default_class_name),
    ("token_audiences", |driver, _| {
        match at(driver, "spec.tokenRequests") {
            Value::Null => "<unset>".into(),
            _ => items(driver, "spec.tokenRequests")
                .map(|request| text_at(request, "audience"))
                .collect::<Vec<_>>()
                .join(",")
                .into(),
        }
    }),
    ("storage_versions", |object, _| {
        let servers = items(object, "status.storageVersions");
        let shown = servers.map(|server| {
            format!(
                "{}={}",
                text_at(server, "apiServerID"),
                text_at(server, "encodingVersion")
            )
        });
        first_few(shown, 3, "<unset>").into()
    }),
    ("migrated_resource", |object, _| {
        let parts = [
            text_at(object, "spec.resource.resource"),
            text_at(object, "spec.resource.group"),
        ];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(".")
            .into()
    }),
    ("migration_status", |object, _| {
        let holds = |condition: &&Value| {
            condition["status"] == "True"
                && matches!(
                    text_at(condition, "type"),
                    "Running" | "Failed" | "Succeeded"
                )
        };
        items(object, "status.conditions")
            .rfind(holds)
            .map_or("Unknown", |condition| text_at(condition, "type"))
            .into()
    }),
];

const ACCESS_MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

fn access_modes(modes: &Value) -> String {
    let has = |name: &str| strings(modes).any(|mode| mode == name);
    ACCESS_MODES
        .iter()
        .filter(|(name, _)| has(name))
        .map(|(_, short)| *short)
        .collect::<Vec<_>>()
        .join(",")
}

/// The class, which old objects name in an annotation.
fn storage_class(object: &Value, _: &Argument<'_>) -> Value {
    match &at(object, "metadata.annotations")["volume.beta.kubernetes.io/storage-class"] {
        Value::String(class) => class.as_str().into(),
        _ => text_at(object, "spec.storageClassName").into(),
    }
}

fn default_class_name(class: &Value, _: &Argument<'_>) -> Value {
    let name = text_at(class, "metadata.name");
    let keys = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let annotations = at(class, "metadata.annotations");
    if keys.iter().any(|key| annotations[key] == "true") {
        format!("{name} (default)").into()
    } else {
        name.into()
    }
}

use super::*;

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members
                .values()
                .for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_to_a_schema() {
    let mut documents = vec![document(v2())];
    documents.extend(
        group_versions()
            .into_iter()
            .map(|(group, version)| document(v3(group, version).unwrap())),
    );
    for document in documents {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
    }
}

#[test]
fn a_patch_operation_can_validate_fields_and_says_its_kind() {
    let document = document(v3("apps", "v1").unwrap());
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    assert!(
        patch["requestBody"]["content"]
            .get("application/strategic-merge-patch+json")
            .is_some()
    );
}

#[test]
fn schemas_say_how_lists_merge_and_what_is_there_by_default() {
    let document = document(v3("", "v1").unwrap());
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(
        *containers,
        json!({
            "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}], "default": {}},
            "type": "array",
            "x-kubernetes-list-map-keys": ["name"], "x-kubernetes-list-type": "map",
            "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"
        })
    );
    let port = &schemas["io.k8s.api.core.v1.ContainerPort"];
    assert_eq!(
        port["properties"]["protocol"],
        json!({"default": "TCP", "type": "string"})
    );
    assert_eq!(
        port["properties"]["containerPort"],
        json!({"default": 0, "format": "int32", "type": "integer"})
    );
    assert_eq!(port["required"], json!(["containerPort"]));
    let quantity = &schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert_eq!(
        *quantity,
        json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
    );
    let kinds = &schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"];
    assert_eq!(
        *kinds,
        json!([{"group": "", "kind": "Pod", "version": "v1"}])
    );
}

#[test]
fn the_second_version_has_plain_references_and_no_defaults() {
    let document = document(v2());
    let spec = &document["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"];
    assert_eq!(
        spec["strategy"],
        json!({"x-kubernetes-patch-strategy": "retainKeys", "$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy"})
    );
    assert_eq!(
        document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"],
        json!({"format": "int-or-string", "type": "string"})
    );
}

#[test]
fn only_what_is_served_has_a_document() {
    let paths: Vec<String> = v3_paths().into_iter().map(|(path, _)| path).collect();
    assert!(paths.contains(&"api/v1".to_owned()) && paths.contains(&"apis/apps/v1".to_owned()));
    assert!(!paths.iter().any(|path| path.contains("alpha")));
    assert!(v3("resource.k8s.io", "v1alpha3").is_none());
}

#[test]
fn the_protobuf_document_starts_with_the_version_and_ends_where_it_says() {
    let bytes = v2_protobuf();
    assert_eq!(&bytes[..5], b"\x0a\x032.0");
    // Walk the top-level fields: every one must be length-delimited and end inside the document.
    let mut position = 0;
    let mut fields = Vec::new();
    while position < bytes.len() {
        assert_eq!(bytes[position] & 7, 2);
        fields.push(bytes[position] >> 3);
        position += 1;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            length |= usize::from(bytes[position] & 0x7f) << shift;
            shift += 7;
            position += 1;
            if bytes[position - 1] < 0x80 {
                break;
            }
        }
        position += length;
    }
    assert_eq!(position, bytes.len());
    assert_eq!(fields, [1, 2, 8, 9, 12, 13]);
}

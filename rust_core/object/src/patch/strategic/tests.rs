//! Strategic merge as Kubernetes documents it and as kubectl uses it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn definition(group: &str, version: &str, kind: &str) -> Option<DefinitionId> {
    let found = facts().by_kind(group, version, kind);
    assert!(found.is_some(), "{kind}");
    found
}

fn patched(kind: &str, current: Value, patch: &Value) -> Result<Value, PatchError> {
    let group = if kind == "Deployment" { "apps" } else { "" };
    apply(
        current,
        patch.to_string().as_bytes(),
        definition(group, "v1", kind),
    )
}

fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[test]
fn containers_merge_by_name() {
    let current = pod(
        json!([{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b", "image": "1"}]),
    );
    let patch = pod(
        json!([{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}, {"name": "c", "image": "3"}]),
    );
    let merged = patched("Pod", current, &patch).unwrap();
    assert_eq!(
        merged,
        pod(json!([
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "c", "image": "3"},
            {"name": "b", "image": "1"}
        ]))
    );
}

#[test]
fn lists_that_nobody_merges_are_refused_before_they_cost_anything() {
    let names = |from: usize, to: usize| -> Vec<Value> {
        (from..to)
            .map(|number| json!(format!("f{number}")))
            .collect()
    };
    let current = json!({"metadata": {"finalizers": names(0, 6000)}});
    for patch in [
        json!({"metadata": {"finalizers": names(6000, 12000)}}),
        json!({"metadata": {"$setElementOrder/finalizers": names(0, 6000)}}),
    ] {
        let refused = patched("Pod", current.clone(), &patch);
        assert!(matches!(refused, Err(PatchError::TooLarge(_))));
    }
    let little = json!({"metadata": {"finalizers": ["f0"]}});
    assert!(patched("Pod", current, &little).is_ok());
}

#[test]
fn members_that_a_patch_nulls_go_and_the_others_keep_their_places() {
    let current = json!({"metadata": {"labels": {"a": "1", "b": "2", "c": "3", "d": "4"}}});
    let patch = json!({"metadata": {"labels": {"c": null, "a": null, "x": null, "d": "5"}}});
    let merged = patched("Pod", current, &patch).unwrap();
    assert_eq!(
        merged.to_string(),
        r#"{"metadata":{"labels":{"b":"2","d":"5"}}}"#
    );
}

#[test]
fn tolerations_are_replaced() {
    let current = json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}]}});
    let patch = json!({"spec": {"tolerations": [{"key": "c"}]}});
    assert_eq!(patched("Pod", current, &patch), Ok(patch));
}

#[test]
fn ports_of_a_service_merge_by_port() {
    let current = json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 443}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}});
    let expected = json!({"spec": {"ports": [{"port": 80, "nodePort": 30080, "targetPort": 8080}, {"port": 443}]}});
    assert_eq!(patched("Service", current, &patch), Ok(expected));
}

#[test]
fn directives_delete_and_replace() {
    let current = || pod(json!([{"name": "a"}, {"name": "b"}]));
    for (patch, expected) in [
        (
            pod(json!([{"name": "a", "$patch": "delete"}])),
            pod(json!([{"name": "b"}])),
        ),
        (
            pod(json!([{"name": "c"}, {"$patch": "replace"}])),
            pod(json!([{"name": "c"}])),
        ),
        (
            json!({"spec": {"$patch": "replace", "nodeName": "n"}}),
            json!({"spec": {"nodeName": "n"}}),
        ),
        (json!({"spec": {"$patch": "delete"}}), json!({"spec": {}})),
        (json!({"spec": {"containers": null}}), json!({"spec": {}})),
        (
            json!({"metadata": {"labels": {"a": "b", "c": null}}}),
            json!({"spec": current()["spec"], "metadata": {"labels": {"a": "b"}}}),
        ),
    ] {
        assert_eq!(patched("Pod", current(), &patch), Ok(expected), "{patch}");
    }
}

#[test]
fn primitive_lists_merge_and_lose_values() {
    let current = || json!({"metadata": {"finalizers": ["a", "b"]}});
    let added = patched(
        "Pod",
        current(),
        &json!({"metadata": {"finalizers": ["c", "a"]}}),
    );
    assert_eq!(
        added,
        Ok(json!({"metadata": {"finalizers": ["c", "a", "b"]}}))
    );
    let deleted = patched(
        "Pod",
        current(),
        &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
    );
    assert_eq!(deleted, Ok(json!({"metadata": {"finalizers": ["b"]}})));
}

#[test]
fn retain_keys_drops_the_other_member_of_a_union() {
    let strategy = |strategy: Value| json!({"spec": {"strategy": strategy}});
    let current = strategy(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}));
    let patch = strategy(json!({"$retainKeys": ["type"], "type": "Recreate"}));
    assert_eq!(
        patched("Deployment", current.clone(), &patch),
        Ok(strategy(json!({"type": "Recreate"})))
    );
    let unlisted = strategy(json!({"$retainKeys": ["type"], "rollingUpdate": {}}));
    assert_eq!(
        patched("Deployment", current, &unlisted),
        Err(PatchError::Malformed(
            "invalid patch format of retainKeys".to_owned()
        ))
    );
}

#[test]
fn element_order_is_set_and_the_servers_own_elements_keep_their_place() {
    let names = |order: &[&str]| {
        Value::from(
            order
                .iter()
                .map(|name| json!({"name": name}))
                .collect::<Vec<_>>(),
        )
    };
    for (server, order, expected) in [
        (
            ["a", "b", "c"].as_slice(),
            ["c", "a"].as_slice(),
            ["b", "c", "a"].as_slice(),
        ),
        (&["a", "s", "b"], &["b", "a"], &["s", "b", "a"]),
        (&["s", "a", "b"], &["a", "b"], &["s", "a", "b"]),
        (&["a", "b", "s"], &["b", "a"], &["b", "a", "s"]),
        (&["a"], &["a", "n"], &["a", "n"]),
    ] {
        let patch = json!({"spec": {"$setElementOrder/containers": names(order), "containers": names(order)}});
        let merged = patched("Pod", pod(names(server)), &patch);
        assert_eq!(merged, Ok(pod(names(expected))), "{server:?} {order:?}");
    }
    let order_only = json!({"spec": {"$setElementOrder/containers": names(&["b", "a"])}});
    assert_eq!(
        patched("Pod", pod(names(&["a", "b"])), &order_only),
        Ok(pod(names(&["b", "a"])))
    );
}

#[test]
fn a_container_that_replaces_another_stays_behind_the_servers_own() {
    let current = pod(json!([{"name": "injected"}, {"name": "old"}]));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "new"}],
        "containers": [{"name": "new"}, {"name": "old", "$patch": "delete"}]
    }});
    assert_eq!(
        patched("Pod", current, &patch),
        Ok(pod(json!([{"name": "injected"}, {"name": "new"}])))
    );
}

#[test]
fn an_order_may_name_elements_that_the_patch_deletes_elsewhere() {
    let current = pod(json!([{"name": "a"}, {"name": "b"}]));
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "b"}],
        "containers": [{"name": "b", "image": "2"}, {"name": "a", "$patch": "delete"}]
    }});
    assert_eq!(
        patched("Pod", current, &patch),
        Ok(pod(json!([{"name": "b", "image": "2"}])))
    );
}

#[test]
fn a_patch_in_another_order_than_it_says_is_refused() {
    let patch = json!({"spec": {
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b"}, {"name": "a"}]
    }});
    let error = patched("Pod", pod(json!([{"name": "a"}])), &patch).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("doesn't match $setElementOrder list"),
        "{error}"
    );
}

#[test]
fn malformed_patches_are_refused() {
    for (patch, message) in [
        (
            pod(json!([{"image": "x"}])),
            "map: {\"image\":\"x\"} does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"$patch": "bend"}}),
            "unknown patch type: bend in map: {\"$patch\":\"bend\"}",
        ),
        (
            pod(json!([{"$patch": "merge", "name": "a"}])),
            "merging lists cannot yet be specified in the patch",
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}}),
            "invalid patch format of primitive list",
        ),
    ] {
        let current =
            json!({"metadata": {"finalizers": []}, "spec": {"containers": [{"name": "a"}]}});
        let error = patched("Pod", current, &patch).unwrap_err();
        assert_eq!(error, PatchError::Malformed(message.to_owned()));
    }
}

#[test]
fn directives_in_new_values_leave_no_trace() {
    let patch = json!({"spec": {"affinity": {"$setElementOrder/x": [], "$retainKeys": ["a"], "a": {"b": null, "c": 1}}}});
    assert_eq!(
        patched("Pod", json!({"spec": {}}), &patch),
        Ok(json!({"spec": {"affinity": {"a": {"c": 1}}}}))
    );
}

fn containers() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::btree_map(0..6u8, 0..3u8, 0..6)
        .prop_map(|map| map.into_iter().collect())
        .prop_shuffle()
}

fn named(containers: &[(u8, u8)]) -> Value {
    containers
        .iter()
        .map(|(name, image)| json!({"name": format!("c{name}"), "image": image.to_string()}))
        .collect()
}

proptest! {
    /// What kubectl relies on: applying a patch twice is applying it once, and with `$setElementOrder` the patch's
    /// elements end in exactly that order with none lost.
    #[test]
    fn an_ordered_merge_is_idempotent_and_complete(server in containers(), wanted in containers()) {
        let patch = json!({"spec": {"$setElementOrder/containers": named(&wanted), "containers": named(&wanted)}});
        let once = patched("Pod", pod(named(&server)), &patch).unwrap();
        prop_assert_eq!(&patched("Pod", once.clone(), &patch).unwrap(), &once);
        let merged = once["spec"]["containers"].as_array().unwrap();
        let names: Vec<&str> = merged.iter().map(|container| container["name"].as_str().unwrap()).collect();
        let name_of = |container: &(u8, u8)| format!("c{}", container.0);
        let order: Vec<String> = wanted.iter().map(name_of).collect();
        let kept: Vec<&str> = names.iter().copied().filter(|name| order.iter().any(|wanted| wanted == name)).collect();
        prop_assert_eq!(kept, order);
        let all_kept = server.iter().map(name_of).all(|name| names.contains(&name.as_str()));
        prop_assert!(all_kept);
    }
}

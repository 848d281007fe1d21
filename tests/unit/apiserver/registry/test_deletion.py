"""DELETE: at once, after a grace, held by finalizers, by preconditions, many at a time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.registry import PODS, Api, pod

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"


@pytest.fixture
def api() -> Api:
    return Api()


def bound_pod(api: Api, name: str = "web", **spec: Any) -> dict[str, Any]:
    api.post(PODS, pod(name, **spec)).ok()
    api.post(f"{PODS}/{name}/binding", {"metadata": {"name": name}, "target": {"kind": "Node", "name": "one"}}).ok()
    found: dict[str, Any] = api.get(f"{PODS}/{name}").ok()
    return found


def held(api: Api) -> dict[str, Any]:
    created: dict[str, Any] = api.post(
        CONFIG_MAPS, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    ).ok()
    return created


def test_a_deleted_object_is_gone_and_the_answer_names_it(api: Api) -> None:
    uid = api.post(CONFIG_MAPS, {"metadata": {"name": "c"}}).ok()["metadata"]["uid"]
    answer = api.delete(f"{CONFIG_MAPS}/c").ok()
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"] == {"name": "c", "kind": "configmaps", "uid": uid}
    assert api.get(f"{CONFIG_MAPS}/c").status == 404


def test_deleting_what_is_not_there_is_not_found(api: Api) -> None:
    assert api.delete(f"{CONFIG_MAPS}/c").reason == "NotFound"


def test_an_unscheduled_pod_is_deleted_at_once(api: Api) -> None:
    api.post(PODS, pod()).ok()
    answer = api.delete(f"{PODS}/web").ok()
    assert answer["kind"] == "Pod"
    assert api.get(f"{PODS}/web").status == 404


def test_a_running_pod_gets_its_grace_period(api: Api) -> None:
    bound_pod(api, terminationGracePeriodSeconds=45)
    metadata = api.delete(f"{PODS}/web").ok()["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 45
    assert metadata["deletionTimestamp"] == "2025-06-15T15:07:25Z"
    assert api.get(f"{PODS}/web").ok()["metadata"] == metadata


def test_a_grace_period_can_only_be_shortened(api: Api) -> None:
    bound_pod(api)
    first = api.delete(f"{PODS}/web").ok()["metadata"]
    api.clock.seconds += 3
    assert api.delete(f"{PODS}/web", {"gracePeriodSeconds": 90}).ok()["metadata"] == first
    shorter = api.delete(f"{PODS}/web", {"gracePeriodSeconds": 5}).ok()["metadata"]
    assert shorter["deletionGracePeriodSeconds"] == 5
    assert shorter["deletionTimestamp"] == "2025-06-15T15:06:45Z"


def test_a_grace_period_of_zero_deletes_at_once(api: Api) -> None:
    bound_pod(api)
    api.delete(f"{PODS}/web").ok()
    api.delete(f"{PODS}/web", {"gracePeriodSeconds": 0}).ok()
    assert api.get(f"{PODS}/web").status == 404


def test_a_finished_pod_is_deleted_at_once(api: Api) -> None:
    found = bound_pod(api)
    found["status"]["phase"] = "Succeeded"
    api.put(f"{PODS}/web/status", found).ok()
    api.delete(f"{PODS}/web").ok()
    assert api.get(f"{PODS}/web").status == 404


def test_the_grace_period_can_be_given_in_the_query(api: Api) -> None:
    bound_pod(api)
    metadata = api.delete(f"{PODS}/web", query={"gracePeriodSeconds": "7"}).ok()["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 7


def test_an_object_with_finalizers_waits_for_them(api: Api) -> None:
    held(api)
    marked = api.delete(f"{CONFIG_MAPS}/held").ok()
    assert marked["metadata"]["deletionTimestamp"] == "2025-06-15T15:06:40Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert api.get(f"{CONFIG_MAPS}/held").ok() == marked
    assert api.delete(f"{CONFIG_MAPS}/held").ok() == marked
    assert api.patch(f"{CONFIG_MAPS}/held", {"metadata": {"finalizers": None}}).status == 200
    assert api.get(f"{CONFIG_MAPS}/held").status == 404


def test_no_finalizer_is_added_to_what_is_being_deleted(api: Api) -> None:
    held(api)
    api.delete(f"{CONFIG_MAPS}/held").ok()
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    refused = api.patch(f"{CONFIG_MAPS}/held", more)
    assert (refused.status, refused.fields) == (422, ["metadata.finalizers"])
    assert 'found new finalizers []string{"example.com/more"}' in refused.message


def test_what_is_being_deleted_is_not_created_again(api: Api) -> None:
    held(api)
    api.delete(f"{CONFIG_MAPS}/held").ok()
    refused = api.post(CONFIG_MAPS, {"metadata": {"name": "held"}})
    assert refused.message == 'object is being deleted: configmaps "held" already exists'


def test_an_update_neither_ends_nor_starts_a_deletion(api: Api) -> None:
    held(api)
    marked = api.delete(f"{CONFIG_MAPS}/held").ok()
    given = {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}
    assert api.put(f"{CONFIG_MAPS}/held", given).ok()["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["uid"]
    api.post(CONFIG_MAPS, {"metadata": {"name": "free"}}).ok()
    refused = api.patch(f"{CONFIG_MAPS}/free", {"metadata": {"deletionTimestamp": "2025-01-01T00:00:00Z"}})
    assert (refused.status, refused.fields) == (422, ["metadata.deletionTimestamp"])


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
def test_a_propagation_policy_leaves_a_finalizer_for_the_garbage_collector(
    api: Api, policy: str, finalizer: str
) -> None:
    api.post(CONFIG_MAPS, {"metadata": {"name": "c"}}).ok()
    marked = api.delete(f"{CONFIG_MAPS}/c", {"propagationPolicy": policy}).ok()
    assert marked["metadata"]["finalizers"] == [finalizer]


def test_a_replication_controller_orphans_its_pods_unless_told_otherwise(api: Api) -> None:
    controller = {"spec": {"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}}}
    for name, options, gone in (("one", None, False), ("two", {"propagationPolicy": "Background"}, True)):
        api.post(CONTROLLERS, {"metadata": {"name": name}, **controller}).ok()
        api.delete(f"{CONTROLLERS}/{name}", options).ok()
        assert (api.get(f"{CONTROLLERS}/{name}").status == 404) is gone
    assert api.get(f"{CONTROLLERS}/one").ok()["metadata"]["finalizers"] == ["orphan"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"propagationPolicy": "Sideways"}, "propagationPolicy"),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, "propagationPolicy"),
        ({"dryRun": ["Maybe"]}, "dryRun"),
    ],
)
def test_delete_options_that_make_no_sense_are_refused(api: Api, options: dict[str, Any], field: str) -> None:
    api.post(CONFIG_MAPS, {"metadata": {"name": "c"}}).ok()
    refused = api.delete(f"{CONFIG_MAPS}/c", options)
    assert (refused.status, refused.fields) == (422, [field])
    assert api.get(f"{CONFIG_MAPS}/c").status == 200


@pytest.mark.parametrize(("key", "words"), [("uid", "the UID in the"), ("resourceVersion", "the ResourceVersion in")])
def test_a_precondition_that_does_not_hold_refuses(api: Api, key: str, words: str) -> None:
    api.post(CONFIG_MAPS, {"metadata": {"name": "c"}}).ok()
    refused = api.delete(f"{CONFIG_MAPS}/c", {"preconditions": {key: "7"}})
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert words in refused.message
    assert refused.message.startswith('Operation cannot be fulfilled on ConfigMap "c": ')


def test_a_collection_is_deleted_by_its_selectors(api: Api) -> None:
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {"x": "2"})):
        api.post(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}}).ok()
    gone = api.delete(CONFIG_MAPS, query={"labelSelector": "x=1", "fieldSelector": "metadata.name!=b"}).ok()
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    left = api.get(CONFIG_MAPS).ok()["items"]
    assert [item["metadata"]["name"] for item in left] == ["b", "c"]


def test_a_field_that_cannot_be_selected_is_a_bad_request(api: Api) -> None:
    refused = api.delete(CONFIG_MAPS, query={"fieldSelector": "data.a=1"})
    assert (refused.status, refused.reason) == (400, "BadRequest")


def test_watchers_see_the_last_state_with_the_deletions_revision(api: Api) -> None:
    bound_pod(api)
    answer = api.delete(f"{PODS}/web", {"gracePeriodSeconds": 0}).ok()
    assert answer["metadata"]["resourceVersion"] == str(api.storage.revision())
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_namespace_waits_for_the_controller_that_empties_it(api: Api) -> None:
    created = api.post("/api/v1/namespaces", {"metadata": {"name": "team"}}).ok()
    assert created["spec"]["finalizers"] == ["kubernetes"]
    assert created["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}
    marked = api.delete("/api/v1/namespaces/team").ok()
    assert marked["status"]["phase"] == "Terminating"
    assert api.get("/api/v1/namespaces/team").ok() == marked
    marked["spec"]["finalizers"] = []
    api.put("/api/v1/namespaces/team/finalize", marked).ok()
    assert api.get("/api/v1/namespaces/team").status == 404


def test_an_emptied_namespace_with_a_finalizer_of_its_own_still_waits(api: Api) -> None:
    api.post("/api/v1/namespaces", {"metadata": {"name": "team", "finalizers": ["example.com/x"]}}).ok()
    marked = api.delete("/api/v1/namespaces/team").ok()
    marked["spec"]["finalizers"] = []
    api.put("/api/v1/namespaces/team/finalize", marked).ok()
    api.patch("/api/v1/namespaces/team", {"metadata": {"finalizers": None}}).ok()
    assert api.get("/api/v1/namespaces/team").status == 404

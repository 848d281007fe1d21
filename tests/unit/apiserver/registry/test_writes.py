"""The one path of every write: names, versions, strictness, dry runs, forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.registry import PODS, SERVICES, Api, pod

from kubecore.api.errors import Forbidden
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin, Companion

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"


@pytest.fixture
def api() -> Api:
    return Api()


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod()["spec"]},
        },
    }


def test_a_created_object_has_what_only_the_server_knows(api: Api) -> None:
    created = api.post(CONFIG_MAPS, config_map(a="1"))
    assert created.status == 201
    metadata = created.body["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2025-06-15T15:06:40Z"
    assert metadata["resourceVersion"] == str(api.storage.revision())
    assert len(metadata["uid"]) == 36
    assert api.get(f"{CONFIG_MAPS}/settings").body == created.body


def test_what_only_the_server_sets_is_not_taken_from_the_client(api: Api) -> None:
    given = config_map()
    given["metadata"] |= {"uid": "mine", "deletionTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/x"}
    metadata = api.post(CONFIG_MAPS, given).ok()["metadata"]
    assert metadata["uid"] != "mine"
    assert "deletionTimestamp" not in metadata
    assert "selfLink" not in metadata


def test_the_same_seed_gives_the_same_names_and_uids() -> None:
    first, second = (Api(seed=7).post(CONFIG_MAPS, {"metadata": {"generateName": "x-"}}).ok() for _ in range(2))
    assert first == second


def test_a_generated_name_is_the_prefix_and_five_characters(api: Api) -> None:
    name = api.post(CONFIG_MAPS, {"metadata": {"generateName": "part-"}}).ok()["metadata"]["name"]
    assert name.startswith("part-")
    assert len(name) == len("part-") + 5
    assert set(name[5:]) <= set("bcdfghjklmnpqrstvwxz2456789")


def test_a_long_prefix_is_cut_so_that_the_name_fits(api: Api) -> None:
    name = api.post(CONFIG_MAPS, {"metadata": {"generateName": "x" * 80}}).ok()["metadata"]["name"]
    assert len(name) == 63


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({}, ["metadata.name"]),
        ({"name": "Upper"}, ["metadata.name"]),
        ({"name": "ok", "labels": {"bad key": "x"}}, ["metadata.labels"]),
        ({"name": "ok", "labels": {"key": "bad value"}}, ["metadata.labels"]),
        ({"name": "ok", "annotations": {"a/b/c": "x"}}, ["metadata.annotations"]),
        ({"name": "ok", "annotations": {"big": "x" * 262_145}}, ["metadata.annotations"]),
        ({"name": "ok", "finalizers": ["not qualified"]}, ["metadata.finalizers"]),
        ({"name": "ok", "finalizers": ["orphan", "foregroundDeletion"]}, ["metadata.finalizers"]),
        (
            {"name": "ok", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]},
            ["metadata.ownerReferences.uid"],
        ),
    ],
)
def test_metadata_that_breaks_a_rule_is_refused(api: Api, metadata: dict[str, Any], fields: list[str]) -> None:
    refused = api.post(CONFIG_MAPS, {"metadata": metadata})
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.fields == fields
    assert api.storage.count("/registry/core/configmaps/") == 0


def test_a_name_that_is_taken_is_refused(api: Api) -> None:
    api.post(CONFIG_MAPS, config_map()).ok()
    refused = api.post(CONFIG_MAPS, config_map())
    assert (refused.status, refused.reason) == (409, "AlreadyExists")
    assert refused.message == 'configmaps "settings" already exists'
    assert refused.body["details"] == {"name": "settings", "kind": "configmaps"}


def test_an_object_of_another_namespace_is_refused(api: Api) -> None:
    given = config_map()
    given["metadata"]["namespace"] = "elsewhere"
    refused = api.post(CONFIG_MAPS, given)
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert refused.message == "the namespace of the provided object does not match the namespace sent on the request"


def test_an_update_under_another_name_is_refused(api: Api) -> None:
    api.post(CONFIG_MAPS, config_map()).ok()
    refused = api.put(f"{CONFIG_MAPS}/settings", config_map("other"))
    assert refused.status == 400
    assert refused.message == "the name of the object (other) does not match the name on the URL (settings)"


def test_a_new_object_with_a_version_is_refused(api: Api) -> None:
    given = config_map()
    given["metadata"]["resourceVersion"] = "12"
    refused = api.post(CONFIG_MAPS, given)
    assert (refused.status, refused.message) == (500, "resourceVersion should not be set on objects to be created")


def test_an_update_of_an_old_version_is_refused(api: Api) -> None:
    first = api.post(CONFIG_MAPS, config_map(a="1")).ok()
    api.put(f"{CONFIG_MAPS}/settings", {**first, "data": {"a": "2"}}).ok()
    refused = api.put(f"{CONFIG_MAPS}/settings", {**first, "data": {"a": "3"}})
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.message == (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_an_update_without_a_version_wins_where_that_is_allowed(api: Api) -> None:
    api.post(CONFIG_MAPS, config_map(a="1")).ok()
    assert api.put(f"{CONFIG_MAPS}/settings", config_map(a="2")).ok()["data"] == {"a": "2"}


def test_a_lease_is_not_overwritten_without_a_version(api: Api) -> None:
    api.post(LEASES, {"metadata": {"name": "leader"}}).ok()
    refused = api.put(f"{LEASES}/leader", {"metadata": {"name": "leader"}, "spec": {"holderIdentity": "me"}})
    assert (refused.status, refused.fields) == (422, ["metadata.resourceVersion"])
    assert refused.message == (
        'leases.coordination.k8s.io "leader" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )


def test_an_update_of_another_incarnation_is_refused(api: Api) -> None:
    first = api.post(CONFIG_MAPS, config_map()).ok()
    first["metadata"]["uid"] = "0b5e9e9c-0000-4000-8000-000000000000"
    refused = api.put(f"{CONFIG_MAPS}/settings", first)
    assert refused.status == 409
    assert "Precondition failed: UID in precondition" in refused.message


def test_an_update_that_changes_nothing_writes_nothing(api: Api) -> None:
    created = api.post(CONFIG_MAPS, config_map(a="1")).ok()
    before = api.storage.revision()
    assert api.put(f"{CONFIG_MAPS}/settings", created).ok() == created
    assert api.storage.revision() == before


def test_an_update_of_what_is_not_there_is_not_found(api: Api) -> None:
    refused = api.put(f"{CONFIG_MAPS}/settings", config_map())
    assert (refused.status, refused.message) == (404, 'configmaps "settings" not found')


def test_a_role_comes_into_being_by_an_update(api: Api) -> None:
    role = {"metadata": {"name": "reader"}, "rules": []}
    assert api.put(f"{ROLES}/reader", role).status == 201
    assert api.put(f"{ROLES}/reader", role).status == 200


def test_the_generation_counts_changes_of_the_spec(api: Api) -> None:
    created = api.post(DEPLOYMENTS, deployment()).ok()
    assert created["metadata"]["generation"] == 1
    created["metadata"]["labels"] = {"a": "b"}
    labelled = api.put(f"{DEPLOYMENTS}/web", created).ok()
    assert labelled["metadata"]["generation"] == 1
    labelled["spec"]["replicas"] = 5
    assert api.put(f"{DEPLOYMENTS}/web", labelled).ok()["metadata"]["generation"] == 2


def test_status_is_written_only_through_its_own_endpoint(api: Api) -> None:
    created = api.post(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}}).ok()
    assert created["status"] == {}
    created["status"] = {"replicas": 2}
    assert api.put(f"{DEPLOYMENTS}/web", created).ok()["status"] == {}
    created["spec"]["replicas"] = 7
    written = api.put(f"{DEPLOYMENTS}/web/status", created).ok()
    assert written["status"]["replicas"] == 2
    assert written["spec"]["replicas"] == 1
    assert written["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("field_validation", "status", "warnings"),
    [
        ("Strict", 400, []),
        ("Warn", 201, ['unknown field \\"dta\\"']),
        ("", 201, ['unknown field \\"dta\\"']),
        ("Ignore", 201, []),
    ],
)
def test_an_unknown_field_is_judged_by_field_validation(
    api: Api, field_validation: str, status: int, warnings: list[str]
) -> None:
    answer = api.post(CONFIG_MAPS, {**config_map(), "dta": {}}, query={"fieldValidation": field_validation})
    assert (answer.status, answer.warnings) == (status, warnings)
    if status == 400:
        assert answer.message == (
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dta"'
        )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"dryRun": "Some"}, "dryRun"),
        ({"fieldValidation": "Loud"}, "fieldValidation"),
        ({"fieldManager": "x" * 129}, "fieldManager"),
    ],
)
def test_an_option_with_a_wrong_value_is_refused(api: Api, query: dict[str, str], field: str) -> None:
    refused = api.post(CONFIG_MAPS, config_map(), query=query)
    assert (refused.status, refused.fields) == (422, [field])
    assert refused.message.startswith('CreateOptions.meta.k8s.io "" is invalid: ')


def test_a_dry_run_answers_and_stores_nothing(api: Api) -> None:
    dry = {"dryRun": "All"}
    answer = api.post(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}, query=dry)
    assert answer.status == 201
    assert answer.body["spec"]["clusterIP"].startswith("10.")
    assert "resourceVersion" not in answer.body["metadata"]
    assert api.storage.revision() == Api().storage.revision()
    created = api.post(CONFIG_MAPS, config_map(a="1")).ok()
    changed = api.put(f"{CONFIG_MAPS}/settings", config_map(a="2"), query=dry).ok()
    assert changed["data"] == {"a": "2"}
    assert changed["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    api.delete(f"{CONFIG_MAPS}/settings", query=dry).ok()
    assert api.get(f"{CONFIG_MAPS}/settings").body == created
    assert api.post(CONFIG_MAPS, config_map(), query=dry).reason == "AlreadyExists"


def test_a_body_in_yaml_is_understood(api: Api) -> None:
    body = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: y}\ndata:\n  when: '2020-01-01'\n"
    assert api.post(CONFIG_MAPS, body, content_type="application/yaml").ok()["data"] == {"when": "2020-01-01"}


def test_a_key_that_yaml_has_twice_is_judged_as_one_that_json_has_twice(api: Api) -> None:
    body = b"metadata:\n  name: a\ndata:\n  k: old\n  k: new\n"
    refused = api.post(CONFIG_MAPS, body, content_type="application/yaml", query={"fieldValidation": "Strict"})
    assert refused.status == 400
    assert 'strict decoding error: yaml: unmarshal errors:\n  line 5: key "k" already set in map' in refused.message
    warned = api.post(CONFIG_MAPS, body, content_type="application/yaml")
    assert warned.ok()["data"] == {"k": "new"}
    assert warned.warnings == [r"yaml: unmarshal errors: line 5: key \"k\" already set in map"]


def test_yaml_that_expands_without_end_is_refused(api: Api) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for before, after in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{after}: &{after} [" + ",".join([f"*{before}"] * 9) + "]\n"
    refused = api.post(CONFIG_MAPS, bomb.encode(), content_type="application/yaml")
    assert (refused.status, refused.reason) == (413, "RequestEntityTooLarge")


def test_a_body_of_an_unknown_type_is_refused(api: Api) -> None:
    refused = api.post(CONFIG_MAPS, b"<x/>", content_type="application/xml")
    assert (refused.status, refused.reason) == (415, "UnsupportedMediaType")
    assert "application/json, application/yaml, application/vnd.kubernetes.protobuf" in refused.message


def test_an_answer_that_may_only_be_protobuf_is_refused_and_nothing_stored(api: Api) -> None:
    refused = api.post(CONFIG_MAPS, config_map(), accept="application/vnd.kubernetes.protobuf")
    assert (refused.status, refused.reason) == (406, "NotAcceptable")
    assert api.storage.count("/registry/core/configmaps/") == 0


def test_an_answer_that_may_also_be_json_is_json(api: Api) -> None:
    accept = "application/vnd.kubernetes.protobuf,application/json"
    assert api.post(CONFIG_MAPS, config_map(), accept=accept).content_type == "application/json"


def test_a_created_object_can_be_answered_as_a_table(api: Api) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    table = api.post(PODS, pod(), accept=accept).ok()
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][0] == "web"


def test_a_review_can_not_be_answered_as_a_table(api: Api) -> None:
    review = {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    refused = api.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, accept=accept)
    assert (refused.status, refused.reason) == (406, "NotAcceptable")


def test_a_list_can_be_answered_in_yaml(api: Api) -> None:
    api.post(CONFIG_MAPS, config_map(a="1")).ok()
    answer = api.get(CONFIG_MAPS, accept="application/yaml")
    assert answer.content_type == "application/yaml"
    assert b"kind: ConfigMapList" in answer.raw


def test_two_versions_of_a_kind_are_one_object(api: Api) -> None:
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2025-06-15T15:06:40.000000Z",
        "reportingController": "test.example.com/x",
        "reportingInstance": "one",
        "action": "Testing",
        "reason": "Tested",
        "note": "it was tested",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    }
    created = api.post(events, event).ok()
    assert created["apiVersion"] == "events.k8s.io/v1"
    assert created["note"] == "it was tested"
    other = api.get("/api/v1/namespaces/default/events/e").ok()
    assert (other["apiVersion"], other["message"]) == ("v1", "it was tested")
    assert other["involvedObject"]["name"] == "p"


@pytest.mark.parametrize(
    ("path", "obj", "words"),
    [
        (
            "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
            {"spec": {"podSelector": {}}},
            "not enforced",
        ),
        ("/apis/batch/v1/namespaces/default/jobs", None, "no job controller"),
    ],
)
def test_what_is_only_stored_says_so(api: Api, path: str, obj: dict[str, Any] | None, words: str) -> None:
    job = {"spec": {"template": {"spec": {**pod()["spec"], "restartPolicy": "Never"}}}}
    answer = api.post(path, {"metadata": {"name": "x"}, **(obj or job)})
    assert answer.status == 201
    assert any(words in warning for warning in answer.warnings)


@pytest.mark.parametrize(
    "path",
    [
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/apiregistration.k8s.io/v1/apiservices",
    ],
)
def test_what_would_change_the_server_is_refused_and_lists_empty(api: Api, path: str) -> None:
    refused = api.post(path, {"metadata": {"name": "x"}})
    assert (refused.status, refused.reason) == (405, "MethodNotAllowed")
    assert "not supported yet" in refused.message
    assert api.get(path).ok()["items"] == []


class _Plugin(BasePlugin):
    """Labels what is created, refuses a name, counts config maps in another object."""

    name = "Test"

    def mutate(self, request: AdmissionRequest) -> None:
        if request.object is not None and request.operation == "CREATE":
            request.object["metadata"].setdefault("labels", {})["seen"] = request.user.name

    def validate(self, request: AdmissionRequest) -> None:
        if request.name == "evil":
            raise Forbidden("no evil")
        counter = request.storage.get(request.resource, "default", "counter")
        if counter is not None and request.operation == "CREATE":
            counted = {**counter, "data": {"count": str(int(counter["data"]["count"]) + 1)}}
            request.companions.append(Companion(request.resource, counted))


def test_admission_changes_refuses_and_writes_along() -> None:
    api = Api(_Plugin())
    api.post(CONFIG_MAPS, config_map("counter", count="0")).ok()
    created = api.post(CONFIG_MAPS, config_map("good")).ok()
    assert created["metadata"]["labels"] == {"seen": "admin"}
    counter = api.get(f"{CONFIG_MAPS}/counter").ok()
    assert counter["data"] == {"count": "1"}
    assert counter["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    refused = api.post(CONFIG_MAPS, config_map("evil"))
    assert (refused.status, refused.message) == (403, "no evil")
    assert api.get(f"{CONFIG_MAPS}/counter").ok() == counter


def test_a_body_that_is_no_json_is_a_bad_request(api: Api) -> None:
    assert api.post(CONFIG_MAPS, b"{").status == 400


def test_an_object_of_another_kind_is_a_bad_request(api: Api) -> None:
    refused = api.post(CONFIG_MAPS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}})
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert "Secret" in refused.message


def test_json_of_an_answer_is_what_is_stored(api: Api) -> None:
    created = api.post(CONFIG_MAPS, config_map(a="ü"))
    stored = api.storage.get("/registry/core/configmaps/default/settings")
    assert stored is not None
    assert created.raw == stored.value
    assert json.loads(stored.value)["data"] == {"a": "ü"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/pods"),
        ("POST", f"{PODS}/web"),
        ("PUT", PODS),
        ("PATCH", PODS),
        ("DELETE", "/api/v1/configmaps"),
    ],
)
def test_a_method_that_does_not_fit_the_path_is_refused(api: Api, method: str, path: str) -> None:
    refused = api.send(method, path, pod(), content_type="application/json")
    assert (refused.status, refused.reason) == (405, "MethodNotAllowed")


def test_an_event_is_forgotten_after_an_hour(api: Api) -> None:
    kept: list[int] = []
    create = api.storage.create

    def remember(key: str, value: bytes, *, splice: int, ttl_seconds: int = 0) -> Any:
        kept.append(ttl_seconds)
        return create(key, value, splice=splice, ttl_seconds=ttl_seconds)

    api.storage.create = remember  # type: ignore[method-assign]
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}}
    api.post("/api/v1/namespaces/default/events", event).ok()
    api.post(CONFIG_MAPS, config_map()).ok()
    assert kept == [3600, 0]


def test_a_storage_that_cannot_write_is_told_as_unavailable(api: Api) -> None:
    api.storage.close()
    refused = api.post(CONFIG_MAPS, config_map())
    assert (refused.status, refused.reason) == (503, "ServiceUnavailable")


def test_an_object_too_large_for_the_storage_is_told_so(api: Api) -> None:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["x" * 1000]}] * 3000
    refused = api.post(ROLES, {"metadata": {"name": "huge"}, "rules": rules})
    assert (refused.status, refused.reason) == (413, "RequestEntityTooLarge")

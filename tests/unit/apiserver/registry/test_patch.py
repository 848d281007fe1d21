"""PATCH: three forms, preconditions inside them, and what is refused."""

from __future__ import annotations

import pytest
from tests.support.registry import PODS, Api, pod

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.post(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}).ok()
    return api


def test_a_merge_patch_sets_and_removes(api: Api) -> None:
    assert api.patch(f"{CONFIG_MAPS}/c", {"data": {"a": "9", "b": None}}).ok()["data"] == {"a": "9"}


def test_a_json_patch_follows_its_steps(api: Api) -> None:
    steps = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "5"}]
    assert api.patch(f"{CONFIG_MAPS}/c", steps, kind="json").ok()["data"]["a"] == "5"


def test_a_json_patch_whose_test_fails_changes_nothing(api: Api) -> None:
    steps = [{"op": "test", "path": "/data/a", "value": "7"}, {"op": "remove", "path": "/data"}]
    refused = api.patch(f"{CONFIG_MAPS}/c", steps, kind="json")
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert refused.message == "the server rejected our request due to an error in our request"
    assert api.get(f"{CONFIG_MAPS}/c").ok()["data"] == {"a": "1", "b": "2"}


def test_a_strategic_patch_merges_lists_by_their_key(api: Api) -> None:
    api.post(PODS, pod()).ok()
    patched = api.patch(
        f"{PODS}/web", {"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}}, kind="strategic"
    ).ok()
    assert [container["image"] for container in patched["spec"]["containers"]] == ["nginx:2"]
    assert patched["metadata"]["generation"] == 2


def test_a_version_inside_a_patch_is_a_precondition(api: Api) -> None:
    refused = api.patch(f"{CONFIG_MAPS}/c", {"metadata": {"resourceVersion": "1"}, "data": {"a": "9"}})
    assert (refused.status, refused.reason) == (409, "Conflict")


def test_a_patch_that_changes_nothing_writes_nothing(api: Api) -> None:
    before = api.storage.revision()
    api.patch(f"{CONFIG_MAPS}/c", {"data": {"a": "1"}}).ok()
    assert api.storage.revision() == before


def test_a_patch_cannot_rename(api: Api) -> None:
    refused = api.patch(f"{CONFIG_MAPS}/c", {"metadata": {"name": "d"}})
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert refused.message == "the name of the object (d) does not match the name on the URL (c)"


def test_server_side_apply_says_that_it_comes_later(api: Api) -> None:
    refused = api.patch(f"{CONFIG_MAPS}/c", {}, kind="apply", query={"fieldManager": "me"})
    assert (refused.status, refused.reason) == (415, "UnsupportedMediaType")
    assert "server-side apply is not supported yet" in refused.message


def test_a_patch_of_an_unknown_type_is_refused(api: Api) -> None:
    refused = api.send("PATCH", f"{CONFIG_MAPS}/c", {}, content_type="application/json")
    assert refused.status == 415
    assert "application/json-patch+json, application/merge-patch+json" in refused.message


def test_a_patch_that_is_no_patch_is_a_bad_request(api: Api) -> None:
    assert api.patch(f"{CONFIG_MAPS}/c", b"[1").status == 400


def test_an_unknown_field_in_a_patch_is_judged_by_field_validation(api: Api) -> None:
    path = f"{CONFIG_MAPS}/c"
    assert api.patch(path, {"dta": {}}, query={"fieldValidation": "Warn"}).warnings == ['unknown field \\"dta\\"']
    refused = api.patch(path, {"dta": {}}, query={"fieldValidation": "Strict"})
    assert (refused.status, refused.fields) == (422, ["patch"])
    assert 'strict decoding error: unknown field "dta"' in refused.message


def test_a_patch_of_what_is_not_there_is_not_found(api: Api) -> None:
    assert api.patch(f"{CONFIG_MAPS}/nobody", {}).status == 404

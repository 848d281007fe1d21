"""Discovery and which versions are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support import wire

from kubecore.apiserver.wire import ServedResources, parse_runtime_config
from kubecore.apiserver.wire.served import version_rank
from kubecore.client import Response

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def get(
    path: str,
    *,
    method: str = "GET",
    query: Sequence[tuple[str, str]] = (),
    headers: Sequence[tuple[str, str]] = (),
) -> Response:
    async def ask() -> Response:
        server, _ = wire.server()
        return await server.transport("t").request(method, path, query, headers)

    return asyncio.run(ask())


def get_json(path: str) -> dict[str, Any]:
    response = get(path)
    assert response.status == 200
    return json.loads(response.body)  # type: ignore[no-any-return]


def test_the_core_group_is_told_in_upstreams_old_form() -> None:
    assert get_json("/api")["versions"] == ["v1"]
    page = get_json("/api/v1")
    assert (page["kind"], page["groupVersion"]) == ("APIResourceList", "v1")
    pods = next(row for row in page["resources"] if row["name"] == "pods")
    assert pods["shortNames"] == ["po"]
    assert pods["namespaced"] is True
    assert {"watch", "deletecollection", "patch"} <= set(pods["verbs"])


def test_a_subresource_names_the_kind_it_speaks() -> None:
    page = get_json("/apis/apps/v1")
    scale = next(row for row in page["resources"] if row["name"] == "deployments/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    status = next(row for row in page["resources"] if row["name"] == "deployments/status")
    assert "group" not in status


def test_groups_come_in_upstreams_order_with_their_preferred_version() -> None:
    groups = get_json("/apis")["groups"]
    names = [group["name"] for group in groups]
    assert names.index("apps") < names.index("events.k8s.io") < names.index("batch")
    autoscaling = next(group for group in groups if group["name"] == "autoscaling")
    assert autoscaling["preferredVersion"]["version"] == "v2"
    assert get_json("/apis/apps")["name"] == "apps"


@pytest.mark.parametrize("path", ["/apis/nobody.example", "/apis/nobody.example/v1/things", "/nowhere"])
def test_what_no_group_serves_is_a_page_not_found(path: str) -> None:
    response = get(path)
    assert (response.status, response.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize("path", ["/apis/apps/v9", "/api/v2", "/apis/apps/v9/x", "/api/v1/nonsense", "/version/x"])
def test_below_a_served_group_what_is_not_served_is_told_by_a_status(path: str) -> None:
    response = get(path)
    told = json.loads(response.body)
    assert (response.status, told["kind"], told["reason"]) == (404, "Status", "NotFound")
    assert told["message"] == "the server could not find the requested resource"


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps/v1", "/version"])
def test_discovery_is_only_read(path: str) -> None:
    response = get(path, method="POST")
    assert (response.status, json.loads(response.body)["reason"]) == (405, "MethodNotAllowed")


def test_aggregated_discovery_is_one_document_with_an_etag() -> None:
    response = get("/apis", headers=[("accept", AGGREGATED)])
    document = json.loads(response.body)
    assert response.header("content-type") == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert document["apiVersion"] == "apidiscovery.k8s.io/v2"
    apps = next(item for item in document["items"] if item["metadata"]["name"] == "apps")
    deployments = next(row for row in apps["versions"][0]["resources"] if row["resource"] == "deployments")
    assert deployments["scope"] == "Namespaced"
    assert deployments["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    etag = response.header("etag")
    assert etag
    again = get("/apis", headers=[("accept", AGGREGATED), ("if-none-match", etag)])
    assert (again.status, again.body) == (304, b"")


def test_a_client_that_prefers_plain_json_gets_the_old_form() -> None:
    assert (
        json.loads(get("/apis", headers=[("accept", "application/json, " + AGGREGATED)]).body)["kind"] == "APIGroupList"
    )
    beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    assert json.loads(get("/api", headers=[("accept", beta)]).body)["apiVersion"] == "apidiscovery.k8s.io/v2beta1"


def test_versions_are_ranked_by_maturity_then_number() -> None:
    versions = ["v1alpha1", "v1", "v2beta1", "v10", "v2", "v1beta2", "v1beta1"]
    ranked = sorted(versions, key=version_rank, reverse=True)
    assert ranked == ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1"]


def test_a_runtime_config_turns_versions_on_and_off() -> None:
    assert parse_runtime_config("api/beta=true,batch/v1=false,apps/v1") == {
        "api/beta": True,
        "batch/v1": False,
        "apps/v1": True,
    }
    with pytest.raises(ValueError, match="neither true nor false"):
        parse_runtime_config("apps/v1=maybe")
    assert ("batch", "v1", "jobs") in ServedResources()
    assert ("batch", "v1", "jobs") not in ServedResources({"batch/v1": False})
    assert ("batch", "v1", "cronjobs") in ServedResources({"batch/v1": False, "batch/v1/cronjobs": True})
    assert ServedResources({"api/all": False}).all == ()


def test_openapi_documents_carry_hashes_that_never_lie() -> None:
    index = get_json("/openapi/v3")["paths"]
    url = index["apis/apps/v1"]["serverRelativeURL"]
    path, _, digest = url.partition("?hash=")
    document = get(path, query=[("hash", digest)])
    assert document.header("cache-control") == "public, immutable"
    assert "paths" in json.loads(document.body)
    stale = get(path, query=[("hash", "OLD")])
    assert (stale.status, stale.header("location")) == (301, url)
    assert get("/openapi/v3/apis/nobody/v1").status == 404


def test_openapi_v2_is_protobuf_for_those_who_ask_for_it() -> None:
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    response = get("/openapi/v2", headers=[("accept", asked)])
    assert response.header("content-type") == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert json.loads(get("/openapi/v2").body)["swagger"] == "2.0"
    assert get("/openapi/v2", headers=[("accept", "text/html")]).status == 406


def test_the_version_is_upstreams_minor_with_our_name_behind_it() -> None:
    version = get_json("/version")
    assert (version["major"], version["minor"]) == ("1", "35")
    assert version["gitVersion"].startswith("v1.35.0+kubecore.")


def test_the_index_lists_what_is_there() -> None:
    paths = get_json("/")["paths"]
    assert {"/api/v1", "/apis/apps/v1", "/healthz/ping", "/metrics", "/openapi/v2", "/version"} <= set(paths)

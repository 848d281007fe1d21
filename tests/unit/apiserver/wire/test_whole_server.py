"""The wire with the real access and registry behind it, as a cluster builds it, without a socket."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from kubecore.api.clock import SystemClock
from kubecore.client import virtual_loop
from kubecore.cluster.apiserver import ApiServerPart
from kubecore.cluster.options import ClusterOptions

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
JSON = [("content-type", "application/json")]


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    return virtual_loop.run(scenario)


async def started(**options: Any) -> ApiServerPart:
    part = ApiServerPart(ClusterOptions(port=None, **options), clock=SystemClock(), randomness=random.Random(1))
    await part.start()
    return part


async def get(part: ApiServerPart, path: str, identity: str = "kubernetes-admin") -> tuple[int, Any]:
    answer = await part.transport(identity).request("GET", path)
    return answer.status, json.loads(answer.body) if answer.body.startswith(b"{") else answer.body.decode()


def test_a_started_server_is_ready_and_has_its_namespaces() -> None:
    async def scenario() -> None:
        part = await started()
        assert await get(part, "/readyz") == (200, "ok")
        namespaces = (await get(part, "/api/v1/namespaces"))[1]["items"]
        names = [item["metadata"]["name"] for item in namespaces]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]

    run(scenario())


def test_strangers_see_the_version_and_nothing_else() -> None:
    async def scenario() -> None:
        part = await started()
        assert (await get(part, "/version", "system:anonymous"))[0] == 200
        status, refusal = await get(part, PODS, "system:anonymous")
        assert (status, refusal["reason"]) == (403, "Forbidden")
        assert refusal["message"] == (
            'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
            'in the namespace "default"'
        )

    run(scenario())


def test_a_deleted_role_binding_is_felt_by_the_next_cached_read() -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "bob-reads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    }

    async def scenario() -> list[int]:
        part = await started()
        admin, rbac = part.transport("kubernetes-admin"), "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
        statuses = [(await get(part, PODS, "bob"))[0]]
        await admin.request("POST", f"{rbac}/roles", (), JSON, json.dumps(role).encode())
        await admin.request("POST", f"{rbac}/rolebindings", (), JSON, json.dumps(binding).encode())
        statuses += [(await get(part, PODS, "bob"))[0] for _ in range(2)]
        await admin.request("DELETE", f"{rbac}/rolebindings/bob-reads")
        return [*statuses, (await get(part, PODS, "bob"))[0]]

    assert run(scenario()) == [403, 200, 200, 403]


RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rbac(kind: str, name: str, **parts: Any) -> bytes:
    return json.dumps(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, **parts}
    ).encode()


def bound_to(kind: str, role: str, user: str) -> dict[str, Any]:
    """A binding's parts."""
    group = "rbac.authorization.k8s.io"
    return {
        "roleRef": {"apiGroup": group, "kind": kind, "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


CLUSTER_SCOPED = [
    ("GET", "/api/v1/namespaces/default/nodes"),
    ("GET", "/api/v1/namespaces/default/nodes/one"),
    ("DELETE", "/api/v1/namespaces/default/nodes/one"),
    ("DELETE", "/api/v1/namespaces/default/nodes"),
    ("PUT", "/api/v1/namespaces/default/nodes/one/status"),
    ("GET", "/api/v1/namespaces/default/namespaces"),
    ("GET", "/api/v1/namespaces/default/namespaces/kube-system"),
    ("PUT", "/api/v1/namespaces/default/namespaces/kube-system/finalize"),
    ("GET", "/api/v1/namespaces/default/componentstatuses"),
    ("POST", f"{RBAC}/namespaces/default/clusterroles"),
    ("POST", f"{RBAC}/namespaces/default/clusterrolebindings"),
    ("PUT", f"{RBAC}/namespaces/default/clusterroles/admin"),
    ("POST", "/apis/authorization.k8s.io/v1/namespaces/default/subjectaccessreviews"),
    ("POST", "/apis/authentication.k8s.io/v1/namespaces/default/tokenreviews"),
]


def test_who_may_do_everything_in_one_namespace_reaches_nothing_that_lives_in_none() -> None:
    binding = rbac("RoleBinding", "boss", **bound_to("ClusterRole", "cluster-admin", "bob"))

    async def scenario() -> list[int]:
        part = await started()
        admin, bob = part.transport("kubernetes-admin"), part.transport("bob")
        node = b'{"apiVersion":"v1","kind":"Node","metadata":{"name":"one"}}'
        assert (await admin.request("POST", "/api/v1/nodes", (), JSON, node)).status == 201
        assert (await admin.request("POST", f"{RBAC}/namespaces/default/rolebindings", (), JSON, binding)).status == 201
        assert (await bob.request("GET", PODS)).status == 200
        assert (await bob.request("GET", "/api/v1/namespaces/default")).status == 200
        mine = rbac("ClusterRoleBinding", "mine", **bound_to("ClusterRole", "cluster-admin", "bob"))
        answers = [await bob.request(method, path, (), JSON, mine) for method, path in CLUSTER_SCOPED]
        assert (await admin.request("GET", "/api/v1/nodes/one")).status == 200
        assert (await admin.request("GET", f"{RBAC}/clusterrolebindings/mine")).status == 404
        return [answer.status for answer in answers]

    assert run(scenario()) == [404] * len(CLUSTER_SCOPED)


def test_who_may_only_update_leases_creates_none_by_updating() -> None:
    role = rbac(
        "Role", "u", rules=[{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"]}]
    )
    binding = rbac("RoleBinding", "u", **bound_to("Role", "u", "bob"))
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/mine"
    lease = b'{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"mine"}}'

    async def scenario() -> tuple[int, int, str]:
        part = await started()
        admin, bob = part.transport("kubernetes-admin"), part.transport("bob")
        await admin.request("POST", f"{RBAC}/namespaces/default/roles", (), JSON, role)
        await admin.request("POST", f"{RBAC}/namespaces/default/rolebindings", (), JSON, binding)
        refused = await bob.request("PUT", path, (), JSON, lease)
        made = await admin.request("PUT", path, (), JSON, lease)
        return refused.status, made.status, json.loads(refused.body)["message"]

    refused, made, message = run(scenario())
    assert (refused, made) == (403, 201)
    assert 'User "bob" cannot create resource "leases"' in message


def test_a_subresource_is_asked_for_by_its_own_verbs_only() -> None:
    role = rbac("ClusterRole", "all-read", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "delete"]}])
    binding = rbac("ClusterRoleBinding", "bob", **bound_to("ClusterRole", "all-read", "bob"))
    account = "/api/v1/namespaces/default/serviceaccounts/robot"
    request = b'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}'
    bind = b'{"apiVersion":"v1","kind":"Binding","metadata":{"name":"web"},"target":{"kind":"Node","name":"one"}}'

    async def scenario() -> list[int]:
        part = await started()
        admin, bob = part.transport("kubernetes-admin"), part.transport("bob")
        robot = b'{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"robot"}}'
        for path, body in (
            (f"{RBAC}/clusterroles", role),
            (f"{RBAC}/clusterrolebindings", binding),
            ("/api/v1/namespaces/default/serviceaccounts", robot),
        ):
            assert (await admin.request("POST", path, (), JSON, body)).status == 201
        assert (await admin.request("POST", f"{account}/token", (), JSON, request)).status == 201
        answers = [
            await bob.request("GET", f"{account}/token", (), JSON, request),
            await bob.request("DELETE", f"{account}/token", (), JSON, request),
            await bob.request("GET", f"{PODS}/web/binding", (), JSON, bind),
            await bob.request("DELETE", f"{PODS}/web/eviction", (), JSON, b"{}"),
            await admin.request("POST", f"{PODS}/web/status", (), JSON, b"{}"),
            await admin.request("GET", f"{PODS}/web/nothing"),
        ]
        return [answer.status for answer in answers]

    assert run(scenario()) == [405, 405, 405, 405, 405, 404]


def test_a_list_in_yaml_may_name_one_object() -> None:
    async def scenario() -> bytes:
        part = await started()
        query = (("fieldSelector", "metadata.name=default"),)
        return (
            await part.transport("kubernetes-admin").request(
                "GET", "/api/v1/namespaces", query, [("accept", "application/yaml")]
            )
        ).body

    assert b"name: default" in run(scenario())


def test_a_restart_finds_what_was_written(tmp_path: Path) -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kept"},"data":{"a":"b"}}'

    async def write() -> None:
        part = await started(storage="embedded", data_dir=tmp_path)
        answer = await part.transport("kubernetes-admin").request("POST", CONFIG_MAPS, (), JSON, body)
        assert answer.status == 201
        await part.stop()

    async def read() -> dict[str, str]:
        part = await started(storage="embedded", data_dir=tmp_path)
        found = (await get(part, f"{CONFIG_MAPS}/kept"))[1]["data"]
        await part.stop()
        return found  # type: ignore[no-any-return]

    asyncio.run(write())
    assert asyncio.run(read()) == {"a": "b"}


def test_the_token_issuer_tells_how_to_check_its_tokens() -> None:
    async def scenario() -> None:
        part = await started()
        assert (await get(part, "/openid/v1/jwks"))[1]["keys"]
        assert (await get(part, "/.well-known/openid-configuration"))[1]["jwks_uri"].endswith("/openid/v1/jwks")

    run(scenario())

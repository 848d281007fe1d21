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

"""A quota's status says what its namespace uses; what leaves is given back."""

from __future__ import annotations

from typing import Any

from support.controllers import World, run, world

Object = dict[str, Any]


def quota(**hard: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "team"},
        "spec": {"hard": {name.replace("_", "."): amount for name, amount in hard.items()}},
    }


def pod(name: str, cpu: str = "100m", **status: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": "Running", **status},
    }


def used(here: World) -> Object:
    found = here.server.find("resourcequotas", "team", "q")
    assert found is not None
    counted: Object = found["status"]["used"]
    return counted


def test_a_new_quota_is_counted() -> None:
    async def scenario() -> None:
        async with world("resourcequota-controller") as here:
            here.create("pods", pod("a"))
            here.create("pods", pod("b", cpu="1"))
            here.create("resourcequotas", quota(pods="10", requests_cpu="4"))
            await here.pass_time(1)
            assert used(here) == {"pods": "2", "requests.cpu": "1100m"}

    run(scenario())


def test_what_is_deleted_is_given_back() -> None:
    async def scenario() -> None:
        async with world("resourcequota-controller") as here:
            here.create("pods", pod("a"))
            here.create("resourcequotas", quota(pods="10"))
            await here.pass_time(1)
            await here.server.transport().request("DELETE", "/api/v1/namespaces/team/pods/a")
            await here.pass_time(1)
            assert used(here) == {"pods": "0"}

    run(scenario())


def test_a_finished_pod_counts_no_more() -> None:
    async def scenario() -> None:
        async with world("resourcequota-controller") as here:
            here.create("pods", pod("a"))
            here.create("resourcequotas", quota(pods="10"))
            await here.pass_time(1)
            here.change("pods", "team", "a", lambda obj: obj.update(status={"phase": "Succeeded"}))
            await here.pass_time(1)
            assert used(here) == {"pods": "0"}

    run(scenario())


def test_a_changed_limit_is_said_in_the_status() -> None:
    async def scenario() -> None:
        async with world("resourcequota-controller") as here:
            here.create("resourcequotas", quota(pods="10"))
            await here.pass_time(1)
            here.change("resourcequotas", "team", "q", lambda obj: obj.update(spec={"hard": {"pods": "20"}}))
            await here.pass_time(1)
            found = here.server.find("resourcequotas", "team", "q")
            assert found is not None
            assert found["status"] == {"hard": {"pods": "20"}, "used": {"pods": "0"}}

    run(scenario())


def test_other_kinds_count_by_number() -> None:
    async def scenario() -> None:
        async with world("resourcequota-controller") as here:
            here.create(
                "resourcequotas", {**quota(), "spec": {"hard": {"count/deployments.apps": "3", "secrets": "5"}}}
            )
            here.create(
                "secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team"}}
            )
            await here.pass_time(1)
            assert used(here) == {"count/deployments.apps": "0", "secrets": "1"}

    run(scenario())

"""Roles that gather others show what they allow."""

from __future__ import annotations

from typing import Any

from support.controllers import World, run, world

PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
JOBS = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"]}


def role(name: str, *rules: dict[str, Any], labels: dict[str, str] | None = None, gathers: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels or {}},
        "rules": list(rules) or None,
    }
    if gathers:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {gathers: "true"}}]}
    return made


def rules_of(here: World, name: str) -> Any:
    found = here.server.find("clusterroles", "", name)
    assert found is not None
    return found["rules"]


def test_a_role_shows_each_rule_of_the_roles_that_it_gathers_once_and_in_their_order() -> None:
    async def scenario() -> None:
        async with world("clusterrole-aggregation-controller") as here:
            here.create("clusterroles", role("monitoring", gathers="monitor"))
            here.create("clusterroles", role("b", JOBS, PODS, labels={"monitor": "true"}))
            here.create("clusterroles", role("a", PODS, labels={"monitor": "true"}))
            here.create("clusterroles", role("other", {"nonResourceURLs": ["/"], "verbs": ["get"]}))
            await here.pass_time(1)
            assert rules_of(here, "monitoring") == [PODS, JOBS]

    run(scenario())


def test_what_is_no_longer_gathered_is_taken_back() -> None:
    async def scenario() -> None:
        async with world("clusterrole-aggregation-controller") as here:
            here.create("clusterroles", role("monitoring", gathers="monitor"))
            here.create("clusterroles", role("a", PODS, labels={"monitor": "true"}))
            await here.pass_time(1)
            here.change("clusterroles", "", "a", lambda found: found["metadata"].update(labels={}))
            await here.pass_time(1)
            assert not rules_of(here, "monitoring")

    run(scenario())

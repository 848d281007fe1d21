import asyncio
import itertools

import pytest

from kubecore.api import errors
from kubecore.api.scheme import core
from kubecore.client.transport import Request
from kubecore.controllers import pods
from kubecore.controllers.replication import Plan, plan
from support.controllers import World, replica_set, run, running, world

KINDS = ("ReplicaSet", "ReplicationController")
PLURALS = {"ReplicaSet": "replicasets", "ReplicationController": "replicationcontrollers"}
CONTROLLERS = ("replicaset-controller", "replicationcontroller-controller")


def status_of(here: World, kind: str) -> dict[str, object]:
    owner = here.server.find(PLURALS[kind], "default", "web")
    assert owner is not None
    return owner.get("status", {})


def test_the_plan_is_the_difference_and_never_more_than_a_burst() -> None:
    assert plan(desired=3, active=1) == Plan(create=2, delete=0)
    assert plan(desired=1, active=3) == Plan(create=0, delete=2)
    assert plan(desired=2, active=2) == Plan(create=0, delete=0)
    assert plan(desired=10_000, active=0) == Plan(create=500, delete=0)


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_pods_are_made_as_are_wanted(kind: str) -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create(PLURALS[kind], replica_set("web", replicas=3, kind=kind))
            await here.pass_time(1)
            made = here.server.all("pods")
            assert len(made) == 3
            owner = here.server.find(PLURALS[kind], "default", "web")
            assert owner is not None
            for pod in made:
                assert pod["metadata"]["name"].startswith("web-")
                assert pod["metadata"]["labels"] == {"app": "web"}
                assert pod["metadata"]["ownerReferences"] == [
                    {
                        "apiVersion": owner["apiVersion"],
                        "kind": kind,
                        "name": "web",
                        "uid": owner["metadata"]["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ]
            assert sorted(here.events("SuccessfulCreate")) == sorted(
                f"Created pod: {pod['metadata']['name']}" for pod in made
            )
            assert status_of(here, kind)["replicas"] == 3
            assert status_of(here, kind)["fullyLabeledReplicas"] == 3
            assert status_of(here, kind)["observedGeneration"] == 1

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_pod_is_replaced(kind: str) -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create(PLURALS[kind], replica_set("web", replicas=2, kind=kind))
            await here.pass_time(1)
            gone = here.server.all("pods")[0]["metadata"]["name"]
            await here.manager.controllers[0].client.delete(core("pods"), "default", gone)
            await here.pass_time(1)
            names = [pod["metadata"]["name"] for pod in here.server.all("pods")]
            assert len(names) == 2
            assert gone not in names

    run(scenario())


def test_a_failed_pod_does_not_count() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("replicasets", replica_set("web", replicas=1))
            await here.pass_time(1)
            failed = here.server.all("pods")[0]
            here.server.seed("pods", {**failed, "status": {"phase": "Failed"}})
            await here.pass_time(1)
            assert len(here.server.all("pods")) == 2
            assert status_of(here, "ReplicaSet")["replicas"] == 1

    run(scenario())


def test_ready_pods_are_counted_and_available_once_they_have_been_ready_for_long_enough() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            wanted = replica_set("web", replicas=2)
            wanted["spec"]["minReadySeconds"] = 30
            here.create("replicasets", wanted)
            await here.pass_time(1)
            here.run_pods()
            await here.pass_time(1)
            assert status_of(here, "ReplicaSet")["readyReplicas"] == 2
            assert "availableReplicas" not in status_of(here, "ReplicaSet")
            await here.pass_time(30)
            assert status_of(here, "ReplicaSet")["availableReplicas"] == 2

    run(scenario())


def test_scaling_down_takes_pods_that_do_not_run_first() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("replicasets", replica_set("web", replicas=3))
            await here.pass_time(1)
            first, *others = here.server.all("pods")
            here.server.seed("pods", running(first, 1, ready=True, now=here.server.now_text()))
            here.change("replicasets", "default", "web", lambda owner: owner["spec"].update(replicas=1))
            await here.pass_time(1)
            assert [pod["metadata"]["name"] for pod in here.server.all("pods")] == [first["metadata"]["name"]]
            assert sorted(here.events("SuccessfulDelete")) == sorted(
                f"Deleted pod: {pod['metadata']['name']}" for pod in others
            )

    run(scenario())


def test_a_matching_orphan_is_adopted_and_a_pod_that_matches_no_more_is_released() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            orphan = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "stray", "namespace": "default", "labels": {"app": "web"}},
                "spec": {"containers": []},
            }
            here.server.seed("pods", orphan)
            here.create("replicasets", replica_set("web", replicas=1))
            await here.pass_time(1)
            assert [pod["metadata"]["name"] for pod in here.server.all("pods")] == ["stray"]
            owner = here.server.find("replicasets", "default", "web")
            adopted = here.server.find("pods", "default", "stray")
            assert owner is not None
            assert adopted is not None
            assert pods.controller_uid(adopted) == owner["metadata"]["uid"]
            here.change("pods", "default", "stray", lambda pod: pod["metadata"].update(labels={"app": "other"}))
            await here.pass_time(1)
            released = here.server.find("pods", "default", "stray")
            assert released is not None
            assert not released["metadata"]["ownerReferences"]
            assert len(here.server.all("pods")) == 2

    run(scenario())


def test_a_refused_pod_shows_in_the_status_and_costs_few_requests() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            refusing = {"on": True}
            # Each refusal names another pod, as a generated name makes it.
            names = itertools.count(1)
            message = 'pods "web-1" is forbidden: exceeded quota'
            here.server.refusals.append(
                lambda request: (
                    errors.Forbidden(f'pods "web-{next(names)}" is forbidden: exceeded quota')
                    if refusing["on"] and request.method == "POST" and request.path.endswith("/pods")
                    else None
                )
            )
            here.create("replicasets", replica_set("web", replicas=100))
            await here.pass_time(0.004)
            tried = [each for each in here.server.requests if each.method == "POST" and each.path.endswith("/pods")]
            # Once, and once more because the status that tells of it changed: not a hundred times.
            assert len(tried) == 2
            await here.pass_time(60)
            tried = [each for each in here.server.requests if each.method == "POST" and each.path.endswith("/pods")]
            assert len(tried) < 20
            [condition] = status_of(here, "ReplicaSet")["conditions"]  # type: ignore[misc]
            assert condition["type"] == "ReplicaFailure"
            assert condition["reason"] == "FailedCreate"
            assert condition["message"] == message
            assert f"Error creating: {message}" in here.events("FailedCreate")
            refusing["on"] = False
            await here.pass_time(300)
            assert len(here.server.all("pods")) == 100
            assert "conditions" not in status_of(here, "ReplicaSet")

    run(scenario())


def scale_down(here: World) -> None:
    here.change("replicasets", "default", "web", lambda obj: obj["spec"].update(replicas=1))


def test_an_owner_changed_while_its_status_is_written_is_seen_as_it_is_now() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            written: list[str] = []

            def scaled_meanwhile(request: Request) -> errors.StatusError | None:
                if request.method == "POST" and request.path.endswith("/pods") and here.server.all("pods"):
                    return errors.Forbidden("exceeded quota")
                if request.method == "PUT" and request.path.endswith("/status"):
                    written.append(request.path)
                    if len(written) == 1:
                        asyncio.get_running_loop().call_later(0.1, scale_down, here)
                return None

            here.server.refusals.append(scaled_meanwhile)
            here.server.answer_delay_seconds = 1.0
            here.create("replicasets", replica_set("web", replicas=2))
            await here.pass_time(10)
            status = status_of(here, "ReplicaSet")
            assert "conditions" not in status
            assert status["observedGeneration"] == 2

    run(scenario())


def test_thousands_of_pods_are_made_without_one_too_many() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("replicasets", replica_set("web", replicas=1300))
            await here.pass_time(30)
            created = [each for each in here.server.requests if each.method == "POST" and each.path.endswith("/pods")]
            assert len(created) == 1300
            assert status_of(here, "ReplicaSet")["replicas"] == 1300

    run(scenario())


def test_pods_to_delete_are_ranked_as_upstream_ranks_them() -> None:
    def pod(name: str, **facts: object) -> dict[str, object]:
        created = facts.pop("created", "2027-01-15T07:00:00Z")
        made: dict[str, object] = {
            "metadata": {"name": name, "uid": name, "creationTimestamp": created},
            "spec": {"nodeName": facts.pop("node", "n1")},
            "status": {"phase": facts.pop("phase", "Running"), "conditions": []},
        }
        if facts.pop("ready", True):
            made["status"] = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": facts.pop("since", created)}],
                "containerStatuses": [{"restartCount": facts.pop("restarts", 0)}],
            }
        if "cost" in facts:
            made["metadata"]["annotations"] = {pods.DELETION_COST: facts["cost"]}  # type: ignore[index]
        return made

    ranked = [
        pod("unassigned", node="", ready=False, phase="Pending"),
        pod("pending", ready=False, phase="Pending"),
        pod("unready", ready=False),
        pod("cheap", cost="-1"),
        pod("crowded", node="crowded"),
        pod("just-ready", since="2027-01-15T07:59:59Z"),
        pod("restarted", restarts=5),
        pod("young", created="2027-01-15T07:59:00Z", since="2027-01-15T07:00:00Z"),
        pod("old"),
        pod("dear", cost="10"),
    ]
    shuffled = [ranked[index] for index in (9, 3, 5, 0, 7, 2, 8, 1, 6, 4)]
    ordered = pods.deletion_order(shuffled, related_per_node={"crowded": 5, "n1": 1}, now=1_800_000_000.0)
    assert [each["metadata"]["name"] for each in ordered] == [
        each["metadata"]["name"]  # type: ignore[index]
        for each in ranked
    ]

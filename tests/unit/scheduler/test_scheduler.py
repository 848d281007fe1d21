import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kubecore.api import errors
from kubecore.api.clock import LoopClock
from kubecore.api.scheme import core
from kubecore.client import Client, Request, Response, virtual_loop
from kubecore.scheduler import Scheduler
from support.fake_apiserver import FakeServer, FakeTransport

Object = dict[str, Any]


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": pods}},
    }


def pod(name: str, *, cpu: str = "1", **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulerName": "default-scheduler", "containers": [container], **spec},
        "status": {"phase": "Pending"},
    }


@asynccontextmanager
async def scheduling(server: FakeServer, seconds: float = 1.0) -> AsyncIterator[Scheduler]:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000)
    scheduler = Scheduler(Client(server.transport()), clock=clock, randomness=random.Random(1))
    task = asyncio.ensure_future(scheduler.run())
    await asyncio.sleep(seconds)
    try:
        yield scheduler
    finally:
        if task.done():
            task.result()
        task.cancel()


def placements(server: FakeServer) -> dict[str, str]:
    return {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in server.all("pods")}


def notes(server: FakeServer, reason: str) -> list[str]:
    return [event["note"] for event in server.all("events") if event["reason"] == reason]


def condition(server: FakeServer, name: str) -> Object:
    found = server.find("pods", "default", name)
    assert found is not None
    conditions: list[Object] = found["status"].get("conditions", [])
    return next((each for each in conditions if each["type"] == "PodScheduled"), {})


def bindings(server: FakeServer) -> list[Request]:
    return [request for request in server.requests if request.path.endswith("/binding")]


def test_a_pod_is_bound_and_one_event_says_so() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1"))
        server.seed("pods", pod("web"))
        async with scheduling(server):
            assert placements(server) == {"web": "node-1"}
            (event,) = server.all("events")
            assert event["note"] == "Successfully assigned default/web to node-1"
            assert (event["type"], event["reason"], event["action"]) == ("Normal", "Scheduled", "Binding")
            assert event["reportingController"] == "default-scheduler"
            assert event["regarding"]["name"] == "web"

    virtual_loop.run(scenario())


def test_no_node_takes_more_than_it_has() -> None:
    async def scenario() -> None:
        server = FakeServer()
        for index in range(5):
            server.seed("nodes", node(f"node-{index}", cpu="4"))
        for index in range(24):
            server.seed("pods", pod(f"web-{index}"))
        async with scheduling(server):
            placed = list(placements(server).values())
            assert {name: placed.count(name) for name in set(placed)} == {
                "": 4,
                **{f"node-{index}": 4 for index in range(5)},
            }

    virtual_loop.run(scenario())


def test_a_pod_that_fits_nowhere_is_told_why_in_upstreams_words() -> None:
    async def scenario() -> None:
        server = FakeServer()
        taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
        server.seed("nodes", node("tainted", taints=[taint]))
        server.seed("nodes", node("cordoned", unschedulable=True))
        for index in range(3):
            server.seed("nodes", node(f"small-{index}", cpu="500m"))
        server.seed("nodes", node("full", cpu="1"))
        server.seed("pods", {**pod("filler"), "spec": {**pod("filler")["spec"], "nodeName": "full"}})
        server.seed("pods", pod("big"))
        async with scheduling(server):
            text = (
                "0/6 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
                "4 Insufficient cpu. no new claims to deallocate, preemption: 0/6 nodes are available: "
                "1 No preemption victims found for incoming pod, 5 Preemption is not helpful for scheduling."
            )
            assert notes(server, "FailedScheduling") == [text]
            assert condition(server, "big")["message"] == text
            assert condition(server, "big")["reason"] == "Unschedulable"
            assert condition(server, "big")["status"] == "False"

    virtual_loop.run(scenario())


def test_without_nodes_a_pod_waits_and_is_placed_when_one_comes() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("pods", pod("web"))
        async with scheduling(server):
            assert notes(server, "FailedScheduling") == ["no nodes available to schedule pods"]
            server.seed("nodes", node("node-1"))
            await asyncio.sleep(2)
            assert placements(server) == {"web": "node-1"}

    virtual_loop.run(scenario())


def test_a_pod_that_leaves_makes_room_for_one_that_waits() -> None:
    async def scenario() -> None:
        server = FakeServer()
        client = Client(server.transport())
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("first"))
        async with scheduling(server):
            server.seed("pods", pod("second"))
            await asyncio.sleep(1)
            assert placements(server)["second"] == ""
            await client.delete(core("pods"), "default", "first", grace_period_seconds=0)
            await asyncio.sleep(2)
            assert placements(server) == {"second": "node-1"}

    virtual_loop.run(scenario())


def test_the_more_important_pod_gets_the_last_place() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("a-plain"))
        server.seed("pods", pod("b-important", priority=1000))
        async with scheduling(server):
            assert placements(server) == {"a-plain": "", "b-important": "node-1"}

    virtual_loop.run(scenario())


def test_another_schedulers_pods_are_left_alone_but_counted_once_they_run() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("theirs", schedulerName="other"))
        async with scheduling(server):
            assert placements(server) == {"theirs": ""}
            await Client(server.transport()).bind("default", "theirs", node="node-1")
            server.seed("pods", pod("ours"))
            await asyncio.sleep(1)
            assert placements(server) == {"ours": "", "theirs": "node-1"}

    virtual_loop.run(scenario())


def test_a_constraint_that_no_plugin_decides_keeps_the_pod_pending_and_is_named() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1"))
        server.seed("pods", pod("gpu", resourceClaims=[{"name": "gpu"}]))
        async with scheduling(server):
            assert placements(server) == {"gpu": ""}
            (note,) = notes(server, "FailedScheduling")
            assert note.startswith("spec.resourceClaims[0] is not supported")
            assert condition(server, "gpu")["message"] == note

    virtual_loop.run(scenario())


def test_pods_that_keep_apart_wait_for_a_node_of_their_own() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1"))
        apart = [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]
        affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": apart}}
        for name in ("db-0", "db-1"):
            made = pod(name, affinity=affinity)
            made["metadata"]["labels"] = {"app": "db"}
            server.seed("pods", made)
        async with scheduling(server):
            assert sorted(placements(server).values()) == ["", "node-1"]
            (note,) = notes(server, "FailedScheduling")
            assert note == (
                "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. no new claims to "
                "deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
            )
            server.seed("nodes", node("node-2"))
            await asyncio.sleep(1)
            assert sorted(placements(server).values()) == ["node-1", "node-2"]

    virtual_loop.run(scenario())


def test_a_services_pods_are_spread_over_zones_by_default() -> None:
    async def scenario() -> None:
        server = FakeServer()
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}}
        server.seed("services", {**service, "spec": {"selector": {"app": "web"}}})
        for zone, cpu in (("a", "64"), ("b", "4")):
            made = node(f"{zone}-{cpu}", cpu=cpu)
            made["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone
            server.seed("nodes", made)
        for index in range(4):
            made = pod(f"web-{index}")
            made["metadata"]["labels"] = {"app": "web"}
            server.seed("pods", made)
        async with scheduling(server):
            zones = [placed.split("-")[0] for placed in placements(server).values()]
            assert set(zones) == {"a", "b"}, "the emptier node alone would be the best for each"

    virtual_loop.run(scenario())


def test_a_pod_waits_until_its_claim_is_bound_and_goes_where_the_volume_is() -> None:
    async def scenario() -> None:
        server = FakeServer()
        for name in ("node-1", "node-2"):
            server.seed("nodes", node(name))
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
        }
        server.seed("persistentvolumeclaims", {**claim, "spec": {}, "status": {"phase": "Pending"}})
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        server.seed("pods", pod("db", volumes=volumes))
        async with scheduling(server):
            (note,) = notes(server, "FailedScheduling")
            assert note.startswith("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. ")
            term = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-2"]}
            reach = {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}}
            volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}}
            server.seed("persistentvolumes", {**volume, "spec": {"nodeAffinity": reach}})
            bound = {"spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}
            server.seed("persistentvolumeclaims", {**claim, **bound})
            await asyncio.sleep(1)
            assert placements(server) == {"db": "node-2"}

    virtual_loop.run(scenario())


def test_a_gated_pod_waits_for_its_gates() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1"))
        server.seed("pods", pod("gated", schedulingGates=[{"name": "example.com/quota"}]))
        async with scheduling(server):
            assert placements(server) == {"gated": ""}
            assert condition(server, "gated")["reason"] == "SchedulingGated"
            assert "spec.schedulingGates" in notes(server, "FailedScheduling")[0]
            opened = server.find("pods", "default", "gated")
            assert opened is not None
            del opened["spec"]["schedulingGates"]
            server.seed("pods", opened)
            await asyncio.sleep(1)
            assert placements(server) == {"gated": "node-1"}

    virtual_loop.run(scenario())


def test_a_pod_that_cannot_be_read_does_not_keep_the_others_waiting() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1"))
        server.seed("pods", pod("broken", tolerations="all"))
        server.seed("pods", pod("web"))
        async with scheduling(server):
            assert placements(server) == {"broken": "", "web": "node-1"}

    virtual_loop.run(scenario())


def test_a_refused_binding_frees_the_node_and_is_tried_again() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("web"))
        refusals = [errors.InternalError("the store is away")]
        server.refusals.append(
            lambda request: refusals.pop() if request.path.endswith("/binding") and refusals else None
        )
        async with scheduling(server, seconds=0.5) as scheduler:
            assert placements(server) == {"web": ""}
            assert scheduler.kernel.stats()["assumed"] == 0
            assert condition(server, "web")["reason"] == "SchedulerError"
            await asyncio.sleep(2)
            assert placements(server) == {"web": "node-1"}
            assert len(notes(server, "Scheduled")) == 1

    virtual_loop.run(scenario())


def test_a_victim_is_told_why_it_goes_and_the_more_important_pod_takes_its_place() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("plain", nodeName="node-1", terminationGracePeriodSeconds=30))
        server.seed("pods", pod("important", priority=1000))
        async with scheduling(server):
            victim, preemptor = server.find("pods", "default", "plain"), server.find("pods", "default", "important")
            assert victim is not None
            assert preemptor is not None
            (mark,) = victim["status"]["conditions"]
            assert (mark["type"], mark["status"], mark["reason"]) == (
                "DisruptionTarget",
                "True",
                "PreemptionByScheduler",
            )
            assert mark["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
            assert "deletionTimestamp" in victim["metadata"]
            assert preemptor["status"]["nominatedNodeName"] == "node-1"
            assert condition(server, "important")["message"] == "0/1 nodes are available: 1 Insufficient cpu."
            uid = preemptor["metadata"]["uid"]
            (event,) = [event for event in server.all("events") if event["reason"] == "Preempted"]
            assert event["note"] == f"Preempted by pod {uid} on node node-1"
            assert (event["type"], event["action"], event["regarding"]["name"]) == ("Normal", "Preempting", "plain")
            assert event["related"]["name"] == "important"
            await Client(server.transport()).delete(core("pods"), "default", "plain", grace_period_seconds=0)
            await asyncio.sleep(1)
            assert placements(server) == {"important": "node-1"}

    virtual_loop.run(scenario())


def test_a_victim_that_cannot_be_evicted_is_tried_again() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("plain", nodeName="node-1"))
        server.seed("pods", pod("important", priority=1000))
        refusals = [errors.InternalError("the store is away")]
        server.refusals.append(lambda request: refusals.pop() if request.method == "DELETE" and refusals else None)
        async with scheduling(server, seconds=10):
            victim = server.find("pods", "default", "plain")
            assert victim is not None
            assert "deletionTimestamp" in victim["metadata"]
            assert len(notes(server, "Preempted")) == 1

    virtual_loop.run(scenario())


def test_what_cannot_help_a_pod_does_not_cost_it_an_attempt() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="500m"))
        server.seed("pods", pod("big"))
        async with scheduling(server) as scheduler:
            before = scheduler.kernel.stats()["decisions"]
            for index in range(5):
                server.seed("nodes", node(f"other-{index}", cpu="500m"))
                server.seed("pods", pod(f"small-{index}", cpu="100m"))
                await asyncio.sleep(1)
            assert scheduler.kernel.stats()["decisions"] == before + 5, "one for each of the small ones"

    virtual_loop.run(scenario())


def test_a_lost_watch_binds_nothing_twice() -> None:
    async def scenario() -> None:
        server = FakeServer()
        for index in range(3):
            server.seed("nodes", node(f"node-{index}"))
        for index in range(8):
            server.seed("pods", pod(f"early-{index}"))
        async with scheduling(server, seconds=0.0):
            for index in range(20):
                # In the midst of binding, the history that the watch would go on from is gone.
                await asyncio.sleep(0)
                server.forget_history()
                if index < 4:
                    server.seed("pods", pod(f"late-{index}"))
            await asyncio.sleep(60)
            assert "" not in placements(server).values()
            paths = [request.path for request in bindings(server)]
            assert len(paths) == len(set(paths)) == 12
            assert len(notes(server, "Scheduled")) == 12

    virtual_loop.run(scenario())


def test_a_scheduler_that_is_run_again_takes_up_what_it_left_half_done() -> None:
    class Hanging(FakeTransport):
        hangs = True

        async def batch(self, requests: Sequence[Request]) -> list[Response]:
            if self.hangs and any(request.path.endswith("/binding") for request in requests):
                await asyncio.Event().wait()
            return await super().batch(requests)

    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("web"))
        transport = Hanging(server)
        clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000)
        scheduler = Scheduler(Client(transport), clock=clock, randomness=random.Random(1))
        for hangs, expected in ((True, ""), (False, "node-1")):
            transport.hangs = hangs
            run = asyncio.ensure_future(scheduler.run())
            await asyncio.sleep(3)
            assert placements(server) == {"web": expected}
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        assert scheduler.kernel.stats()["assumed"] == 0
        assert len(scheduler.queue) == 0

    virtual_loop.run(scenario())


def test_a_pod_replaced_under_its_name_while_it_is_bound_gets_its_own_turn() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("web"))
        replaced = False

        def replace(request: Request) -> errors.StatusError | None:
            nonlocal replaced
            if request.path.endswith("/binding") and not replaced:
                replaced = True
                server.handle(Request("DELETE", "/api/v1/namespaces/default/pods/web"))
                server.seed("pods", pod("web"))
            return None

        server.refusals.append(replace)
        async with scheduling(server, seconds=5):
            assert replaced
            assert placements(server) == {"web": "node-1"}
            assert len(notes(server, "Scheduled")) == 1

    virtual_loop.run(scenario())


def test_a_failure_is_told_once_and_then_counted() -> None:
    async def scenario() -> None:
        server = FakeServer()
        client = Client(server.transport())
        server.seed("nodes", node("node-1", cpu="500m"))
        for index in range(3):
            server.seed("pods", pod(f"filler-{index}", cpu="100m", nodeName="node-1"))
        server.seed("pods", pod("big"))
        async with scheduling(server):
            patches = [request for request in server.requests if request.path.endswith("/status")]
            server.seed("nodes", node("node-2", cpu="500m"))
            for index in range(3):
                await client.delete(core("pods"), "default", f"filler-{index}", grace_period_seconds=0)
                await asyncio.sleep(15)
            (event,) = [event for event in server.all("events") if event["reason"] == "FailedScheduling"]
            assert event["series"]["count"] >= 2
            again = [request for request in server.requests if request.path.endswith("/status")]
            assert len(again) == len(patches) + 1, "only the new message is written"

    virtual_loop.run(scenario())


def test_the_same_cluster_is_scheduled_the_same_way_every_time() -> None:
    async def scenario() -> tuple[dict[str, str], list[str]]:
        server = FakeServer()
        for index in range(20):
            server.seed("nodes", node(f"node-{index}"))
        for index in range(50):
            server.seed("pods", pod(f"web-{index}"))
        async with scheduling(server):
            return placements(server), [request.path for request in server.requests]

    first, second = virtual_loop.run(scenario()), virtual_loop.run(scenario())
    assert first == second
    assert len(set(first[0].values())) == 20


def test_attempts_and_waits_are_counted_under_upstreams_names() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("node-1", cpu="1"))
        server.seed("pods", pod("first"))
        server.seed("pods", pod("second"))
        async with scheduling(server) as scheduler:
            read = scheduler.metrics.registry.get_sample_value
            labels = {"profile": "default-scheduler"}
            assert read("scheduler_schedule_attempts_total", {"result": "scheduled", **labels}) == 1
            assert read("scheduler_schedule_attempts_total", {"result": "unschedulable", **labels}) == 1
            assert read("scheduler_pending_pods", {"queue": "unschedulable"}) == 1
            assert read("scheduler_pod_scheduling_attempts_count") == 1

    virtual_loop.run(scenario())

from typing import Any

from kubecore.api.meta import micro_timestamp, timestamp
from kubecore.controllers import node_plan
from kubecore.controllers.taint_eviction import FOREVER, seconds_left
from support.controllers import EPOCH_SECONDS, World, run, world

CONTROLLERS = ("node-lifecycle-controller", "taint-eviction-controller")


def node(name: str, *, ready: str = "True") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": timestamp(EPOCH_SECONDS)}]},
    }


def lease(name: str, renewed: float) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"renewTime": micro_timestamp(EPOCH_SECONDS + renewed)},
    }


def pod(name: str, on: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": on, "containers": [], **spec},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def taints(here: World, name: str) -> list[tuple[str, str]]:
    found = here.server.find("nodes", "", name)
    assert found is not None
    return [(taint["key"], taint["effect"]) for taint in found["spec"].get("taints") or ()]


async def renew(here: World, *names: str, until: float) -> None:
    """Renews these nodes' leases every ten seconds."""
    passed = 0.0
    while passed < until:
        for name in names:
            here.server.seed("leases", lease(name, passed))
        await here.pass_time(10)
        passed += 10


def ready_of(here: World, plural: str, namespace: str, name: str) -> str:
    found = here.server.find(plural, namespace, name)
    assert found is not None
    return str(next(each["status"] for each in found["status"]["conditions"] if each["type"] == "Ready"))


def test_a_node_that_renews_its_lease_is_left_alone() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("nodes", node("a"))
            await renew(here, "a", until=200)
            assert taints(here, "a") == []
            assert ready_of(here, "nodes", "", "a") == "True"

    run(scenario())


def test_a_silent_node_becomes_unknown_after_the_grace_period_and_its_pods_are_not_ready() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.server.seed("nodes", node("a"))
            here.server.seed("nodes", node("b"))
            here.server.seed("pods", pod("p", "a", tolerations=[{"operator": "Exists"}]))
            await renew(here, "b", until=40)
            assert ready_of(here, "nodes", "", "a") == "True"
            await renew(here, "b", until=20)
            found = here.server.find("nodes", "", "a")
            assert found is not None
            condition = found["status"]["conditions"][0]
            assert (condition["status"], condition["reason"]) == ("Unknown", "NodeStatusUnknown")
            assert condition["message"] == "Kubelet stopped posting node status."
            assert taints(here, "a") == [
                (node_plan.UNREACHABLE, "NoSchedule"),
                (node_plan.UNREACHABLE, "NoExecute"),
            ]
            assert ready_of(here, "pods", "default", "p") == "False"
            assert "Node a status is now: NodeNotReady" in here.events("NodeNotReady")
            assert taints(here, "b") == []

    run(scenario())


def test_pods_of_an_unreachable_node_go_when_their_toleration_ends() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS, node_monitor_grace_period_seconds=5) as here:
            here.server.seed("nodes", node("a"))
            here.server.seed("nodes", node("b"))
            tolerating = [
                {"key": node_plan.UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
            ]
            here.server.seed("pods", pod("patient", "a", tolerations=tolerating, terminationGracePeriodSeconds=0))
            here.server.seed("pods", pod("impatient", "a", terminationGracePeriodSeconds=0))
            here.server.seed("pods", pod("elsewhere", "b"))

            async def life() -> None:
                for second in range(60):
                    here.server.seed("leases", lease("b", second))
                    await here.pass_time(1)
                    names = [each["metadata"]["name"] for each in here.server.all("pods")]
                    if second in (10, 30):
                        assert names == ["elsewhere", "patient"]

            await life()
            assert [each["metadata"]["name"] for each in here.server.all("pods")] == ["elsewhere"]
            assert "Marking for deletion Pod default/patient" in here.events("TaintManagerEviction")

    run(scenario())


def test_a_node_that_comes_back_loses_its_taints_and_the_deletion_is_cancelled() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS, node_monitor_grace_period_seconds=5) as here:
            here.server.seed("nodes", node("a"))
            here.server.seed("nodes", node("b"))
            tolerating = [{"operator": "Exists", "tolerationSeconds": 300}]
            here.server.seed("pods", pod("p", "a", tolerations=tolerating))
            for second in range(20):
                here.server.seed("leases", lease("b", second))
                await here.pass_time(1)
            assert (node_plan.UNREACHABLE, "NoExecute") in taints(here, "a")
            found = here.server.find("nodes", "", "a")
            assert found is not None
            for condition in found["status"]["conditions"]:
                condition.update(status="True" if condition["type"] == "Ready" else "False", lastHeartbeatTime="later")
            here.server.seed("nodes", found)
            await here.pass_time(1)
            assert taints(here, "a") == []
            assert here.events("TaintManagerEviction") == ["Cancelling deletion of Pod default/p"]

    run(scenario())


def test_if_every_node_is_silent_no_pod_is_evicted() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS, node_monitor_grace_period_seconds=5) as here:
            here.server.seed("nodes", node("a"))
            here.server.seed("nodes", node("b"))
            await here.pass_time(100)
            for name in ("a", "b"):
                assert taints(here, name) == [(node_plan.UNREACHABLE, "NoSchedule")]

    run(scenario())


def test_a_new_nodes_not_ready_taint_goes_once_it_is_ready() -> None:
    ready = {**node("a"), "spec": {"taints": [{"key": node_plan.NOT_READY, "effect": "NoSchedule"}]}}
    assert node_plan.plan_taints(ready, evicting=True, now=0) == []


def test_taints_of_others_stay() -> None:
    mine = {"key": "mine", "effect": "NoSchedule", "value": "x"}
    cordoned = {**node("a"), "spec": {"taints": [mine], "unschedulable": True}}
    assert node_plan.plan_taints(cordoned, evicting=True, now=0) == [
        mine,
        {"key": node_plan.UNSCHEDULABLE, "effect": "NoSchedule"},
    ]


def test_the_shortest_toleration_counts_and_an_untolerated_taint_is_immediate() -> None:
    one = {"key": "one", "effect": "NoExecute", "timeAdded": timestamp(1000)}
    two = {"key": "two", "effect": "NoExecute", "timeAdded": timestamp(1000)}
    tolerant = {"spec": {"tolerations": [{"key": "one", "operator": "Exists", "tolerationSeconds": 60}]}}
    assert seconds_left(tolerant, [one], now=1010) == 50
    assert seconds_left(tolerant, [one, two], now=1010) == 0
    assert seconds_left({"spec": {"tolerations": [{"operator": "Exists"}]}}, [one, two], now=1010) == FOREVER
    assert seconds_left({"spec": {}}, [], now=1010) == FOREVER

import json
from typing import Any

from kubecore_cli import bench_verify as verify


def pod(name: str, node: str = "node-1", *, phase: str = "Running", cpu: str = "100m") -> verify.Pod:
    listed = {
        "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "bench"},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"cpu": cpu, "memory": "500Mi"}}}]},
        "status": {"phase": phase},
    }
    return read(verify.Pod, listed)


def node(name: str, **allocatable: str) -> verify.Node:
    return read(verify.Node, {"metadata": {"name": name, "uid": name}, "status": {"allocatable": allocatable}})


def event(name: str, reason: str = "Scheduled") -> verify.Event:
    return read(verify.Event, {"reason": reason, "regarding": {"kind": "Pod", "uid": f"uid-{name}"}})


def read(kind: type[Any], listed: dict[str, Any]) -> Any:
    return verify.read(kind, [json.dumps(listed).encode()])[0]


def test_a_pod_that_is_not_bound_or_not_running_fails_the_bench() -> None:
    def verdicts(pods: list[verify.Pod]) -> list[bool]:
        return [check["ok"] for check in verify.every_pod_runs(pods, 2)]

    assert verdicts([pod("a"), pod("b")]) == [True, True]
    assert verdicts([pod("a"), pod("b", phase="Pending")]) == [True, False]
    assert verdicts([pod("a"), pod("b", "", phase="Pending")]) == [False, False]
    assert verdicts([pod("a")]) == [False, False]


def test_a_node_above_its_allocatable_fails_the_bench() -> None:
    pods = [pod("a", cpu="600m"), pod("b", cpu="0.4")]
    assert verify.no_node_is_over(pods, [node("node-1", cpu="1", memory="1000Mi", pods="2")])["ok"]
    assert not verify.no_node_is_over(pods, [node("node-1", cpu="999m", memory="1Gi", pods="2")])["ok"]
    assert not verify.no_node_is_over(pods, [node("node-1", cpu="1", memory="999Mi", pods="2")])["ok"]
    assert not verify.no_node_is_over(pods, [node("node-1", cpu="1", memory="1Gi", pods="1")])["ok"]
    assert not verify.no_node_is_over(pods, [])["ok"], "a node that nobody knows has nothing"


def test_a_pod_without_its_event_or_with_two_fails_the_bench() -> None:
    pods = [pod("a"), pod("b")]
    assert verify.one_event_each(pods, [event("a"), event("b"), event("b", "FailedScheduling")])["ok"]
    assert not verify.one_event_each(pods, [event("a")])["ok"]
    assert not verify.one_event_each(pods, [event("a"), event("b"), event("b")])["ok"]


def test_a_restarted_server_that_lost_or_moved_a_pod_fails_the_bench() -> None:
    pods = [pod("a"), pod("b")]
    assert verify.the_same(pods, [pod("b"), pod("a")])["ok"]
    assert not verify.the_same(pods, [pod("a")])["ok"]
    assert not verify.the_same(pods, [pod("a"), pod("b", "node-2")])["ok"]

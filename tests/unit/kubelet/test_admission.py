"""Which pods a node takes."""

from __future__ import annotations

from typing import Any

import pytest

from kubecore.kubelet.admission import admit
from support.kubelet import NODE, container, pod

Object = dict[str, Any]


def node(**more: Any) -> Object:
    fields: Object = {
        "metadata": {"name": NODE, "labels": {"disk": "ssd", "cores": "8"}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2", "example.com/gpu": "1"}},
    }
    return {**fields, **more}


def asking(**requests: str) -> Object:
    return pod(
        "web", container("app", resources={"requests": {name.replace("__", "/"): v for name, v in requests.items()}})
    )


def reason(given: Object, *others: Object, on: Object | None = None) -> tuple[str, str] | None:
    found = admit(given, others, on or node())
    return (found.reason, found.message) if found is not None else None


@pytest.mark.parametrize(
    ("given", "others", "message"),
    [
        (asking(cpu="1500m"), [asking(cpu="1")], "cpu, requested: 1500, used: 1000, capacity: 2000"),
        (asking(memory="2Gi"), [], f"memory, requested: {2 << 30}, used: 0, capacity: {1 << 30}"),
        (asking(), [pod("a"), pod("b")], "pods, requested: 1, used: 2, capacity: 2"),
        (asking(**{"example.com__tpu": "1"}), [], "example.com/tpu, requested: 1, used: 0, capacity: 0"),
    ],
)
def test_what_does_not_fit_is_out(given: Object, others: list[Object], message: str) -> None:
    name = message.partition(",")[0]
    assert reason(given, *others) == (f"OutOf{name}", f"Node didn't have enough resource: {message}")


def test_what_fits_is_in() -> None:
    assert reason(asking(cpu="1", memory="512Mi"), asking(cpu="1", memory="512Mi")) is None
    assert admit(asking(cpu="100"), [], None) is None


def affinity(*expressions: Object, fields: tuple[Object, ...] = ()) -> Object:
    term = {"matchExpressions": list(expressions), "matchFields": list(fields)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "disk", "operator": "In", "values": ["ssd"]}, True),
        ({"key": "disk", "operator": "NotIn", "values": ["ssd"]}, False),
        ({"key": "gpu", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "gpu", "operator": "Exists"}, False),
        ({"key": "gpu", "operator": "DoesNotExist"}, True),
        ({"key": "cores", "operator": "Gt", "values": ["4"]}, True),
        ({"key": "cores", "operator": "Lt", "values": ["4"]}, False),
    ],
)
def test_a_pod_goes_where_its_affinity_lets_it(expression: Object, matches: bool) -> None:
    said = reason(pod("web", affinity=affinity(expression)))
    wrong = ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
    assert said == (None if matches else wrong)


def test_names_and_empty_terms() -> None:
    here = {"key": "metadata.name", "operator": "In", "values": [NODE]}
    assert reason(pod("web", affinity=affinity(fields=(here,)))) is None
    assert reason(pod("web", affinity=affinity())) is not None
    assert reason(pod("web", nodeName="elsewhere")) == (
        "NodeName",
        "Predicate NodeName failed: node(s) didn't match the requested node name",
    )


def test_a_host_port_has_one_pod() -> None:
    def listening(port: int, **more: str) -> Object:
        return pod("web", container("app", ports=[{"containerPort": 80, "hostPort": port, **more}]))

    assert reason(listening(80), listening(80)) is not None
    assert reason(listening(80), listening(81)) is None
    assert reason(listening(80, protocol="UDP"), listening(80)) is None
    assert reason(listening(80, hostIP="192.0.2.1"), listening(80, hostIP="192.0.2.2")) is None
    assert reason(listening(80, hostIP="192.0.2.1"), listening(80)) is not None


def test_only_a_taint_that_evicts_keeps_a_pod_out() -> None:
    evicts = node(spec={"taints": [{"key": "broken", "value": "yes", "effect": "NoExecute"}]})
    keeps = node(spec={"taints": [{"key": "broken", "effect": "NoSchedule"}]})
    assert reason(pod("web"), on=keeps) is None
    found = reason(pod("web"), on=evicts)
    assert found is not None
    assert found[0] == "TaintToleration"
    for toleration in (
        {"operator": "Exists"},
        {"key": "broken", "operator": "Exists", "effect": "NoExecute"},
        {"key": "broken", "value": "yes"},
    ):
        assert reason(pod("web", tolerations=[toleration]), on=evicts) is None
    assert reason(pod("web", tolerations=[{"key": "broken", "value": "no"}]), on=evicts) is not None

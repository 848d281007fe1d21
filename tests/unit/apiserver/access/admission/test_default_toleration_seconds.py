from __future__ import annotations

from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.default_toleration_seconds import DefaultTolerationSeconds

from ..worlds import World, admission_request
from .pods import pod


def tolerations(obj: Object) -> list[tuple[str | None, int | None]]:
    DefaultTolerationSeconds().mutate(admission_request(World(), obj))
    return [(each.get("key"), each.get("tolerationSeconds")) for each in obj["spec"].get("tolerations", [])]


def test_a_pod_stays_five_minutes_on_a_lost_node() -> None:
    assert tolerations(pod()) == [("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300)]


def test_a_pods_own_word_on_one_taint_stands() -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    assert tolerations(pod(tolerations=[own])) == [
        ("node.kubernetes.io/not-ready", 5),
        ("node.kubernetes.io/unreachable", 300),
    ]


def test_a_pod_that_tolerates_everything_gets_nothing_more() -> None:
    assert tolerations(pod(tolerations=[{"operator": "Exists"}])) == [(None, None)]


def test_a_word_on_scheduling_is_no_word_on_eviction() -> None:
    own = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}
    assert len(tolerations(pod(tolerations=[own]))) == 3

from __future__ import annotations

from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.taint_nodes_by_condition import TaintNodesByCondition

from ..worlds import World, admission_request, make

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def taints(node: Object, **options: Object) -> list[dict[str, str]]:
    TaintNodesByCondition().mutate(admission_request(World(), node, **options))  # type: ignore[arg-type]
    return node.get("spec", {}).get("taints", [])  # type: ignore[no-any-return]


def test_a_new_node_starts_not_ready() -> None:
    assert taints(make("Node", "a")) == [NOT_READY]


def test_a_taint_that_is_there_is_not_repeated() -> None:
    own = [{"key": "gpu", "effect": "NoSchedule"}, NOT_READY]
    assert taints(make("Node", "a", spec={"taints": own})) == own


def test_an_update_is_left_alone() -> None:
    request = admission_request(World(), make("Node", "a"), old=make("Node", "a"), operation="UPDATE")
    TaintNodesByCondition().mutate(request)
    assert request.object == make("Node", "a")

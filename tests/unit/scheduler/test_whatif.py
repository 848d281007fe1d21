from typing import Any

from kubecore.client import Client, virtual_loop
from kubecore.scheduler import WhatIf, explanation_as_json
from support.fake_apiserver import FakeServer

Object = dict[str, Any]


def node(name: str, *, cpu: str = "4", **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "110"}},
    }


def pod(name: str, *, cpu: str = "1", **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default", "uid": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def what_if(*nodes: Object, pods: tuple[Object, ...] = ()) -> WhatIf:
    cluster = WhatIf()
    for each in nodes:
        cluster.add_node(each)
    cluster.add_pods(pods)
    return cluster


def test_each_node_has_its_scores_or_the_plugin_that_refused_it() -> None:
    taint = {"key": "k", "effect": "NoSchedule"}
    explanation = what_if(node("a"), node("b", cpu="64"), node("c", taints=[taint])).explain(pod("web"))
    assert explanation.node == "b"
    assert list(explanation.refused()) == ["TaintToleration"]
    (refused,) = explanation.refused()["TaintToleration"]
    assert (refused.node, refused.reasons) == ("c", ("node(s) had untolerated taint(s)",))
    best, next_best = explanation.ranked()
    assert (best.node, next_best.node) == ("b", "a")
    fit = {verdict.node: {each.plugin: each.score for each in verdict.scores} for verdict in explanation.ranked()}
    assert fit["a"]["NodeResourcesFit"] == (75 + 97) // 2
    assert explanation.margin == best.total - next_best.total > 0


def test_a_pod_that_runs_is_explained_as_if_it_had_no_node_yet() -> None:
    running = pod("web", cpu="4", nodeName="a")
    cluster = what_if(node("a"), node("b", cpu="1"), pods=(running,))
    assert cluster.explain(running).node == "a"
    assert cluster.explain(pod("other", cpu="4")).node is None, "asking has not moved it"


def test_a_pod_that_goes_nowhere_is_told_what_would_make_room() -> None:
    cluster = what_if(node("a", cpu="1"), pods=(pod("low", nodeName="a"),))
    explanation = cluster.explain(pod("high", priority=5))
    assert explanation.node is None
    assert explanation.message == "0/1 nodes are available: 1 Insufficient cpu."
    assert (explanation.nominated_node, explanation.victims) == ("a", ("default/low",))


def test_pods_are_placed_with_those_before_them_in_place_the_most_important_first() -> None:
    cluster = what_if(node("a", cpu="2"))
    placed = cluster.place([pod("x"), pod("y"), pod("z", priority=9)])
    assert {each.key: each.node for each in placed} == {"default/z": "a", "default/x": "a", "default/y": None}
    assert placed[2].message.startswith("0/1 nodes are available: 1 Insufficient cpu.")


def test_nodes_may_be_added_and_taken_away() -> None:
    cluster = what_if(node("a", cpu="2"), node("b", cpu="2"))
    assert cluster.add_nodes_like("a", 2) == ["a-more-1", "a-more-2"]
    cluster.remove_node("b")
    assert sorted(each.node or "" for each in cluster.place([pod(f"p{index}", cpu="2") for index in range(4)])) == [
        "",
        "a",
        "a-more-1",
        "a-more-2",
    ]


def test_capacity_counts_how_many_more_fit() -> None:
    cluster = what_if(node("a", cpu="2"), node("b", cpu="3"))
    cluster.place([pod("web")])
    assert cluster.capacity(pod("web"), 100) == 4
    assert what_if(node("a")).capacity(pod("web"), 2) == 2


def test_a_cluster_is_read_as_it_is() -> None:
    async def scenario() -> None:
        server = FakeServer()
        server.seed("nodes", node("a", cpu="2"))
        server.seed("pods", pod("low", cpu="2", nodeName="a"))
        budget = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "b", "namespace": "default"},
        }
        server.seed("poddisruptionbudgets", {**budget, "spec": {"selector": {}}, "status": {"disruptionsAllowed": 0}})
        before = server.revision
        cluster = await WhatIf.of_cluster(Client(server.transport()))
        explanation = cluster.explain(pod("high", priority=5))
        assert explanation.victims == ("default/low",)
        assert explanation_as_json(explanation)["nodes"][0]["refusedBy"] == "NodeResourcesFit"
        assert server.revision == before

    virtual_loop.run(scenario())

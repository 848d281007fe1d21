"""`metrics.k8s.io`: what a client is told, what kubelets are asked, and how often."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from kubecore.api import codec, errors, scheme
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire.kubelet_summary import kubelet_address
from kubecore.apiserver.wire.metrics_api import MetricsApi
from kubecore.apiserver.wire.node_figures import FRESH_SECONDS, NodeFigures

Object = dict[str, Any]


@dataclass
class Asked:
    """A request as the wire hands it over."""

    resource: str
    verb: str = "list"
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    method: str = "GET"
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)


class Cluster:
    """Real storage, kubelets that the test answers for, a clock in its hand."""

    def __init__(self) -> None:
        self.storage = EmbeddedStorage.memory()
        self.summaries: dict[str, Object] = {}
        self.questions: list[str] = []
        self.seconds = 1_700_000_000.0
        self.executor = ThreadPoolExecutor(2)
        self.figures = NodeFigures(self.storage, self.ask, clock=self)
        self.api = MetricsApi(self.storage, self.figures, executor=self.executor, clock=self)

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def ask(self, node: Object, timeout_seconds: float) -> bytes:
        name = node["metadata"]["name"]
        self.questions.append(name)
        if name not in self.summaries:
            raise ConnectionRefusedError(f"{name} does not listen")
        return json.dumps(self.summaries[name]).encode()

    def put(self, plural: str, obj: Object) -> None:
        resource = scheme.core(plural)
        obj = {"apiVersion": "v1", "kind": resource.kind, **obj}
        value, splice = codec.encode(obj)
        metadata = obj["metadata"]
        self.storage.create(resource.key(metadata.get("namespace", ""), metadata["name"]), value, splice=splice)

    def node(self, name: str, **metadata: Any) -> None:
        self.put("nodes", {"metadata": {"name": name, **metadata}})
        self.summaries[name] = {"node": _part(250_000_000, 1 << 30), "pods": []}

    def pod(self, name: str, node: str, *, phase: str = "Running", **metadata: Any) -> None:
        spec = {"nodeName": node, "containers": [{"name": "app", "image": "app"}]}
        self.put(
            "pods",
            {"metadata": {"name": name, "namespace": "shop", **metadata}, "spec": spec, "status": {"phase": phase}},
        )
        if node in self.summaries:
            reference = {"name": name, "namespace": "shop", "uid": f"uid-{name}"}
            containers = [{"name": "app", **_part(1_500_000, 3 << 20)}]
            self.summaries[node]["pods"].append({"podRef": reference, "containers": containers})

    def get(self, resource: str, **asked: Any) -> Object:
        result = self.api.handle(Asked(resource, **asked)).result(10)  # type: ignore[arg-type]
        read: Object = json.loads(result.body)
        return read

    def names(self, resource: str, **asked: Any) -> list[str]:
        return [item["metadata"]["name"] for item in self.get(resource, **asked)["items"]]


def _part(nanocores: int, working_set: int) -> Object:
    at = "2023-11-14T22:13:10Z"
    return {
        "cpu": {"time": at, "usageNanoCores": nanocores, "usageCoreNanoSeconds": 1},
        "memory": {"time": at, "workingSetBytes": working_set},
    }


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.figures.close()
    made.executor.shutdown()
    made.storage.close()


def test_a_node_uses_what_its_kubelet_says(cluster: Cluster) -> None:
    cluster.node("n1", labels={"zone": "a"})
    shown = cluster.get("nodes", verb="get", name="n1")
    assert shown == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "n1", "creationTimestamp": "2023-11-14T22:13:20Z", "labels": {"zone": "a"}},
        "timestamp": "2023-11-14T22:13:10Z",
        "window": "10s",
        "usage": {"cpu": "250000000n", "memory": "1048576Ki"},
    }


def test_pods_are_told_with_their_containers_in_the_order_of_their_names(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.pod("web", "n1")
    cluster.pod("api", "n1")
    shown = cluster.get("pods", namespace="shop")
    assert (shown["kind"], shown["apiVersion"]) == ("PodMetricsList", "metrics.k8s.io/v1beta1")
    assert [item["metadata"]["name"] for item in shown["items"]] == ["api", "web"]
    assert shown["items"][0]["containers"] == [{"name": "app", "usage": {"cpu": "1500000n", "memory": "3072Ki"}}]
    assert "kind" not in shown["items"][0]
    assert cluster.names("pods", namespace="other") == []


def test_labels_and_fields_select(cluster: Cluster) -> None:
    cluster.node("n1", labels={"zone": "a"})
    cluster.node("n2", labels={"zone": "b"})
    cluster.pod("web", "n1", labels={"app": "web"})
    cluster.pod("api", "n2")
    assert cluster.names("nodes", query=[("labelSelector", "zone=b")]) == ["n2"]
    assert cluster.names("pods", query=[("labelSelector", "app=web")]) == ["web"]
    assert cluster.names("pods", query=[("fieldSelector", "metadata.name!=web")]) == ["api"]
    with pytest.raises(errors.BadRequest):
        cluster.names("nodes", query=[("labelSelector", "a in b")])


def test_a_kubelet_is_asked_once_in_a_while_and_only_when_somebody_asks(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.pod("web", "n1")
    assert cluster.questions == []
    cluster.get("nodes")
    cluster.get("pods")
    assert cluster.questions == ["n1"]
    cluster.seconds += FRESH_SECONDS
    cluster.get("nodes")
    assert cluster.questions == ["n1", "n1"]


def test_only_the_nodes_of_the_pods_asked_for_are_asked(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.node("n2")
    cluster.pod("web", "n2")
    cluster.get("pods", verb="get", namespace="shop", name="web")
    assert cluster.questions == ["n2"]


def test_a_kubelet_that_does_not_answer_is_left_out(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.node("n2")
    del cluster.summaries["n1"]
    assert cluster.names("nodes") == ["n2"]
    with pytest.raises(errors.NotFound, match=r'nodemetrics.metrics.k8s.io "n1" not found'):
        cluster.get("nodes", verb="get", name="n1")


@pytest.mark.parametrize("nonsense", [[], {"pods": [{"containers": [_part(1, 1) | {"name": "app"}]}]}, {"node": 7}])
def test_a_kubelet_that_talks_nonsense_costs_nobody_else_their_figures(cluster: Cluster, nonsense: Any) -> None:
    cluster.node("good")
    cluster.node("odd")
    cluster.summaries["odd"] = nonsense
    assert cluster.names("nodes") == ["good"]


def test_a_node_that_is_known_to_be_silent_is_not_asked(cluster: Cluster) -> None:
    silent = {"type": "Ready", "status": "Unknown"}
    cluster.put("nodes", {"metadata": {"name": "gone"}, "status": {"conditions": [silent]}})
    cluster.node("n1")
    assert cluster.names("nodes") == ["n1"]
    assert cluster.questions == ["n1"]


def test_who_asks_while_a_kubelet_thinks_waits_for_the_same_answer(cluster: Cluster) -> None:
    cluster.node("n1")
    asked, thought = threading.Event(), threading.Event()
    ask = cluster.ask

    def slowly(node: Object, timeout_seconds: float) -> bytes:
        asked.set()
        assert thought.wait(10)
        return ask(node, timeout_seconds)

    cluster.figures._fetch = slowly
    first = cluster.api.handle(Asked("nodes"))  # type: ignore[arg-type]
    assert asked.wait(10)
    second = cluster.api.handle(Asked("nodes"))  # type: ignore[arg-type]
    assert not first.done()
    thought.set()
    assert len(json.loads(first.result(10).body)["items"]) == len(json.loads(second.result(10).body)["items"]) == 1
    assert cluster.questions == ["n1"]


def test_a_pod_counts_while_it_runs_and_once_all_its_containers_have_a_rate(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.pod("web", "n1")
    cluster.pod("done", "n1", phase="Succeeded")
    cluster.pod("new", "n1")
    del cluster.summaries["n1"]["pods"][2]["containers"][0]["cpu"]["usageNanoCores"]
    assert cluster.names("pods") == ["web"]
    with pytest.raises(errors.NotFound, match=r'podmetrics.metrics.k8s.io "shop/new" not found'):
        cluster.get("pods", verb="get", namespace="shop", name="new")
    with pytest.raises(errors.NotFound, match='pods "none" not found'):
        cluster.get("pods", verb="get", namespace="shop", name="none")


def test_simulated_pods_use_what_their_annotations_say_and_others_are_left_out(cluster: Cluster) -> None:
    simulated = {"kwok.x-k8s.io/node": "fake"}
    cluster.put("nodes", {"metadata": {"name": "s1", "annotations": simulated}})
    cluster.put("nodes", {"metadata": {"name": "s2", "annotations": simulated}})
    usage = {"kwok.x-k8s.io/usage-cpu": "120m", "kwok.x-k8s.io/usage-memory": "64Mi"}
    cluster.pod("web", "s1", annotations=usage)
    cluster.pod("quiet", "s1")
    cluster.pod("odd", "s1", annotations={"kwok.x-k8s.io/usage-cpu": "much"})
    assert cluster.names("pods") == ["web"]
    assert cluster.names("nodes") == ["s1"]
    assert cluster.get("nodes")["items"][0]["usage"] == {"cpu": "120000000n", "memory": "65536Ki"}
    assert cluster.questions == []


def test_a_table_has_metrics_servers_columns(cluster: Cluster) -> None:
    cluster.node("n1")
    cluster.pod("web", "n1")
    table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")]
    shown = cluster.get("nodes", headers=table)
    assert [(column["name"], column["format"]) for column in shown["columnDefinitions"]] == [
        ("Name", "name"),
        ("cpu", "quantity"),
        ("memory", "quantity"),
        ("Window", "duration"),
    ]
    assert shown["rows"][0]["cells"] == ["n1", "250m", "1Gi", "10s"]
    assert shown["rows"][0]["object"]["metadata"]["name"] == "n1"
    assert cluster.get("pods", headers=table)["rows"][0]["cells"] == ["web", "1500u", "3Mi", "10s"]


def test_what_cannot_be_done_is_refused(cluster: Cluster) -> None:
    for verb in ("watch", "create", "delete"):
        with pytest.raises(errors.MethodNotAllowed):
            cluster.get("nodes", verb=verb)


def test_a_kubelet_is_found_where_its_node_says() -> None:
    addresses = [
        {"type": "Hostname", "address": "n1"},
        {"type": "InternalIP", "address": "198.18.0.11"},
        {"type": "InternalIP", "address": "fd00::11"},
    ]
    status: Object = {"addresses": addresses}
    assert kubelet_address({"metadata": {"name": "n1"}, "status": status}) == ("198.18.0.11", 10250)
    status["daemonEndpoints"] = {"kubeletEndpoint": {"Port": 10350}}
    assert kubelet_address({"metadata": {"name": "n1"}, "status": status}) == ("198.18.0.11", 10350)
    with pytest.raises(OSError, match="no preferred addresses found for node n1"):
        kubelet_address({"metadata": {"name": "n1"}, "status": {}})

import json
from typing import Any

import pytest

from kubecore.scheduler import Refused, read_configuration
from kubecore.scheduler.kernel import Kernel

Object = dict[str, Any]


def configuration(*profiles: Object, **fields: Any) -> Object:
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return {**kind, **({"profiles": list(profiles)} if profiles else {}), **fields}


def settings(**profile: Any) -> Object:
    (read,) = read_configuration(configuration(profile)).profiles
    found: Object = json.loads(read.settings())
    return found


def told(plugin: str, **arguments: Any) -> list[Object]:
    return [{"name": plugin, "args": arguments}]


def place(profile: Object, nodes: list[Object], pod_spec: Object, labels: Object | None = None) -> str | None:
    """Where the kernel puts a pod under a profile."""
    read = read_configuration(configuration(profile))
    kernel = Kernel(seed=1, profiles=[each.settings() for each in read.profiles])
    for node in nodes:
        kernel.node_event("ADDED", json.dumps(node).encode())
    metadata = {"name": "web", "namespace": "default", "uid": "1", "labels": labels or {}}
    kernel.pod_events([("ADDED", json.dumps({"metadata": metadata, "spec": pod_spec}).encode())])
    ((_, node, _),) = kernel.schedule(["default/web"])
    return node


def node(name: str, cpu: str = "4", labels: Object | None = None, **resources: str) -> Object:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110", **resources}
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"allocatable": allocatable}}


def asking(cpu: str = "1", **more: str) -> Object:
    return {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi", **more}}}]}


def test_without_profiles_it_is_upstreams_default() -> None:
    (profile,) = read_configuration(configuration()).profiles
    assert profile.scheduler_name == "default-scheduler"
    assert json.loads(profile.settings())["disabledFilters"] == []
    assert json.loads(profile.settings())["weights"] == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesFit": 1,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }


def test_a_plugin_is_disabled_everywhere_or_at_one_point() -> None:
    everywhere = settings(plugins={"multiPoint": {"disabled": [{"name": "NodeAffinity"}]}})
    assert everywhere["disabledFilters"] == ["NodeAffinity"]
    assert "NodeAffinity" not in everywhere["weights"]
    only_scores = settings(plugins={"score": {"disabled": [{"name": "NodeAffinity"}]}})
    assert only_scores["disabledFilters"] == []
    assert "NodeAffinity" not in only_scores["weights"]


def test_all_scores_are_replaced_by_one_with_its_weight() -> None:
    chosen = {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 5}]}
    assert settings(plugins={"score": chosen})["weights"] == {"NodeResourcesFit": 5}


def test_preemption_can_be_disabled() -> None:
    assert not settings(plugins={"postFilter": {"disabled": [{"name": "DefaultPreemption"}]}})["preempts"]


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"apiVersion": "kubescheduler.config.k8s.io/v1beta3", "kind": "KubeSchedulerConfiguration"}, ""),
        (configuration(profiles=[], surprise=1), "surprise"),
        (configuration(extenders=[{"urlPrefix": "http://a"}]), "extenders"),
        (configuration({"schedulerName": "a"}, {"schedulerName": "a"}), "profiles[1].schedulerName"),
        (configuration({"schedulerName": "a"}, {}), "profiles[1].schedulerName"),
        (configuration(podInitialBackoffSeconds=5, podMaxBackoffSeconds=2), "podMaxBackoffSeconds"),
        (
            configuration({"plugins": {"score": {"enabled": [{"name": "Mine"}]}}}),
            "profiles[0].plugins.score.enabled[0].name",
        ),
        (configuration({"plugins": {"bind": {"disabled": [{"name": "*"}]}}}), "profiles[0].plugins.bind"),
        (configuration({"plugins": {"anywhere": {}}}), "profiles[0].plugins.anywhere"),
        (
            configuration({"pluginConfig": told("NodeResourcesFit", scoringStrategy={"type": "Most"})}),
            "profiles[0].pluginConfig[0].args.scoringStrategy.type",
        ),
        (
            configuration({"pluginConfig": told("InterPodAffinity", hardPodAffinityWeight=101)}),
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight",
        ),
        (
            configuration({"pluginConfig": told("PodTopologySpread", defaultConstraints=[{"maxSkew": 1}])}),
            "profiles[0].pluginConfig[0].args.defaultConstraints",
        ),
        (configuration({"pluginConfig": told("NodeName", a=1)}), "profiles[0].pluginConfig[0].args"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_path(given: Object, path: str) -> None:
    with pytest.raises(Refused) as refused:
        read_configuration(given)
    assert refused.value.path == path


def test_most_allocated_packs_where_least_allocated_spreads() -> None:
    nodes = [node("small", "2"), node("large", "16")]
    packing = {"pluginConfig": told("NodeResourcesFit", scoringStrategy={"type": "MostAllocated"})}
    only_fit = {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}}
    assert place({"plugins": only_fit}, nodes, asking()) == "large"
    assert place({"plugins": only_fit, **packing}, nodes, asking()) == "small"


def test_a_shape_prefers_the_utilization_it_peaks_at() -> None:
    shape = [{"utilization": 0, "score": 0}, {"utilization": 50, "score": 10}, {"utilization": 100, "score": 0}]
    strategy = {
        "type": "RequestedToCapacityRatio",
        "resources": [{"name": "cpu"}],
        "requestedToCapacityRatio": {"shape": shape},
    }
    profile = {
        "plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}},
        "pluginConfig": told("NodeResourcesFit", scoringStrategy=strategy),
    }
    nodes = [node("full", "1"), node("half", "2"), node("empty", "16")]
    assert place(profile, nodes, asking("1")) == "half"


def test_scores_may_weigh_extended_resources() -> None:
    strategy = {"type": "LeastAllocated", "resources": [{"name": "example.com/gpu", "weight": 9}]}
    profile = {
        "plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}},
        "pluginConfig": told("NodeResourcesFit", scoringStrategy=strategy),
    }
    nodes = [node("few", **{"example.com/gpu": "2"}), node("many", **{"example.com/gpu": "8"})]
    assert place(profile, nodes, asking(**{"example.com/gpu": "1"})) == "many"


def test_ignored_resources_are_not_asked_of_a_node() -> None:
    asks = asking(**{"example.com/gpu": "1"})
    assert place({}, [node("n")], asks) is None
    for ignored in ({"ignoredResources": ["example.com/gpu"]}, {"ignoredResourceGroups": ["example.com"]}):
        assert place({"pluginConfig": told("NodeResourcesFit", **ignored)}, [node("n")], asks) == "n"


def test_added_affinity_holds_for_every_pod_of_the_profile() -> None:
    term = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["batch"]}]}
    added = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    nodes = [node("a", "64"), node("b", labels={"pool": "batch"})]
    assert place({}, nodes, asking()) == "a"
    assert place({"pluginConfig": told("NodeAffinity", addedAffinity=added)}, nodes, asking()) == "b"


def test_a_disabled_filter_refuses_nobody() -> None:
    tainted = {**node("n"), "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
    assert place({}, [tainted], asking()) is None
    assert place({"plugins": {"filter": {"disabled": [{"name": "TaintToleration"}]}}}, [tainted], asking()) == "n"


def test_each_profile_decides_for_the_pods_that_name_it() -> None:
    packing = {
        "schedulerName": "packer",
        "pluginConfig": told("NodeResourcesFit", scoringStrategy={"type": "MostAllocated"}),
    }
    read = read_configuration(configuration({"schedulerName": "default-scheduler"}, packing))
    kernel = Kernel(seed=1, profiles=[each.settings() for each in read.profiles])
    for each in (node("small", "2"), node("large", "16")):
        kernel.node_event("ADDED", json.dumps(each).encode())
    pods = [
        {"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {**asking("500m"), "schedulerName": name}}
        for name in ("packer", "default-scheduler", "other")
    ]
    kernel.pod_events([("ADDED", json.dumps(pod).encode()) for pod in pods])
    placed = [node for _, node, _ in kernel.schedule(["d/packer", "d/default-scheduler", "d/other"])]
    assert placed == ["small", "large", None]

"""The node: registered, described, alive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubecore.client import virtual_loop
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.node_object import NodeInput, allocatable, capacity, new_node, node_status, not_ready
from kubecore.kubelet.node_status import later
from kubecore.kubelet.runtimes.protocol import Condition, Image
from kubecore.kubelet.stats.samples import Machine
from support.kubelet import NODE, World, world

GIB = 1 << 30


def given(**more: Any) -> NodeInput:
    fields: dict[str, Any] = {
        "name": NODE,
        "hostname": NODE,
        "addresses": ("198.18.0.11",),
        "configuration": KubeletConfiguration(),
        "machine": Machine(cores=4, memory_bytes=8 * GIB),
        "disk_bytes": 100 * GIB,
        "runtime_conditions": (Condition(type="RuntimeReady", status=True),),
        **more,
    }
    return NodeInput(**fields)


def condition(node: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(dict(each) for each in node["status"]["conditions"] if each["type"] == kind)


def node_of(here: World) -> dict[str, Any]:
    found = here.server.find("nodes", "", NODE)
    assert found is not None
    return found


def test_what_is_reserved_is_not_for_pods() -> None:
    configuration = KubeletConfiguration(
        system_reserved={"cpu": "500m", "memory": "1Gi"}, kube_reserved={"cpu": "500m"}, max_pods=20
    )
    node = given(configuration=configuration)
    assert capacity(node) == {"cpu": "4", "ephemeral-storage": "104857600Ki", "memory": "8388608Ki", "pods": "20"}
    left = allocatable(node, capacity(node))
    # 100Mi and 10% are kept free by eviction.
    assert left == {"cpu": "3", "ephemeral-storage": "96636764160", "memory": "7237632Ki", "pods": "20"}


def test_a_node_registers_with_upstreams_labels_and_its_taints() -> None:
    node = new_node(given(), {"rack": "7"}, 0.0)
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert node["metadata"]["labels"]["kubernetes.io/os"] == "linux"
    assert node["metadata"]["labels"]["rack"] == "7"
    assert node["status"]["addresses"] == [
        {"type": "InternalIP", "address": "198.18.0.11"},
        {"type": "Hostname", "address": NODE},
    ]
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}


def test_why_a_node_is_not_ready() -> None:
    assert not_ready(given()) == []
    assert not_ready(given(runtime_conditions=None)) == ["container runtime is down"]
    network = Condition(type="NetworkReady", status=False, reason="NetworkPluginNotReady", message="no pod range yet")
    assert not_ready(given(runtime_conditions=(network,))) == [
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no pod range yet"
    ]
    said = node_status(given(problems=["node is shutting down"]), {}, 0.0)
    ready = next(each for each in said["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
    assert ready["message"] == "node is shutting down"


def test_the_largest_images_are_told_first_and_only_so_many() -> None:
    images = [Image(id=f"sha256:{number}", repo_tags=(f"app:{number}",), size_bytes=number) for number in range(60)]
    told = node_status(given(images=images), {}, 0.0)["images"]
    assert len(told) == 50
    assert told[0] == {"names": ["app:59"], "sizeBytes": 59}


def test_a_node_is_registered_ready_and_its_lease_renewed(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(2)
            node = node_of(here)
            assert condition(node, "Ready")["reason"] == "KubeletReady"
            assert condition(node, "MemoryPressure")["reason"] == "KubeletHasSufficientMemory"
            assert node["status"]["nodeInfo"]["containerRuntimeVersion"] == "fake://1"
            lease = here.server.find("leases", "kube-node-lease", NODE)
            assert lease is not None
            assert lease["spec"]["leaseDurationSeconds"] == 40
            assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
            await here.pass_time(11)
            renewed = here.server.find("leases", "kube-node-lease", NODE)
            assert renewed is not None
            assert renewed["spec"]["renewTime"] > lease["spec"]["renewTime"]
            assert here.events("Starting") == ["Starting kubelet."]
            assert here.events("NodeReady") == [f"Node {NODE} status is now: NodeReady"]

    virtual_loop.run(story())


def test_a_nodes_status_is_written_when_it_changes_and_now_and_then(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(30)
            before = _writes(here)
            await here.pass_time(250)
            assert _writes(here) == before
            await here.pass_time(60)
            assert _writes(here) == before + 1
            here.runtime.conditions = (Condition(type="RuntimeReady", status=False, reason="Gone", message="ended"),)
            await here.pass_time(15)
            assert condition(node_of(here), "Ready")["status"] == "False"
            assert here.events("NodeNotReady") == [f"Node {NODE} status is now: NodeNotReady"]

    virtual_loop.run(story())


def _writes(here: World) -> int:
    path = f"/api/v1/nodes/{NODE}/status"
    return sum(1 for request in here.server.requests if request.method == "PATCH" and request.path == path)


def test_a_node_that_was_marked_unknown_contradicts(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(5)
            node = node_of(here)
            for each in node["status"]["conditions"]:
                each.update({"status": "Unknown", "reason": "NodeStatusUnknown"})
            here.server.seed("nodes", node)
            await here.pass_time(1)
            assert condition(node_of(here), "Ready")["status"] == "True"

    virtual_loop.run(story())


def test_the_pod_range_reaches_the_runtime(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(3)
            node = node_of(here)
            node["spec"]["podCIDR"] = "10.244.3.0/24"
            here.server.seed("nodes", node)
            await here.pass_time(1)
            assert here.runtime.pod_cidr == "10.244.3.0/24"

    virtual_loop.run(story())


def test_an_answer_that_comes_after_the_watch_has_told_more_takes_nothing_back() -> None:
    def version(number: int, uid: str = "1", **spec: str) -> dict[str, Any]:
        return {"metadata": {"uid": uid, "resourceVersion": str(number)}, "spec": spec}

    created, with_range = version(9), version(10, podCIDR="10.244.0.0/24")
    assert later(with_range, created) is with_range
    assert later(created, with_range) is with_range
    assert later(None, created) is created
    # Deleted and made again: whatever its number, it is another node.
    assert later(with_range, version(3, uid="2"))["metadata"]["uid"] == "2"


def test_a_node_that_is_there_already_keeps_what_others_gave_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(3)
            node = node_of(here)
            node["metadata"]["labels"]["zone"] = "north"
            del node["metadata"]["labels"]["kubernetes.io/os"]
            node["spec"]["taints"] = [{"key": "mine", "effect": "NoSchedule"}]
            here.server.seed("nodes", node)
            await here.kill()
            here.start()
            await here.pass_time(3)
            labels = node_of(here)["metadata"]["labels"]
            assert (labels["zone"], labels["kubernetes.io/os"]) == ("north", "linux")
            assert node_of(here)["spec"]["taints"] == [{"key": "mine", "effect": "NoSchedule"}]

    virtual_loop.run(story())


def test_a_deleted_node_registers_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(3)
            from kubecore.api.scheme import core

            await here.kubelet.client.delete(core("nodes"), "", NODE)
            await here.pass_time(3)
            assert condition(node_of(here), "Ready")["status"] == "True"

    virtual_loop.run(story())


def test_no_pod_is_started_before_the_network_is_there(tmp_path: Path) -> None:
    from support.kubelet import pod

    async def story() -> None:
        async with world(tmp_path) as here:
            network = Condition(type="NetworkReady", status=False, reason="NoRange", message="no pod range")
            here.runtime.conditions = (Condition(type="RuntimeReady", status=True), network)
            await here.pass_time(12)
            here.create(pod())
            here.create(pod("host", hostNetwork=True))
            await here.pass_time(5)
            assert here.status()["phase"] == "Pending"
            assert "network is not ready: container runtime network not ready" in here.events("NetworkNotReady")[0]
            assert here.status("host")["phase"] == "Running"
            assert here.status("host")["podIP"] == "198.18.0.11"
            here.runtime.conditions = (Condition(type="RuntimeReady", status=True),)
            await here.pass_time(30)
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())

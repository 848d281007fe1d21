"""From a pod and its container to what the runtime is asked to make; with real volumes, in a mount namespace of their own."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubecore.api.clock import SystemClock
from kubecore.client import Client
from kubecore.kubelet.container_config import ContainerSettings
from kubecore.kubelet.environment import Environment
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.pod_cgroups import PodCgroups
from kubecore.kubelet.resources import Enforcement
from kubecore.kubelet.runtimes.protocol import (
    ContainerConfig,
    Image,
    LinuxResources,
    Mount,
    MountPropagation,
    NamespaceMode,
    SandboxConfig,
    SandboxMetadata,
)
from kubecore.kubelet.seams import ConfigurationFailure, ContainerContext
from kubecore.kubelet.volumes import LinuxMounter, Tokens, VolumeManager
from support.fake_apiserver import FakeServer
from support.mount_namespace import in_private_mounts
from support.pods import amounts, container_of, pod_of

ENFORCEMENT = Enforcement(memory_capacity_bytes=8 << 30)
HOSTS = Mount(container_path="/etc/hosts", host_path="/pods/etc-hosts")
TERMINATION = Mount(container_path="/dev/termination-log", host_path="/pods/1/termination")


class Cgroups:
    """Remembers what was made."""

    version = 1

    def __init__(self) -> None:
        self.limits: dict[str, LinuxResources] = {}

    def make(self, path: str) -> None:
        self.limits.setdefault(path, LinuxResources())

    def limit(self, path: str, resources: LinuxResources) -> None:
        self.limits[path] = resources

    def exists(self, path: str) -> bool:
        return path in self.limits

    def kill(self, path: str) -> None: ...

    def remove(self, path: str) -> bool:
        return self.limits.pop(path, None) is not None


class Services:
    has_synced = True

    def list(self) -> list[dict]:
        return []


class Recorder:
    def event(self, regarding, event_type: str, reason: str, message: str) -> None: ...


class Node:
    def __init__(self, root: Path) -> None:
        self.server = FakeServer()
        self.cgroups = Cgroups()
        client, dice = Client(self.server.transport()), random.Random(1)
        self.objects = PodObjects(client, randomness=dice, wake=lambda _uid: None)
        self.volumes = VolumeManager(
            client,
            root=root,
            objects=self.objects,
            tokens=Tokens(client, clock=SystemClock(), randomness=dice),
            mounter=LinuxMounter(),
            clock=SystemClock(),
            recorder=Recorder(),
            allocatable=lambda: {"memory": "64Mi"},
        )
        self.settings = ContainerSettings(
            environment=Environment(
                config_maps=self.objects.config_maps, secrets=self.objects.secrets, services=Services()
            ),
            volumes=self.volumes,
            cgroups=PodCgroups(self.cgroups, root="/node-0", enforcement=ENFORCEMENT, cpus=4),
            enforcement=ENFORCEMENT,
            allocatable=lambda: {"memory": "64Mi"},
        )

    async def config(self, pod, *, image: Image | None = None, **context) -> ContainerConfig:
        await self.volumes.mount(pod)
        given = {
            "attempt": 2,
            "image": image or Image(id="sha256:1"),
            "image_ref": "registry.example/app@sha256:1",
            "pod_ips": ("10.244.0.5",),
            "host_ips": ("198.18.0.11",),
            "log_path": "main/2.log",
            "labels": {"l": "1"},
            "annotations": {"a": "1"},
            "mounts": (HOSTS, TERMINATION),
            **context,
        }
        return await self.settings.container(pod, pod["spec"]["containers"][0], ContainerContext(**given))

    async def refused(self, pod, **context) -> str:
        with pytest.raises(ConfigurationFailure) as failure:
            await self.config(pod, **context)
        assert failure.value.reason == "CreateContainerConfigError"
        return str(failure.value)


@asynccontextmanager
async def _node(root: Path) -> AsyncIterator[Node]:
    node = Node(root)
    try:
        yield node
    finally:
        await node.objects.close()


def _names(mount: Mount) -> list[str]:
    return os.listdir(mount.host_path)


def _mounting(*mounts: dict, **fields) -> dict:
    container = container_of(
        volumeMounts=[{"name": "data", "mountPath": "/data", **mount} for mount in mounts], **fields
    )
    return pod_of(container, volumes=[{"name": "data", "emptyDir": {}}])


@in_private_mounts
async def test_everything_about_a_container_reaches_the_runtime(tmp_path: Path) -> None:
    container = container_of(
        command=["serve", "$(PORT)"],
        args=["--ip=$(IP)"],
        workingDir="/srv",
        env=[{"name": "PORT", "value": "80"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        stdin=True,
        stdinOnce=True,
        tty=True,
        securityContext={"runAsUser": 1000, "readOnlyRootFilesystem": True},
        **amounts(requests={"cpu": "100m"}, limits={"memory": "64Mi"}),
    )
    async with _node(tmp_path) as node:
        config = await node.config(pod_of(container))
    assert (config.metadata.name, config.metadata.attempt) == ("main", 2)
    assert (config.image, config.working_dir) == ("registry.example/app@sha256:1", "/srv")
    assert (config.command, config.args) == (("serve", "80"), ("--ip=10.244.0.5",))
    assert config.envs == (("PORT", "80"), ("IP", "10.244.0.5"))
    assert (config.stdin, config.stdin_once, config.tty) == (True, True, True)
    assert config.mounts == (HOSTS, TERMINATION)
    assert (config.labels, config.annotations, config.log_path) == ({"l": "1"}, {"a": "1"}, "main/2.log")
    assert (config.resources.cpu_shares, config.resources.memory_limit_bytes) == (102, 64 << 20)
    assert (config.security.run_as_user, config.security.readonly_rootfs) == (1000, True)


@in_private_mounts
async def test_volumes_are_mounted_as_the_container_asks(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _mounting({"readOnly": True, "recursiveReadOnly": "IfPossible"}, {"mountPropagation": "HostToContainer"})
        first, second, *_ = (await node.config(pod)).mounts
        assert first.host_path == str(tmp_path / "pods/uid-of-web/volumes/kubernetes.io~empty-dir/data")
        assert (first.readonly, first.recursive_read_only, first.container_path) == (True, True, "/data")
        assert (second.readonly, second.propagation) == (False, MountPropagation.HOST_TO_CONTAINER)


@in_private_mounts
async def test_what_the_kubelet_writes_the_container_only_reads(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        items = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
        pod = pod_of(
            container_of(volumeMounts=[{"name": "data", "mountPath": "/data"}]),
            volumes=[{"name": "data", "downwardAPI": {"items": items}}],
        )
        assert (await node.config(pod)).mounts[0].readonly


@in_private_mounts
async def test_a_part_of_a_volume_is_a_mount_of_the_kubelets_own(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        env = [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        pod = _mounting({"subPath": "a/b"}, {"subPathExpr": "logs/$(POD)"}, env=env)
        first, second, *_ = (await node.config(pod)).mounts
        assert first.host_path == str(tmp_path / "pods/uid-of-web/volume-subpaths/data/main/0")
        volume = node.volumes.path(pod, "data")
        (volume / "logs/web/here").touch()
        assert _names(second) == ["here"]
        assert (volume / "a/b").is_dir()
        await node.settings.container_stopped("uid-of-web", "c1")
        assert (await node.config(pod)).mounts[:2] == (first, second)
        await node.volumes.unmount("uid-of-web")
        assert LinuxMounter().below(tmp_path) == []


@in_private_mounts
async def test_a_part_that_leads_elsewhere_is_refused_without_saying_where(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _mounting({"subPath": "link"})
        await node.volumes.mount(pod)
        (node.volumes.path(pod, "data") / "link").symlink_to("/etc")
        assert await node.refused(pod) == 'failed to prepare subPath for volumeMount "data" of container "main"'
        assert await node.refused(_mounting({"subPath": "/etc"})) == "error SubPath `/etc` must not be an absolute path"
        missing = _mounting({"subPathExpr": "$(A)/$(B)"}, env=[{"name": "A", "value": ""}])
        assert await node.refused(missing) == "missing value for A, B"


@in_private_mounts
async def test_a_container_that_brings_its_own_hosts_file_keeps_it(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _mounting({"mountPath": "/etc/hosts", "subPath": "hosts"})
        assert [mount.container_path for mount in (await node.config(pod)).mounts] == [
            "/etc/hosts",
            "/dev/termination-log",
        ]


@in_private_mounts
async def test_who_would_be_root_against_its_word_is_not_made(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = pod_of(container_of(), securityContext={"runAsNonRoot": True})
        said = "container has runAsNonRoot and image will run as root"
        assert await node.refused(pod) == f'{said} (pod: "web_default(uid-of-web)", container: main)'
        assert (await node.config(pod, image=Image(id="i", uid=33))).security.run_as_user == 33


@in_private_mounts
async def test_a_volume_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _mounting({})
        await node.volumes.mount(pod)
        pod["spec"]["containers"][0]["volumeMounts"][0]["name"] = "other"
        assert await node.refused(pod) == 'cannot find volume "other" to mount into container "main"'


async def test_a_sandbox_gets_the_pods_cgroup_namespaces_and_sysctls(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        context = {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "0"}], "fsGroup": 7}
        pod = pod_of(container_of(**amounts(requests={"cpu": "1"})), hostIPC=True, securityContext=context)
        asked = SandboxConfig(
            metadata=SandboxMetadata(name="web", uid="uid-of-web", namespace="default"), hostname="web"
        )
        sandbox = await node.settings.prepare(pod, asked)
        assert sandbox.hostname == "web"
        assert sandbox.cgroup_parent == "/node-0/kubepods/burstable/poduid-of-web"
        assert node.cgroups.limits[sandbox.cgroup_parent].cpu_shares == 1024
        assert sandbox.sysctls == {"net.ipv4.tcp_syncookies": "0"}
        assert sandbox.security.namespaces.ipc is NamespaceMode.NODE
        assert sandbox.security.supplemental_groups == (7,)
        await node.settings.release("uid-of-web")
        assert sandbox.cgroup_parent not in node.cgroups.limits

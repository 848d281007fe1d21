"""Volumes of pods on disk: every kind, current, the group's, gone afterwards. With real mounts, in a mount namespace of their own."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubecore.api import errors
from kubecore.api.clock import SystemClock
from kubecore.api.meta import timestamp
from kubecore.api.scheme import core
from kubecore.client import Client, Request
from kubecore.kubelet.objects import PodObjects
from kubecore.kubelet.seams import MountFailure
from kubecore.kubelet.volumes import LinuxMounter, Tokens, VolumeManager, manager
from support.fake_apiserver import FakeServer
from support.mount_namespace import in_private_mounts
from support.pods import amounts, container_of, pod_of

ALLOCATABLE = {"memory": "64Mi"}
TURNS_MAX = 10_000


class TokenClient:
    """Answers TokenRequests; a token lives as long as it was asked to."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: Exception | None = None

    async def create(self, resource, body, **_named):
        if self.failure is not None:
            raise self.failure
        self.count += 1
        expires = SystemClock().now() + body["spec"]["expirationSeconds"]
        return {**body, "status": {"token": f"token-{self.count}", "expirationTimestamp": timestamp(expires)}}


class Node:
    """One kubelet's volumes on a fake API server."""

    def __init__(self, root: Path, server: FakeServer) -> None:
        self.server = server
        self.woken: asyncio.Queue[str] = asyncio.Queue()
        client = Client(server.transport())
        dice = random.Random(1)
        self.objects = PodObjects(client, randomness=dice, wake=self.woken.put_nowait)
        self.events: list[str] = []
        self.token_client = TokenClient()
        self.root = root
        self.volumes = VolumeManager(
            client,
            root=root,
            objects=self.objects,
            tokens=Tokens(self.token_client, clock=SystemClock(), randomness=dice),
            mounter=LinuxMounter(),
            clock=SystemClock(),
            recorder=self,
            allocatable=lambda: ALLOCATABLE,
        )

    def event(self, regarding, event_type: str, reason: str, message: str) -> None:
        self.events.append(f"{event_type} {reason} {message}")

    async def mounted(self, pod) -> Path:
        await self.volumes.mount(pod)
        while not self.woken.empty():
            self.woken.get_nowait()
        return self.volumes.path(pod, "data")

    async def refused(self, pod) -> str:
        with pytest.raises(MountFailure) as failure:
            await self.volumes.mount(pod)
        return str(failure.value)

    async def mounted_when_woken(self, pod) -> Path:
        """As the worker does."""
        async with asyncio.timeout(10):
            await self.woken.get()
        return await self.mounted(pod)

    async def until(self, true: Callable[[], bool]) -> None:
        """Turns the loop until it is so."""
        for _ in range(TURNS_MAX):
            if true():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never came to be")


@asynccontextmanager
async def _node(root: Path, server: FakeServer | None = None) -> AsyncIterator[Node]:
    node = Node(root, server or FakeServer())
    try:
        yield node
    finally:
        await node.objects.close()


def _pod(source: dict, *, mounts: list | None = None, **spec):
    container = container_of(volumeMounts=mounts or [{"name": "data", "mountPath": "/data"}])
    return pod_of(container, volumes=[{"name": "data", **source}], **spec)


def _config_map(server: FakeServer, name: str = "settings", **data: str) -> None:
    metadata = {"name": name, "namespace": "default"}
    server.seed("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _secret(server: FakeServer, **data: str) -> None:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    metadata = {"name": "login", "namespace": "default"}
    server.seed("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@in_private_mounts
async def test_a_config_map_is_there_and_follows_changes(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _config_map(node.server, color="blue", old="x")
        pod = _pod({"configMap": {"name": "settings", "defaultMode": 0o400}})
        place = await node.mounted(pod)
        assert place == tmp_path / "pods/uid-of-web/volumes/kubernetes.io~configmap/data"
        assert (place / "color").read_text() == "blue"
        assert _mode(place / "color") == "0o400"
        _config_map(node.server, color="green")
        await node.until(lambda: (place / "color").read_text() == "green")
        assert not (place / "old").exists()


@in_private_mounts
async def test_a_config_map_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _pod({"configMap": {"name": "settings"}})
        assert await node.refused(pod) == 'MountVolume.SetUp failed for volume "data" : configmap "settings" not found'
        _config_map(node.server, color="blue")
        assert (await node.mounted_when_woken(pod) / "color").read_text() == "blue"


@in_private_mounts
async def test_a_volume_that_can_no_longer_be_kept_current_is_said_so_and_stays(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _config_map(node.server, color="blue")
        place = await node.mounted(_pod({"configMap": {"name": "settings"}}))
        node.server.handle(Request("DELETE", core("configmaps").path("default", "settings")))
        said = 'Warning FailedMount MountVolume.SetUp failed for volume "data" : configmap "settings" not found'
        await node.until(lambda: said in node.events)
        assert (place / "color").read_text() == "blue"


@in_private_mounts
async def test_every_volume_that_is_missing_is_named(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        names = ("a", "b")
        mounts = [{"name": name, "mountPath": f"/{name}"} for name in names]
        volumes = [{"name": name, "configMap": {"name": name}} for name in names]
        pod = pod_of(container_of(volumeMounts=mounts), volumes=volumes)
        assert await node.refused(pod) == 'MountVolume.SetUp failed for volume "a" : configmap "a" not found'
        assert node.events == [
            f'Warning FailedMount MountVolume.SetUp failed for volume "{name}" : configmap "{name}" not found'
            for name in names
        ]


@in_private_mounts
async def test_what_is_optional_may_be_missing_and_may_come_later(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _pod({"configMap": {"name": "settings", "optional": True}})
        place = await node.mounted(pod)
        assert [name for name in os.listdir(place) if not name.startswith("..")] == []
        _config_map(node.server, color="blue")
        await node.until((place / "color").exists)


@in_private_mounts
async def test_items_choose_keys_paths_and_modes(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _config_map(node.server, color="blue", other="x")
        items = [{"key": "color", "path": "deep/er/colour", "mode": 0o600}]
        pod = _pod({"configMap": {"name": "settings", "items": items}})
        place = await node.mounted(pod)
        assert (place / "deep/er/colour").read_text() == "blue"
        assert _mode(place / "deep/er/colour") == "0o600"
        assert not (place / "other").exists()
        missing = _pod({"configMap": {"name": "settings", "items": [{"key": "absent", "path": "a"}]}}, uid="second")
        assert (await node.refused(missing)).endswith("configmap references non-existent config key: absent")


@in_private_mounts
async def test_a_secret_is_in_memory_only(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _secret(node.server, password="s3cret")
        pod = _pod({"secret": {"secretName": "login"}})
        place = await node.mounted(pod)
        assert (place / "password").read_text() == "s3cret"
        assert LinuxMounter().is_mount(place)
        assert _mode(place) == "0o1777"
        await node.volumes.unmount("uid-of-web")
        assert list(tmp_path.joinpath("pods").iterdir()) == []
        assert LinuxMounter().below(tmp_path) == []


@in_private_mounts
async def test_a_pod_finds_what_it_is_in_files(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        items = [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {
                "path": "limit",
                "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"},
            },
        ]
        pod = _pod({"downwardAPI": {"items": items}}, metadata={"labels": {"app": "a"}})
        place = await node.mounted(pod)
        assert (place / "labels").read_text() == 'app="a"'
        assert (place / "limit").read_text() == "64"
        pod["metadata"] = {**pod["metadata"], "labels": {"app": "b"}}
        await node.volumes.mount(pod)
        assert (place / "labels").read_text() == 'app="b"'


KUBE_API_ACCESS = {
    "projected": {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ],
    }
}


@in_private_mounts
async def test_a_pod_gets_its_token_the_root_certificate_and_its_namespace(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _config_map(node.server, "kube-root-ca.crt", **{"ca.crt": "PEM"})
        place = await node.mounted(_pod(KUBE_API_ACCESS))
        found = {name: (place / name).read_text() for name in ("token", "ca.crt", "namespace")}
        assert found == {"token": "token-1", "ca.crt": "PEM", "namespace": "default"}
        assert _mode(place / "token") == "0o644"


@in_private_mounts
async def test_all_that_a_projected_volume_lacks_is_said_at_once(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        sources = [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]
        said = await node.refused(_pod({"projected": {"sources": sources}}))
        assert said.endswith(' : [configmap "a" not found, secret "b" not found]')


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes are refreshed as soon as time says so."""
    monkeypatch.setattr(manager, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(manager, "REFRESH_SECONDS_MIN", 0.0)


@pytest.mark.usefixtures("impatient")
@in_private_mounts
async def test_a_token_that_is_renewed_is_written(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        # So short a life that its fifth is left at once.
        sources = [{"serviceAccountToken": {"expirationSeconds": 1, "path": "token"}}]
        pod = _pod({"projected": {"sources": sources}})
        place = await node.mounted(pod)
        await node.until(lambda: (place / "token").read_text() != "token-1")


@pytest.mark.usefixtures("impatient")
@in_private_mounts
async def test_a_token_that_could_not_be_renewed_in_time_is_renewed_later(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        # Expired as soon as it is given.
        sources = [{"serviceAccountToken": {"expirationSeconds": -1, "path": "token"}}]
        place = await node.mounted(_pod({"projected": {"sources": sources}}))
        node.token_client.failure = errors.ServiceUnavailable("the server is away")
        await node.until(lambda: any("expired and refresh failed: the server is away" in said for said in node.events))
        given = node.token_client.count
        node.token_client.failure = None
        await node.until(lambda: (place / "token").read_text() > f"token-{given}")


@in_private_mounts
async def test_a_token_belongs_to_the_pods_one_user_and_to_its_group(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        sources = [{"serviceAccountToken": {"path": "token"}}]
        user = await node.mounted(_pod({"projected": {"sources": sources}}, securityContext={"runAsUser": 1000}))
        token = (user / "token").stat()
        assert (token.st_uid, stat.S_IMODE(token.st_mode)) == (1000, 0o600)
        context = {"fsGroup": 2000}
        group = await node.mounted(_pod({"projected": {"sources": sources}}, securityContext=context, uid="second"))
        token = (group / "token").stat()
        assert (token.st_gid, stat.S_IMODE(token.st_mode)) == (2000, 0o640)


@in_private_mounts
async def test_an_empty_directory_belongs_to_the_group_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = _pod({"emptyDir": {}}, securityContext={"fsGroup": 2000})
        place = await node.mounted(pod)
        assert (_mode(place), place.stat().st_gid) == ("0o2777", 2000)
        (place / "kept").touch()
        place.chmod(0o700)
        async with _node(tmp_path) as again:
            await again.mounted(pod)
        assert (_mode(place), (place / "kept").exists()) == ("0o700", True)


@in_private_mounts
async def test_an_empty_directory_in_memory_is_as_large_as_it_says_or_as_the_pod_may_use(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:

        def size(place: Path) -> int:
            status = os.statvfs(place)
            return status.f_blocks * status.f_frsize

        limited = await node.mounted(_pod({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}))
        assert size(limited) == 1 << 20
        of_node = await node.mounted(_pod({"emptyDir": {"medium": "Memory"}}, uid="second"))
        assert size(of_node) == 64 << 20
        pod = _pod({"emptyDir": {"medium": "Memory"}}, uid="third", **amounts(limits={"memory": "8Mi"}))
        assert size(await node.mounted(pod)) == 8 << 20
        with pytest.raises(OSError, match="No space left"):
            (limited / "large").write_bytes(bytes(2 << 20))


@in_private_mounts
async def test_a_path_of_the_node_must_be_what_the_pod_expects(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()

    def pod(name: str, kind: str):
        return _pod({"hostPath": {"path": str(tmp_path / name), "type": kind}}, uid=f"{name}-{kind}")

    async with _node(tmp_path / "root") as node:
        for name, kind in (
            ("directory", "Directory"),
            ("file", "File"),
            ("made", "DirectoryOrCreate"),
            ("touched", "FileOrCreate"),
            ("directory", ""),
        ):
            assert await node.mounted(pod(name, kind)) == tmp_path / name
        assert (tmp_path / "made").is_dir()
        assert (tmp_path / "touched").is_file()
        for name, kind, words in (
            ("file", "Directory", "a directory"),
            ("directory", "File", "a file"),
            ("absent", "Directory", "a directory"),
            ("file", "Socket", "a socket file"),
            ("file", "CharDevice", "a character device"),
            ("file", "BlockDevice", "a block device"),
        ):
            expected = f" : hostPath type check failed: {tmp_path / name} is not {words}"
            assert (await node.refused(pod(name, kind))).endswith(expected)


@in_private_mounts
async def test_what_is_on_the_node_stays_when_the_pod_goes(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "kept").touch()
    async with _node(tmp_path / "root") as node:
        pod = _pod({"hostPath": {"path": str(tmp_path / "directory"), "type": "Directory"}})
        await node.mounted(pod)
        part = node.volumes.bind_part(pod, name="data", path=".", container="main", index=0)
        assert (part / "kept").exists()
        await node.volumes.unmount("uid-of-web")
        assert (tmp_path / "directory" / "kept").exists()
        assert node.volumes.known() == []
        await node.volumes.unmount("uid-of-web")


@in_private_mounts
async def test_what_an_earlier_kubelet_left_is_known_and_taken_away(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _secret(node.server, password="s3cret")
        await node.mounted(_pod({"secret": {"secretName": "login"}}))
    async with _node(tmp_path) as node:
        assert node.volumes.known() == ["uid-of-web"]
        await node.volumes.unmount("uid-of-web")
        assert node.volumes.known() == []
        assert LinuxMounter().below(tmp_path) == []


@in_private_mounts
async def test_only_what_a_container_mounts_is_set_up(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        pod = pod_of(container_of(), volumes=[{"name": "unused", "configMap": {"name": "absent"}}])
        await node.volumes.mount(pod)
        assert not (tmp_path / "pods/uid-of-web/volumes").exists()


@in_private_mounts
async def test_a_volume_that_holds_another_has_a_place_for_it(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        _config_map(node.server, color="blue")
        mounts = [{"name": "data", "mountPath": "/etc/app"}, {"name": "more", "mountPath": "/etc/app/conf.d"}]
        pod = _pod({"configMap": {"name": "settings"}}, mounts=mounts)
        pod["spec"]["volumes"].append({"name": "more", "emptyDir": {}})
        assert (await node.mounted(pod) / "conf.d").is_dir()


def _claim(server: FakeServer, source: dict, phase: str = "Bound") -> None:
    claim = {"name": "claim", "namespace": "default"}
    spec = {"volumeName": "pv-1"}
    server.seed(
        "persistentvolumeclaims",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": claim,
            "spec": spec,
            "status": {"phase": phase},
        },
    )
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": source}
    server.seed("persistentvolumes", volume)


@in_private_mounts
async def test_a_claim_leads_to_a_path_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    pod = _pod({"persistentVolumeClaim": {"claimName": "claim"}})
    async with _node(tmp_path / "root") as node:
        said = await node.refused(pod)
        assert "error processing PVC default/claim: failed to fetch PVC from API server:" in said
        _claim(node.server, {"local": {"path": str(tmp_path / "disk")}}, phase="Pending")
        assert (await node.refused(pod)).endswith("error processing PVC default/claim: PVC is not bound")
        _claim(node.server, {"local": {"path": str(tmp_path / "disk")}})
        assert await node.mounted(pod) == tmp_path / "disk"


@in_private_mounts
async def test_what_is_not_served_is_named(tmp_path: Path) -> None:
    async with _node(tmp_path) as node:
        said = await node.refused(_pod({"nfs": {"server": "nfs.example", "path": "/"}}))
        assert "volumes of kind nfs are not served by this kubelet; it serves configMap, secret," in said
        _claim(node.server, {"capacity": {"storage": "1Gi"}, "csi": {"driver": "d"}})
        said = await node.refused(_pod({"persistentVolumeClaim": {"claimName": "claim"}}, uid="second"))
        assert said.endswith("volume pv-1 is of kind csi; this kubelet serves hostPath and local")

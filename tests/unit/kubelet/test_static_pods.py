"""Static pods: manifests in a directory, with and without an API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubecore.api import errors
from kubecore.client import virtual_loop
from kubecore.kubelet import pods
from kubecore.kubelet.static import ManifestError, read_manifest
from support.kubelet import NODE, world

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: etcd, labels: {app: etcd}}
spec:
  terminationGracePeriodSeconds: 2
  containers: [{name: app, image: "etcd:3"}]
"""


def test_a_manifest_becomes_a_pod_of_this_node(tmp_path: Path) -> None:
    path = tmp_path / "etcd.yaml"
    path.write_text(MANIFEST)
    made = read_manifest(path, "Node-0", 0.0)
    assert made["metadata"]["name"] == "etcd-node-0"
    assert made["metadata"]["namespace"] == "default"
    assert pods.annotations_of(made)[pods.CONFIG_SOURCE] == "file"
    assert made["metadata"]["uid"] == pods.annotations_of(made)[pods.CONFIG_HASH]
    assert made["spec"]["nodeName"] == "Node-0"
    assert made["spec"]["restartPolicy"] == "Always"
    assert pods.is_static(made)
    path.write_text(MANIFEST.replace("etcd:3", "etcd:4"))
    assert read_manifest(path, "Node-0", 0.0)["metadata"]["uid"] != made["metadata"]["uid"]


@pytest.mark.parametrize(
    "text", ["{", "kind: Service\napiVersion: v1", "apiVersion: v1\nkind: Pod\nmetadata: {}", "[]"]
)
def test_what_is_no_pod_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError):
        read_manifest(path, NODE, 0.0)


def test_a_static_pod_runs_and_its_mirror_tells_of_it(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()

    async def story() -> None:
        (manifests / "etcd.yaml").write_text(MANIFEST)
        async with world(tmp_path, staticPodPath=str(manifests)) as here:
            await here.pass_time(5)
            mirror = here.pod(f"etcd-{NODE}")
            assert pods.is_mirror(mirror)
            assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
            assert mirror["metadata"]["labels"] == {"app": "etcd"}
            assert here.status(f"etcd-{NODE}")["phase"] == "Running"
            # Whoever deletes the mirror deletes a picture: it comes again, and the container never ended.
            await here.delete(f"etcd-{NODE}", grace_seconds=0)
            await here.pass_time(25)
            assert here.status(f"etcd-{NODE}")["phase"] == "Running"
            assert here.container("app", f"etcd-{NODE}")["restartCount"] == 0
            assert len(here.runtime.named("app")) == 1

    virtual_loop.run(story())


def test_a_changed_manifest_is_another_pod(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()

    async def story() -> None:
        (manifests / "etcd.yaml").write_text(MANIFEST)
        async with world(tmp_path, staticPodPath=str(manifests)) as here:
            await here.pass_time(5)
            (manifests / "etcd.yaml").write_text(MANIFEST.replace("etcd:3", "etcd:4"))
            await here.pass_time(60)
            (container,) = here.runtime.named("app")
            mirror = here.pod(f"etcd-{NODE}")
            assert mirror["spec"]["containers"][0]["image"] == "etcd:4"
            assert container.labels["io.kubernetes.pod.uid"] == pods.annotations_of(mirror)[pods.CONFIG_MIRROR]
            assert here.status(f"etcd-{NODE}")["phase"] == "Running"
            (manifests / "etcd.yaml").unlink()
            await here.pass_time(60)
            assert not here.exists(f"etcd-{NODE}")
            assert here.runtime.containers == {}

    virtual_loop.run(story())


def test_a_static_pod_runs_without_an_api_server(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()

    async def story() -> None:
        (manifests / "etcd.yaml").write_text(MANIFEST)
        async with world(tmp_path, staticPodPath=str(manifests)) as here:
            await here.kill()
            here.runtime.containers.clear()
            here.runtime.sandboxes.clear()

            def refuse(request: Any) -> errors.StatusError:
                return errors.ServiceUnavailable("the API server is away")

            here.server.refusals.append(refuse)
            here.start()
            await here.pass_time(30)
            assert [each.metadata.name for each in here.kubelet.running_containers()] == ["app"]
            here.server.refusals.clear()
            await here.pass_time(120)
            assert here.status(f"etcd-{NODE}")["phase"] == "Running"

    virtual_loop.run(story())


def test_a_mirror_outlives_its_kubelet_and_goes_when_its_file_is_gone(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()

    async def story() -> None:
        (manifests / "etcd.yaml").write_text(MANIFEST)
        async with world(tmp_path, staticPodPath=str(manifests)) as here:
            await here.pass_time(5)
            uid = here.pod(f"etcd-{NODE}")["metadata"]["uid"]
            await here.kill()
            here.start()
            await here.pass_time(30)
            assert here.pod(f"etcd-{NODE}")["metadata"]["uid"] == uid
            await here.kill()
            (manifests / "etcd.yaml").unlink()
            here.start()
            await here.pass_time(60)
            assert not here.exists(f"etcd-{NODE}")
            assert here.runtime.containers == {}

    virtual_loop.run(story())

"""Pods from the API to containers and back, in virtual time."""

from __future__ import annotations

from pathlib import Path

from kubecore.client import virtual_loop
from support.kubelet import pod, world


def test_a_pod_becomes_a_running_container(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(2)
            status = here.status()
            assert status["phase"] == "Running"
            assert here.condition("Ready")["status"] == "True"
            assert here.container("app")["ready"] is True
            assert here.container("app")["containerID"].startswith("fake://")
            assert status["podIP"] == status["podIPs"][0]["ip"]
            assert status["hostIP"] == "198.18.0.11"
            assert here.events("Started") == ["Container started"]

    virtual_loop.run(story())


def test_a_deleted_pod_goes_when_its_containers_have_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(2)
            await here.delete()
            await here.pass_time(2)
            assert not here.exists()
            assert here.runtime.containers == {}
            assert here.runtime.sandboxes == {}
            assert here.events("Killing") == ["Stopping container app"]

    virtual_loop.run(story())

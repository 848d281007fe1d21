"""Containers resized while they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubecore.client import virtual_loop
from support.kubelet import World, container, pod, world

Object = dict[str, Any]


def sized(cpu: str, memory: str = "64Mi", **more: Any) -> Object:
    return container("app", resources={"requests": {"cpu": cpu}, "limits": {"cpu": cpu, "memory": memory}}, **more)


def resize(here: World, cpu: str, memory: str = "64Mi") -> None:
    def change(changed: Object) -> None:
        changed["spec"]["containers"][0]["resources"] = sized(cpu, memory)["resources"]

    here.change("web", change)


def test_a_container_is_resized_in_place(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            uid = here.create(pod("web", sized("100m")))
            await here.pass_time(2)
            resize(here, "200m", "128Mi")
            await here.pass_time(2)
            (running,) = here.runtime.named("app")
            assert running.resources.cpu_shares == 204
            assert running.resources.memory_limit_bytes == 128 << 20
            said = here.container("app")
            assert said["restartCount"] == 0
            assert said["allocatedResources"] == {"cpu": "200m"}
            assert said["resources"]["limits"] == {"cpu": "200m", "memory": "128Mi"}
            assert here.settings.resized == [uid]
            summary = (
                '{"containers":[{"name":"app","resources":{"requests":{"cpu":"200m"},'
                '"limits":{"cpu":"200m","memory":"128Mi"}}}],"generation":2}'
            )
            assert here.events("ResizeStarted") == [f"Pod resize started: {summary}"]
            assert here.events("ResizeCompleted") == [f"Pod resize completed: {summary}"]
            await here.pass_time(300)
            assert here.runtime.calls_of("update_container_resources") == 1

    virtual_loop.run(story())


def test_where_the_policy_says_so_it_is_restarted(tmp_path: Path) -> None:
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]

    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod("web", sized("100m", resizePolicy=policy)))
            await here.pass_time(2)
            resize(here, "200m")
            await here.pass_time(2)
            assert here.container("app")["restartCount"] == 0
            resize(here, "200m", "128Mi")
            await here.pass_time(2)
            assert here.container("app")["restartCount"] == 1
            assert here.events("Killing") == ["Container app resize requires restart"]
            assert here.runtime.named("app")[-1].resources.memory_limit_bytes == 128 << 20

    virtual_loop.run(story())


def test_what_the_node_does_not_have_is_not_given(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(2)
            here.create(pod("other", container("big", resources={"requests": {"cpu": "3"}})))
            here.create(pod("web", sized("100m")))
            await here.pass_time(2)
            resize(here, "5")
            await here.pass_time(2)
            pending = here.condition("PodResizePending")
            assert pending["reason"] == "Infeasible"
            assert pending["message"] == "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000"
            assert here.events("ResizeInfeasible")[0].startswith('Pod resize Infeasible: {"containers":[{"name":"app"')
            resize(here, "2")
            await here.pass_time(2)
            assert here.condition("PodResizePending")["reason"] == "Deferred"
            assert here.container("app")["allocatedResources"] == {"cpu": "100m"}
            # A new kubelet knows what was given, and what is wanted.
            await here.kill()
            here.start()
            await here.pass_time(5)
            assert here.condition("PodResizePending")["reason"] == "Deferred"
            assert here.runtime.calls_of("update_container_resources") == 0
            await here.delete("other")
            await here.pass_time(120)
            assert here.container("app")["allocatedResources"] == {"cpu": "2"}
            assert "PodResizePending" not in [each["type"] for each in here.status()["conditions"]]
            assert here.container("app")["restartCount"] == 0

    virtual_loop.run(story())

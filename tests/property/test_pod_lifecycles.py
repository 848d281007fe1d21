"""Random pods, random troubles, in virtual time: what the API is told of each pod obeys the documentation's state machine.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kubecore.client import virtual_loop
from kubecore.kubelet.runtimes.protocol import Container, ContainerState, RuntimeCode, RuntimeFailure, SandboxState
from support.fake_runtime import Program
from support.kubelet import World, container, pod, world

Object = dict[str, Any]

SEEDS = 60
STEPS = 25
PODS_MAX = 4

PHASES = {
    "Pending": {"Pending", "Running", "Succeeded", "Failed"},
    "Running": {"Running", "Succeeded", "Failed"},
    "Succeeded": {"Succeeded"},
    "Failed": {"Failed"},
}
"""Which phase may follow which. A running pod may be Pending again only when a new sandbox starts it from the beginning."""

KINDS = ("initContainers", "containers")

FAILING = ("run_pod_sandbox", "create_container", "start_container", "pull_image", "stop_container")


class Troubles:
    """Makes pods and trouble, and remembers what must hold of them."""

    def __init__(self, here: World, choose: random.Random) -> None:
        self.here = here
        self.choose = choose
        self.made = 0
        self.counts: Counter[str] = Counter()
        self.lost_sandbox: set[str] = set()

    async def step(self) -> None:
        acts = [
            self.create,
            self.create,
            self.delete,
            self.exit,
            self.exit,
            self.lose_sandbox,
            self.restart,
            self.upgrade,
            self.fail,
            self.break_events,
            self.rest,
        ]
        act = self.choose.choice(acts)
        self.counts[act.__name__] += 1
        await act()
        await self.here.pass_time(self.choose.choice([0.01, 0.3, 2, 15, 90]))
        check_runtime(self.here)

    def living(self) -> list[Object]:
        return [each for each in self.here.server.all("pods") if not each["metadata"].get("deletionTimestamp")]

    async def create(self) -> None:
        if len(self.living()) >= PODS_MAX:
            return
        self.made += 1
        name = f"pod-{self.made}"
        init = [self._container(f"i{number}-{name}", init=True) for number in range(self.choose.randint(0, 3))]
        main = [self._container(f"c{number}-{name}") for number in range(self.choose.randint(1, 2))]
        spec: Object = {"restartPolicy": self.choose.choice(["Always", "OnFailure", "Never"])}
        if init:
            spec["initContainers"] = init
        if self.choose.random() < 0.1:
            spec["activeDeadlineSeconds"] = self.choose.choice([5, 60])
        self.here.create(pod(name, *main, terminationGracePeriodSeconds=self.choose.choice([0, 2, 30]), **spec))

    def _container(self, name: str, *, init: bool = False) -> Object:
        made = container(name)
        ends = init or self.choose.random() < 0.5
        self.here.runtime.programs[name] = Program(
            run_seconds=self.choose.choice([0, 0.5, 5, 40]) if ends else None,
            exit_code=self.choose.choice([0, 0, 0, 1]),
            stop_seconds=self.choose.choice([0.0, 1.0, None]),
        )
        if init and self.choose.random() < 0.3:
            made["restartPolicy"] = "Always"
            self.here.runtime.programs[name] = Program(run_seconds=self.choose.choice([None, 20]))
        return made

    async def delete(self) -> None:
        if living := self.living():
            name = self.choose.choice(living)["metadata"]["name"]
            await self.here.delete(name, grace_seconds=self.choose.choice([None, None, 0, 1]))

    async def exit(self) -> None:
        running = [each for each in self.here.runtime.containers.values() if each.state is ContainerState.RUNNING]
        if running:
            self.here.runtime.exit(self.choose.choice(running).id, self.choose.choice([0, 1, 137]))

    async def lose_sandbox(self) -> None:
        ready = [each for each in self.here.runtime.sandboxes.values() if each.state is SandboxState.READY]
        if ready:
            lost = self.choose.choice(ready)
            self.lost_sandbox.add(lost.metadata.uid)
            self.here.runtime.lose_sandbox(lost.id)

    async def restart(self) -> None:
        await self.here.kill()
        await self.here.pass_time(self.choose.choice([0, 5]))
        self.here.start()

    async def upgrade(self) -> None:
        if living := self.living():

            def change(changed: Object) -> None:
                changed["spec"]["containers"][0]["image"] = f"web:{self.choose.randint(1, 3)}"

            self.here.change(self.choose.choice(living)["metadata"]["name"], change)

    async def fail(self) -> None:
        call = self.choose.choice(FAILING)
        self.here.runtime.fail(call, RuntimeFailure(RuntimeCode.UNKNOWN, "bad luck"), times=self.choose.randint(1, 3))

    async def break_events(self) -> None:
        self.here.runtime.break_events()

    async def rest(self) -> None:
        return None


def check_runtime(here: World) -> None:
    """At any moment: no container of a name runs twice, none outside a sandbox that is up, at most one sandbox is up."""
    running: Counter[tuple[str, str]] = Counter()
    up: Counter[str] = Counter(
        each.metadata.uid for each in here.runtime.sandboxes.values() if each.state is SandboxState.READY
    )
    for each in here.runtime.containers.values():
        if each.state is ContainerState.RUNNING:
            running[each.sandbox_id, each.metadata.name] += 1
            assert here.runtime.sandboxes[each.sandbox_id].state is SandboxState.READY
    assert all(count == 1 for count in running.values()), running
    assert all(count == 1 for count in up.values()), up


def histories(here: World) -> dict[str, list[Object]]:
    """Every state of every pod that the API has had, by uid."""
    found: dict[str, list[Object]] = defaultdict(list)
    for _, event, key, value in here.server.history:
        if key[1] == "pods" and event != "DELETED":
            obj = json.loads(value)
            found[obj["metadata"]["uid"]].append(obj)
    return found


def check_history(states: list[Object], *, lost_sandbox: bool) -> None:
    for before, after in pairwise(states):
        old, new = before.get("status", {}), after.get("status", {})
        allowed = set(PHASES[old.get("phase", "Pending")])
        if lost_sandbox and old["phase"] == "Running":
            allowed.add("Pending")
        assert new["phase"] in allowed, (old["phase"], new["phase"])
        for field in ("initContainerStatuses", "containerStatuses"):
            olds = {each["name"]: each for each in old.get(field) or ()}
            for each in new.get(field) or ():
                check_container(olds.get(each["name"]), each, after, lost_sandbox=lost_sandbox)
        check_conditions(after)


def check_container(old: Object | None, new: Object, seen: Object, *, lost_sandbox: bool) -> None:
    assert len(new["state"]) == 1, new
    if old is None:
        return
    assert new["restartCount"] >= old["restartCount"], (old, new)
    same = old.get("containerID") and old.get("containerID") == new.get("containerID")
    if same and "terminated" in old["state"]:
        assert "running" not in new["state"], "what has ended does not run again"
    if seen["status"]["phase"] in ("Succeeded", "Failed") and old.get("containerID") != new.get("containerID"):
        assert "running" not in new["state"], "nothing starts in a pod that is done"
    spec = next(each for kind in KINDS for each in seen["spec"].get(kind) or () if each["name"] == new["name"])
    never = seen["spec"]["restartPolicy"] == "Never" and not spec.get("restartPolicy")
    if never and not lost_sandbox and "terminated" in old["state"] and old["image"] == new["image"]:
        assert same, "what is never restarted stays as it ended"


def check_conditions(seen: Object) -> None:
    status = seen.get("status", {})
    said = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    if said.get("Ready") == "True":
        assert said["ContainersReady"] == said["Initialized"] == said["PodReadyToStartContainers"] == "True"
        assert status["phase"] == "Running"
        assert all("running" in each["state"] and each["ready"] for each in status["containerStatuses"])
    if status.get("phase") in ("Succeeded", "Failed"):
        assert said.get("Ready", "False") == "False"


def check_order(runs: list[Container], spec: Object) -> None:
    """No regular container is created before the last init container of its sandbox has done its work."""
    init = [each for each in spec.get("initContainers") or () if not each.get("restartPolicy")]
    if not init:
        return
    names = {each["name"] for each in init}
    for regular in runs:
        if regular.metadata.name in {each["name"] for each in spec["containers"]}:
            for other in runs:
                if other.metadata.name in names and other.sandbox_id == regular.sandbox_id:
                    assert other.finished_at, (regular.metadata, other.metadata)
                    assert other.finished_at <= regular.created_at


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_lifecycles_obey_the_state_machine(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            troubles = Troubles(here, random.Random(seed))
            for _ in range(STEPS):
                await troubles.step()
                by_uid: dict[str, list[Container]] = defaultdict(list)
                for each in here.runtime.containers.values():
                    by_uid[each.labels["io.kubernetes.pod.uid"]].append(each)
                for each in troubles.living():
                    check_order(by_uid[each["metadata"]["uid"]], each["spec"])
            await here.pass_time(900)
            check_runtime(here)
            for uid, states in histories(here).items():
                check_history(states, lost_sandbox=uid in troubles.lost_sandbox)
            # Calm: everything that may run runs, and what was deleted is gone.
            for each in here.server.all("pods"):
                assert not each["metadata"].get("deletionTimestamp"), each["metadata"]["name"]
                check_conditions(each)
            known = {each["metadata"]["uid"] for each in here.server.all("pods")}
            assert {each.metadata.uid for each in here.runtime.sandboxes.values()} <= known
            for each in here.server.all("pods"):
                await here.delete(each["metadata"]["name"], grace_seconds=1)
            # As long as leftover bad luck may hold it up.
            await here.pass_time(600)
            assert here.server.all("pods") == []
            assert (here.runtime.sandboxes, here.runtime.containers, here.volumes.mounted) == ({}, {}, {})

    virtual_loop.run(story())

"""Pods from the API to containers and back, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from kubecore.client import virtual_loop
from kubecore.kubelet.runtimes.protocol import Container, ExecResult, RuntimeCode, RuntimeFailure
from kubecore.kubelet.seams import ConfigurationFailure, Eviction, ProbeKind
from support.fake_runtime import Program
from support.kubelet import container, pod, world


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


def test_a_failing_container_is_restarted_at_once_then_ever_later(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=3)
            here.create(pod())
            await here.pass_time(2.5)
            # First end after 1 s, restarted at once; the second end waits 10 s.
            assert here.container("app")["restartCount"] == 1
            await here.pass_time(2)
            state = here.container("app")["state"]["waiting"]
            assert state["reason"] == "CrashLoopBackOff"
            assert state["message"].startswith("back-off 10s restarting failed container=app pod=web_default(")
            assert here.container("app")["lastState"]["terminated"]["exitCode"] == 3
            assert here.status()["phase"] == "Running"
            await here.pass_time(10)
            assert here.container("app")["restartCount"] == 2
            await here.pass_time(3600)
            pauses = _pauses(here.runtime.named("app"))
            assert pauses == [300]

    virtual_loop.run(story())


def _pauses(runs: list[Container]) -> list[int]:
    return [
        round((after.started_at - before.finished_at) / 1e9)
        for before, after in pairwise(runs)
        if before.finished_at and after.started_at
    ]


def test_a_container_that_ran_for_long_is_forgiven(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=3)
            here.create(pod())
            await here.pass_time(20)
            here.runtime.programs["app"] = Program()
            await here.pass_time(1000)
            count = here.container("app")["restartCount"]
            here.runtime.exit("app", 1)
            await here.pass_time(1)
            assert here.container("app")["restartCount"] == count + 1
            assert "running" in here.container("app")["state"]

    virtual_loop.run(story())


def test_a_pod_that_is_never_restarted_succeeds_or_fails(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["good"] = Program(run_seconds=1)
            here.runtime.programs["bad"] = Program(run_seconds=1, exit_code=2)
            here.create(pod("done", container("good"), restartPolicy="Never"))
            here.create(pod("broken", container("good"), container("bad"), restartPolicy="Never"))
            await here.pass_time(5)
            assert here.status("done")["phase"] == "Succeeded"
            assert here.container("good", "done")["state"]["terminated"]["reason"] == "Completed"
            assert here.condition("Ready", "done")["reason"] == "PodCompleted"
            assert here.condition("PodReadyToStartContainers", "done")["status"] == "False"
            assert here.status("broken")["phase"] == "Failed"
            assert here.container("bad", "broken")["state"]["terminated"]["reason"] == "Error"
            # Its containers stay for their logs until somebody deletes it.
            assert len(here.runtime.named("good")) == 2
            await here.delete("done")
            await here.pass_time(2)
            assert not here.exists("done")
            assert len(here.runtime.named("good")) == 1

    virtual_loop.run(story())


def test_on_failure_only_failures_are_restarted(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["good"] = Program(run_seconds=1)
            here.runtime.programs["bad"] = Program(run_seconds=1, exit_code=2)
            here.create(pod("web", container("good"), container("bad"), restartPolicy="OnFailure"))
            await here.pass_time(15)
            assert here.container("good")["restartCount"] == 0
            assert here.container("bad")["restartCount"] == 2
            assert here.status()["phase"] == "Running"
            here.runtime.programs["bad"] = Program(run_seconds=1)
            await here.pass_time(60)
            assert here.status()["phase"] == "Succeeded"

    virtual_loop.run(story())


def test_rules_of_a_container_decide_by_its_exit_code(tmp_path: Path) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]

    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=42)
            here.create(
                pod(
                    "web",
                    container("app", restartPolicy="Never", restartPolicyRules=rules),
                    container("other"),
                    restartPolicy="Never",
                )
            )
            await here.pass_time(2.5)
            assert here.container("app")["restartCount"] == 1
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=1)
            await here.pass_time(60)
            assert here.container("app")["state"]["terminated"]["exitCode"] == 1
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_init_containers_run_in_order_before_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["one"] = Program(run_seconds=5)
            here.runtime.programs["two"] = Program(run_seconds=5)
            here.create(pod(initContainers=[container("one"), container("two")]))
            await here.pass_time(2)
            status = here.status()
            assert status["phase"] == "Pending"
            assert here.container("app")["state"]["waiting"]["reason"] == "PodInitializing"
            initialized = here.condition("Initialized")
            assert initialized["reason"] == "ContainersNotInitialized"
            assert initialized["message"] == "containers with incomplete status: [one two]"
            await here.pass_time(20)
            assert here.status()["phase"] == "Running"
            assert here.condition("Initialized")["status"] == "True"
            one, two, app = (here.runtime.named(name)[0] for name in ("one", "two", "app"))
            assert one.finished_at <= two.started_at
            assert two.finished_at <= app.started_at

    virtual_loop.run(story())


def test_a_failing_init_container_is_tried_again_or_fails_the_pod(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["one"] = Program(run_seconds=1, exit_code=1)
            here.create(pod("again", initContainers=[container("one")]))
            here.create(pod("once", initContainers=[container("one")], restartPolicy="Never"))
            await here.pass_time(8)
            assert here.status("again")["phase"] == "Pending"
            assert here.container("one", "again")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            assert here.status("once")["phase"] == "Failed"
            assert here.runtime.named("app") == []
            here.runtime.programs["one"] = Program(run_seconds=1)
            await here.pass_time(40)
            assert here.status("again")["phase"] == "Running"

    virtual_loop.run(story())


def test_sidecars_start_first_and_end_last(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.default_program = Program(stop_seconds=1)
            sidecars = [container("log", restartPolicy="Always"), container("mesh", restartPolicy="Always")]
            here.create(pod(initContainers=sidecars))
            await here.pass_time(3)
            assert here.status()["phase"] == "Running"
            log, mesh, app = (here.runtime.named(name)[0] for name in ("log", "mesh", "app"))
            assert log.created_at <= mesh.created_at <= app.created_at
            await here.delete()
            stopped = []
            while here.exists():
                await here.pass_time(0.1)
                for each in here.runtime.containers.values():
                    if each.finished_at and each.metadata.name not in stopped:
                        stopped.append(each.metadata.name)
            assert stopped == ["app", "mesh", "log"]

    virtual_loop.run(story())


def test_a_sidecar_holds_the_next_container_until_it_has_started(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            probe = {"exec": {"command": ["true"]}}
            uid = here.create(pod(initContainers=[container("mesh", restartPolicy="Always", startupProbe=probe)]))
            await here.pass_time(5)
            assert here.runtime.named("app") == []
            assert here.container("mesh")["started"] is False
            here.probes.say(ProbeKind.STARTUP, uid, "mesh", True)
            await here.pass_time(2)
            assert here.status()["phase"] == "Running"
            assert here.container("mesh")["started"] is True

    virtual_loop.run(story())


def test_sidecars_do_not_keep_a_job_alive(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=2)
            here.create(pod(initContainers=[container("mesh", restartPolicy="Always")], restartPolicy="OnFailure"))
            await here.pass_time(10)
            assert here.status()["phase"] == "Succeeded"
            assert "terminated" in here.container("mesh")["state"]

    virtual_loop.run(story())


def test_a_changed_image_restarts_that_container_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod("web", container("app"), container("other")))
            await here.pass_time(2)

            def upgrade(changed: dict[str, Any]) -> None:
                changed["spec"]["containers"][0]["image"] = "web:2"

            here.change("web", upgrade)
            await here.pass_time(3)
            assert here.container("app")["restartCount"] == 1
            assert here.container("app")["image"] == "web:2"
            assert here.container("other")["restartCount"] == 0
            assert here.events("Killing") == ["Container app definition changed, will be restarted"]
            assert here.status()["observedGeneration"] == 2

    virtual_loop.run(story())


def test_a_failed_liveness_probe_restarts_the_container(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            probe = {"exec": {"command": ["true"]}}
            uid = here.create(pod("web", container("app", livenessProbe=probe)))
            await here.pass_time(2)
            here.probes.say(ProbeKind.LIVENESS, uid, "app", False)
            await here.pass_time(2)
            assert here.container("app")["restartCount"] == 1
            assert here.events("Killing") == ["Container app failed liveness probe, will be restarted"]

    virtual_loop.run(story())


def test_readiness_is_the_probes_and_the_gates_word(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            probe = {"exec": {"command": ["true"]}}
            gates = [{"conditionType": "example.com/ready"}]
            uid = here.create(pod("web", container("app", readinessProbe=probe), readinessGates=gates))
            await here.pass_time(2)
            assert here.condition("Ready")["message"] == "containers with unready status: [app]"
            here.probes.say(ProbeKind.READINESS, uid, "app", True)
            await here.pass_time(1)
            assert here.condition("ContainersReady")["status"] == "True"
            assert here.condition("Ready")["reason"] == "ReadinessGatesNotReady"
            said = here.pod()
            said["status"]["conditions"].append({"type": "example.com/ready", "status": "True"})
            here.server.seed("pods", said)
            await here.pass_time(1)
            assert here.condition("Ready")["status"] == "True"
            assert here.condition("example.com/ready")["status"] == "True"

    virtual_loop.run(story())


def test_a_grace_period_ends_in_a_kill(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.default_program = Program(stop_seconds=None)
            here.create(pod(terminationGracePeriodSeconds=20))
            await here.pass_time(2)
            await here.delete()
            await here.pass_time(15)
            assert here.exists()
            assert here.status()["phase"] == "Running"
            await here.pass_time(10)
            assert not here.exists()

    virtual_loop.run(story())


def test_a_shorter_grace_period_takes_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.default_program = Program(stop_seconds=None)
            here.create(pod(terminationGracePeriodSeconds=300))
            await here.pass_time(2)
            await here.delete()
            await here.pass_time(10)
            await here.delete(grace_seconds=3)
            await here.pass_time(5)
            assert not here.exists()

    virtual_loop.run(story())


def test_a_pre_stop_hook_runs_before_the_stop_signal_within_the_grace_period(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod("web", container("app", lifecycle={"preStop": {"sleep": {"seconds": 7}}})))
            await here.pass_time(2)
            await here.delete()
            await here.pass_time(6)
            assert here.runtime.calls_of("stop_container") == 0
            await here.pass_time(3)
            assert not here.exists()
            (arguments,) = [given for name, given in here.runtime.calls if name == "stop_container"]
            assert 22 <= arguments[1] <= 23.5

    virtual_loop.run(story())


def test_a_post_start_hook_that_fails_kills_the_container(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.exec_answer = lambda found, command: ExecResult(stdout=b"", stderr=b"no", exit_code=1)
            hook = {"postStart": {"exec": {"command": ["warm-up"]}}}
            here.create(pod("web", container("app", lifecycle=hook)))
            await here.pass_time(3)
            assert here.events("FailedPostStartHook") == ["PostStartHook failed"]
            assert here.container("app")["state"]["waiting"]["reason"] == "PostStartHookError"

    virtual_loop.run(story())


def test_an_image_that_cannot_be_pulled_is_tried_ever_later(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.missing_images.add("web:1")
            here.create(pod())
            await here.pass_time(1)
            assert here.container("app")["state"]["waiting"]["reason"] == "ErrImagePull"
            await here.pass_time(5)
            waiting = here.container("app")["state"]["waiting"]
            assert waiting["reason"] == "ImagePullBackOff"
            assert waiting["message"].startswith('Back-off pulling image "web:1": ErrImagePull: ')
            assert here.status()["phase"] == "Pending"
            await here.pass_time(600)
            assert 5 <= here.runtime.calls_of("pull_image") <= 8
            here.runtime.missing_images.clear()
            await here.pass_time(320)
            assert here.status()["phase"] == "Running"
            assert here.container("app")["restartCount"] == 0

    virtual_loop.run(story())


def test_pull_policies(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod("never", container("app", imagePullPolicy="Never")))
            await here.pass_time(2)
            assert here.container("app", "never")["state"]["waiting"]["reason"] == "ErrImageNeverPull"
            here.create(pod("first"))
            await here.pass_time(2)
            here.create(pod("second"))
            here.create(pod("third", container("app", imagePullPolicy="Always")))
            await here.pass_time(2)
            assert here.runtime.calls_of("pull_image") == 2
            present = 'Container image "web:1" already present on machine and can be accessed by the pod'
            assert present in here.events("Pulled")

    virtual_loop.run(story())


def test_what_the_api_does_not_have_yet_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.settings.failure = ConfigurationFailure('configmap "settings" not found')
            uid = here.create(pod())
            await here.pass_time(2)
            waiting = here.container("app")["state"]["waiting"]
            assert waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}
            here.settings.failure = None
            here.kubelet.wake(uid)
            await here.pass_time(1)
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_a_container_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(start_error='exec: "nothing": not found')
            here.create(pod())
            await here.pass_time(2)
            assert here.container("app")["state"]["waiting"]["reason"] == "RunContainerError"
            await here.pass_time(120)
            assert here.container("app")["state"]["waiting"]["reason"] in ("CrashLoopBackOff", "RunContainerError")
            assert here.container("app")["lastState"]["terminated"]["reason"] == "StartError"
            assert 3 <= here.container("app")["restartCount"] <= 6

    virtual_loop.run(story())


def test_volumes_come_before_the_sandbox(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.volumes.missing["web"] = 'MountVolume.SetUp failed for volume "data": not there'
            here.create(pod())
            await here.pass_time(2)
            assert here.runtime.calls_of("run_pod_sandbox") == 0
            assert here.container("app")["state"]["waiting"]["reason"] == "ContainerCreating"
            here.volumes.missing.clear()
            await here.pass_time(20)
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_a_sandbox_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.fail("run_pod_sandbox", RuntimeFailure(RuntimeCode.UNKNOWN, "no address left"))
            here.create(pod())
            await here.pass_time(2)
            assert here.events("FailedCreatePodSandBox") == ["Failed to create pod sandbox: no address left"]
            await here.pass_time(20)
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_a_lost_sandbox_is_made_again_with_everything_in_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["one"] = Program(run_seconds=1)
            uid = here.create(pod(initContainers=[container("one")]))
            await here.pass_time(4)
            sandbox = here.kubelet.pods.sandbox(uid)
            assert sandbox is not None
            here.runtime.lose_sandbox(sandbox.id)
            await here.pass_time(20)
            assert here.status()["phase"] == "Running"
            assert here.container("app")["restartCount"] == 1
            assert here.events("SandboxChanged") == ["Pod sandbox changed, it will be killed and re-created."]
            after = here.kubelet.pods.sandbox(uid)
            assert after is not None
            assert after.metadata.attempt == 1

    virtual_loop.run(story())


def test_a_deadline_ends_a_pod(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod(activeDeadlineSeconds=30))
            await here.pass_time(20)
            assert here.status()["phase"] == "Running"
            await here.pass_time(15)
            status = here.status()
            assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
            assert status["message"] == "Pod was active on the node longer than the specified deadline"
            assert "terminated" in here.container("app")["state"]

    virtual_loop.run(story())


def test_an_evicted_pod_fails_with_the_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            uid = here.create(pod())
            await here.pass_time(2)
            target = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "low"}
            await here.kubelet.evict(uid, Eviction("Evicted", "The node was low on resource: memory.", 0, (target,)))
            assert here.kubelet.running_containers() == []
            await here.pass_time(2)
            status = here.status()
            assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
            assert here.condition("DisruptionTarget")["status"] == "True"

    virtual_loop.run(story())


def test_ephemeral_containers_run_once_beside_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["debug"] = Program(run_seconds=3, exit_code=1)
            here.create(pod())
            await here.pass_time(2)

            def debug(changed: dict[str, Any]) -> None:
                changed["spec"]["ephemeralContainers"] = [container("debug", targetContainerName="app")]

            here.change("web", debug)
            await here.pass_time(1)
            assert "running" in here.container("debug")["state"]
            await here.pass_time(60)
            assert here.container("debug")["state"]["terminated"]["exitCode"] == 1
            assert len(here.runtime.named("debug")) == 1
            assert here.status()["phase"] == "Running"

    virtual_loop.run(story())


def test_only_the_last_two_runs_of_a_container_are_kept(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=1)
            here.create(pod())
            await here.pass_time(600)
            assert len(here.runtime.named("app")) <= 2
            assert here.container("app")["restartCount"] >= 5

    virtual_loop.run(story())


def test_a_pod_that_the_node_cannot_take_is_rejected(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            await here.pass_time(2)
            here.create(pod("large", container("app", resources={"requests": {"cpu": "3"}})))
            await here.pass_time(1)
            here.create(pod("larger", container("app", resources={"requests": {"cpu": "2"}})))
            here.create(pod("elsewhere", nodeSelector={"disk": "fast"}))
            await here.pass_time(2)
            assert here.status("large")["phase"] == "Running"
            status = here.status("larger")
            assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
            assert status["message"] == (
                "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3000, capacity: 4000"
            )
            assert here.status("elsewhere")["reason"] == "NodeAffinity"
            await here.delete("larger")
            await here.pass_time(2)
            assert not here.exists("larger")

    virtual_loop.run(story())


def test_a_force_deleted_pod_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(2)
            await here.delete(grace_seconds=0)
            assert not here.exists()
            await here.pass_time(35)
            assert here.runtime.containers == {}
            assert here.runtime.sandboxes == {}
            assert here.volumes.mounted == {}

    virtual_loop.run(story())


def test_a_status_is_written_once_for_each_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.create(pod())
            await here.pass_time(5)
            assert here.status_writes() <= 4
            before = here.status_writes()
            await here.pass_time(600)
            assert here.status_writes() == before

    virtual_loop.run(story())


def test_many_pods_are_started_a_few_at_a_time(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.start_seconds = 1.0
            for number in range(20):
                here.create(pod(f"web-{number:02}"))
            await here.pass_time(1.5)
            running = len(here.kubelet.running_containers())
            assert 1 <= running <= 8
            await here.pass_time(3)
            assert len(here.kubelet.running_containers()) == 20

    virtual_loop.run(story())


def test_a_pod_that_waits_for_its_image_holds_nobody_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, serializeImagePulls=False, maxParallelImagePulls=50) as here:
            here.runtime.pull_seconds = 100.0
            for number in range(20):
                here.create(pod(f"slow-{number:02}"))
            await here.pass_time(8)
            assert here.runtime.calls_of("pull_image") == 20

    virtual_loop.run(story())


def test_a_container_that_cannot_be_stopped_does_not_cut_the_others_grace_short(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["slow"] = Program(stop_seconds=5, stop_exit_code=0)
            here.create(pod("web", container("app"), container("slow")))
            await here.pass_time(2)
            here.runtime.fail("stop_container", RuntimeFailure(RuntimeCode.UNKNOWN, "no"))
            await here.delete()
            ended = None
            while here.exists():
                await here.pass_time(0.5)
                ended = next(iter(here.runtime.named("slow")), ended)
            assert ended is not None
            assert ended.exit_code == 0

    virtual_loop.run(story())


def test_a_pod_that_ends_tells_of_each_container_that_has_ended(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["slow"] = Program(stop_seconds=20, stop_exit_code=0)
            here.create(pod("web", container("quick"), container("slow")))
            await here.pass_time(2)
            await here.delete()
            await here.pass_time(5)
            assert "terminated" in here.container("quick")["state"]
            assert "running" in here.container("slow")["state"]
            assert here.condition("Ready")["message"] == "containers with unready status: [quick]"

    virtual_loop.run(story())

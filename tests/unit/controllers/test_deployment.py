from typing import Any

from kubecore.api.scheme import core
from kubecore.controllers import deployment_plan as planning
from kubecore.controllers.template_hash import template_hash
from support.controllers import World, deployment, run, world

CONTROLLERS = ("deployment-controller", "replicaset-controller")


def sizes(here: World) -> dict[str, int]:
    """Replicas wanted of each ReplicaSet, by image."""
    return {
        each["spec"]["template"]["spec"]["containers"][0]["image"]: each["spec"]["replicas"]
        for each in here.server.all("replicasets")
    }


def status_of(here: World) -> dict[str, Any]:
    found = here.server.find("deployments", "default", "web")
    assert found is not None
    return dict(found.get("status", {}))


def condition(here: World, kind: str) -> dict[str, Any]:
    return next(each for each in status_of(here)["conditions"] if each["type"] == kind)


def set_image(image: str) -> Any:
    def change(obj: dict[str, Any]) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


async def roll_out(here: World, steps: int = 30) -> None:
    for _ in range(steps):
        here.run_pods()
        await here.pass_time(1)


def test_a_deployment_makes_a_replica_set_that_makes_pods() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=3))
            await here.pass_time(1)
            [made] = here.server.all("replicasets")
            digest = made["metadata"]["labels"]["pod-template-hash"]
            assert made["metadata"]["name"] == f"web-{digest}"
            assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
            assert made["metadata"]["annotations"] == {
                "deployment.kubernetes.io/desired-replicas": "3",
                "deployment.kubernetes.io/max-replicas": "4",
                "deployment.kubernetes.io/revision": "1",
            }
            assert len(here.server.all("pods")) == 3
            assert here.events("ScalingReplicaSet") == [f"Scaled up replica set web-{digest} from 0 to 3"]
            assert condition(here, "Available")["reason"] == "MinimumReplicasUnavailable"
            here.run_pods()
            await here.pass_time(1)
            assert status_of(here)["availableReplicas"] == 3
            assert condition(here, "Available")["reason"] == "MinimumReplicasAvailable"
            assert condition(here, "Progressing")["reason"] == "NewReplicaSetAvailable"
            said = condition(here, "Progressing")["message"]
            assert said == f'ReplicaSet "web-{digest}" has successfully progressed.'
            found = here.server.find("deployments", "default", "web")
            assert found is not None
            assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"

    run(scenario())


def test_a_rolling_update_never_leaves_too_few_or_too_many_pods() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=8))
            await here.pass_time(1)
            await roll_out(here, 2)
            here.change("deployments", "default", "web", set_image("main:2"))
            for _ in range(30):
                await here.pass_time(0.1)
                pods = [pod for pod in here.server.all("pods") if not pod["metadata"].get("deletionTimestamp")]
                ready = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running"]
                assert len(pods) <= 10
                assert len(ready) >= 6
                here.run_pods()
            assert sizes(here) == {"main:1": 0, "main:2": 8}
            assert status_of(here)["updatedReplicas"] == 8
            assert "unavailableReplicas" not in status_of(here)
            new = next(each for each in here.server.all("replicasets") if each["spec"]["replicas"])
            assert new["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"

    run(scenario())


def test_going_back_to_an_old_template_uses_its_replica_set_again() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=2))
            await here.pass_time(1)
            for image in ("main:2", "main:1"):
                await roll_out(here)
                here.change("deployments", "default", "web", set_image(image))
                await here.pass_time(1)
            await roll_out(here)
            assert sizes(here) == {"main:1": 2, "main:2": 0}
            first = next(each for each in here.server.all("replicasets") if each["spec"]["replicas"])
            annotations = first["metadata"]["annotations"]
            assert annotations["deployment.kubernetes.io/revision"] == "3"
            assert annotations["deployment.kubernetes.io/revision-history"] == "1"

    run(scenario())


def test_recreate_waits_until_the_last_old_pod_is_gone() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=2, strategy={"type": "Recreate"}))
            await here.pass_time(1)
            await roll_out(here, 2)
            here.change("deployments", "default", "web", set_image("main:2"))
            await here.pass_time(5)
            # The pods run on a node, so they are only marked: nothing new may start beside them.
            assert sizes(here) == {"main:1": 0}
            client = here.manager.controllers[0].client
            for pod in here.server.all("pods"):
                await client.delete(core("pods"), "default", pod["metadata"]["name"], grace_period_seconds=0)
            await here.pass_time(5)
            assert sizes(here) == {"main:1": 0, "main:2": 2}
            assert len(here.server.all("pods")) == 2

    run(scenario())


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=2))
            await here.pass_time(1)
            await roll_out(here, 2)
            here.change("deployments", "default", "web", lambda obj: obj["spec"].update(paused=True))
            await here.pass_time(1)
            here.change("deployments", "default", "web", set_image("main:2"))
            here.change("deployments", "default", "web", lambda obj: obj["spec"].update(replicas=4))
            await here.pass_time(1)
            assert sizes(here) == {"main:1": 4}
            assert condition(here, "Progressing")["reason"] == "DeploymentPaused"
            here.change("deployments", "default", "web", lambda obj: obj["spec"].pop("paused"))
            await roll_out(here)
            assert sizes(here) == {"main:1": 0, "main:2": 4}

    run(scenario())


def test_a_rollout_that_does_not_move_times_out() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=2, progressDeadlineSeconds=60))
            await here.pass_time(120)
            late = condition(here, "Progressing")
            assert (late["status"], late["reason"]) == ("False", "ProgressDeadlineExceeded")
            assert late["message"].endswith("has timed out progressing.")

    run(scenario())


def test_old_replica_sets_beyond_the_history_limit_are_removed() -> None:
    async def scenario() -> None:
        async with world(*CONTROLLERS) as here:
            here.create("deployments", deployment("web", replicas=1, revisionHistoryLimit=2))
            await here.pass_time(1)
            for number in range(2, 7):
                await roll_out(here, 10)
                here.change("deployments", "default", "web", set_image(f"main:{number}"))
            await roll_out(here, 20)
            assert sizes(here) == {"main:4": 0, "main:5": 0, "main:6": 1}

    run(scenario())


def test_scaling_in_the_middle_of_a_rollout_shares_by_size() -> None:
    def replica_set(name: str, replicas: int, *, maximum: int) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "creationTimestamp": "2027-01-15T07:00:00Z",
                "annotations": {planning.DESIRED: "10", planning.MAXIMUM: str(maximum)},
            },
            "spec": {"replicas": replicas},
            "status": {"replicas": replicas, "availableReplicas": replicas},
        }

    wanted = deployment("web", replicas=20)
    old, new = replica_set("old", 8, maximum=13), replica_set("new", 5, maximum=13)
    scaled = {each["metadata"]["name"]: size for each, size in planning.resize(wanted, new, [old])}
    # From 13 pods (10 and a surge of 3) to 25 (20 and 5): 8 and 5 become 15 and 10.
    assert scaled == {"old": 15, "new": 10}


def test_surge_rounds_up_and_unavailable_rounds_down() -> None:
    assert planning.surge_and_unavailable(deployment("web", replicas=10)) == (3, 2)
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "1%"}}
    assert planning.surge_and_unavailable(deployment("web", replicas=10, strategy=strategy)) == (0, 1)


def test_equal_templates_have_equal_hashes_and_a_collision_changes_them() -> None:
    one = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {}}
    other = {"spec": {}, "metadata": {"labels": {"b": "2", "a": "1"}}}
    assert template_hash(one, 0) == template_hash(other, 0)
    assert template_hash(one, 0) != template_hash(one, 1)

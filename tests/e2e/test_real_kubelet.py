"""A real kubelet on a real node, seen by stock kubectl: killed and back, an image changed, jobs, sidecars, crash loops."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import up
from tests.support.realnodes import RealNodes

pytestmark = pytest.mark.timeout(180)

IMAGES = """\
images:
- {name: "app:1", root: host, command: [sh, -c, "echo one; trap 'exit 0' TERM; while :; do sleep 0.1; done"]}
- {name: "app:2", root: host, command: [sh, -c, "echo two; trap 'exit 0' TERM; while :; do sleep 0.1; done"]}
- {name: shell, root: host, command: [sh]}
"""

APP = """\
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 3
  initContainers:
  - {name: prepare, image: shell, args: [-c, "echo prepared > /data/state"], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: side, image: "app:1", restartPolicy: Always}
  containers:
  - name: main
    image: "app:1"
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {exec: {command: [cat, /data/state]}, periodSeconds: 1}
  volumes: [{name: data, emptyDir: {}}]
"""


@contextlib.contextmanager
def node(directory: Path) -> Iterator[RealNodes]:
    images = directory / "images.yaml"
    images.write_text(IMAGES)
    own = f"--cluster-name=kct-{secrets.token_hex(3)}"
    with up(directory, "--nodes=1", "--runtime=process", own, f"--images={images}") as started:
        yield RealNodes(started)


def pod(cluster: RealNodes, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", name, "-o=json").stdout)
    return found


def status(cluster: RealNodes, name: str, container: str) -> dict[str, Any]:
    said = pod(cluster, name)["status"]
    listed = [*(said.get("initContainerStatuses") or ()), *said["containerStatuses"]]
    return next(each for each in listed if each["name"] == container)


def kubelet_of(directory: Path) -> int:
    """The pid of the kubelet whose files are below a directory."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if b"kubelet" in command and any(os.fsencode(directory) in word for word in command):
                return int(entry.name)
    raise AssertionError("no kubelet runs")


def wait(cluster: RealNodes, name: str, what: str) -> None:
    cluster.kubectl("wait", f"pod/{name}", f"--for={what}", "--timeout=60s")


def test_a_killed_kubelet_takes_its_containers_up_again(tmp_path: Path) -> None:
    with node(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=APP)
        wait(cluster, "app", "condition=Ready")
        before = {name: status(cluster, "app", name) for name in ("side", "main")}
        os.kill(kubelet_of(tmp_path), signal.SIGKILL)
        # Made while no kubelet looks: whoever runs it is the next one.
        cluster.kubectl("apply", "-f", "-", stdin=APP.replace("name: app}", "name: later}"))
        wait(cluster, "later", "condition=Ready")
        assert {name: status(cluster, "app", name) for name in ("side", "main")} == before
        wait(cluster, "app", "condition=Ready")
        assert cluster.kubectl("logs", "app", "-c", "main").stdout == "one\n"


def test_a_changed_image_restarts_that_container_and_its_volumes_stay(tmp_path: Path) -> None:
    with node(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=APP)
        wait(cluster, "app", "condition=Ready")
        side = status(cluster, "app", "side")
        cluster.kubectl("set", "image", "pod/app", "main=app:2")
        wait(cluster, "app", "jsonpath={.status.containerStatuses[0].restartCount}=1")
        wait(cluster, "app", "condition=Ready")
        assert status(cluster, "app", "main")["image"] == "app:2"
        assert status(cluster, "app", "side") == side
        assert cluster.kubectl("logs", "app", "-c", "main").stdout == "two\n"
        assert cluster.kubectl("logs", "app", "-c", "main", "--previous").stdout == "one\n"
        assert cluster.kubectl("exec", "app", "-c", "main", "--", "cat", "/data/state").stdout == "prepared\n"


def test_a_pod_that_is_done_keeps_its_log_and_one_that_fails_says_why(tmp_path: Path) -> None:
    pods = """\
apiVersion: v1
kind: Pod
metadata: {name: done}
spec:
  restartPolicy: Never
  initContainers: [{name: side, image: "app:1", restartPolicy: Always}]
  containers: [{name: job, image: shell, args: [-c, "echo worked; echo bye > /dev/termination-log"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  containers: [{name: main, image: shell, args: [-c, "echo oops; exit 3"], terminationMessagePolicy: FallbackToLogsOnError}]
---
apiVersion: v1
kind: Pod
metadata: {name: unknown}
spec:
  containers: [{name: main, image: "registry.example/nothing:1"}]
"""
    with node(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=pods)
        wait(cluster, "done", "jsonpath={.status.phase}=Succeeded")
        ended = status(cluster, "done", "job")["state"]["terminated"]
        assert (ended["reason"], ended["message"]) == ("Completed", "bye\n")
        assert "terminated" in status(cluster, "done", "side")["state"]
        assert cluster.kubectl("logs", "done", "-c", "job").stdout == "worked\n"
        wait(cluster, "crashing", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff")
        last = status(cluster, "crashing", "main")["lastState"]["terminated"]
        assert (last["exitCode"], last["message"]) == (3, "oops\n")
        wait(cluster, "unknown", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
        cluster.kubectl("delete", "pod", "--all", "--timeout=60s")
        logs = tmp_path.rglob("pods/default_*")
        assert list(logs) == []

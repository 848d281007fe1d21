"""Pods on a real node: what they read, may do and use; probed, limited, evicted. One cluster for all of these sentences."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.processes import up
from tests.support.realnodes import RealNodes, left_of, mounts

pytestmark = pytest.mark.timeout(180)

SEEN_SECONDS_MAX = 60.0
CAP_SYS_RESOURCE = 24
WEB = """\
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if os.path.exists(sys.argv[1] + self.path) else 200)
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.HTTPServer(("", 80), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNodes]:
    directory = tmp_path_factory.mktemp("pods")
    own = f"--cluster-name=kct-{secrets.token_hex(3)}"
    with up(directory, "--nodes=1", "--runtime=process", own) as started:
        cluster = RealNodes(started)
        yield cluster
        name = cluster.name
        assert started.process.stop(by=signal.SIGTERM) == 0
    assert left_of(name) == []
    assert mounts(str(directory)) == []


def _pod(name: str, *command: str, image: str = "busybox", spec: dict[str, Any] | None = None, **container: Any) -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": image, "command": list(command), **container}],
            **(spec or {}),
        },
    }


def _apply(cluster: RealNodes, *objects: Any) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def _status(cluster: RealNodes, name: str) -> Any:
    return json.loads(cluster.kubectl("get", "pod", name, "-o=json").stdout)["status"]


def _wait(cluster: RealNodes, name: str, condition: str) -> None:
    cluster.kubectl("wait", f"--for={condition}", f"pod/{name}", f"--timeout={SEEN_SECONDS_MAX:.0f}s")


def _output(cluster: RealNodes, name: str) -> str:
    """Of a pod that ends by itself."""
    _wait(cluster, name, "jsonpath={.status.phase}=Succeeded")
    return cluster.kubectl("logs", name).stdout


def _exec(cluster: RealNodes, name: str, *command: str) -> str:
    return cluster.kubectl("exec", name, "--", *command).stdout


def _until(seen: Any, wanted: Any) -> None:
    """Looks again and again: what a container sees cannot be watched from outside."""
    deadline = time.monotonic() + SEEN_SECONDS_MAX
    while (found := seen()) != wanted:
        assert time.monotonic() < deadline, f"{found!r}, not {wanted!r}"


def _events(cluster: RealNodes, name: str, reason: str) -> list[str]:
    selector = f"involvedObject.name={name},reason={reason}"
    shown = cluster.kubectl("get", "events", f"--field-selector={selector}", "-o=json").stdout
    return [event["message"] for event in json.loads(shown)["items"]]


def _config_map(name: str, **data: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_pod_reads_what_it_refers_to_and_sees_it_change(cluster: RealNodes) -> None:
    pod = _pod(
        "reader",
        "sleep",
        "100000",
        env=[
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "BOTH", "value": "$(COLOR)@$(IP)"},
        ],
        volumeMounts=[
            {"name": "settings", "mountPath": "/settings"},
            {"name": "settings", "mountPath": "/one", "subPath": "color"},
            {"name": "self", "mountPath": "/self"},
        ],
        spec={
            "volumes": [
                {"name": "settings", "configMap": {"name": "settings"}},
                {
                    "name": "self",
                    "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
                },
            ]
        },
    )
    _apply(cluster, _config_map("settings", color="blue"), pod)
    _wait(cluster, "reader", "condition=Ready")
    ip = _status(cluster, "reader")["podIP"]
    assert _exec(cluster, "reader", "sh", "-c", "echo $BOTH") == f"blue@{ip}\n"
    assert _exec(cluster, "reader", "cat", "/settings/color", "/one", "/self/labels") == 'blueblueapp="reader"'
    _apply(cluster, _config_map("settings", color="green"))
    cluster.kubectl("label", "pod", "reader", "tier=front")
    _until(lambda: _exec(cluster, "reader", "cat", "/settings/color"), "green")
    _until(lambda: _exec(cluster, "reader", "cat", "/self/labels"), 'app="reader"\ntier="front"')
    # A part of a volume, and variables, stay as they were when the container was made.
    assert _exec(cluster, "reader", "sh", "-c", "cat /one; echo $COLOR") == "blueblue\n"


def test_a_pods_token_is_good_for_the_api_server(cluster: RealNodes) -> None:
    script = (
        "cd /var/run/secrets/kubernetes.io/serviceaccount; cat namespace; echo; "
        'curl -s --cacert ca.crt -H "Authorization: Bearer $(cat token)" '
        "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/apis/authentication.k8s.io/v1/selfsubjectreviews "
        "-H 'Content-Type: application/json' "
        '-d \'{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}\''
    )
    _apply(cluster, _pod("caller", "sh", "-c", script, spec={"restartPolicy": "Never"}))
    namespace, _, review = _output(cluster, "caller").partition("\n")
    assert namespace == "default"
    assert json.loads(review)["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"


def test_what_does_not_exist_yet_is_waited_for_and_said(cluster: RealNodes) -> None:
    volumes = [{"name": "v", "configMap": {"name": "later"}}]
    mount = [{"name": "v", "mountPath": "/v"}]
    _apply(cluster, _pod("waiting", "sleep", "100000", volumeMounts=mount, spec={"volumes": volumes}))
    variable = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}
    _apply(cluster, _pod("unset", "sleep", "100000", env=[variable]))
    waiting = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    _wait(cluster, "unset", f"{waiting}=CreateContainerConfigError")
    _wait(cluster, "waiting", f"{waiting}=ContainerCreating")
    message = 'MountVolume.SetUp failed for volume "v" : configmap "later" not found'
    _until(lambda: message in _events(cluster, "waiting", "FailedMount"), True)
    state = _status(cluster, "unset")["containerStatuses"][0]["state"]
    assert state["waiting"]["message"] == 'configmap "later" not found'
    assert 'Error: configmap "later" not found' in _events(cluster, "unset", "Failed")
    _apply(cluster, _config_map("later", a="1"))
    _wait(cluster, "waiting", "condition=Ready")
    _wait(cluster, "unset", "condition=Ready")


def test_a_link_in_a_volume_does_not_lead_a_sub_path_out(cluster: RealNodes) -> None:
    planted = {
        "name": "plant",
        "image": "busybox",
        "command": ["ln", "-s", "/", "/data/link"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    pod = _pod(
        "escapes",
        "sleep",
        "100000",
        volumeMounts=[{"name": "data", "mountPath": "/node", "subPath": "link"}],
        spec={"initContainers": [planted], "volumes": [{"name": "data", "emptyDir": {}}]},
    )
    _apply(cluster, pod)
    _wait(cluster, "escapes", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError")
    waiting = _status(cluster, "escapes")["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'failed to prepare subPath for volumeMount "data" of container "main"'


def test_a_container_is_who_and_may_do_what_its_security_context_says(cluster: RealNodes) -> None:
    script = (
        "id -u; id -g; id -G; touch /scratch/mine && stat -c %u:%g /scratch/mine; touch /no 2>/dev/null || echo readonly; "
        "grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    )
    pod = _pod(
        "careful",
        "sh",
        "-c",
        script,
        securityContext={
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        volumeMounts=[{"name": "scratch", "mountPath": "/scratch"}],
        spec={
            "restartPolicy": "Never",
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "securityContext": {
                "runAsUser": 54321,
                "runAsGroup": 54322,
                "fsGroup": 54323,
                "supplementalGroups": [54324],
                "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "1"}],
            },
        },
    )
    _apply(cluster, pod)
    lines = _output(cluster, "careful").split("\n")
    assert lines[:5] == ["54321", "54322", "54322 54323 54324", "54321:54323", "readonly"]
    assert lines[5].split() == ["CapBnd:", "0" * 16]
    assert lines[6].split() == ["NoNewPrivs:", "1"]
    assert lines[7] == "1"


def test_who_promised_not_to_be_root_is_not_started_as_root(cluster: RealNodes) -> None:
    _apply(cluster, _pod("liar", "id", securityContext={"runAsNonRoot": True}))
    _wait(cluster, "liar", "jsonpath={.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError")
    waiting = _status(cluster, "liar")["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"].startswith("container has runAsNonRoot and image will run as root (pod: ")


def test_a_container_that_takes_more_memory_than_its_limit_is_killed(cluster: RealNodes) -> None:
    resources = {"requests": {"cpu": "250m"}, "limits": {"memory": "48Mi"}}
    command = ("python3", "-c", "taken = bytearray(200 << 20)")
    _apply(cluster, _pod("greedy", *command, image="python", resources=resources, spec={"restartPolicy": "Never"}))
    _wait(cluster, "greedy", "jsonpath={.status.phase}=Failed")
    ended = _status(cluster, "greedy")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_the_kernel_is_told_who_goes_first(cluster: RealNodes) -> None:
    limits = {"cpu": "100m", "memory": "64Mi"}
    classes = {"guaranteed": {"limits": limits}, "burstable": {"requests": {"cpu": "10m"}}, "best-effort": {}}
    script = ("cat", "/proc/self/oom_score_adj")
    spec = {"restartPolicy": "Never"}
    _apply(cluster, *(_pod(name, *script, resources=resources, spec=spec) for name, resources in classes.items()))
    found = {name: _output(cluster, name).strip() for name in classes}
    # To be spared, somebody must be allowed to say so.
    spared = "-997" if _capabilities() >> CAP_SYS_RESOURCE & 1 else Path("/proc/self/oom_score_adj").read_text().strip()
    assert found == {"guaranteed": spared, "burstable": "999", "best-effort": "1000"}


def test_a_pod_is_ready_while_its_page_says_so_and_restarted_when_it_is_not_alive(cluster: RealNodes) -> None:
    pod = _pod(
        "served",
        "python3",
        "-c",
        WEB,
        "/state",
        image="python",
        startupProbe={"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 60},
        readinessProbe={"httpGet": {"port": 80, "path": "/unready"}, "periodSeconds": 1, "failureThreshold": 1},
        livenessProbe={"httpGet": {"port": 80, "path": "/dead"}, "periodSeconds": 1, "failureThreshold": 1},
        volumeMounts=[{"name": "state", "mountPath": "/state"}],
        spec={"volumes": [{"name": "state", "emptyDir": {}}]},
    )
    _apply(cluster, pod)
    _wait(cluster, "served", "condition=Ready")
    _exec(cluster, "served", "touch", "/state/unready")
    _wait(cluster, "served", "condition=Ready=False")
    assert "Readiness probe failed: HTTP probe failed with statuscode: 500" in _events(cluster, "served", "Unhealthy")
    _exec(cluster, "served", "mv", "/state/unready", "/state/dead")
    _wait(cluster, "served", "jsonpath={.status.containerStatuses[0].restartCount}=1")
    assert _events(cluster, "served", "Killing") == ["Container main failed liveness probe, will be restarted"]
    counted = cluster.kubectl("get", "--raw", "/api/v1/nodes/node-0/proxy/metrics/probes").stdout
    assert 'prober_probe_total{container="main",namespace="default",pod="served"' in counted


def test_a_pod_that_keeps_more_than_it_said_is_evicted(cluster: RealNodes) -> None:
    pod = _pod(
        "hoarder",
        "sh",
        "-c",
        "head -c 4000000 /dev/zero > /cache/file; sleep 100000",
        volumeMounts=[{"name": "cache", "mountPath": "/cache"}],
        spec={"volumes": [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]},
    )
    _apply(cluster, pod)
    cluster.kubectl("wait", "--for=jsonpath={.status.reason}=Evicted", "pod/hoarder", "--timeout=120s")
    status = _status(cluster, "hoarder")
    assert (status["phase"], status["message"]) == (
        "Failed",
        'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". ',
    )


def test_a_kubelet_that_is_killed_takes_no_readiness_and_leaves_no_volume(cluster: RealNodes) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 5}
    _apply(cluster, _pod("kept", "sleep", "100000", readinessProbe=probe))
    _wait(cluster, "kept", "condition=Ready")
    before = _status(cluster, "kept")
    volumes = Path(cluster.up.directory, "data", "nodes", "node-0", "kubelet", "pods")
    uid = cluster.kubectl("get", "pod", "kept", "-o=jsonpath={.metadata.uid}").stdout
    assert uid in os.listdir(volumes)
    _signal_kubelet(cluster, signal.SIGKILL)
    cluster.kubectl("delete", "pod", "reader", "--ignore-not-found", "--wait=true", "--timeout=60s")
    after = _status(cluster, "kept")
    assert after["containerStatuses"] == before["containerStatuses"]
    assert after["conditions"] == before["conditions"]
    cluster.kubectl("delete", "pod", "kept", "--wait=true", "--timeout=60s")
    _until(lambda: uid in os.listdir(volumes), False)


def test_a_node_that_goes_down_ends_its_pods_with_grace(cluster: RealNodes) -> None:
    """Last in this file: it ends every pod of the node."""
    configuration = Path(cluster.up.directory, "data", "nodes", "node-0", "kubelet.yaml")
    given = yaml.safe_load(configuration.read_text())
    configuration.write_text(yaml.safe_dump({**given, "shutdownGracePeriod": "20s"}))
    before = _signal_kubelet(cluster, signal.SIGKILL)
    _until(lambda: _kubelet(cluster) not in (0, before), True)
    _apply(cluster, _pod("last", "sh", "-c", "trap 'echo farewell; exit 0' TERM; while :; do sleep 0.1; done"))
    _wait(cluster, "last", "condition=Ready")
    _signal_kubelet(cluster, signal.SIGTERM)
    cluster.kubectl("wait", "--for=jsonpath={.status.reason}=Terminated", "pod/last", "--timeout=60s")
    status = _status(cluster, "last")
    assert (status["phase"], status["message"]) == (
        "Failed",
        "Pod was terminated in response to imminent node shutdown.",
    )
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert "Shutdown manager detected shutdown event" in _events(cluster, "node-0", "NodeShutdown")


def _capabilities() -> int:
    """This process's effective ones, as bits."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("CapEff")), 16)


def _signal_kubelet(cluster: RealNodes, number: signal.Signals) -> int:
    """Gives its process id."""
    process = _kubelet(cluster)
    assert process > 0, "no kubelet of this cluster runs"
    os.kill(process, number)
    return process


def _kubelet(cluster: RealNodes) -> int:
    """The process of this cluster's kubelet, 0 while there is none."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "kubelet" in words and any(word.startswith(f"--root-dir={cluster.up.directory}") for word in words):
            return int(entry.name)
    return 0

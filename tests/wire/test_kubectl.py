"""Stock kubectl, three versions of it, does its daily work and cannot tell."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.timeout(180)


def test_create_deployment_runs_pods(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx", "--replicas=3")
    any_kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    listed = any_kubectl("-n", namespace, "get", "deployment", "web", "--no-headers").stdout.split()
    assert listed[:4] == ["web", "3/3", "3", "3"]


def test_run_expose_and_describe_a_pod(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "run", "one", "--image=nginx", "--port=80")
    any_kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    any_kubectl("-n", namespace, "expose", "pod", "one", "--port=80")
    address = any_kubectl("-n", namespace, "get", "pod", "one", "-o", "jsonpath={.status.podIP}").stdout
    described = any_kubectl("-n", namespace, "describe", "pod", "one").stdout
    assert f"IP:               {address}" in described
    assert "Successfully assigned" in described
    any_kubectl(
        "-n",
        namespace,
        "wait",
        f"--for=jsonpath={{.subsets[0].addresses[0].ip}}={address}",
        "endpoints/one",
        "--timeout=30s",
    )


def test_autoscale_is_stored_with_a_warning_that_nothing_acts_on_it(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx")
    answer = any_kubectl("-n", namespace, "autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=80")
    assert "Warning:" in answer.stderr
    assert "web" in any_kubectl("-n", namespace, "get", "hpa", "--no-headers").stdout


def test_apply_configures_then_leaves_unchanged(any_kubectl: Kubectl, namespace: str, examples: Path) -> None:
    manifest = str(examples / "myweb-rc.yaml")
    assert "created" in any_kubectl("-n", namespace, "apply", "-f", manifest).stdout
    assert "unchanged" in any_kubectl("-n", namespace, "apply", "-f", manifest).stdout
    changed = Path(manifest).read_text().replace("replicas: 2", "replicas: 3")
    assert "configured" in any_kubectl("-n", namespace, "apply", "-f", "-", stdin=changed).stdout
    any_kubectl("-n", namespace, "wait", "--for=jsonpath={.status.readyReplicas}=3", "rc/myweb", "--timeout=60s")


def test_get_watch_shows_a_pod_becoming_ready(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "run", "before", "--image=nginx")
    watching = any_kubectl.start("-n", namespace, "get", "pods", "-w")
    try:
        assert watching.stdout is not None
        # Its list has been printed: the watch goes on from there and misses nothing.
        while not watching.stdout.readline().startswith("before"):
            assert watching.poll() is None
        any_kubectl("-n", namespace, "run", "seen", "--image=nginx")
        lines = []
        for line in watching.stdout:
            if not line.startswith("seen"):
                continue
            lines.append(line)
            if "1/1" in line and "Running" in line:
                break
        assert any("Pending" in line or "ContainerCreating" in line for line in lines)
    finally:
        watching.kill()
        watching.wait()


def test_scale_wait_and_delete(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx")
    any_kubectl("-n", namespace, "scale", "deployment", "web", "--replicas=4")
    any_kubectl(
        "-n", namespace, "wait", "--for=jsonpath={.status.availableReplicas}=4", "deployment/web", "--timeout=60s"
    )
    any_kubectl("-n", namespace, "delete", "deployment", "web")
    any_kubectl("-n", namespace, "wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s")
    assert "No resources found" in any_kubectl("-n", namespace, "get", "pods").stderr


def test_an_image_is_set_and_the_rollout_undone(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx:1", "--replicas=2")
    any_kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    any_kubectl("-n", namespace, "set", "image", "deployment/web", "nginx=nginx:2")
    any_kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    any_kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    any_kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    images = any_kubectl(
        "-n", namespace, "get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"
    )
    assert images.stdout == "nginx:1"


def test_events_are_listed(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "run", "one", "--image=nginx")
    any_kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/one", "--timeout=60s")
    assert "Scheduled" in any_kubectl("-n", namespace, "events").stdout
    assert "Scheduled" in any_kubectl("-n", namespace, "get", "events").stdout


def test_api_resources_names_every_group(any_kubectl: Kubectl, cluster: object) -> None:
    listed = any_kubectl("api-resources", "--no-headers").stdout
    for word in ("pods", "deployments", "po ", "deploy ", "rolebindings", "horizontalpodautoscalers", "endpointslices"):
        assert word in listed


def test_explain_knows_fields_and_types(any_kubectl: Kubectl, cluster: object) -> None:
    explained = any_kubectl("explain", "pod.spec.containers").stdout
    assert "image" in explained
    assert "<string>" in explained
    assert "replicas" in any_kubectl("explain", "deployment.spec", "--recursive").stdout


def test_edit_changes_an_object_through_an_editor(any_kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    any_kubectl("-n", namespace, "create", "configmap", "settings", "--from-literal=colour=red")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/red/blue/ "$1"\n')
    editor.chmod(editor.stat().st_mode | stat.S_IXUSR)
    any_kubectl("-n", namespace, "edit", "configmap", "settings", KUBE_EDITOR=str(editor))
    assert any_kubectl("-n", namespace, "get", "cm", "settings", "-o", "jsonpath={.data.colour}").stdout == "blue"


def test_labels_annotations_and_patches_of_every_type(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "configmap", "settings", "--from-literal=a=1")
    any_kubectl("-n", namespace, "label", "configmap", "settings", "tier=web")
    any_kubectl("-n", namespace, "annotate", "configmap", "settings", "note=here")
    any_kubectl("-n", namespace, "patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"b":"2"}}')
    any_kubectl(
        "-n", namespace, "patch", "configmap", "settings", "--type=json", "-p", '[{"op":"remove","path":"/data/a"}]'
    )
    any_kubectl("-n", namespace, "patch", "configmap", "settings", "-p", '{"data":{"c":"3"}}')
    found = json.loads(any_kubectl("-n", namespace, "get", "configmap", "settings", "-o", "json").stdout)
    assert found["data"] == {"b": "2", "c": "3"}
    assert found["metadata"]["labels"] == {"tier": "web"}
    assert found["metadata"]["annotations"] == {"note": "here"}


def test_auth_can_i_and_whoami(kubectl: Kubectl, namespace: str) -> None:
    assert kubectl("auth", "can-i", "create", "pods").stdout.strip() == "yes"
    refused = kubectl("auth", "can-i", "list", "secrets", "--as=nobody", code=1)
    assert refused.stdout.strip() == "no"
    assert "kubernetes-admin" in kubectl("auth", "whoami").stdout


def test_secrets_tokens_and_service_accounts(any_kubectl: Kubectl, namespace: str) -> None:
    any_kubectl("-n", namespace, "create", "serviceaccount", "robot")
    token = any_kubectl("-n", namespace, "create", "token", "robot").stdout.strip()
    assert token.count(".") == 2
    any_kubectl("-n", namespace, "create", "secret", "generic", "password", "--from-literal=word=open")
    assert "Opaque" in any_kubectl("-n", namespace, "get", "secret", "password").stdout


def test_cordon_and_taint_keep_pods_away(kubectl: Kubectl, namespace: str) -> None:
    node = kubectl("get", "nodes", "-o", "name").stdout.split()[0].removeprefix("node/")
    try:
        kubectl("cordon", node)
        assert "SchedulingDisabled" in kubectl("get", "node", node).stdout
    finally:
        kubectl("uncordon", node)


def test_a_scale_has_columns_of_its_own(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx", "--replicas=2")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    heading, row = kubectl("-n", namespace, "get", "deployment", "web", "--subresource=scale").stdout.splitlines()
    assert heading.split() == ["NAME", "DESIRED", "AVAILABLE", "AGE"]
    assert row.split()[:3] == ["web", "2", "2"]


STATEFUL_SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: mysql, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""


def test_a_stateful_sets_containers_may_mount_what_its_claims_will_make(kubectl: Kubectl, namespace: str) -> None:
    assert "Warning:" in kubectl("-n", namespace, "apply", "-f", "-", stdin=STATEFUL_SET).stderr
    assert "db" in kubectl("-n", namespace, "get", "sts", "--no-headers").stdout


def test_what_a_quota_refuses_is_not_tried_in_a_hot_loop(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "quota", "none", "--hard=pods=0")
    # As upstream's, it counts from when its controller has seen it.
    kubectl("-n", namespace, "wait", "--for=jsonpath={.status.hard.pods}=0", "quota/none", "--timeout=30s")
    kubectl("-n", namespace, "create", "deployment", "web", "--image=nginx")
    kubectl("-n", namespace, "wait", "--for=condition=ReplicaFailure", "deployment/web", "--timeout=30s")
    # As long as it takes for a quota to come back: back-off has spread the tries by then.
    kubectl("-n", namespace, "wait", "--for=condition=Available", "deployment/web", "--timeout=2s", code=1)
    events = json.loads(kubectl("-n", namespace, "get", "events", "-o", "json").stdout)["items"]
    tries = sum(event.get("count") or event["series"]["count"] for event in events if event["reason"] == "FailedCreate")
    assert 2 <= tries < 25
    kubectl("-n", namespace, "delete", "quota", "none")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")


def test_the_printed_files_get_upstreams_status(kubectl: Kubectl, namespace: str) -> None:
    printed = Path(__file__).resolve().parents[1] / "data" / "as-printed"
    refused = kubectl("-n", namespace, "apply", "-f", str(printed / "mysql-svc.yaml"), code=1)
    assert 'unknown field "spec.prots"' in refused.stderr
    refused = kubectl("-n", namespace, "create", "--validate=false", "-f", str(printed / "mysql-svc.yaml"), code=1)
    assert 'The Service "mysql" is invalid: spec.ports: Required value' in refused.stderr

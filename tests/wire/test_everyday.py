"""Forty everyday commands, each with what kubectl prints for it: by three kubectls, in the order in which a person would try them."""

from __future__ import annotations

import json
import shlex

import pytest
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.timeout(180)

# (command, exit code, what its output holds)
COMMANDS: list[tuple[str, int, str]] = [
    ("create job once --image=busybox -- true", 0, "job.batch/once created"),
    ("create cronjob often --image=busybox --schedule='*/5 * * * *' -- true", 0, "cronjob.batch/often created"),
    ("create ingress door --rule=a.example/x=web:80", 0, "ingress.networking.k8s.io/door created"),
    ("create quota many --hard=pods=100", 0, "resourcequota/many created"),
    ("create role reader --verb=get,list --resource=pods,deployments.apps", 0, "reader created"),
    ("create rolebinding anna --role=reader --user=anna", 0, "anna created"),
    ("create service nodeport front --tcp=80:80", 0, "service/front created"),
    ("create service externalname out --external-name=b.example", 0, "service/out created"),
    ("create namespace Bad_Name", 1, "a lowercase RFC 1123 label must consist of"),
    ("get job,cronjob,ingress,quota,role,rolebinding,svc", 0, "ExternalName"),
    ("get deployments.apps --as=anna", 0, "No resources found"),
    ("delete pod one --as=anna", 1, 'User "anna" cannot delete resource "pods"'),
    ("run one --image=nginx --labels=app=one", 0, "pod/one created"),
    ("wait --for=condition=Ready pod/one --timeout=60s", 0, "condition met"),
    ("logs one", 1, "simulated nodes have no kubelet"),
    ("exec one -- true", 1, "simulated nodes have no kubelet"),
    ("top pods", 1, "metrics not available yet"),
    ("label pod one tier=a", 0, "pod/one labeled"),
    ("label pod one tier=b", 1, "already has a value (a), and --overwrite is false"),
    ("label pod one tier=b --overwrite", 0, "labeled"),
    ("get pods -l tier=b -L tier --no-headers", 0, "Running"),
    ("get pods -o custom-columns=NAME:.metadata.name,ON:.spec.nodeName", 0, "one"),
    ("get pods -o go-template={{range.items}}{{.status.phase}}{{end}}", 0, "Running"),
    ("get pods --field-selector=status.phase=Pending", 0, "No resources found"),
    ("get pods --field-selector=spec.nothing=x", 1, "field label not supported: spec.nothing"),
    ("get pods --sort-by=.metadata.name --chunk-size=1 -o name", 0, "pod/one"),
    ('patch pod one -p {"spec":{"nodeName":"other"}}', 1, "pod updates may not change fields other than"),
    ("set image pod/one one=nginx:2", 0, "pod/one image updated"),
    ("create deployment web --image=nginx --replicas=2", 0, "deployment.apps/web created"),
    ("rollout status deploy/web --timeout=60s", 0, "successfully rolled out"),
    ("rollout restart deploy/web", 0, "deployment.apps/web restarted"),
    ("rollout status deploy/web --timeout=60s", 0, "successfully rolled out"),
    ("rollout history deploy/web", 0, "REVISION"),
    ("rollout undo deploy/web --to-revision=1", 0, "deployment.apps/web rolled back"),
    ("scale deploy web --current-replicas=9 --replicas=1", 1, "xpected replicas to be 9, was 2"),
    ("create deployment web --image=nginx", 1, 'deployments.apps "web" already exists'),
    ("create deployment dry --image=nginx --dry-run=server -o name", 0, "deployment.apps/dry"),
    ("events --for pod/one", 0, "Scheduled"),
    ("auth can-i --list", 0, "selfsubjectaccessreviews.authorization.k8s.io"),
    ("create token default --duration=10m", 0, "ey"),
    ("get --raw /readyz?verbose", 0, "readyz check passed"),
    ("get bogus", 1, 'the server doesn\'t have a resource type "bogus"'),
    ("api-versions", 0, "discovery.k8s.io/v1"),
    ("cluster-info", 0, "is running at"),
    ("delete deploy web --cascade=orphan", 0, 'deployment.apps "web" deleted'),
    ("get rs -l app=web -o name", 0, "replicaset.apps/web-"),
    ("delete rs -l app=web --cascade=foreground", 0, "deleted"),
    ("delete pod one --grace-period=0 --force", 0, 'pod "one" force deleted'),
    ("delete all --all", 0, 'cronjob.batch "often" deleted'),
    ("get pods", 0, "No resources found"),
]


def test_everyday_commands_answer_as_upstream(any_kubectl: Kubectl, namespace: str) -> None:
    for command, code, said in COMMANDS:
        done = any_kubectl("-n", namespace, *shlex.split(command, posix="'" in command), code=None)
        printed = done.stdout + done.stderr
        assert done.returncode == code, f"kubectl {command}: ended with {done.returncode}\n{printed}"
        assert said in printed, f"kubectl {command}:\n{printed}"


def test_every_listable_resource_is_listed(kubectl: Kubectl, cluster: object) -> None:
    for name in kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split():
        kubectl("get", name, "-A")


def test_replace_diff_and_a_stale_version(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "configmap", "settings", "--from-literal=a=1")
    old = kubectl("-n", namespace, "get", "configmap", "settings", "-o", "json").stdout
    changed = json.dumps(json.loads(old) | {"data": {"a": "2"}})
    assert '+  a: "2"' in kubectl("-n", namespace, "diff", "-f", "-", stdin=changed, code=1).stdout
    kubectl("-n", namespace, "replace", "-f", "-", stdin=changed)
    stale = kubectl("-n", namespace, "replace", "-f", "-", stdin=changed, code=1)
    assert "the object has been modified; please apply your changes to the latest version" in stale.stderr
    kubectl("-n", namespace, "replace", "--force", "-f", "-", stdin=changed)


def test_drain_moves_what_has_an_owner_and_names_what_has_none(kubectl: Kubectl, namespace: str) -> None:
    node = kubectl("get", "nodes", "-o", "name").stdout.split()[0].removeprefix("node/")
    select = f"--pod-selector=drained={namespace}"
    try:
        alone = json.dumps({"metadata": {"labels": {"drained": namespace}}, "spec": {"nodeName": node}})
        kubectl("-n", namespace, "run", "alone", "--image=nginx", f"--overrides={alone}")
        kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
        refused = kubectl("drain", node, select, "--timeout=20s", code=1)
        assert "declare no controller (use --force to override)" in refused.stderr
        assert f"{namespace}/alone" in refused.stderr
        drained = kubectl("drain", node, select, "--force", "--timeout=60s")
        assert f"node/{node} drained" in drained.stdout
        kubectl("-n", namespace, "wait", "--for=delete", "pod/alone", "--timeout=30s")
    finally:
        kubectl("uncordon", node)


def test_prune_and_kustomize(kubectl: Kubectl, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("kustomize")
    for name in ("one", "two"):
        (directory / f"{name}.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: x}}}}\n"
        )
    (directory / "kustomization.yaml").write_text("resources: [one.yaml, two.yaml]\nnamePrefix: pre-\n")
    assert "configmap/pre-two created" in kubectl("-n", namespace, "apply", "-k", str(directory)).stdout
    kubectl("-n", namespace, "delete", "-k", str(directory))
    one, two = (str(directory / f"{name}.yaml") for name in ("one", "two"))
    kubectl("-n", namespace, "apply", "-f", one, "-f", two)
    pruned = kubectl(
        "-n", namespace, "apply", "--prune", "-l", "set=x", "--prune-allowlist=core/v1/ConfigMap", "-f", one
    )
    assert "configmap/two pruned" in pruned.stdout

"""The command itself: exit codes, forms of output, what it leaves behind and what it refuses."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.kubectl import Kubectl
from tests.support.processes import ROOT, Process, Up, environment, kubecore, up

pytestmark = pytest.mark.timeout(120)

EXAMPLES = ROOT / "examples"
PRINTED = ROOT / "tests" / "data" / "as-printed"
Command = Callable[..., subprocess.CompletedProcess[str]]
FOREIGN = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {},
    "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
    "users": [{"name": "me", "user": {"token": "mine"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cluster"), "--nodes", "2", "--storage", "memory") as running:
        yield running


@pytest.fixture
def command(cluster: Up, request: pytest.FixtureRequest) -> Iterator[Command]:
    """`kubecore` in a namespace of the test's own."""
    kubectl = Kubectl(cluster.kubeconfig)
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    kubectl("create", "namespace", namespace)

    def run(*arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        verb, *rest = arguments
        done = kubecore(verb, "-n", namespace, *rest, kubeconfig=cluster.kubeconfig, stdin=stdin)
        assert done.returncode == code, f"kubecore {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    yield run
    kubectl("delete", "namespace", namespace, "--wait=false")


def config_map(name: str, **labels: str) -> str:
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}
    )


# ── exit codes and error lines ──


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("get", "pod", "absent"), 1, 'Error from server (NotFound): pods "absent" not found'),
        (("get", "bogus"), 1, 'the server doesn\'t have a resource type "bogus"'),
        (("get",), 2, "You must specify the type of resource"),
        (("get", "pods", "-o", "xml"), 2, "'xml' is not one of"),
        (("scale", "rc/absent", "--replicas=1"), 1, 'replicationcontrollers "absent" not found'),
        (("patch", "rc/absent", "-p", "{}"), 1, 'replicationcontrollers "absent" not found'),
        (("patch", "rc", "-p", "{}"), 2, "you must name what to patch"),
        (("patch", "rc/absent", "-p", "{a: ["), 1, "unable to parse the patch"),
        (("delete", "pods"), 2, "no name was specified"),
        (("delete", "pod", "absent"), 1, 'pods "absent" not found'),
        (("describe", "pod", "absent"), 1, 'pods "absent" not found'),
        (("apply", "-f", "no-such-file.yaml"), 1, "no-such-file.yaml"),
    ],
)
def test_a_failure_is_said_and_shows_in_the_exit_code(
    cluster: Up, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = kubecore(*arguments, kubeconfig=cluster.kubeconfig)
    assert said in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("up", "--nonsense"), "No such option '--nonsense'"),
        (("up", "--port", "70000"), "70000 is not in the range"),
        (("up", "--nodes", "-1"), "-1 is not in the range"),
        (("up", "--storage", "paper"), "'paper' is not one of"),
        (("controllers", "--kubeconfig", "x", "--node-monitor-period", "soon"), 'invalid duration "soon"'),
        (("apiserver", "--data-dir", "x", "--service-node-port-range", "9-1"), "not a port range"),
    ],
)
def test_a_bad_flag_is_called_wrongly(arguments: tuple[str, ...], said: str) -> None:
    done = kubecore(*arguments)
    assert said in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--service-cidr=nonsense", "nonsense"),
        ("--bind=nonsense", "nonsense"),
        ("--disable-admission-plugins=Nonsense", "Nonsense"),
        ("--runtime-config=nonsense/v9=maybe", "nonsense"),
    ],
)
def test_a_value_that_makes_no_cluster_is_refused_in_one_line(flag: str, said: str, tmp_path: Path) -> None:
    done = kubecore("up", "--data-dir", str(tmp_path / "data"), "--kubeconfig", str(tmp_path / "kc"), "--port=0", flag)
    assert done.returncode in (1, 2)
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server_it_says_where_it_looked(tmp_path: Path) -> None:
    dead = tmp_path / "kubeconfig"
    dead.write_text(yaml.safe_dump(FOREIGN | {"clusters": [{"name": "work", "cluster": {"server": closed_port()}}]}))
    done = kubecore("get", "pods", kubeconfig=dead)
    assert done.returncode == 1
    assert "Unable to connect to the server" in done.stderr
    assert "Traceback" not in done.stderr


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


# ── forms of output ──


def test_every_form_of_output(command: Command) -> None:
    command("apply", "-f", "-", stdin=config_map("settings", tier="web"))
    assert command("get", "cm", "settings", "-o", "name").stdout == "configmap/settings\n"
    assert json.loads(command("get", "cm", "settings", "-o", "json").stdout)["data"] == {"a": "1"}
    assert yaml.safe_load(command("get", "cm", "settings", "-o", "yaml").stdout)["kind"] == "ConfigMap"
    listed = json.loads(command("get", "cm", "-l", "tier=web", "-o", "json").stdout)
    assert (listed["kind"], [item["metadata"]["name"] for item in listed["items"]]) == ("List", ["settings"])
    heading, row = command("get", "cm", "-l", "tier=web").stdout.splitlines()
    assert heading.split() == ["NAME", "DATA", "AGE"]
    assert row.split()[:2] == ["settings", "1"]
    assert "\x1b[" not in row
    assert command("get", "cm", "-l", "tier=web", "--no-headers").stdout.split()[:2] == ["settings", "1"]
    assert "NAMESPACE" in command("get", "cm", "-A").stdout
    assert command("get", "pods").stderr.startswith("No resources found in ")


def test_output_is_what_kubectl_prints(cluster: Up, command: Command) -> None:
    command("apply", "-f", str(EXAMPLES))
    kubectl = Kubectl(cluster.kubeconfig)
    namespace = json.loads(command("get", "svc", "mysql", "-o", "json").stdout)["metadata"]["namespace"]
    kubectl("-n", namespace, "wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/myweb", "--timeout=60s")
    for what in (("svc",), ("rc",), ("svc,rc",), ("svc", "-o", "wide"), ("rc/mysql", "-o", "yaml")):
        theirs = kubectl("-n", namespace, "get", *what).stdout
        assert without_ages(command("get", *what).stdout) == without_ages(theirs)


def without_ages(text: str) -> str:
    return re.sub(r"\b\d+m?\d*s\b *", "AGE ", text)


def test_get_watch_shows_changes_as_they_happen(cluster: Up, command: Command) -> None:
    command("apply", "-f", "-", stdin=config_map("first"))
    namespace = json.loads(command("get", "cm", "first", "-o", "json").stdout)["metadata"]["namespace"]
    watching = Process("get", "cm", "-n", namespace, "-w", env=environment(KUBECONFIG=str(cluster.kubeconfig)))
    try:
        watching.wait_for_line(re.compile("^first "))
        command("apply", "-f", "-", stdin=config_map("second"))
        watching.wait_for_line(re.compile("^second "))
        assert watching.stop() in (0, 130)
        assert not [line for line in watching.output if "Traceback" in line]
    finally:
        watching.end()


# ── delete waits ──


def test_delete_waits_until_the_object_is_gone(command: Command) -> None:
    command("apply", "-f", str(EXAMPLES / "mysql-rc.yaml"))
    assert command("delete", "rc/mysql").stdout == 'replicationcontroller "mysql" deleted\n'
    command("get", "rc", "mysql", code=1)


def test_delete_waits_for_finalizers_and_gives_up_in_time(cluster: Up, command: Command) -> None:
    held = yaml.safe_load(config_map("held"))
    held["metadata"]["finalizers"] = ["example.com/hold"]
    command("apply", "-f", "-", stdin=yaml.safe_dump(held))
    late = command("delete", "cm/held", "--timeout=0.3", code=1)
    assert "timed out waiting for the condition" in late.stderr
    assert "Traceback" not in late.stderr
    command("delete", "cm/held", "--no-wait")
    namespace = json.loads(command("get", "cm", "held", "-o", "json").stdout)["metadata"]["namespace"]
    Kubectl(cluster.kubeconfig)(
        "-n", namespace, "patch", "cm", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
    )
    command("get", "cm", "held", code=1)


# ── apply ──


def test_the_printed_files_are_all_mended_before_anything_is_applied(command: Command) -> None:
    refused = command("apply", "-f", str(PRINTED), "-f", str(EXAMPLES / "mysql-rc.yaml"), code=1)
    for name in ("mysql-rc.yaml", "mysql-svc.yaml", "myweb-rc.yaml", "myweb-svc.yaml"):
        assert f"{PRINTED / name}:" in refused.stderr
    assert "nothing was applied" in refused.stderr
    assert "No resources found" in command("get", "rc,svc").stderr


def test_what_stands_after_a_failure_halfway_is_said(command: Command) -> None:
    # The node port is taken by then: only the server can know.
    service = yaml.safe_load((EXAMPLES / "myweb-svc.yaml").read_text())
    other = service | {"metadata": {"name": "other"}}
    manifests = "---\n".join([yaml.safe_dump(service), yaml.safe_dump(other), config_map("last")])
    failed = command("apply", "-f", "-", stdin=manifests, code=1)
    assert "provided port is already allocated" in failed.stderr
    assert "applied before the failure: service/myweb (created)" in failed.stderr
    assert "not tried: configmap/last" in failed.stderr
    command("get", "cm", "last", code=1)


def test_apply_creates_configures_and_leaves_unchanged(command: Command) -> None:
    assert command("apply", "-f", "-", stdin=config_map("one")).stdout == "configmap/one created\n"
    assert command("apply", "-f", "-", stdin=config_map("one")).stdout == "configmap/one unchanged\n"
    changed = config_map("one", tier="web")
    assert command("apply", "-f", "-", stdin=changed).stdout == "configmap/one configured\n"


# ── proxy ──


def test_patch_changes_what_it_names_and_says_when_nothing_changed(command: Command) -> None:
    command("apply", "-f", "-", stdin=config_map("patched"))
    change = '{"data": {"a": "2", "b": "3"}}'
    assert command("patch", "cm", "patched", "-p", change).stdout == "configmap/patched patched\n"
    assert command("patch", "cm/patched", "-p", change).stdout == "configmap/patched patched (no change)\n"
    command("patch", "cm/patched", "--type", "json", "-p", '[{"op": "remove", "path": "/data/b"}]')
    assert json.loads(command("get", "cm", "patched", "-o", "json").stdout)["data"] == {"a": "2"}


def test_the_proxy_is_a_plain_rest_door(cluster: Up) -> None:
    proxy = Process("proxy", "--port=0", env=environment(KUBECONFIG=str(cluster.kubeconfig)))
    try:
        port = int(proxy.wait_for_line(re.compile(r"Starting to serve on 127\.0\.0\.1:(\d+)"))[1])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/namespaces/default", timeout=10) as answer:
            assert json.load(answer)["metadata"]["name"] == "default"
        body = config_map("through-the-proxy").encode()
        made = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/namespaces/default/configmaps",
            data=body,
            headers={"content-type": "application/yaml"},
        )
        with urllib.request.urlopen(made, timeout=10) as answer:
            assert answer.status == 201
        curled = subprocess.run(
            ["curl", "-sN", "--max-time", "1", f"http://127.0.0.1:{port}/api/v1/namespaces/default/configmaps?watch=1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert '"through-the-proxy"' in curled.stdout
        for strange in ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}):
            stranger = urllib.request.Request(f"http://127.0.0.1:{port}/api", headers=strange)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(stranger, timeout=10)
            assert refused.value.code == 403
        assert proxy.stop() in (0, 130)
    finally:
        proxy.end()


# ── up and down ──


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        for shape in ("tasks", "processes"):
            done = kubecore(
                "up",
                f"--port={port}",
                f"--parts={shape}",
                f"--kubeconfig={tmp_path / 'kc'}",
                f"--data-dir={tmp_path / 'd'}",
            )
            assert done.returncode == 1
            assert f"port {port} is taken: choose another with --port" in done.stdout
            assert done.stdout.startswith("error: ")
            assert "Traceback" not in done.stderr


def test_a_second_up_on_the_same_data_says_who_is_there(tmp_path: Path) -> None:
    with up(tmp_path, "--nodes", "0") as cluster:
        second = kubecore(
            "up", "--data-dir", str(tmp_path / "data"), "--port=0", "--kubeconfig", str(tmp_path / "other")
        )
        assert second.returncode == 1
        assert f"a cluster already runs in {tmp_path / 'data'} (process {cluster.process.pid}, " in second.stdout
        # The first is not harmed.
        Kubectl(cluster.kubeconfig)("get", "--raw", "/readyz")


@pytest.mark.parametrize("shape", ["tasks", "processes"])
def test_down_stops_it_and_takes_our_kubeconfig_entries_out(shape: str, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(yaml.safe_dump(FOREIGN))
    data = str(tmp_path / "data")
    running = Process(
        "up", f"--data-dir={data}", "--port=0", "--nodes=0", f"--parts={shape}", env=environment(KUBECONFIG=str(users))
    )
    try:
        running.wait_for_line(re.compile("^ready "))
        merged = yaml.safe_load(users.read_text())
        assert [context["name"] for context in merged["contexts"]] == ["work", "kubecore"]
        assert merged["current-context"] == "kubecore"
        Kubectl(users)("get", "namespaces")
        Kubectl(users)("config", "get-contexts", "work")
        done = kubecore("down", "--data-dir", data)
        assert (done.returncode, done.stdout) == (0, f"stopped the cluster of {data}\n")
        assert running.wait() == 0
        left = yaml.safe_load(users.read_text())
        assert {key: left[key] for key in FOREIGN} == FOREIGN | {"current-context": ""}
    finally:
        running.end()
    again = kubecore("down", "--data-dir", data, "--delete-data")
    assert again.returncode == 0
    assert again.stdout == f"no cluster is running in {data}\ndeleted {data}\n"
    assert not os.path.exists(data)


def test_down_keeps_data_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = kubecore("down", "--data-dir", str(tmp_path), "--delete-data")
    assert done.returncode == 1
    assert "thesis.txt" in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_version_names_both_sides(cluster: Up) -> None:
    done = kubecore("version", kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0
    assert "v1.35" in done.stdout


def test_a_closed_pipe_is_no_error(cluster: Up) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m kubecore_cli get cm -A -o yaml | head -1"],
        env=environment(KUBECONFIG=str(cluster.kubeconfig)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "apiVersion: v1\n"
    assert done.stderr == ""

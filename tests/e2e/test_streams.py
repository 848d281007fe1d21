"""Logs, exec, attach, port-forward, cp and proxies of pods on real nodes, with each kubectl, with kubecore, with the Python client.

kubectl 1.27 speaks SPDY, 1.33 WebSocket: both meet the kubelet's own server through the API server.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import secrets
import signal
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes import client, config
from kubernetes.stream import portforward, stream
from tests.support.kubectl import VERSIONS, Kubectl, find
from tests.support.processes import ROOT, environment, kubecore, up
from tests.support.realnodes import RealNodes

pytestmark = pytest.mark.timeout(120)

IMAGES = """\
images:
- name: teller
  root: host
  command: [sh, -c, 'echo first >&2; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done']
- name: once
  root: host
  command: [sh, -c, 'echo it runs; exit 3']
- name: web
  root: host
  command: [sh, -c, 'cd /tmp && hostname > index.html && exec python3 -m http.server 8080']
- name: echo
  root: host
  command: [cat]
- name: shell
  root: host
  command: [sh]
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: main, image: {image}, stdin: {stdin}, ports: [{{name: http, containerPort: 8080}}]}}
---
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
"""
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> 8080")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealNodes]:
    directory = tmp_path_factory.mktemp("streams")
    images = directory / "images.yaml"
    images.write_text(IMAGES)
    own = f"--cluster-name=kct-{secrets.token_hex(3)}"
    with up(directory, "--nodes=1", "--runtime=process", own, f"--images={images}") as started:
        made = RealNodes(started)
        pods = [("teller", "false"), ("once", "false"), ("web", "false"), ("echo", "true")]
        manifests = "".join(POD.format(name=name, image=name, stdin=stdin) for name, stdin in pods)
        made.kubectl("apply", "-f", "-", stdin=manifests + SERVICE)
        for name in ("teller", "web", "echo"):
            made.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
        while "line 10\n" not in made.kubectl("logs", "teller").stdout:
            pass
        yield made


@pytest.fixture(params=["", *VERSIONS], ids=lambda version: f"kubectl-{version or 'stock'}")
def kubectl(request: pytest.FixtureRequest, cluster: RealNodes) -> Kubectl:
    return Kubectl(cluster.up.kubeconfig, request.param)


def test_logs_are_cut_dated_and_followed(kubectl: Kubectl) -> None:
    assert kubectl("logs", "teller", "--limit-bytes=12").stdout == "first\nline 1"
    tail = kubectl("logs", "teller", "--tail=2").stdout.split()
    assert tail[::2] == ["line", "line"]
    assert int(tail[3]) == int(tail[1]) + 1
    dated = kubectl("logs", "teller", "--since=1s", "--timestamps").stdout.splitlines()
    assert 1 <= len(dated) <= 10
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line \d+$", dated[0])
    following = kubectl.start("logs", "-f", "teller", "--tail=1")
    assert following.stdout is not None
    numbers = [int(following.stdout.readline().split()[1]) for _ in range(5)]
    following.send_signal(signal.SIGINT)
    following.communicate()
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_the_log_of_a_container_before_its_restart_is_kept(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}=3", "pod/once")
    assert kubectl("logs", "once", "--previous").stdout == "it runs\n"
    refused = kubectl("logs", "teller", "--previous", code=1).stderr
    assert 'previous terminated container "main" in pod "teller" not found' in refused


def test_a_followed_log_goes_on_over_a_rotation(cluster: RealNodes) -> None:
    node_state = cluster.up.kubeconfig.parent
    (log,) = node_state.rglob("default_teller_*/main/0.log")
    following = cluster.kubectl.start("logs", "-f", "teller", "--tail=1")
    assert following.stdout is not None
    numbers = [int(following.stdout.readline().split()[1])]
    log.rename(log.with_name("0.log.rotated"))
    # A new file of that name, as the runtime opens it: here a copy of what comes makes the follower change over.
    log.write_text("2026-01-01T00:00:00.000000000Z stdout F line 1000000\n")
    while numbers[-1] != 1_000_000:
        numbers.append(int(following.stdout.readline().split()[1]))
    following.kill()
    following.communicate()
    log.with_name("0.log.rotated").rename(log)
    assert numbers[:-1] == list(range(numbers[0], numbers[0] + len(numbers) - 1))


def test_exec_keeps_streams_and_exit_codes_apart(kubectl: Kubectl) -> None:
    done = kubectl("exec", "teller", "--", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "command terminated with exit code 3" in done.stderr
    assert kubectl("exec", "-i", "teller", "--", "tr", "a-z", "A-Z", stdin="hello\n").stdout == "HELLO\n"
    many = "x" * 3_000_000
    assert kubectl("exec", "-i", "teller", "--", "cat", stdin=many).stdout == many
    missing = kubectl("exec", "teller", "--", "no-such-command", code=1).stderr
    assert 'exec: "no-such-command": executable file not found in $PATH' in missing


def test_exec_in_what_does_not_run_is_told(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}=3", "pod/once")
    refused = kubectl("exec", "once", "--", "true", code=1).stderr
    assert 'container not found ("main")' in refused or "unable to upgrade connection" in refused


def test_what_one_types_reaches_the_container_that_is_attached_to(kubectl: Kubectl) -> None:
    said = f"said by {secrets.token_hex(4)}"
    attached = subprocess.Popen(
        [find(kubectl.version), "attach", "-i", "echo"],
        env=kubectl.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attached.stdin is not None
    assert attached.stdout is not None
    attached.stdin.write(said + "\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == said + "\n"
    attached.kill()
    attached.communicate()


class Typist:
    """Somebody at a terminal."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], command, env)
        self.text = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self._pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def reads(self, pattern: str) -> None:
        """Until it is on the screen."""
        while not re.search(pattern, self.text):
            try:
                self.text += os.read(self._handle, 65536).decode()
            except OSError:
                raise AssertionError(f"it ended without {pattern!r}: {self.text!r}") from None

    def leaves(self) -> int:
        try:
            while data := os.read(self._handle, 65536):
                self.text += data.decode()
        except OSError:
            pass  # how Linux says that nobody is on the other side any more
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


@pytest.mark.parametrize("version", [*VERSIONS, "kubecore"])
def test_a_terminal_resizes_interrupts_and_gives_the_exit_code(cluster: RealNodes, version: str) -> None:
    if version == "kubecore":
        command, env = [sys.executable, "-m", "kubecore_cli"], environment(KUBECONFIG=str(cluster.up.kubeconfig))
    else:
        command, env = [find(version)], Kubectl(cluster.up.kubeconfig, version).environment
    person = Typist([*command, "exec", "-it", "teller", "--", "sh"], env)
    person.reads(r"# ")
    person.resize(33, 101)
    person.type("until [ \"$(stty size)\" = '33 101' ]; do sleep 0.1; done; tty; echo it is $((40 + 2))\n")
    person.reads(r"/dev/pts/\d+\r\nit is 42")
    # Said by what is to be interrupted: until then the terminal might not be its own.
    person.type("sh -c 'echo it sleeps $((40 + 3)); exec sleep 1000'\n")
    person.reads("it sleeps 43")
    person.type("\x03")
    person.type("exit 7\n")
    assert person.leaves() == 7


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", ["debug", "run"])
def test_a_debugger_and_a_passing_pod_are_typed_to(cluster: RealNodes, version: str, command: str) -> None:
    of_command = {
        "debug": ["debug", "-it", "teller", "--image=shell", "--", "sh"],
        "run": [
            "run",
            "-it",
            "--rm",
            f"passing-{secrets.token_hex(3)}",
            "--image=shell",
            "--restart=Never",
            "--command",
            "--",
            "sh",
        ],
    }
    person = Typist([find(version), *of_command[command]], Kubectl(cluster.up.kubeconfig, version).environment)
    person.reads("try pressing enter")
    person.type("\r")
    person.reads("# ")
    person.type("echo it is $((40 + 2)); exit 5\r")
    person.reads("it is 42")
    assert person.leaves() == {"debug": 0, "run": 5}[command]


@contextmanager
def forwarded(command: list[str], env: dict[str, str]) -> Iterator[str]:
    """The address at which a pod's port answers while it is forwarded."""
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        match = None
        while match is None:
            line = process.stdout.readline()
            assert line, "it ended"
            match = FORWARDING.search(line)
        yield f"http://127.0.0.1:{match.group(1)}/"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def test_a_forwarded_port_answers_again_and_again(kubectl: Kubectl) -> None:
    command = [find(kubectl.version), "port-forward", "pod/web", ":8080"]
    with forwarded(command, kubectl.environment) as url:
        assert [fetched(url) for _ in range(5)] == [b"web\n"] * 5
        kubectl("exec", "web", "--", "sh", "-c", "head -c 5000000 /dev/zero > /tmp/large")
        assert len(fetched(f"{url}large")) == 5_000_000


def test_files_are_copied_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(os.urandom(2_000_000))
    name = f"/tmp/{secrets.token_hex(4)}"
    kubectl("cp", str(original), f"teller:{name}")
    kubectl("cp", f"teller:{name}", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == original.read_bytes()


def test_proxies_lead_to_pods_services_and_the_kubelet(kubectl: Kubectl) -> None:
    for path in ("pods/web:8080", "services/web:http", "services/http:web:80"):
        assert kubectl("get", "--raw", f"/api/v1/namespaces/default/{path}/proxy/").stdout == "web\n"
    summary = json.loads(kubectl("get", "--raw", "/api/v1/nodes/node-0/proxy/stats/summary").stdout)
    assert summary["node"]["nodeName"] == "node-0"
    pods = json.loads(kubectl("get", "--raw", "/api/v1/nodes/node-0/proxy/pods").stdout)
    assert {pod["metadata"]["name"] for pod in pods["items"]} >= {"teller", "web"}


def test_kubecore_does_the_same(cluster: RealNodes, tmp_path: Path) -> None:
    kubeconfig = cluster.up.kubeconfig
    assert kubecore("logs", "teller", "--limit-bytes", "5", kubeconfig=kubeconfig).stdout == "first"
    failed = kubecore("exec", "teller", "--", "sh", "-c", "echo out; echo err >&2; exit 3", kubeconfig=kubeconfig)
    assert (failed.returncode, failed.stdout) == (3, "out\n")
    assert failed.stderr == "err\ncommand terminated with exit code 3\n"
    echoed = kubecore("exec", "-i", "teller", "--", "cat", kubeconfig=kubeconfig, stdin="there and back")
    assert echoed.stdout == "there and back"
    (tmp_path / "tree" / "below").mkdir(parents=True)
    (tmp_path / "tree" / "below" / "leaf").write_text("green")
    assert kubecore("cp", str(tmp_path / "tree"), "teller:/tmp/tree", kubeconfig=kubeconfig).returncode == 0
    assert kubecore("cp", "teller:/tmp/tree", str(tmp_path / "back"), kubeconfig=kubeconfig).returncode == 0
    assert (tmp_path / "back" / "below" / "leaf").read_text() == "green"
    command = [sys.executable, "-m", "kubecore_cli", "port-forward", "service/web", ":http"]
    with forwarded(command, environment(KUBECONFIG=str(kubeconfig))) as url:
        assert [fetched(url) for _ in range(3)] == [b"web\n"] * 3
    refused = kubecore("logs", "teller", "-c", "other", kubeconfig=kubeconfig)
    assert (refused.returncode, refused.stderr) == (
        1,
        "Error from server (BadRequest): container other is not valid for pod teller\n",
    )


def test_the_python_client_execs_and_forwards(cluster: RealNodes) -> None:
    api = client.CoreV1Api(config.new_client_from_config(str(cluster.up.kubeconfig)))
    answer = stream(
        api.connect_get_namespaced_pod_exec,
        "teller",
        "default",
        command=["sh", "-c", "echo out; echo err >&2; exit 5"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    answer.run_forever(timeout=30)
    assert (answer.read_stdout(), answer.read_stderr(), answer.returncode) == ("out\n", "err\n", 5)
    ports = portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="8080")
    socket = ports.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    received = b""
    while data := socket.recv(65536):
        received += data
    assert received.endswith(b"web\n")
    assert ports.error(8080) is None


def test_strangers_get_nothing_from_the_kubelet(cluster: RealNodes) -> None:
    def asked(path: str, *more: str) -> str:
        command = ["ip", "netns", "exec", f"{cluster.name}-node-0", "curl", "-sk", "-w", " %{http_code}", *more]
        url = f"https://198.18.0.11:10250{path}"
        return subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout

    assert asked("/pods") == "Unauthorized 401"
    assert asked("/healthz") == "Unauthorized 401"
    assert asked("/pods", "-H", "Authorization: Bearer nonsense") == "Unauthorized 401"
    token = cluster.kubectl("create", "token", "default").stdout.strip()
    refused = asked("/pods", "-H", f"Authorization: Bearer {token}")
    who = "user=system:serviceaccount:default:default, verb=get, resource=nodes, subresource(s)=[pods proxy]"
    assert refused == f"Forbidden ({who}) 403"

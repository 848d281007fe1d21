"""A cluster of real nodes for tests: started, looked at from outside, and counted when it has ended. Needs root."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from kubecore.cluster.machines import namespaces
from kubecore.cluster.machines.claim import CGROUPS, DIRECTORY, DISKS
from kubecore.kubelet import cgroups
from tests.support.kubectl import Kubectl
from tests.support.processes import Up

OUTSIDE = re.compile(r"ip netns exec (\S+)-outside")
FETCH_SECONDS = 10.0

IMAGES = """\
images:
- name: web
  root: host
  command: [sh, -c, 'cd /tmp && hostname > index.html && exec python3 -m http.server 8080 2>/dev/null']
- name: sleep
  root: host
  command: [sleep, "100000"]
"""


def web(*, replicas: int, node_port: int) -> str:
    """Manifests of a ReplicationController whose pods say their names, and its Service."""
    return f"""\
apiVersion: v1
kind: ReplicationController
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{app: web}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: web
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080, nodePort: {node_port}}}]
"""


class RealNodes:
    """`up --runtime process` in a directory of its own."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.kubectl = Kubectl(up.kubeconfig)

    @property
    def name(self) -> str:
        """As its namespaces begin."""
        found = [match for line in self.up.process.output if (match := OUTSIDE.search(line))]
        return found[-1].group(1)

    def fetch(self, url: str, *fields: str, of: str = "outside") -> str:
        """What a page says, fetched (with `fields`: posted to) in one of the cluster's namespaces; "" if nobody answers in
        time."""
        posted = [word for field in fields for word in ("--data-urlencode", field)]
        command = [
            "ip",
            "netns",
            "exec",
            f"{self.name}-{of}",
            "curl",
            "-s",
            "--max-time",
            str(FETCH_SECONDS),
            *posted,
            url,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def fetch_until(self, url: str, done: Callable[[set[str]], bool], *, of: str = "outside") -> set[str]:
        """All that has answered, once that is enough (the test's own time limit ends an endless wait)."""
        seen: set[str] = set()
        while not done(seen):
            if page := self.fetch(url, of=of):
                seen.add(page)
        return seen

    def pods(self) -> dict[str, str]:
        """Running pods' names → their nodes."""
        shown = self.kubectl(
            *("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running"),
            '-o=jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}',
        ).stdout
        return dict(line.split() for line in shown.splitlines())

    def wait_for_pods(self, count: int) -> dict[str, str]:
        self.kubectl("wait", f"--for=jsonpath={{.status.readyReplicas}}={count}", "rc/web", "--timeout=60s")
        return self.pods()


def left_of(name: str) -> list[str]:
    """Everything on this box that bears a cluster's name, or runs in its cgroups."""
    found = [
        f"namespace {each}" for each in namespaces.names() if re.fullmatch(rf"{name}-(fabric|outside|node-\d+)", each)
    ]
    found += [f"file {path}" for place in (DIRECTORY, DISKS) for path in place.glob(f"{name}*") if path.stem == name]
    if cgroups.detect().exists(f"/{CGROUPS}/{name}"):
        found.append("cgroup")
    found += [f"mount {line}" for line in mounts(f"/{name}-")]
    return found


def mounts(word: str) -> list[str]:
    """Of this box, those that name something."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if word in line]


def root_network() -> str:
    """The links, addresses, routes and rules of the root namespace, which is never touched; packet counters aside."""
    shown = [subprocess.run(words, capture_output=True, text=True, check=True).stdout for words in ROOT_NETWORK]
    return re.sub(r"valid_lft \S+|preferred_lft \S+|counter packets \d+ bytes \d+", "", "\n".join(shown))


ROOT_NETWORK = (
    ["ip", "-brief", "link"],
    ["ip", "address"],
    ["ip", "route", "show", "table", "all"],
    ["ip", "rule"],
    ["nft", "list", "ruleset"],
    ["sysctl", "net.ipv4.ip_forward", "net.ipv4.conf.all.rp_filter"],
)


def processes_of(directory: Path) -> list[str]:
    """Command lines that name a directory: a machine's units all do."""
    return [command for pid, command in _commands() if str(directory) in command and pid != os.getpid()]


def processes_in(cluster: str, *words: str) -> set[int]:
    """Processes of a cluster's nodes, by their cgroup, whose command line has all the words."""
    own = f"/{CGROUPS}/{cluster}/"
    return {pid for pid, command in _commands() if all(word in command for word in words) and own in _cgroup(pid)}


def _commands() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""

"""The founding document's example on two real nodes: Tomcat's page, written and read through MySQL, fetched from outside.

Driven by stock kubectl and by `kubecore`; and once more with the API server killed (-9) in the middle.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.kubectl import Kubectl
from tests.support.processes import children, kubecore, up
from tests.support.realnodes import RealNodes

pytestmark = pytest.mark.timeout(300)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES = [
    word
    for name in ("mysql-rc", "mysql-svc", "myweb-rc", "myweb-svc")
    for word in ("-f", str(EXAMPLES / f"{name}.yaml"))
]
FLAGS = (
    "--nodes=2",
    "--runtime=process",
    "--service-cidr=169.169.0.0/16",
    f"--images={EXAMPLES / 'images' / 'images.yaml'}",
)
PAGES = ("http://198.18.0.11:30001/", "http://198.18.0.12:30001/")
DATABASE = re.compile(r"from database <b>([^<]+)</b>")
ANSWERED = re.compile(r"Answered by pod <b>([^<]+)</b>")

Command = Callable[..., object]


def with_kubectl(cluster: RealNodes) -> Command:
    return Kubectl(cluster.up.kubeconfig)


def with_kubecore(cluster: RealNodes) -> Command:
    def run(*arguments: str) -> None:
        done = kubecore(*arguments, kubeconfig=cluster.up.kubeconfig)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def pod_of(page: str) -> str:
    """Which Tomcat answered; empty if the page is not whole."""
    found = ANSWERED.search(page)
    return found.group(1) if found and "The database did not answer" not in page else ""


def serve(cluster: RealNodes, run: Command) -> None:
    """Applies the four files; returns when both Tomcats have answered at both nodes."""
    run("apply", *FILES)
    cluster.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/myweb", "--timeout=120s")
    tomcats = set(
        cluster.kubectl("get", "pods", "-l", "app=myweb", "-o=jsonpath={.items[*].metadata.name}").stdout.split()
    )
    assert len(tomcats) == 2
    for page in PAGES:
        seen: set[str] = set()
        while seen != tomcats:
            seen |= {pod for pod in [pod_of(cluster.fetch(page))] if pod}


@pytest.mark.parametrize("tool", [with_kubectl, with_kubecore])
def test_the_page_is_served_and_what_one_tomcat_writes_the_other_reads(
    tool: Callable[[RealNodes], Command], tmp_path: Path
) -> None:
    with up(tmp_path, *FLAGS, f"--cluster-name=kct-{secrets.token_hex(3)}") as started:
        cluster = RealNodes(started)
        run = tool(cluster)
        serve(cluster, run)
        assert cluster.kubectl("get", "service", "mysql", "-o=jsonpath={.spec.clusterIP}").stdout.startswith("169.169.")
        writer = pod_of(cluster.fetch(PAGES[0], "name=Ada", "message=hello"))
        reader = writer
        while reader in ("", writer):
            page = cluster.fetch(PAGES[1])
            reader = pod_of(page)
        assert "hello" in page
        run("scale", "rc", "mysql", "--replicas=2")
        databases: set[str] = set()
        while len(databases) < 2:
            databases |= set(DATABASE.findall(cluster.fetch(PAGES[0])))
        run("delete", *FILES)
        cluster.kubectl("wait", "--for=delete", "pods", "--all", "--timeout=120s")
        assert started.process.stop() == 0


def test_the_page_is_served_while_the_api_server_is_killed_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with up(tmp_path, *FLAGS, "--parts=processes", f"--cluster-name=kct-{secrets.token_hex(3)}") as started:
        cluster = RealNodes(started)
        serve(cluster, with_kubectl(cluster))
        before = children(started.process.pid)["apiserver"]
        cluster.kubectl("create", "configmap", "acknowledged", "--from-literal=before=the-kill")
        os.kill(before, signal.SIGKILL)
        while not pod_of(cluster.fetch(PAGES[0])):
            pass
        while children(started.process.pid).get("apiserver", before) == before:
            pass
        while cluster.kubectl("scale", "rc/mysql", "--replicas=2", code=None).returncode != 0:
            pass
        cluster.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/mysql", "--timeout=120s")
        kept = cluster.kubectl("get", "configmap", "acknowledged", "-o=jsonpath={.data.before}").stdout
        assert kept == "the-kill"
        restarts = cluster.kubectl("get", "pods", "-o=jsonpath={.items[*].status.containerStatuses[0].restartCount}")
        assert set(restarts.stdout.split()) == {"0"}
        # The new database is ready as soon as it runs (the printed files have no probe), and answers a little later.
        while not pod_of(cluster.fetch(PAGES[1])):
            pass

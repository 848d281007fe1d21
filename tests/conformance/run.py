"""Runs upstream's conformance suite against a cluster and writes what happened as JSON.

In: the suite's binary, a kubeconfig (or none: a fresh `kubecore up`), `excluded.toml` (what is not run, and why). With
`--nodes real`, those tests that simulated nodes cannot pass, on real ones. Out: a record for each of these conformance
tests: passed, failed with its message, or excluded with its reason. Each test is a process of its own, so that one that
hangs is ended alone; `[Serial]` tests run last, one at a time, as upstream asks.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXCLUDED = Path(__file__).with_name("excluded.toml")
FLAGS = {
    "simulated": ("--nodes=3",),
    "real": ("--nodes=2", "--runtime=process", f"--images={Path(__file__).with_name('images.yaml')}"),
}
"""How a fresh cluster is started."""
GRACE_SECONDS = 30
"""Beyond its time limit a test gets this long to clean up before its process is ended."""

MESSAGE_CHARACTERS_MAX = 600

Record = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--kubeconfig", type=Path, help="of the cluster to judge [a fresh one]")
    parser.add_argument("--nodes", choices=list(FLAGS), default="simulated", help="of the cluster")
    parser.add_argument("--report", required=True, type=Path)
    parser.add_argument("--only", default="", help="a regular expression: run only the names it finds")
    parser.add_argument("--logs", type=Path, help="keep each failing test's output here")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--limit-seconds", type=int, default=420)
    options = parser.parse_args()

    if options.kubeconfig:
        return judge_cluster(options)
    with fresh_cluster(FLAGS[options.nodes]) as options.kubeconfig:
        return judge_cluster(options)


@contextmanager
def fresh_cluster(flags: Sequence[str]) -> Iterator[Path]:
    """`kubecore up` that keeps nothing; gives its kubeconfig."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        command = [sys.executable, "-m", "kubecore_cli", "up", "--port=0", "--storage=memory", *flags]
        command += [f"--data-dir={folder}/data", f"--kubeconfig={kubeconfig}"]
        cluster = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert cluster.stdout is not None, "asked for above"
        try:
            if not any(line.startswith("ready") for line in cluster.stdout):
                raise SystemExit("the cluster did not start")
            yield kubeconfig
        finally:
            cluster.terminate()
            cluster.wait()


def judge_cluster(options: argparse.Namespace) -> int:
    suite = Suite(options)
    names = suite.names()
    if options.nodes == "real":
        names = sorted(reasons_by_name(names, "simulated", only=True))
    reasons = reasons_by_name(names, options.nodes)
    chosen = [name for name in names if name not in reasons and re.search(options.only, name)]
    with ThreadPoolExecutor(options.workers) as workers:
        records = list(workers.map(suite.run, [name for name in chosen if "[Serial]" not in name]))
    records += [suite.run(name) for name in chosen if "[Serial]" in name]
    failed = [record["name"] for record in records if record["result"] == "failed"]
    records += [{"name": name, "result": "excluded", "message": reason} for name, reason in reasons.items()]
    options.report.write_text(json.dumps(sorted(records, key=lambda record: record["name"]), indent=1) + "\n")
    print(f"{len(chosen)} run, {len(chosen) - len(failed)} passed, {len(failed)} failed, {len(reasons)} excluded")
    return 1 if failed else 0


def reasons_by_name(names: list[str], nodes: str, *, only: bool = False) -> dict[str, str]:
    """Why a test is not run on such nodes; `only`: for rows about them alone. A pattern that finds none is out of date:
    said so, instead of hiding a test one day."""
    reasons: dict[str, str] = {}
    for row in tomllib.loads(EXCLUDED.read_text())["excluded"]:
        if row.get("nodes", nodes) != nodes or (only and "nodes" not in row):
            continue
        for pattern in row["tests"]:
            found = [name for name in names if re.search(pattern, name)]
            if not found and (nodes == "simulated" or "nodes" in row):
                raise SystemExit(f"{EXCLUDED.name}: no test has a name like {pattern!r}")
            for name in found:
                reasons.setdefault(name, row["reason"])
    return reasons


class Suite:
    """The binary, and the cluster it judges."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self._printing = threading.Lock()

    def names(self) -> list[str]:
        """All conformance tests that the binary holds."""
        specs = self._specs([r"-ginkgo.focus=\[Conformance\]", "-ginkgo.dry-run"])[0]
        names = {_name(spec) for spec in specs if spec["LeafNodeType"] == "It" and spec["State"] == "passed"}
        return sorted(names)

    def run(self, name: str) -> Record:
        started = time.monotonic()
        specs, output = self._specs([f"-ginkgo.focus={re.escape(name)}$"])
        record = {"name": name, **judge(specs, output), "seconds": round(time.monotonic() - started, 1)}
        if record["result"] == "failed" and self.options.logs:
            self.options.logs.mkdir(parents=True, exist_ok=True)
            (self.options.logs / (re.sub(r"\W+", "-", name)[:120] + ".log")).write_text(output)
        with self._printing:
            print(f"{record['result']:6} {record['seconds']:6.1f} s  {name}", flush=True)
        return record

    def _specs(self, flags: list[str]) -> tuple[list[Record], str]:
        """What a run of the binary reports of each spec, and all that it printed."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [
                str(self.options.binary.resolve()),
                f"-kubeconfig={self.options.kubeconfig.resolve()}",
                "-provider=skeleton",
                "-kubectl-path=kubectl",
                "-allowed-not-ready-nodes=-1",
                "-dump-logs-on-failure=false",
                f"-ginkgo.json-report={report}",
                f"-ginkgo.timeout={self.options.limit_seconds}s",
                "-ginkgo.no-color",
                *flags,
            ]
            try:
                limit_seconds = self.options.limit_seconds + GRACE_SECONDS
                done = subprocess.run(command, capture_output=True, timeout=limit_seconds)
                output = done.stdout + done.stderr
            except subprocess.TimeoutExpired as expired:
                output = expired.stdout or b""
            # A suite that was ended by force leaves no report, or an empty one.
            written = report.read_text() if report.exists() else ""
            suites = json.loads(written) if written else []
        return [spec for suite in suites for spec in suite["SpecReports"] or []], output.decode(errors="replace")


def _name(spec: Record) -> str:
    return " ".join([*(spec["ContainerHierarchyTexts"] or []), spec["LeafNodeText"]])


def judge(specs: list[Record], output: str) -> Record:
    """Passed only if the report shows exactly one test, and that it passed."""
    ran = [spec for spec in specs if spec["LeafNodeType"] == "It" and spec["State"] not in ("skipped", "pending")]
    if len(ran) == 1 and ran[0]["State"] == "passed":
        return {"result": "passed", "message": ""}
    told = [spec["Failure"]["Message"] for spec in specs if spec["State"] != "passed" and "Failure" in spec]
    message = told[0] if told else f"{len(ran)} tests of this name ran\n{output[-MESSAGE_CHARACTERS_MAX:]}"
    return {"result": "failed", "message": message[:MESSAGE_CHARACTERS_MAX]}


if __name__ == "__main__":
    sys.exit(main())

"""`kubecore bench`: measures the control plane on this machine and checks that what it measured was right."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.group(help="Measure the control plane on this machine.")
def bench() -> None:
    pass


@bench.command(
    help="Create pods on a real cluster of its own (TLS, RBAC, admission, durable storage; client and server are "
    "processes of their own), have them scheduled, and check the result: every pod bound and Running, no node over "
    "its allocatable, one Scheduled event for each pod, and a restarted server that holds the same. Exit code 1 if a "
    "check fails."
)
@click.option("--nodes", type=click.IntRange(1), default=5000, show_default=True, help="Simulated nodes.")
@click.option("--pods", type=click.IntRange(1), default=10000, show_default=True, help="Pods to create.")
@click.option(
    "--connections",
    type=click.IntRange(1, 512),
    default=64,
    show_default=True,
    help="The creating client's connections.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where the clusters keep their state: an empty directory, kept. Else a temporary one.",
)
@click.option(
    "--timeout", "timeout_seconds", type=float, default=600.0, show_default=True, help="Seconds a phase may take."
)
@click.option(
    "--parts",
    type=click.Choice(["tasks", "processes"]),
    default="tasks",
    show_default=True,
    help="How `kubecore up` runs the parts of the measured cluster.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def schedule(
    nodes: int, pods: int, connections: int, data_dir: Path | None, timeout_seconds: float, parts: str, as_json: bool
) -> None:
    from kubecore_cli.bench_schedule import Settings, run

    result = run(Settings(nodes, pods, connections, data_dir, timeout_seconds, parts))
    click.echo(json.dumps(result, indent=2) if as_json else screen(result))
    if not all(check["ok"] for check in result["checks"]):
        raise click.exceptions.Exit(1)


def screen(result: dict[str, object]) -> str:
    """One screen: figures, then checks."""
    from kubecore_cli.bench_report import lines

    return "\n".join(lines(result))

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


@bench.command(
    help="Run upstream's scheduler_perf by name: the kernel alone, then end to end through an API server, upstream's "
    "figures beside it. A file of your own has the form of scheduler_perf.yaml."
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--file", "path", type=click.Path(path_type=Path, exists=True), default=None, help="Workloads of yours.")
@click.option("--scale", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Of counts.")
@click.option("--kernel-only", is_flag=True, help="Start no cluster.")
@click.option("--timeout", "timeout_seconds", type=float, default=900.0, show_default=True, help="Of one workload.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def scheduler(
    names: tuple[str, ...], path: Path | None, scale: float, kernel_only: bool, timeout_seconds: float, as_json: bool
) -> None:
    from kubecore_cli import bench_scheduler, bench_workloads
    from kubecore_cli.bench_report import Progress, machine, versions

    workloads = bench_workloads.read(path, scale)
    chosen = [each for each in workloads if not names or any(each.name.startswith(name) for name in names)]
    if not chosen:
        raise click.UsageError(f"no such workload; there are {', '.join(each.name for each in workloads)}")
    rows = bench_scheduler.run(chosen, end_to_end=not kernel_only, timeout_seconds=timeout_seconds, progress=Progress())
    if as_json:
        result = {"machine": machine(), "versions": versions(), "scale": scale, "workloads": rows}
        click.echo(json.dumps(result, indent=2))
    else:
        click.echo("\n".join(bench_scheduler.screen(rows)))
    if any("failed" in (row.get("end_to_end") or {}) for row in rows):
        raise click.exceptions.Exit(1)


def screen(result: dict[str, object]) -> str:
    """One screen: figures, then checks."""
    from kubecore_cli.bench_report import lines

    return "\n".join(lines(result))

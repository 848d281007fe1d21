"""`kubecore plan -f pods.yaml`: what would be placed where, evicted or left pending. The cluster is not touched."""

from __future__ import annotations

import json
from collections import Counter

import click

from kubecore.api.meta import Object
from kubecore.scheduler import Configuration, Placement, WhatIf
from kubecore_cli import manifests
from kubecore_cli.scheduling import ConfigurationFile, give_priorities, pods_of
from kubecore_cli.session import Session, command
from kubecore_cli.tables import columns

CAPACITY_MAX = 100_000
"""Copies that are tried for the capacity report."""


@command(help="Say where pods would go, without touching the cluster. Exit code 2: something would not fit.")
@click.option("-f", "--filename", "filenames", multiple=True, required=True, metavar="FILE", help="Pods or workloads.")
@click.option("--nodes", "more", nargs=2, multiple=True, metavar="+N NODE", help="N more nodes like NODE.")
@click.option("--without", multiple=True, metavar="NODE", help="As if this node were gone.")
@click.option("--capacity", is_flag=True, help="Also: how many more of the last pod would fit.")
@click.option("--config", "configuration", type=ConfigurationFile(), default=None, help="A KubeSchedulerConfiguration.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
async def plan(
    session: Session,
    filenames: tuple[str, ...],
    more: tuple[tuple[str, str], ...],
    without: tuple[str, ...],
    capacity: bool,
    configuration: Configuration | None,
    output: str,
) -> int:
    pods = _wanted(filenames, session.namespace)
    await give_priorities(session.client, pods)
    what_if = await WhatIf.of_cluster(session.client, configuration)
    _change_nodes(what_if, more, without)
    placements = what_if.place(pods)
    fitting = what_if.capacity(pods[-1], CAPACITY_MAX) if capacity else None
    if output == "json":
        report = {"placements": [_as_json(each) for each in placements], "capacity": fitting}
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo("\n".join(in_words(placements, fitting)))
    return 0 if all(each.node is not None for each in placements) else 2


def _wanted(filenames: tuple[str, ...], namespace: str) -> list[Object]:
    pods: list[Object] = []
    for source in manifests.read(filenames):
        for manifest in manifests.parse(source):
            pods += pods_of(manifest.object, namespace)
    if not pods:
        raise click.ClickException("no pods in these files, nor workloads that make some")
    return pods


def _change_nodes(what_if: WhatIf, more: tuple[tuple[str, str], ...], without: tuple[str, ...]) -> None:
    for name in [*without, *(name for _, name in more)]:
        if name not in what_if.nodes:
            raise click.ClickException(f'there is no node "{name}"')
    for count, name in more:
        if not count.lstrip("+").isdigit():
            raise click.UsageError(f'"{count}" is not a number of nodes such as +10')
        what_if.add_nodes_like(name, int(count.lstrip("+")))
    for name in without:
        what_if.remove_node(name)


def in_words(placements: list[Placement], fitting: int | None) -> list[str]:
    rows = [("POD", "NODE", "")]
    for each in placements:
        if each.node is not None:
            rows.append((each.key, each.node, ""))
        elif each.victims:
            rows.append((each.key, "<pending>", f"evicts {', '.join(each.victims)}"))
        else:
            rows.append((each.key, "<pending>", each.message))
    lines = [line.rstrip() for line in columns(rows)]
    counts = Counter("pending" if each.node is None else "placed" for each in placements)
    lines += ["", f"{counts['placed']} placed, {counts['pending']} pending"]
    if fitting is not None:
        least = "at least " if fitting == CAPACITY_MAX else ""
        lines.append(f"{least}{fitting} more of {placements[-1].key} would fit")
    return lines


def _as_json(placement: Placement) -> dict[str, object]:
    return {
        "pod": placement.key,
        "node": placement.node,
        "message": placement.message,
        "victims": list(placement.victims),
    }

"""`kubecore top node|pod`: what nodes and pods use now, printed as kubectl prints it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import click

from kubecore.api import quantity, scheme
from kubecore.api.errors import NotFound
from kubecore.api.meta import Object, name_of, namespace_of
from kubecore.api.metrics import NODE_METRICS, POD_METRICS
from kubecore_cli.session import Session, command
from kubecore_cli.tables import COLUMN_GAP, columns

UNKNOWN = "<unknown>"
_MEBI = 1024 * 1024

Sort = Callable[[Object], tuple[Any, ...]]


_ALIASES = {"nodes": "node", "no": "node", "pods": "pod", "po": "pod"}


class _Words(click.Group):
    """Knows nodes and pods by all their names; the help lists each once."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _ALIASES.get(cmd_name, cmd_name))


@click.group(cls=_Words, help="Show what nodes and pods use now: processor and memory.")
def top() -> None:
    pass


def _options(verb: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--no-headers", is_flag=True, help="No header line."),
        click.option("--sort-by", type=click.Choice(["cpu", "memory"]), default=None, help="The biggest first."),
        click.option("-l", "--selector", default="", metavar="LABELS", help="Only what has these labels."),
    ):
        verb = option(verb)
    return verb


@command(help="What nodes use, and how much that is of what they offer.")
@click.argument("name", default="")
@_options
async def node(session: Session, name: str, selector: str, sort_by: str | None, no_headers: bool) -> int:
    client, nodes = session.client, scheme.core("nodes")
    if name:
        used = [await client.get(NODE_METRICS, "", name)]
        known = [await client.get(nodes, "", name)]
    else:
        used = (await client.list(NODE_METRICS, label_selector=selector)).items
        known = (await client.list(nodes, label_selector=selector)).items
    offered = {name_of(each): each.get("status", {}).get("allocatable") or {} for each in known}
    rows = []
    for item in sorted(used, key=_order(sort_by)):
        allocatable = offered.pop(name_of(item), {})
        row = [name_of(item)]
        for resource in ("cpu", "memory"):
            amount = quantity.of(item["usage"].get(resource, "0"))
            row += [_text(resource, amount), _share(amount, allocatable.get(resource))]
        rows.append(row)
    rows += [[silent, *[UNKNOWN] * 4] for silent in sorted(offered)]
    _print(["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"], rows, headers=not no_headers)
    return 0


@command(help="What pods use; with --containers, each of their containers.")
@click.argument("name", default="")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("--containers", is_flag=True, help="A line for each container.")
@_options
async def pod(
    session: Session,
    name: str,
    selector: str,
    sort_by: str | None,
    all_namespaces: bool,
    containers: bool,
    no_headers: bool,
) -> int:
    client = session.client
    namespace = session.scope(POD_METRICS, all_namespaces=all_namespaces)
    if name:
        used = [await client.get(POD_METRICS, namespace, name)]
    else:
        used = (await client.list(POD_METRICS, namespace, label_selector=selector)).items
    if not used:
        pods = (await client.list(scheme.core("pods"), namespace, label_selector=selector)).items
        if any(each.get("status", {}).get("phase") == "Running" for each in pods):
            raise NotFound("metrics not available yet")
        click.echo(f"No resources found in {namespace} namespace." if namespace else "No resources found", err=True)
        return 0
    headers = [*(["NAMESPACE"] if all_namespaces else []), *(["POD"] if containers else [])]
    rows = []
    for item in sorted(used, key=_order(sort_by)):
        place = [namespace_of(item)] if all_namespaces else []
        if not containers:
            rows.append([*place, name_of(item), *_amounts(_sums(item))])
            continue
        parts = sorted(item["containers"], key=lambda part: (-_size(part["usage"], sort_by), part["name"]))
        rows += [[*place, name_of(item), part["name"], *_amounts(part["usage"])] for part in parts]
    _print([*headers, "NAME", "CPU(cores)", "MEMORY(bytes)"], rows, headers=not no_headers)
    return 0


top.add_command(node)
top.add_command(pod)


def _order(sort_by: str | None) -> Sort:
    return lambda item: (-_size(_sums(item), sort_by), namespace_of(item), name_of(item))


def _size(usage: dict[str, Any], sort_by: str | None) -> Decimal:
    return quantity.of(usage.get(sort_by, "0")) if sort_by else Decimal(0)


def _sums(item: Object) -> dict[str, Any]:
    if "usage" in item:
        return dict(item["usage"])
    sums = {"cpu": Decimal(0), "memory": Decimal(0)}
    for container in item["containers"]:
        for resource in sums:
            sums[resource] += quantity.of(container["usage"].get(resource, "0"))
    return {resource: quantity.text_of(amount) for resource, amount in sums.items()}


def _amounts(usage: dict[str, Any]) -> list[str]:
    return [_text(resource, quantity.of(usage.get(resource, "0"))) for resource in ("cpu", "memory")]


def _text(resource: str, amount: Decimal) -> str:
    if resource == "cpu":
        return f"{math.ceil(amount * 1000)}m"
    return f"{int(amount) // _MEBI}Mi"


def _share(amount: Decimal, allocatable: str | None) -> str:
    offered = quantity.of(allocatable or "0")
    return f"{int(amount / offered * 100)}%" if offered else UNKNOWN


def _print(header: Sequence[str], rows: Sequence[Sequence[str]], *, headers: bool) -> None:
    for line in columns([header, *rows] if headers and rows else rows, gap=COLUMN_GAP):
        click.echo(line)

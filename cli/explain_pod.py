"""`kubecore explain-pod NAME`: where a pod would go if it were decided now, and why, plugin by plugin and node by node."""

from __future__ import annotations

import json
from collections import Counter

import click

from kubecore.api.scheme import core
from kubecore.scheduler import Configuration, Explanation, WhatIf, explanation_as_json
from kubecore_cli.scheduling import ConfigurationFile
from kubecore_cli.session import Session, command
from kubecore_cli.tables import columns

NAMES_MAX = 5
"""Of nodes behind one reason; the others are counted."""


@command(name="explain-pod", help="Say where a pod would go now and why: what refused which nodes, and each score.")
@click.argument("name")
@click.option("--config", "configuration", type=ConfigurationFile(), default=None, help="A KubeSchedulerConfiguration.")
@click.option("--nodes", "node_count", type=click.IntRange(0), default=10, show_default=True, help="How many to list.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
async def explain_pod(
    session: Session, name: str, configuration: Configuration | None, node_count: int, output: str
) -> int:
    pod = await session.client.get(core("pods"), session.namespace, name)
    what_if = await WhatIf.of_cluster(session.client, configuration)
    explanation = what_if.explain(pod)
    if output == "json":
        click.echo(json.dumps(explanation_as_json(explanation), indent=2))
    else:
        click.echo("\n".join(in_words(explanation, pod.get("spec", {}).get("nodeName", ""), node_count)))
    return 0 if explanation.node is not None else 2


def in_words(explanation: Explanation, current_node: str, node_count: int) -> list[str]:
    ranked = explanation.ranked()
    lines = [_first_line(explanation, current_node)]
    if explanation.message:
        lines.append(f"  {explanation.message}")
    if explanation.nominated_node is not None:
        lines.append(f"Evicting {', '.join(explanation.victims)} would make room on {explanation.nominated_node}.")
    refused = explanation.refused()
    if refused:
        lines += ["", f"Refused: {len(explanation.nodes) - len(ranked)} of {len(explanation.nodes)} nodes"]
        rows: list[tuple[str, ...]] = []
        for plugin, verdicts in refused.items():
            counts = Counter(reason for verdict in verdicts for reason in verdict.reasons)
            for reason, count in counts.items():
                names = [verdict.node for verdict in verdicts if reason in verdict.reasons]
                rows.append((plugin, f"{count} {reason}", _some(names)))
        lines += columns(rows, indent="  ")
    if ranked:
        plugins = [each for each in ranked[0].scores if each.weight]
        shown = ranked[:node_count]
        lines += ["", "Scores, 0 to 100, times their weights" + _of(len(shown), len(ranked))]
        rows = [("NODE", "TOTAL", *(f"{each.plugin} ×{each.weight}" for each in plugins))]
        for verdict in shown:
            scores = [str(each.score) for each in verdict.scores if each.weight]
            rows.append((verdict.node, str(verdict.total), *scores))
        lines += columns(rows, indent="  ")
    return lines


def _first_line(explanation: Explanation, current_node: str) -> str:
    now = f" It is on {current_node}." if current_node else ""
    if explanation.node is None:
        return f"Pod {explanation.key} would go nowhere.{now}"
    margin = explanation.margin
    if margin is None:
        why = "the only node that would do"
    elif margin == 0:
        why = "drawn by lot among equals"
    else:
        why = f"{margin} ahead of the next"
    return f"Pod {explanation.key} would go to {explanation.node}: {why}.{now}"


def _some(names: list[str]) -> str:
    more = len(names) - NAMES_MAX
    return ", ".join(names[:NAMES_MAX]) + (f" and {more} more" if more > 0 else "")


def _of(shown: int, all_of_them: int) -> str:
    return f" (the best {shown} of {all_of_them})" if shown < all_of_them else ""

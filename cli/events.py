"""`kubecore events`: what happened, oldest first."""

from __future__ import annotations

import time

import click

from kubecore.api import scheme
from kubecore.api.meta import Object
from kubecore_cli import resources
from kubecore_cli.ages import human_age, last_seen
from kubecore_cli.get import as_list, render
from kubecore_cli.session import Session, command
from kubecore_cli.tables import columns

HEADER = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


@command(help="List events, oldest first.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("--for", "about", default="", metavar="KIND/NAME", help="Only of this object.")
@click.option("--types", default="", metavar="TYPES", help="Only these types: Normal, Warning.")
@click.option("-w", "--watch", "watching", is_flag=True, help="Then follow new ones.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), help="How to print.")
@click.option("--no-headers", is_flag=True, help="Leave out the header line.")
async def events(
    session: Session,
    all_namespaces: bool,
    about: str,
    types: str,
    watching: bool,
    output: str | None,
    no_headers: bool,
) -> int:
    wanted = {word.strip() for word in types.split(",") if word.strip()}
    resource = scheme.core("events")
    namespace = session.scope(resource, all_namespaces=all_namespaces)
    selector = _selector(about)
    listed = await session.client.list(resource, namespace, field_selector=selector)
    found = sorted((e for e in listed.items if not wanted or e.get("type") in wanted), key=last_seen)
    if output:
        click.echo(render(as_list(found), output), nl=False)
        return 0
    if not found and not watching:
        place = "" if all_namespaces else f" in {session.namespace} namespace"
        click.echo(f"No events found{place}.", err=True)
        return 0
    rows = [_row(event, namespaced=all_namespaces) for event in found]
    header = (["NAMESPACE"] if all_namespaces else []) + HEADER
    for line in columns(([] if no_headers else [header]) + rows, gap=3):
        click.echo(line)
    if watching:
        watch = session.client.watch(
            resource, namespace, resource_version=listed.resource_version, field_selector=selector
        )
        async for event_type, event in watch:
            if event_type != "DELETED" and (not wanted or event.get("type") in wanted):
                click.echo("   ".join(_row(event, namespaced=all_namespaces)))
    return 0


def _selector(about: str) -> str:
    if not about:
        return ""
    (target,) = resources.parse((about,))
    return f"involvedObject.kind={target.resource.kind},involvedObject.name={target.name}"


def _row(event: Object, *, namespaced: bool) -> list[str]:
    about = event.get("involvedObject") or {}
    row = [
        human_age(time.time() - last_seen(event)),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        event.get("message", "").strip(),
    ]
    return [event["metadata"].get("namespace", ""), *row] if namespaced else row

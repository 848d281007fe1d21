"""`kubecore patch`: change some fields of objects that are there."""

from __future__ import annotations

import json
from typing import Any, cast

import click

from kubecore.api import errors
from kubecore.client.requests import PatchType
from kubecore_cli import resources
from kubecore_cli.session import Session, command, error_line


def _document(text: str) -> Any:
    """JSON or YAML, as kubectl takes both."""
    import yaml

    try:
        return json.loads(text)
    except ValueError:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise click.ClickException(f"unable to parse the patch: {error}") from error


@command(help='Change some fields: `patch svc myweb -p \'{"spec":{"type":"LoadBalancer"}}\'`.')
@click.argument("what", nargs=-1)
@click.option("-p", "--patch", "text", required=True, metavar="PATCH", help="The patch, as JSON or YAML.")
@click.option(
    "--type",
    "patch_type",
    type=click.Choice(["strategic", "merge", "json"]),
    default="strategic",
    show_default=True,
    help="How the patch is meant.",
)
@click.option("--subresource", default="", metavar="NAME", help="Change the object's status or scale instead.")
async def patch(session: Session, what: tuple[str, ...], text: str, patch_type: str, subresource: str) -> int:
    body = _document(text)
    code = 0
    for target in resources.parse(what):
        resource = target.resource
        if not target.name:
            raise click.UsageError("you must name what to patch")
        try:
            namespace = session.scope(resource)
            before = await session.client.get(resource, namespace, target.name)
            after = await session.client.patch(
                resource,
                namespace,
                target.name,
                body,
                patch_type=cast(PatchType, patch_type),
                subresource=subresource,
                field_manager="kubecore-patch",
            )
        except errors.StatusError as error:
            click.echo(error_line(error), err=True)
            code = 1
            continue
        changed = before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]
        click.echo(f"{resources.manifest_name(after)} patched{'' if changed else ' (no change)'}")
    return code

"""`kubecore version`: of this command and, if one answers, of the server."""

from __future__ import annotations

import json

import click

from kubecore import __version__
from kubecore.client.client import raise_for_status
from kubecore_cli.session import Session, command


@command(help="Print the versions of this command and of the server.")
@click.option("--client", "client_only", is_flag=True, help="Only this command's.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="As JSON.")
async def version(session: Session, client_only: bool, output: str | None) -> int:
    versions: dict[str, object] = {"clientVersion": {"gitVersion": f"v{__version__}"}}
    if not client_only:
        response = await session.client.transport.request("GET", "/version", (), ())
        raise_for_status(response)
        versions["serverVersion"] = json.loads(response.body)
    if output == "json":
        click.echo(json.dumps(versions, indent=2))
        return 0
    for name, value in versions.items():
        label = name.removesuffix("Version").capitalize()
        click.echo(f"{label} Version: {value['gitVersion']}")  # type: ignore[index]
    return 0

"""`kubecore version`: of this command and, if one answers, of the server."""

from __future__ import annotations

import json

import click

from kubecore import __version__
from kubecore.client.client import raise_for_status
from kubecore_cli.session import Session, connected

CLIENT = {"gitVersion": f"v{__version__}"}


@click.command(help="Print the versions of this command and of the server.")
@click.option("--client", "client_only", is_flag=True, help="Only this command's.")
@click.option("-o", "--output", type=click.Choice(["json"]), help="As JSON.")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig to use; else $KUBECONFIG or ~/.kube/config.")
@click.option("--context", default="", metavar="NAME", help="The kubeconfig context to use.")
@click.option("-s", "--server", default="", metavar="URL", help="The API server's address instead.")
def version(client_only: bool, output: str | None, kubeconfig: str | None, context: str, server: str) -> int:
    versions = {"clientVersion": CLIENT}

    async def ask(session: Session) -> int:
        response = await session.client.transport.request("GET", "/version", (), ())
        raise_for_status(response)
        versions["serverVersion"] = json.loads(response.body)
        return 0

    code = 0 if client_only else connected(ask, kubeconfig=kubeconfig, context=context, server=server)
    if output == "json":
        click.echo(json.dumps(versions, indent=2))
        return code
    for name, value in versions.items():
        click.echo(f"{name.removesuffix('Version').capitalize()} Version: {value['gitVersion']}")
    return code

"""`kubecore create -f`: creates objects; one that exists already is an error."""

from __future__ import annotations

import click

from kubecore.api.errors import StatusError
from kubecore.client.apply import resource_of
from kubecore_cli import manifests
from kubecore_cli.apply import checked
from kubecore_cli.notices import tell_made
from kubecore_cli.resources import manifest_name
from kubecore_cli.session import Session, command, error_line


@command(help="Create the objects of the given files.")
@click.option("-f", "--filename", "filenames", multiple=True, required=True, metavar="FILE", help="File, folder or -.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("--dry-run", type=click.Choice(["none", "server"]), default="none", help="server: try, store nothing.")
async def create(session: Session, filenames: tuple[str, ...], recursive: bool, dry_run: str) -> int:
    wanted = checked(manifests.read(filenames, recursive=recursive))
    if wanted is None:
        return 1
    code = 0
    for manifest in wanted:
        resource = resource_of(manifest.object)
        namespace = manifest.object.get("metadata", {}).get("namespace") or session.scope(resource)
        try:
            created = await session.client.create(
                resource, manifest.object, namespace=namespace, dry_run=dry_run == "server"
            )
        except StatusError as error:
            click.echo(f"{manifest.source.name}:{manifest.line}: {error_line(error)}", err=True)
            code = 1
            continue
        click.echo(f"{manifest_name(created)} created" + (" (server dry run)" if dry_run == "server" else ""))
        if dry_run == "none":
            tell_made(created)
    return code

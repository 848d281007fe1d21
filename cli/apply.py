"""`kubecore apply -f`: reads everything first, names every mistake of every file at once, and sends nothing while there is one."""

from __future__ import annotations

from collections.abc import Iterable

import click

from kubecore.api.errors import StatusError
from kubecore.client.apply import Outcome
from kubecore.client.apply import apply as apply_object
from kubecore_cli import manifests
from kubecore_cli.diagnose import Mistake, diagnose
from kubecore_cli.manifests import Manifest, Source
from kubecore_cli.notices import tell_made
from kubecore_cli.resources import manifest_name
from kubecore_cli.session import Session, command, error_line


@command(help="Apply manifests: creates what is missing, changes what differs, leaves the rest alone.")
@click.option("-f", "--filename", "filenames", multiple=True, required=True, metavar="FILE", help="File, folder or -.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("--dry-run", type=click.Choice(["none", "server"]), default="none", help="server: try, store nothing.")
async def apply(session: Session, filenames: tuple[str, ...], recursive: bool, dry_run: str) -> int:
    wanted = checked(manifests.read(filenames, recursive=recursive))
    if wanted is None:
        return 1
    done: list[tuple[str, Outcome]] = []
    for manifest in wanted:
        name = manifest_name(manifest.object)
        try:
            applied = await apply_object(
                session.client, manifest.object, namespace=session.namespace, dry_run=dry_run == "server"
            )
        except StatusError as error:
            click.echo(f"{manifest.source.name}:{manifest.line}: {error_line(error)}", err=True)
            _say_what_stands(wanted, done)
            return 1
        done.append((name, applied.outcome))
        click.echo(f"{name} {applied.outcome}" + (" (server dry run)" if dry_run == "server" else ""))
        if applied.outcome == "created" and dry_run == "none":
            tell_made(applied.object)
    return 0


def checked(sources: Iterable[Source]) -> list[Manifest] | None:
    """The manifests of all files, or None after every mistake was named."""
    wanted: list[Manifest] = []
    mistakes: list[Mistake] = []
    for source in sources:
        found = diagnose(source)
        mistakes.extend(found)
        if not any(mistake.blocks for mistake in found):
            wanted.extend(manifests.parse(source))
    for mistake in mistakes:
        click.echo(str(mistake), err=True)
    blocking = sum(mistake.blocks for mistake in mistakes)
    if blocking:
        click.echo(f"error: {blocking} mistake{'s' if blocking > 1 else ''} to mend; nothing was applied", err=True)
        return None
    if not wanted:
        click.echo("error: no objects passed to apply", err=True)
        return None
    return wanted


def _say_what_stands(wanted: list[Manifest], done: list[tuple[str, Outcome]]) -> None:
    """Nothing half-applied without saying so."""
    rest = [manifest_name(manifest.object) for manifest in wanted[len(done) + 1 :]]
    if done:
        click.echo(
            "applied before the failure: " + ", ".join(f"{name} ({outcome})" for name, outcome in done), err=True
        )
    if rest:
        click.echo("not tried: " + ", ".join(rest), err=True)

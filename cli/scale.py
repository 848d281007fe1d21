"""`kubecore scale --replicas=N`."""

from __future__ import annotations

import click

from kubecore.api import errors
from kubecore_cli import resources
from kubecore_cli.session import Session, command, error_line


@command(help="Set the number of replicas: `scale rc mysql --replicas=2`, `scale deploy/web --replicas=5`.")
@click.argument("what", nargs=-1)
@click.option("--replicas", type=click.IntRange(min=0), required=True, metavar="N", help="How many are wanted.")
@click.option("--current-replicas", type=int, default=None, metavar="N", help="Only if it has this many now.")
async def scale(session: Session, what: tuple[str, ...], replicas: int, current_replicas: int | None) -> int:
    code = 0
    for target in resources.parse(what):
        resource = target.resource
        if not target.name:
            raise click.UsageError("you must name what to scale")
        if not any(subresource.name == "scale" for subresource in resource.subresources):
            raise click.ClickException(f"{resource.qualified} cannot be scaled")
        namespace = session.scope(resource)
        try:
            if current_replicas is not None:
                current = await session.client.get(resource, namespace, target.name)
                found = current.get("spec", {}).get("replicas", 1)
                if found != current_replicas:
                    click.echo(f"error: Expected replicas to be {current_replicas}, was {found}", err=True)
                    code = 1
                    continue
            await session.client.scale(resource, namespace, target.name, replicas=replicas)
        except errors.StatusError as error:
            click.echo(error_line(error), err=True)
            code = 1
            continue
        group = f".{resource.group}" if resource.group else ""
        click.echo(f"{resource.singular}{group}/{target.name} scaled")
    return code

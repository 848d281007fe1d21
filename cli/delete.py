"""`kubecore delete`: by file, by name or by label; waits until the objects are gone unless told not to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.client.apply import resource_of
from kubecore_cli import manifests, resources
from kubecore_cli.resources import Target
from kubecore_cli.session import Session, command, error_line

WAIT_SECONDS = 7 * 24 * 3600.0
"""As kubectl: long enough to mean for ever."""


@command(help="Delete objects: `delete pod a b`, `delete rc/mysql`, `delete pods -l app=web`, `delete -f FILE`.")
@click.argument("what", nargs=-1)
@click.option("-f", "--filename", "filenames", multiple=True, metavar="FILE", help="File, folder or -.")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-l", "--selector", default="", metavar="SELECTOR", help="The objects with these labels.")
@click.option("--all", "every", is_flag=True, help="All objects of the resource in the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="With --all or -l: in every namespace.")
@click.option("--grace-period", type=int, default=None, metavar="SECONDS", help="Instead of the object's own.")
@click.option("--now", is_flag=True, help="A grace period of one second.")
@click.option("--force", is_flag=True, help="At once, with a grace period of zero.")
@click.option(
    "--cascade",
    type=click.Choice(["background", "foreground", "orphan"]),
    default="background",
    help="What becomes of the objects it owns.",
)
@click.option("--ignore-not-found", is_flag=True, help="An absent object is no error.")
@click.option("--wait/--no-wait", "waiting", default=True, help="Wait until they are gone.")
@click.option("--timeout", type=float, default=WAIT_SECONDS, metavar="SECONDS", help="How long to wait.")
async def delete(
    session: Session,
    what: tuple[str, ...],
    filenames: tuple[str, ...],
    recursive: bool,
    selector: str,
    every: bool,
    all_namespaces: bool,
    grace_period: int | None,
    now: bool,
    force: bool,
    cascade: str,
    ignore_not_found: bool,
    waiting: bool,
    timeout: float,  # noqa: ASYNC109 - the flag's name is kubectl's
) -> int:
    if filenames:
        chosen = _of_files(session, filenames, recursive=recursive)
    else:
        chosen = await _of_arguments(session, what, selector, every=every, all_namespaces=all_namespaces)
    grace_seconds = 0 if force else 1 if now else grace_period
    code = 0
    deleted: list[tuple[Target, str, str]] = []
    for target, namespace in chosen:
        try:
            answer = await session.client.delete(
                target.resource,
                namespace,
                target.name,
                grace_period_seconds=grace_seconds,
                propagation_policy=cascade.capitalize(),
            )
        except errors.StatusError as error:
            if not (ignore_not_found and isinstance(error, errors.NotFound)):
                click.echo(error_line(error), err=True)
                code = 1
            continue
        group = f".{target.resource.group}" if target.resource.group else ""
        click.echo(f'{target.resource.singular}{group} "{target.name}" ' + ("force deleted" if force else "deleted"))
        deleted.append((target, namespace, _uid(answer)))
    if waiting:
        return await _wait(session, deleted, timeout) or code
    return code


async def _wait(session: Session, deleted: list[tuple[Target, str, str]], timeout_seconds: float) -> int:
    """Until all are gone; the exit code."""
    try:
        async with asyncio.timeout(timeout_seconds):
            for target, namespace, uid in deleted:
                waited_for = target
                await session.client.wait_for(
                    target.resource, namespace, target.name, _gone(uid), timeout_seconds=timeout_seconds
                )
    except TimeoutError:
        name = f"{waited_for.resource.qualified}/{waited_for.name}"
        click.echo(f"error: timed out waiting for the condition on {name}", err=True)
        return 1
    return 0


def _gone(uid: str) -> Callable[[Object | None], bool]:
    """Whether the object with that uid is no more, even if another has taken its name."""
    return lambda obj: obj is None or (bool(uid) and obj["metadata"]["uid"] != uid)


def _uid(answer: Object) -> str:
    """Of the object that was deleted, whether the server answered with it or with a Status."""
    if answer.get("kind") == "Status":
        return str((answer.get("details") or {}).get("uid", ""))
    return str(answer.get("metadata", {}).get("uid", ""))


def _of_files(session: Session, filenames: tuple[str, ...], *, recursive: bool) -> list[tuple[Target, str]]:
    chosen = []
    for source in manifests.read(filenames, recursive=recursive):
        for manifest in manifests.parse(source):
            resource = resource_of(manifest.object)
            metadata = manifest.object["metadata"]
            chosen.append((Target(resource, metadata["name"]), metadata.get("namespace") or session.scope(resource)))
    return chosen


async def _of_arguments(
    session: Session, what: tuple[str, ...], selector: str, *, every: bool, all_namespaces: bool
) -> list[tuple[Target, str]]:
    chosen: list[tuple[Target, str]] = []
    for target in resources.parse(what):
        namespace = session.scope(target.resource, all_namespaces=all_namespaces)
        if target.name:
            chosen.append((target, namespace))
            continue
        if not every and not selector:
            raise click.UsageError("resource(s) were provided, but no name was specified")
        listed = await session.client.list(target.resource, namespace, label_selector=selector)
        for item in listed.items:
            metadata = item["metadata"]
            chosen.append((Target(target.resource, metadata["name"]), metadata.get("namespace", "")))
    if not chosen:
        click.echo("No resources found", err=True)
    return chosen

"""`kubecore exec POD -- COMMAND` and `kubecore attach POD`."""

from __future__ import annotations

import click

from kubecore_cli import pod_target, remote
from kubecore_cli.session import Session, command

_CONTAINER = click.option("-c", "--container", default="", metavar="NAME", help="The container; else the first one.")
_STDIN = click.option("-i", "--stdin", is_flag=True, help="Pass on what is typed.")
_TERMINAL = click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")


@command(name="exec", help="Run a command in a container: `exec web -- ls /`, `exec -it deploy/web -- sh`.")
@click.argument("pod")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@_CONTAINER
@_STDIN
@_TERMINAL
async def exec(session: Session, pod: str, words: tuple[str, ...], container: str, stdin: bool, tty: bool) -> int:
    target = await pod_target.find(session, pod)
    query = [("container", target.container(container)), *(("command", word) for word in words)]
    return await remote.here(session, target.path("exec"), query, stdin=stdin, terminal=tty)


@command(help="See what a running container says, and type to it: `attach web`, `attach -it web`.")
@click.argument("pod")
@_CONTAINER
@_STDIN
@_TERMINAL
async def attach(session: Session, pod: str, container: str, stdin: bool, tty: bool) -> int:
    target = await pod_target.find(session, pod)
    query = [("container", target.container(container))]
    return await remote.here(session, target.path("attach"), query, stdin=stdin, terminal=tty)

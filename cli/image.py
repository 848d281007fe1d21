"""`kubecore image`: the images of real nodes: imports an OCI image layout, lists what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import click

from kubecore.cluster.machines import claim
from kubecore.kubelet.runtimes.process import ProcessRuntimeClient, connect
from kubecore.kubelet.runtimes.protocol import RuntimeFailure

SOCKET = "runtime.sock"


@click.group(help="Images of the process runtime's nodes.")
def image() -> None:
    """Each command asks the runtimes of a cluster's nodes, or those at the given sockets."""


def _asks_nodes(command: click.Command) -> click.Command:
    command.params += [
        click.Option(
            ["--cluster"], default=claim.FIRST, show_default=True, help="As its network namespaces are called."
        ),
        click.Option(
            ["--socket", "sockets"], multiple=True, type=click.Path(path_type=Path), help="A runtime's own socket."
        ),
    ]
    return command


@_asks_nodes
@image.command("import", help="Make an OCI image layout (a directory) the image of a name, on every node.")
@click.argument("layout", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", required=True, help="The image's name, such as shop:1.2.")
def import_(layout: Path, name: str, cluster: str, sockets: tuple[Path, ...]) -> int:
    path = str(layout.resolve())

    async def on(runtime: ProcessRuntimeClient) -> str:
        return await runtime.import_image(path, name)

    for place, identity in _ask(cluster, sockets, on):
        click.echo(f"{place}: {name} is {identity}")
    return 0


@_asks_nodes
@image.command("list", help="List the images that are on each node.")
def list_(cluster: str, sockets: tuple[Path, ...]) -> int:
    async def on(runtime: ProcessRuntimeClient) -> str:
        images = await runtime.list_images()
        return "\n".join(f"  {each.id[7:19]}  {tag}" for each in images for tag in each.repo_tags or ("<none>",))

    for place, lines in _ask(cluster, sockets, on):
        click.echo(f"{place}:\n{lines or '  no images'}")
    return 0


def _ask(
    cluster: str, sockets: Sequence[Path], on: Callable[[ProcessRuntimeClient], Awaitable[str]]
) -> list[tuple[str, str]]:
    """(the node's name or the socket, what it answered), of all of them."""
    found = {str(path): path for path in sockets} or {
        path.parent.name: path for path in sorted((claim.DIRECTORY / cluster).glob(f"*/{SOCKET}"))
    }
    if not found:
        raise click.ClickException(
            f"no cluster with real nodes is called {cluster} here; --socket names a runtime's own"
        )

    async def ask(path: Path) -> str:
        runtime = connect(path)
        try:
            return await on(runtime)
        finally:
            await runtime.close()

    async def ask_all() -> list[str]:
        return list(await asyncio.gather(*(ask(path) for path in found.values())))

    try:
        return list(zip(found, asyncio.run(ask_all()), strict=True))
    except RuntimeFailure as failure:
        raise click.ClickException(failure.message) from failure

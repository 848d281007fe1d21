"""`kubecore node`: switches a real node of a running cluster off and on, as a person in the machine room would."""

from __future__ import annotations

import click

from kubecore.cluster.machines import claim


@click.command(
    help="kill: the node's power goes. stop: its units are asked to end first. start: switch it on again, its disk as it was."
)
@click.argument("action", type=click.Choice(["kill", "stop", "start"]))
@click.argument("name")
@click.option("--cluster", default=claim.FIRST, show_default=True, help="As its network namespaces are called.")
def node(action: str, name: str, cluster: str) -> int:
    from kubecore.cluster.machines import control

    path = claim.DIRECTORY / cluster / control.SOCKET
    if not path.exists():
        raise click.ClickException(f"no cluster with real nodes is called {cluster} here: {path} does not exist")
    try:
        control.ask(path, name, action)
    except control.ControlFailure as failure:
        raise click.ClickException(str(failure)) from failure
    click.echo(f"node/{name} {'killed' if action == 'kill' else 'stopped' if action == 'stop' else 'started'}")
    return 0

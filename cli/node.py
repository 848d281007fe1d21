"""`kubecore node`: switches a real node of a cluster on this machine off and on, as a person in the machine room would."""

from __future__ import annotations

import click

DONE = {"kill": "killed", "stop": "stopped", "start": "started"}


@click.command(
    help="kill: the node's power goes. stop: its units are asked to end first. start: switch it on again, its disk as it was."
)
@click.argument("action", type=click.Choice(list(DONE)))
@click.argument("name")
@click.option("--kubeconfig", metavar="FILE", help="Of the cluster; else $KUBECONFIG or ~/.kube/config.")
@click.option("--context", default="", metavar="NAME", help="The kubeconfig context to use.")
@click.option("--cluster", default="", metavar="NAME", help="By name instead: as its network namespaces begin.")
def node(action: str, name: str, kubeconfig: str | None, context: str, cluster: str) -> int:
    from kubecore.client.kubeconfig import KubeconfigError, load
    from kubecore.cluster.machines import control

    try:
        server = "" if cluster else load(kubeconfig, context=context).server
        control.ask(control.find(server=server, cluster=cluster), name, action)
    except (control.ControlFailure, KubeconfigError) as failure:
        raise click.ClickException(str(failure)) from failure
    click.echo(f"node/{name} {DONE[action]}")
    return 0

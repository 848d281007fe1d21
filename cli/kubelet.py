"""`kubecore kubelet`: the agent of one node, with upstream's flag names, on the network it is started in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kubecore.cluster.agent import configure_logging
from kubecore.cluster.kubelet_agent import KubeletCommand, run_kubelet
from kubecore.kubelet.configuration import FLAGS

BOOLEAN_FLAGS = {flag for flag, (_, read) in FLAGS.items() if read.__name__ == "_boolean"}


def configuration_flags(command: click.Command) -> click.Command:
    """Adds each of upstream's flags that overrides a field of the file, as text: the configuration reads it."""
    for flag, (field, _) in FLAGS.items():
        without_value: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if flag in BOOLEAN_FLAGS else {}
        option = click.Option([f"--{flag}"], default=None, help=f"The file's {field}.", **without_value)
        command.params.append(option)
    return command


@configuration_flags
@click.command(help="Run the kubelet of one node, against the API server of a kubeconfig.")
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), required=True)
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True), default=None, help="A KubeletConfiguration file."
)
@click.option("--hostname-override", default="", help="The node's name [this host's].")
@click.option(
    "--node-ip", default="", metavar="ADDRESS[,ADDRESS]", help="The node's addresses [that of the default route]."
)
@click.option("--node-labels", default="", metavar="KEY=VALUE,...", help="Given to the node when it registers.")
@click.option("--root-dir", type=click.Path(path_type=Path), default=Path("/var/lib/kubelet"), show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def kubelet(verbose: bool, **given: Any) -> int:
    configure_logging(verbose=verbose)
    flags = {flag: given.pop(flag.replace("-", "_")) for flag in FLAGS}
    command = KubeletCommand(flags={flag: text for flag, text in flags.items() if text is not None}, **given)
    return run_kubelet(command, announce=click.echo)

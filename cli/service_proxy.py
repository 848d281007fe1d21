"""`kubecore service-proxy`: makes Services' addresses work on one node, with kube-proxy's flag names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kubecore.cluster.agent import configure_logging
from kubecore.cluster.proxy_agent import ProxyCommand, run_service_proxy
from kubecore.proxy.configuration import FLAGS

WITHOUT_VALUE = {"masquerade-all"}


def configuration_flags(command: click.Command) -> click.Command:
    """Adds each of upstream's flags that overrides a field of the file, as text: the configuration reads it."""
    for flag, (field, _) in FLAGS.items():
        without_value: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if flag in WITHOUT_VALUE else {}
        command.params.append(click.Option([f"--{flag}"], default=None, help=f"The file's {field}.", **without_value))
    return command


@configuration_flags
@click.command("service-proxy", help="Run the service proxy of one node, against the API server of a kubeconfig.")
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), default=None, help="Or the file names one.")
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True), default=None, help="A KubeProxyConfiguration file."
)
@click.option("--route-pods", is_flag=True, help="Also route to other nodes' pods by those nodes' own addresses.")
@click.option("--cleanup", is_flag=True, help="Remove all rules that the proxy ever made, then end.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def service_proxy(verbose: bool, **given: Any) -> int:
    configure_logging(verbose=verbose)
    flags = {flag: given.pop(flag.replace("-", "_")) for flag in FLAGS}
    command = ProxyCommand(flags={flag: text for flag, text in flags.items() if text is not None}, **given)
    return run_service_proxy(command, announce=click.echo)

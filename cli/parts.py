"""`kubecore apiserver`, `controllers`, `scheduler`, `nodes`: each part alone, with upstream's flag names where there are any."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from kubecore.cluster.agent import configure_logging
from kubecore.cluster.options import SERVICE_CIDR, ClusterOptions
from kubecore.cluster.running import run_api_server, run_loop
from kubecore.scheduler import Configuration
from kubecore_cli.scheduling import ConfigurationFile

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class Duration(click.ParamType[Any]):
    """Go's durations: `50s`, `1m30s`. Gives seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        parts = DURATION.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f'time: invalid duration "{value}"', param, ctx)
        return sum(float(number) * UNITS[unit] for number, unit in parts)


class PortRange(click.ParamType[Any]):
    """`30000-32767`."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, _, last = value.partition("-")
        if not (first.isdigit() and last.isdigit() and 0 < int(first) <= int(last) < 65536):
            self.fail(f'"{value}" is not a port range such as 30000-32767', param, ctx)
        return range(int(first), int(last) + 1)


@click.command(help="Run the API server alone.")
@click.option("--data-dir", type=click.Path(path_type=Path), required=True, help="Where state and certificates live.")
@click.option("--storage", type=click.Choice(["embedded", "memory"]), default="embedded", show_default=True)
@click.option("--bind-address", default="127.0.0.1", show_default=True)
@click.option("--secure-port", "port", type=click.IntRange(0, 65535), default=6443, show_default=True)
@click.option("--kubeconfig", type=click.Path(path_type=Path), default=None, help="Write an administrator's here.")
@click.option("--service-cluster-ip-range", "service_cidr", default=SERVICE_CIDR, show_default=True)
@click.option("--service-node-port-range", type=PortRange(), default="30000-32767", show_default=True)
@click.option("--authorization-mode", default="Node,RBAC", show_default=True)
@click.option("--anonymous-auth", type=bool, default=True, show_default=True)
@click.option("--enable-admission-plugins", default="")
@click.option("--disable-admission-plugins", default="")
@click.option("--token-auth-file", type=click.Path(path_type=Path, exists=True), default=None)
@click.option("--runtime-config", default="")
@click.option(
    "--network-namespace",
    type=click.Path(path_type=Path),
    default=None,
    help="Serve in this one too, and reach nodes there.",
)
@click.option("--network-address", default="", help="The address in it.")
@click.option("--default-not-ready-toleration-seconds", type=int, default=300, show_default=True)
@click.option("--default-unreachable-toleration-seconds", type=int, default=300, show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def apiserver(verbose: bool, **given: Any) -> int:
    configure_logging(verbose=verbose)
    return run_api_server(ClusterOptions(nodes=0, **given), announce=click.echo)


@click.command(help="Run the controllers alone, against the API server of a kubeconfig.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True)
@click.option("--controllers", "chosen", default="*", show_default=True, help="As upstream: *, name, -name.")
@click.option("--leader-elect", type=bool, default=True, show_default=True, help="Work only while holding the lease.")
@click.option("--node-monitor-grace-period", type=Duration(), default=50.0, show_default="50s")
@click.option(
    "--node-monitor-period", type=Duration(), expose_value=False, help="Without effect: nothing here polls nodes."
)
@click.option("--root-ca-file", type=click.Path(path_type=Path, exists=True), default=None)
@click.option("--service-account-private-key-file", type=click.Path(path_type=Path), default=None)
@click.option("--allocate-node-cidrs", type=bool, default=False, show_default=True, help="Give nodes their pod ranges.")
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="Where pod ranges are cut from.")
@click.option("--node-cidr-mask-size", type=click.IntRange(1, 128), default=24, show_default=True)
@click.option("--service-cluster-ip-range", "service_cidr", default=SERVICE_CIDR, show_default=True)
@click.option(
    "--load-balancer-cidr", default="", help="Addresses for Services of type LoadBalancer; none: no provider."
)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def controllers(
    kubeconfig: Path,
    chosen: str,
    leader_elect: bool,
    node_monitor_grace_period: float,
    root_ca_file: Path | None,
    service_account_private_key_file: Path | None,
    verbose: bool,
    **network: Any,
) -> int:
    configure_logging(verbose=verbose)
    options = ClusterOptions(
        controllers=chosen,
        node_monitor_grace_seconds=node_monitor_grace_period,
        **network,
    )
    return run_loop(
        "controllers",
        options,
        kubeconfig,
        announce=click.echo,
        leader_elect="kube-controller-manager" if leader_elect else "",
        ca_file=root_ca_file,
        service_account_key_file=service_account_private_key_file,
    )


@click.command(help="Run the scheduler alone, against the API server of a kubeconfig.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True)
@click.option("--config", "configuration", type=ConfigurationFile(), default=None, help="A KubeSchedulerConfiguration.")
@click.option("--leader-elect", type=bool, default=True, show_default=True, help="Work only while holding the lease.")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def scheduler(kubeconfig: Path, configuration: Configuration | None, leader_elect: bool, verbose: bool) -> int:
    configure_logging(verbose=verbose)
    return run_loop(
        "scheduler",
        ClusterOptions(scheduler_configuration=configuration),
        kubeconfig,
        announce=click.echo,
        leader_elect="kube-scheduler" if leader_elect else "",
    )


@click.command(help="Run simulated nodes, against the API server of a kubeconfig.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), required=True)
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many.")
@click.option("--node-lease-renew-seconds", type=float, default=10.0, show_default=True, metavar="SECONDS")
@click.option("-v", "--verbose", is_flag=True, help="Log what happens.")
def nodes(kubeconfig: Path, count: int, node_lease_renew_seconds: float, verbose: bool) -> int:
    configure_logging(verbose=verbose)
    options = ClusterOptions(nodes=count, node_lease_renew_seconds=node_lease_renew_seconds)
    return run_loop("nodes", options, kubeconfig, announce=click.echo)

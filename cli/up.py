"""`kubecore up`: a whole cluster on this machine, until Ctrl-C."""

from __future__ import annotations

import time
from pathlib import Path

import click

STARTED = time.monotonic()


def default_data_dir() -> Path:
    """Where state lives unless told otherwise."""
    return Path("~/.local/share/kubecore").expanduser()


@click.command(
    help="Start a whole cluster on this machine: API server, controllers, scheduler and nodes. Ctrl-C ends it."
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=None, help="Where state lives [~/.local/share/kubecore]."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=6443, show_default=True, help="HTTPS port; 0 takes a free one."
)
@click.option("--bind", "bind_address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    default=None,
    help="Write it here, instead of merging it into yours.",
)
@click.option("--nodes", type=click.IntRange(0), default=1, show_default=True, help="How many.")
@click.option(
    "--runtime",
    type=click.Choice(["simulated", "process"]),
    default="simulated",
    show_default=True,
    help="Of the nodes. process: containers are real processes, nodes have networks of their own (root only).",
)
@click.option("--cluster-name", default="kubecore", show_default=True, help="As real nodes' network namespaces begin.")
@click.option("--node-cidr", default="198.18.0.0/24", show_default=True, help="Real nodes' addresses.")
@click.option("--cluster-cidr", default="10.244.0.0/16", show_default=True, help="Pods' addresses on real nodes.")
@click.option(
    "--load-balancer-cidr", default="198.51.100.0/24", show_default=True, help="Load balancers' addresses there."
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="The table of local images for real nodes.",
)
@click.option(
    "--storage",
    type=click.Choice(["embedded", "memory"]),
    default="embedded",
    show_default=True,
    help="memory: nothing is kept.",
)
@click.option("--service-cidr", default="10.96.0.0/12", show_default=True, help="Where Services get their addresses.")
@click.option(
    "--parts",
    type=click.Choice(["tasks", "processes"]),
    default="tasks",
    show_default=True,
    help="One process, or one for each part.",
)
@click.option("--enable-admission-plugins", default="", metavar="NAMES", help="Beside the default ones.")
@click.option("--disable-admission-plugins", default="", metavar="NAMES", help="Of the default ones.")
@click.option(
    "--token-auth-file",
    type=click.Path(path_type=Path, exists=True),
    default=None,
    help="Static tokens, as upstream's CSV.",
)
@click.option(
    "--runtime-config",
    default="",
    metavar="API=BOOL,...",
    help="API versions to serve beside the default ones, as upstream's.",
)
@click.option(
    "--node-monitor-grace-period",
    "node_monitor_grace_seconds",
    type=float,
    default=50.0,
    show_default=True,
    metavar="SECONDS",
    help="A node silent for so long is not ready.",
)
@click.option(
    "--default-not-ready-toleration-seconds",
    type=int,
    default=300,
    show_default=True,
    help="How long pods stay on a node that is not ready.",
)
@click.option(
    "--default-unreachable-toleration-seconds",
    type=int,
    default=300,
    show_default=True,
    help="How long pods stay on an unreachable node.",
)
@click.option(
    "--node-lease-renew-seconds",
    type=float,
    default=10.0,
    show_default=True,
    help="How often nodes say that they live.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the parts do.")
def up(
    data_dir: Path | None,
    parts: str,
    storage: str,
    verbose: bool,
    runtime: str,
    load_balancer_cidr: str,
    **given: object,
) -> int:
    from kubecore.cluster.agent import configure_logging
    from kubecore.cluster.options import ClusterOptions
    from kubecore.cluster.running import run_until_signalled

    configure_logging(verbose=verbose)
    directory = None if storage == "memory" and data_dir is None else data_dir or default_data_dir()
    options = ClusterOptions(
        data_dir=directory,
        storage=storage,  # type: ignore[arg-type]
        parts=parts,  # type: ignore[arg-type]
        verbose=verbose,
        load_balancer_cidr=load_balancer_cidr if runtime == "process" else "",
        runtime=runtime,  # type: ignore[arg-type]
        merge_kubeconfig=given["kubeconfig"] is None,
        **given,  # type: ignore[arg-type]
    )
    return run_until_signalled(options, announce=click.echo, started=STARTED)

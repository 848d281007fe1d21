"""`kubecore down`: stops the cluster that `up` started, and takes its entries out of the kubeconfig."""

from __future__ import annotations

from pathlib import Path

import click

from kubecore_cli.up import default_data_dir


@click.command(help="Stop the cluster that `up` started. Its state stays, unless --delete-data.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), default=None, help="Where its state lives [~/.local/share/kubecore]."
)
@click.option("--delete-data", is_flag=True, help="Its state too.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=float,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it may take.",
)
def down(data_dir: Path | None, delete_data: bool, timeout_seconds: float) -> int:
    from kubecore.cluster.runfile import RunFile, StillRunning

    directory = data_dir or default_data_dir()
    running = RunFile.read(directory)
    if running is None:
        click.echo(f"no cluster is running in {directory}")
    else:
        try:
            running.stop(timeout_seconds=timeout_seconds)
        except StillRunning as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"stopped the cluster of {directory}")
    if delete_data and directory.exists():
        try:
            RunFile.delete_data(directory)
        except StillRunning as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"deleted {directory}")
    return 0

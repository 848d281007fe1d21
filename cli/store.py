"""`kubecore store`: looking after the data directory of the embedded store, and serving it as an etcd."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import click

from kubecore.apiserver.storage import StorageError, maintenance
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore_cli.up import default_data_dir

FILE = click.Path(path_type=Path, dir_okay=False)
data_dir = click.option(
    "--data-dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    callback=lambda _context, _option, value: (value or default_data_dir()) / "store",
    help="The cluster's, as given to `up` [~/.local/share/kubecore].",
)


class Maintenance(click.Group):
    """Failures of the store become one line."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except StorageError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Maintenance, help="Look after the data directory of the embedded store.")
def store() -> None: ...


@store.command(help="Read and check everything; change nothing. Also while the cluster runs.")
@data_dir
def verify(directory: Path) -> None:
    found = maintenance.verify(directory)
    click.echo(f"{directory} is whole: revision {found.revision}, {found.entries} keys")
    snapshot = f"a snapshot at revision {found.snapshot_revision} and " if found.snapshot_revision else ""
    click.echo(f"  {snapshot}{found.log_bytes} bytes of log after it")
    if found.torn_bytes:
        click.echo(
            f"  {found.torn_bytes} bytes of a commit that never finished: the next start cuts them off (or it is being written now)"
        )


@store.command(help="Print every object as a JSON line: key, revisions, value. Also while the cluster runs.")
@data_dir
@click.option("--prefix", default="", metavar="KEY", help="Only keys that begin so, for example /registry/core/pods/.")
@click.option("--keys-only", is_flag=True, help="Without the objects.")
def dump(directory: Path, prefix: str, keys_only: bool) -> None:
    _, kept = maintenance.dump(directory, prefix)
    for one in kept:
        row = {"key": one.key, "createRevision": one.create_revision, "revision": one.revision, "version": one.version}
        click.echo(json.dumps(row if keys_only else {**row, "value": _shown(one.value)}))


def _shown(value: bytes) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return value.decode(errors="replace")


@store.command(help="Write the newest durable state as one checksummed file. Also while the cluster runs.")
@data_dir
@click.argument("file", type=FILE)
def snapshot(directory: Path, file: Path) -> None:
    revision = maintenance.save(directory, file)
    click.echo(f"saved revision {revision} to {file} ({file.stat().st_size} bytes)")


@store.command(help="Make a data directory of a file that `snapshot` wrote, where none is yet.")
@click.argument("file", type=FILE)
@data_dir
def restore(file: Path, directory: Path) -> None:
    click.echo(f"restored revision {maintenance.restore(file, directory)} to {directory}")


@store.command(
    help="Cut away what is damaged, so that the store opens at the newest revision that can be proved. What is cut stays beside it."
)
@data_dir
@click.option("--yes", is_flag=True, help="Do it; without this it only says what is damaged.")
def repair(directory: Path, yes: bool) -> int:
    if not yes:
        try:
            maintenance.verify(directory)
        except StorageError as error:
            click.echo(f"{error}\nEverything from there on would be cut off. Say --yes to do it.", err=True)
            return 1
        click.echo("nothing is damaged")
        return 0
    revision, set_aside = maintenance.repair(directory)
    for name in set_aside:
        click.echo(f"set aside: {name}.damaged")
    click.echo(f"the store stands at revision {revision}" if set_aside else "nothing is damaged")
    return 0


@store.command(help="Write one fresh snapshot and remove everything before it.")
@data_dir
def defragment(directory: Path) -> None:
    before, after = maintenance.defragment(directory)
    click.echo(f"{before} bytes became {after}")


EXISTING = click.Path(path_type=Path, dir_okay=False, exists=True)


@store.command(
    help="Serve the store alone, as an etcd: etcd's v3 API over gRPC, for etcdctl, clients and kube-apiserver."
)
@data_dir
@click.option(
    "--listen-client-urls",
    "url",
    default="http://127.0.0.1:2379",
    show_default=True,
    metavar="URL",
    help="http on loopback only; https needs the three files. Port 0 takes a free one.",
)
@click.option("--cert-file", type=EXISTING, help="The server's certificate.")
@click.option("--key-file", type=EXISTING, help="Its key.")
@click.option("--trusted-ca-file", type=EXISTING, help="Only clients with a certificate of this CA are let in.")
def serve(
    directory: Path, url: str, cert_file: Path | None, key_file: Path | None, trusted_ca_file: Path | None
) -> int:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None or parts.port is None:
        raise click.UsageError(f"{url} is not a URL such as http://127.0.0.1:2379")
    files = (cert_file, key_file, trusted_ca_file)
    if (parts.scheme == "https") != all(files) or any(files) != all(files):
        raise click.UsageError("https needs --cert-file, --key-file and --trusted-ca-file; http takes none of them")
    certificate, key, client_ca = (file.read_bytes() if file else None for file in files)
    # Whoever asks for the end before the store is open gets it once it is.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    storage = EmbeddedStorage.open(directory)
    try:
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        door = storage.serve_etcd(
            f"{host}:{parts.port}", certificate_pem=certificate, key_pem=key, client_ca_pem=client_ca
        )
    except (OSError, ValueError) as error:
        storage.close()
        raise click.ClickException(str(error)) from error
    click.echo(f"serving {directory} at {parts.scheme}://{host}:{door.address()[1]} (revision {storage.revision()})")
    signal.sigwait((signal.SIGINT, signal.SIGTERM))
    door.close()
    storage.close()
    return 0

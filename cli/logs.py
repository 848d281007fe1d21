"""`kubecore logs POD`."""

from __future__ import annotations

import re
import sys

import click

from kubecore_cli import pod_target
from kubecore_cli.session import Session, command

_DURATION = re.compile(r"(\d+)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}


@command(help="Print the log of a container: `logs web`, `logs -f deploy/web`, `logs web -c main --previous`.")
@click.argument("pod")
@click.argument("container_name", required=False, default="", metavar="[CONTAINER]")
@click.option("-c", "--container", default="", metavar="NAME", help="The container; else the first one.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-p", "--previous", is_flag=True, help="Of the container that ran before this one.")
@click.option("--tail", type=int, default=-1, metavar="LINES", help="Only the last lines; -1 for all.")
@click.option("--since", default="", metavar="DURATION", help="Only what is newer, such as 5s, 2m, 3h.")
@click.option("--since-time", default="", metavar="TIME", help="Only what is newer than this RFC 3339 time.")
@click.option("--timestamps", is_flag=True, help="A timestamp before each line.")
@click.option("--limit-bytes", type=int, default=0, metavar="BYTES", help="At most so much.")
async def logs(
    session: Session,
    pod: str,
    container_name: str,
    container: str,
    follow: bool,
    previous: bool,
    tail: int,
    since: str,
    since_time: str,
    timestamps: bool,
    limit_bytes: int,
) -> None:
    target = await pod_target.find(session, pod)
    flags = {"follow": follow, "previous": previous, "timestamps": timestamps}
    query = [("container", target.container(container or container_name))]
    query += [(name, "true") for name, wanted in flags.items() if wanted]
    if tail >= 0:
        query.append(("tailLines", str(tail)))
    if since:
        query.append(("sinceSeconds", str(_seconds(since))))
    if since_time:
        query.append(("sinceTime", since_time))
    if limit_bytes:
        query.append(("limitBytes", str(limit_bytes)))
    async for piece in session.http().download(target.path("log"), query):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _seconds(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise click.UsageError(f'invalid duration "{text}": expected such as 5s, 2m, 3h')
    return max(1, sum(int(number) * _SECONDS[unit] for number, unit in parts))

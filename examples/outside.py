"""Somebody beyond the cluster's network who fetches pages: curl, in the network namespace `outside`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

FETCH_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Page:
    """An answer; `pod` and `database` are who said they made it. Status 0: nobody answered."""

    status: int
    pod: str
    database: str
    text: str


class Outside:
    """`namespace` is a name that `ip netns` knows."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def command(self, url: str, fields: Mapping[str, str] | None = None) -> list[str]:
        """What a person would type to fetch the same."""
        form = [word for name, value in (fields or {}).items() for word in ("--data-urlencode", f"{name}={value}")]
        return ["ip", "netns", "exec", self.namespace, "curl", "-s", "-i", "--max-time", str(FETCH_SECONDS), *form, url]

    async def fetch(self, url: str, fields: Mapping[str, str] | None = None) -> Page:
        """A GET, or with `fields` a POST."""
        child = await asyncio.create_subprocess_exec(*self.command(url, fields), stdout=asyncio.subprocess.PIPE)
        output, _ = await child.communicate()
        head, _, body = output.decode(errors="replace").partition("\r\n\r\n")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        number = int(status.split()[1]) if child.returncode == 0 and len(status.split()) > 1 else 0
        return Page(number, headers.get("x-pod", ""), headers.get("x-database", ""), body)

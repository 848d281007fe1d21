"""How another process kills and starts a node of a running cluster: a Unix socket, a JSON line each way.

    {"node": "node-0", "action": "kill"}  →  {"ok": true}   or   {"ok": false, "message": "..."}

The socket is in a directory that only root enters.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from kubecore.cluster.machines.claim import DIRECTORY
from kubecore.cluster.machines.machine import Machine

SOCKET = "control.sock"
SERVER = "server"
"""The file beside it that says at which URL people reach the cluster."""
ACTIONS = ("kill", "stop", "start")
REQUEST_MAX_BYTES = 4096
TIMEOUT_SECONDS = 60.0


class ControlFailure(Exception):
    """The cluster refused, or does not answer."""


class Control:
    """Serves the machines of one cluster."""

    def __init__(self, machines: Mapping[str, Machine]) -> None:
        self._machines = machines
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path, limit=REQUEST_MAX_BYTES)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            refusal = await self._act(await reader.readline())
            answer = {"ok": True} if refusal is None else {"ok": False, "message": refusal}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            # Gone, or a line without an end: nobody is left to tell.
            pass
        finally:
            writer.close()

    async def _act(self, line: bytes) -> str | None:
        """Why not, or None when it is done."""
        try:
            asked = json.loads(line)
            name, action = str(asked["node"]), str(asked["action"])
        except (ValueError, KeyError, TypeError):
            return "a request is a JSON object with node and action"
        machine = self._machines.get(name)
        if machine is None:
            return f"no node {name}: there are {', '.join(self._machines)}"
        if action not in ACTIONS:
            return f"no action {action}: there are {', '.join(ACTIONS)}"
        try:
            await {"kill": machine.kill, "stop": machine.stop, "start": machine.start}[action]()
        except OSError as failure:
            return str(failure)
        return None


def find(*, server: str = "", cluster: str = "") -> Path:
    """The socket of the living cluster that is reached at a URL, or has a name. Raises ControlFailure."""
    for path in sorted(DIRECTORY.glob(f"{cluster or '*'}/{SOCKET}")):
        if cluster or _server(path.parent) == server:
            return path
    sought = f"called {cluster}" if cluster else f"served at {server}"
    raise ControlFailure(f"no cluster with real nodes on this machine is {sought}")


def _server(directory: Path) -> str | None:
    """The URL at which a cluster is served; None as long as it has not said it, or when it has just gone."""
    try:
        return (directory / SERVER).read_text()
    except FileNotFoundError:
        return None


def ask(path: Path, node: str, action: str) -> None:
    """From another process; returns when it is done. Raises ControlFailure."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps({"node": node, "action": action}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline() or b"null")
        except (OSError, ValueError) as failure:
            raise ControlFailure(f"{path}: {failure}") from failure
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise ControlFailure(str((answer or {}).get("message", "the cluster ended meanwhile")))

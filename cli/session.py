"""How a verb reaches the server and how its failures reach the person: options, one client, error lines, exit codes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from kubecore.api.errors import Invalid, StatusError
from kubecore.api.scheme import Resource
from kubecore.client.client import Client
from kubecore.client.transport import Response, StreamRefused, TransportError

if TYPE_CHECKING:
    from kubecore.client.http import HttpTransport


@dataclass(frozen=True, slots=True)
class Session:
    """One command's connection. `namespace`: the one asked for, else the context's; `all_namespaces` empties it.
    `authority_pem` is empty where the system's authorities are trusted."""

    client: Client
    namespace: str
    server: str = ""
    authority_pem: bytes = b""

    def http(self) -> HttpTransport:
        """The transport itself, for what is no request and answer: logs and upgraded connections."""
        from kubecore.client.http import HttpTransport

        assert isinstance(self.client.transport, HttpTransport), "a command's connection is HTTP"
        return self.client.transport

    def scope(self, resource: Resource, *, all_namespaces: bool = False) -> str:
        """The namespace in which to look for a resource's objects."""
        return "" if all_namespaces or not resource.namespaced else self.namespace


Verb = Callable[..., Coroutine[Any, Any, int | None]]


def command(**settings: Any) -> Callable[[Verb], click.Command]:
    """Makes a click command of `async def verb(session, ...)`; the verb gives its exit code (None: 0)."""

    def decorate(verb: Verb) -> click.Command:
        @functools.wraps(verb)
        def run(
            *, kubeconfig: str | None, context: str, server: str, namespace: str, token: str, **arguments: Any
        ) -> int:
            return connected(
                lambda session: verb(session, **arguments),
                kubeconfig=kubeconfig,
                context=context,
                server=server,
                namespace=namespace,
                token=token,
            )

        connection_options = (
            click.option(
                "--kubeconfig", metavar="FILE", help="The kubeconfig to use; else $KUBECONFIG or ~/.kube/config."
            ),
            click.option("--context", default="", metavar="NAME", help="The kubeconfig context to use."),
            click.option("-s", "--server", default="", metavar="URL", help="The API server's address instead."),
            click.option("-n", "--namespace", default="", metavar="NAME", help="The namespace; else the context's."),
            click.option(
                "--token", default="", metavar="TOKEN", help="Bearer token instead of the kubeconfig's credential."
            ),
        )
        for option in reversed(connection_options):
            run = option(run)
        made: click.Command = click.command(**settings)(run)
        return made

    return decorate


def connected(
    verb: Callable[[Session], Awaitable[int | None]],
    *,
    kubeconfig: str | None,
    context: str,
    server: str,
    namespace: str = "",
    token: str = "",
) -> int:
    """Runs a verb with a connection; gives its exit code."""

    async def body() -> int:
        from kubecore.client.http import HttpTransport
        from kubecore.client.kubeconfig import load

        connection = load(kubeconfig, context=context, server=server)
        if token:
            connection = replace(connection, token=token, client_certificate_pem=b"", client_key_pem=b"")
        transport = HttpTransport(connection)
        try:
            session = Session(
                Client(transport),
                namespace or connection.namespace,
                connection.server,
                connection.certificate_authority_pem,
            )
            return await verb(session) or 0
        finally:
            await transport.close()

    return guarded(body)


def guarded(body: Callable[[], Awaitable[int]]) -> int:
    """Runs a verb; failures become one line on standard error and exit code 1."""
    from kubecore.client.kubeconfig import KubeconfigError

    try:
        return asyncio.run(_awaited(body))
    except StatusError as error:
        click.echo(error_line(error), err=True)
    except StreamRefused as refused:
        click.echo(_refusal_line(refused.response), err=True)
    except TransportError as error:
        click.echo(f"Unable to connect to the server: {error}", err=True)
    except KubeconfigError as error:
        click.echo(f"error: {error}", err=True)
    except KeyboardInterrupt:
        return 130
    return 1


async def _awaited(body: Callable[[], Awaitable[int]]) -> int:
    return await body()


def _refusal_line(response: Response) -> str:
    """A stream that was not opened: by a Status, or by whoever stands behind the server in words of their own."""
    from kubecore.client.client import error_of

    if response.body.startswith(b"{"):
        return error_line(error_of(response))
    return f"error: {response.body.decode(errors='replace').strip() or response.status}"


def error_line(error: StatusError) -> str:
    """As kubectl words it: `Error from server (NotFound): pods "x" not found`."""
    if isinstance(error, Invalid):
        return f"The {error.message}" if error.details.get("causes") else f"Error: {error.message}"
    return f"Error from server ({error.status_reason}): {error.message}"

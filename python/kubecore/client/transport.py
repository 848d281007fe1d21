"""How a request leaves a client and how a watch comes back: the one interface that all loops are written against.

In: plain requests (method, path, query, headers, body). Out: plain responses, and batches of watch events. Two
implementations: `kubecore.client.http.HttpTransport` (HTTPS), and the API server's in-process transport. A transport
knows nothing of kinds or of Status errors in answers; `kubecore.client.client.Client` does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Pairs = Sequence[tuple[str, str]]
"""Query parameters or headers, in order; neither is percent-encoded."""

WatchEvent = tuple[str, bytes]
"""(type, encoded object); type is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (the object is then a Status)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` starts with a slash and has no query."""

    method: str
    path: str
    query: Pairs = ()
    headers: Pairs = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, success or failure. Header names are in lower case."""

    status: int
    headers: Pairs
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that (lower-case) name."""
        return next((value for header, value in self.headers if header == name), None)


class TransportError(Exception):
    """No answer: the server could not be reached, or the connection broke. Whether the request took effect is
    unknown."""


class StreamRefused(Exception):
    """A watch was answered with something other than a stream of events."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"the watch was answered with {response.status}")
        self.response = response


@runtime_checkable
class Transport(Protocol):
    """Carries one identity's requests. Usable from one event loop."""

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        """Sends one request, gives its answer. Raises TransportError."""
        ...

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        """Sends many independent requests, gives their answers in the same order.

        In process this is one crossing; over HTTP they run concurrently, bounded. A request that got no answer raises
        TransportError for the whole batch; the others may have taken effect.
        """
        ...

    def stream(self, path: str, query: Pairs = (), headers: Pairs = ()) -> AsyncGenerator[list[WatchEvent], None]:
        """Watches: gives non-empty batches of events until the server ends the stream.

        `query` holds `watch=true`. Raises StreamRefused if the answer is no stream, TransportError if the connection
        breaks. Closing the generator (`aclose`) ends the watch.
        """
        ...

    async def close(self) -> None:
        """Ends streams and connections. Idempotent."""
        ...

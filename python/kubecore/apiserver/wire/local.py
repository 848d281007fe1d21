"""The in-process transport: the client's protocol over the same door, without a socket.

A request passes request info, verdict cache, authorization and counters like any other; its identity is a name that only this
process can say. What it reads and what it is answered is durable, as for everybody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from urllib.parse import quote, urlencode

from kubecore.apiserver.wire.app import App, Later
from kubecore.apiserver.wire.door import Answer, Call, Door, LocalWatch, Reply
from kubecore.apiserver.wire.wakeups import Wakeups
from kubecore.client.transport import Pairs, Request, Response, StreamRefused, TransportError, WatchEvent

SETTLE_ROUNDS_MAX = 8
"""A question leads to an answer or to a read; at the bound something is wrong, and the request fails."""
_PATH_SAFE = "/:@!$&'()*+,;="
_is_plain = re.compile(r"[A-Za-z0-9/:._-]*").fullmatch
"""Of nearly every path: nothing in it is to be quoted."""


class LocalTransport:
    """One identity's requests from one event loop."""

    def __init__(self, door: Door, app: App, wakeups: Wakeups, identity: str) -> None:
        self._door = door
        self._app = app
        self._wakeups = wakeups
        self._identity = identity
        self._streams: dict[int, tuple[LocalWatch, asyncio.Event]] = {}
        self._closed = False

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        return await self._released(await self._made(self._begin(method, path, query, headers, body)))

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        begun = [self._begin(r.method, r.path, r.query, r.headers, r.body) for r in requests]
        outcomes = [await self._made(outcome) for outcome in begun]
        # They are handed over together: one wait, for the newest.
        await self._durable(
            max((outcome.revision for outcome in outcomes if not isinstance(outcome, LocalWatch)), default=0)
        )
        return [self._answer(outcome) for outcome in outcomes]

    async def stream(self, path: str, query: Pairs = (), headers: Pairs = ()) -> AsyncGenerator[list[WatchEvent], None]:
        watch = await self._made(self._begin("GET", path, query, headers, b""))
        if not isinstance(watch, LocalWatch):
            raise StreamRefused(await self._released(watch))
        wakeup = self._wakeups.watch(watch)
        self._streams[watch.id] = (watch, wakeup)
        loop = asyncio.get_running_loop()
        seconds = int(dict(query).get("timeoutSeconds") or 0)
        ends = loop.time() + seconds if seconds > 0 else None
        try:
            while True:
                wakeup.clear()
                events = self._poll(watch)
                if events is None:
                    return
                if events:
                    yield [(kind, encoded) for kind, _, encoded in events]
                    continue
                try:
                    async with asyncio.timeout_at(ends):
                        await wakeup.wait()
                except TimeoutError:
                    return
        finally:
            self._streams.pop(watch.id, None)
            self._wakeups.forget(watch)
            watch.close()

    async def close(self) -> None:
        self._closed = True
        for watch, wakeup in self._streams.values():
            watch.close()
            wakeup.set()

    def _begin(self, method: str, path: str, query: Pairs, headers: Pairs, body: bytes) -> Reply | LocalWatch | Later:
        if self._closed:
            raise TransportError("the transport is closed")
        target = path if _is_plain(path) else quote(path, safe=_PATH_SAFE)
        if query:
            target = f"{target}?{urlencode(list(query))}"
        outcome = self._door.local(self._identity, method, target, list(headers), body, self._wakeups.notifier)
        return self._settled(outcome)

    def _settled(self, outcome: Reply | LocalWatch | Call) -> Reply | LocalWatch | Later:
        for _ in range(SETTLE_ROUNDS_MAX):
            if not isinstance(outcome, Call):
                return outcome
            decision = self._app.decide(outcome)
            if isinstance(decision, Later):
                return decision
            outcome = self._door.settle(decision)
        raise TransportError("the server does not come to an answer")

    async def _made(self, outcome: Reply | LocalWatch | Later) -> Reply | LocalWatch:
        """Waits for an answer that others have to make first."""
        if not isinstance(outcome, Later):
            return outcome
        answer: Answer = await asyncio.wrap_future(outcome.answer)
        made = self._door.settle(answer)
        if isinstance(made, Call):
            raise TransportError("an answer led to another question")
        return made

    def _poll(self, watch: LocalWatch) -> list[tuple[str, str, bytes]] | None:
        """What a watch has; if policy has moved, once it is known that it may go on."""
        for _ in range(SETTLE_ROUNDS_MAX):
            polled = watch.poll()
            if not isinstance(polled, Call):
                return polled
            decision = self._app.decide(polled)
            assert not isinstance(decision, Later), "whether a watch may go on is known at once"
            self._door.settle(decision)
        raise TransportError("policy changes faster than it can be read")

    async def _released(self, outcome: Reply | LocalWatch) -> Response:
        if not isinstance(outcome, LocalWatch):
            await self._durable(outcome.revision)
        return self._answer(outcome)

    async def _durable(self, revision: int) -> None:
        try:
            await self._wakeups.durable(revision)
        except ConnectionError as error:
            raise TransportError(f"whether it took effect is unknown: {error}") from error

    def _answer(self, outcome: Reply | LocalWatch) -> Response:
        if isinstance(outcome, LocalWatch):
            outcome.close()
            raise TransportError("a watch was asked for as a plain request")
        return Response(outcome.status, [("content-type", outcome.content_type), *outcome.headers], outcome.body)

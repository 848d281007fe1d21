"""What Python decides about one request: who asks, whether they may, and what the answer is.

Flows in: calls from the door, on whichever thread brings them. Flows out: an `Allow` for a read that the wire then serves by
itself, a `Forward` to whoever else answers, or an `Answer`; both carry the applied head's revision, so that the wire releases them once
that is durable.

Decisions are made one at a time: `App` holds the one lock under which everything behind it runs.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from kubecore.api.errors import InternalError, NotFound, ServiceUnavailable, StatusError
from kubecore.apiserver.access.authenticate import CredentialKind, Identity
from kubecore.apiserver.access.authorize import Attributes, Verdict
from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.registry.backend import Backend
from kubecore.apiserver.registry.subresources import streams
from kubecore.apiserver.storage.protocol import Storage
from kubecore.apiserver.wire.door import Allow, Answer, Call, Forward
from kubecore.apiserver.wire.response import Response, of_status, page_not_found
from kubecore.apiserver.wire.served import ServedResources

log = logging.getLogger(__name__)

FORBIDDEN = 403


class Authorizes(Protocol):
    def check(self, attributes: Attributes) -> Verdict:
        """The verdict if allowed. Raises Forbidden."""


class Gate(Protocol):
    """What the wire asks of access."""

    @property
    def authorizer(self) -> Authorizes: ...

    def identify(self, kind: CredentialKind, credential: bytes, headers: Sequence[tuple[str, str]] = ()) -> Identity:
        """Who the request acts as, impersonation included. Raises a StatusError."""


class Result(Protocol):
    """What the registry answers."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...
    @property
    def headers(self) -> Sequence[tuple[str, str]]: ...


class Resources(Protocol):
    """What the wire asks of the registry."""

    def handle(self, user: User, call: Call) -> Result | Backend: ...


class Forwards(Protocol):
    """What carries a request to its backend."""

    def open(self, backend: Backend) -> int:
        """A socket on which the backend answers; the caller's to close. Raises a StatusError."""
        ...


class NotesWrites(Protocol):
    """Who wants to know of writes."""

    def note(self, user: User, call: Call, revision: int, answer: bytes) -> None: ...


Route = Callable[[Call], Response | None]
"""Answers a path that is no resource's; None: there is no such path."""

Provider = Callable[[Call], "Future[Result]"]
"""Answers the requests of an API group that is not stored, on a thread of its own: it waits for others."""


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that is being made while the next requests are decided."""

    answer: Future[Answer]


Decision = Answer | Allow | Forward | Later


class App:
    def __init__(
        self,
        *,
        storage: Storage,
        gate: Gate,
        registry: Resources,
        served: ServedResources,
        routes: Route,
        writes: NotesWrites,
        providers: Mapping[str, Provider] | None = None,
        forwards: Forwards | None = None,
    ) -> None:
        """providers: by API group. forwards: None where there is no network, as in virtual time."""
        self._storage = storage
        self._gate = gate
        self._registry = registry
        self._served = served
        self._routes = routes
        self._writes = writes
        self._providers = providers or {}
        self._forwards = forwards
        self.lock = threading.RLock()
        """Held by whoever mutates: one at a time in this process."""

    def decide(self, call: Call) -> Decision:
        """Never raises: whatever goes wrong is an answer too."""
        with self.lock:
            try:
                return self._decide(call)
            except StatusError as error:
                if error.status_code == FORBIDDEN:
                    log.info("refused: %s", error.message)
                return self._answer(call, of_status(error))
            except Exception:
                # A bug in one request must not end the server; it is logged here and nowhere else.
                log.exception("%s %s failed", call.method, call.path)
                return self._answer(call, of_status(_our_fault()))

    def _decide(self, call: Call) -> Decision:
        # Read before the verdict is computed: a change in between makes the verdict stale, never wrong.
        epoch = self._storage.policy_epoch()
        identity = self._gate.identify(call.credential_kind, call.credential, call.headers)
        verdict = self._gate.authorizer.check(_attributes(identity.user, call, call.verb))
        if (call.group, call.resource, call.subresource) in streams.NEED_CREATE and call.verb != "create":
            self._gate.authorizer.check(_attributes(identity.user, call, "create"))
        if call.wants == "verdict":
            return Allow(
                call.id,
                epoch=epoch,
                user=identity.user.name,
                any_name=verdict.any_name,
                any_namespace=verdict.any_namespace,
                ttl_seconds=identity.ttl_seconds,
            )
        if call.is_resource and call.group in self._providers and self._is_served(call):
            return self._later(call, self._providers[call.group](call))
        before = self._storage.revision()
        result = self._respond(identity.user, call)
        if isinstance(result, Backend):
            return self._forward(call, result)
        # Writes take turns, so what is new is this request's.
        if (after := self._storage.revision()) > before and call.is_resource:
            self._writes.note(identity.user, call, after, result.body)
        return self._answer(call, result)

    def _is_served(self, call: Call) -> bool:
        return (call.group, call.version, call.resource) in self._served

    def _later(self, call: Call, result: Future[Result]) -> Later:
        """The answer carries the head of when it is made: what it tells may be as new."""
        answer: Future[Answer] = Future()

        def settle(made: Future[Result]) -> None:
            try:
                answer.set_result(self._answer(call, made.result()))
            except StatusError as error:
                answer.set_result(self._answer(call, of_status(error)))
            except Exception:
                # As in `decide`: a bug in one request is logged here and ends nothing else.
                log.exception("%s %s failed", call.method, call.path)
                answer.set_result(self._answer(call, of_status(_our_fault())))

        result.add_done_callback(settle)
        return Later(answer)

    def _respond(self, user: User, call: Call) -> Result | Backend:
        if not call.is_resource:
            return self._routes(call) or self._nowhere(call)
        if not self._is_served(call):
            return self._nowhere(call)
        return self._registry.handle(user, call)

    def _nowhere(self, call: Call) -> Response:
        """A path that nobody serves: a Status below the API's own roots, as upstream, else plain text."""
        match call.path.strip("/").split("/"):
            case ["api" | "version", *_]:
                pass
            case ["apis", group, *_] if group in self._served.groups():
                pass
            case _:
                return page_not_found()
        raise NotFound("the server could not find the requested resource")

    def _forward(self, call: Call, backend: Backend) -> Forward:
        if self._forwards is None:
            raise ServiceUnavailable("this server has no network to its nodes")
        return Forward(
            call.id,
            self._forwards.open(backend),
            backend.method,
            backend.target,
            backend.headers,
            mount_path=backend.mount_path,
            mount_host=backend.authority,
            errors_of=backend.errors_of,
            revision=self._storage.revision(),
        )

    def _answer(self, call: Call, result: Result) -> Answer:
        return Answer(
            call.id,
            result.status,
            result.body,
            content_type=result.content_type,
            headers=result.headers,
            revision=self._storage.revision(),
        )


def _our_fault() -> InternalError:
    return InternalError("Internal error occurred: see the server's log")


def _attributes(user: User, call: Call, verb: str) -> Attributes:
    return Attributes(
        user=user,
        verb=verb,
        group=call.group,
        version=call.version,
        resource=call.resource,
        subresource=call.subresource,
        namespace=call.namespace,
        name=call.name,
        path=call.path,
        is_resource=call.is_resource,
    )

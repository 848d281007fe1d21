"""The API server's life: one storage, one door, one Python thread that decides, and the end in good order.

Flows in: the parts it is built from. Flows out: a port to talk to, and transports for whoever lives in this process. Without
`listen` there is no thread and no socket: that is how it runs in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubecore.api.clock import Clock, SystemClock
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire.app import App, Gate, Later, Provider, Resources
from kubecore.apiserver.wire.discovery import Discovery
from kubecore.apiserver.wire.door import Allow, Answer, Call, Door, Forward
from kubecore.apiserver.wire.forward import Forwarder
from kubecore.apiserver.wire.health import Check, Health
from kubecore.apiserver.wire.local import LocalTransport
from kubecore.apiserver.wire.logs import LogPages, RecentLogs, RecentWrites
from kubecore.apiserver.wire.metrics import Metrics
from kubecore.apiserver.wire.openapi import OpenApi
from kubecore.apiserver.wire.routes import Handler, Routes
from kubecore.apiserver.wire.served import ServedResources
from kubecore.apiserver.wire.ui import UserInterface
from kubecore.apiserver.wire.wakeups import Wakeups

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_SECONDS = 10.0


class ServingKeys(Protocol):
    """A certificate chain and its key, in PEM."""

    @property
    def certificate_pem(self) -> bytes: ...
    @property
    def key_pem(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class PostStartHook:
    """What has to be there before the server is ready: roles, namespaces, the `kubernetes` Service."""

    name: str
    run: Callable[[], None]


class APIServer:
    """Owns the storage from here on: `stop` closes it."""

    def __init__(
        self,
        *,
        storage: EmbeddedStorage,
        gate: Gate,
        registry: Resources,
        served: ServedResources,
        post_start: Sequence[PostStartHook] = (),
        extra_routes: dict[str, Handler] | None = None,
        providers: dict[str, Provider] | None = None,
        forwarder: Forwarder | None = None,
        clock: Clock | None = None,
    ) -> None:
        """extra_routes: exact paths beside the built-in ones, and who answers them. providers: who answers an API group that
        is not stored. forwarder: to kubelets and pods; None: there is no network to them."""
        self.port = 0
        """Where HTTPS is served; 0 as long as it is not."""
        self.storage = storage
        self.served = served
        self.door = Door(storage.store)
        self.door.serve_resources(served.to_json())
        self._stopping = False
        self._forwarder = forwarder
        self._hooks = list(post_start)
        self._done_hooks: set[str] = set()
        self._logs = RecentLogs()
        writes = RecentWrites(clock or SystemClock())
        routes = Routes(
            discovery=Discovery(served),
            health=Health(self._checks),
            openapi=OpenApi(),
            metrics=Metrics(self.door.metrics, storage.store.stats, self._object_counts).answer,
            logs=LogPages(self._logs, writes),
            ui=UserInterface(),
            extra=extra_routes,
        )
        self.app = App(
            storage=storage,
            gate=gate,
            registry=registry,
            served=served,
            routes=routes.answer,
            providers=providers,
            forwards=forwarder,
            writes=writes,
        )
        self._thread: threading.Thread | None = None
        self._wakeups: dict[asyncio.AbstractEventLoop, Wakeups] = {}

    def start(self) -> None:
        """Runs what must have happened before the server is ready. Raises what a hook raises."""
        self._logs.attach()
        for hook in self._hooks:
            with self.app.lock:
                hook.run()
            self._done_hooks.add(hook.name)
        self.storage.wait_durable(self.storage.revision())
        log.info(
            "ready at revision %d: %s", self.storage.revision(), ", ".join(sorted(self._done_hooks)) or "nothing to do"
        )

    def listen(self, address: str, port: int, *, serving: ServingKeys, client_ca_pem: bytes, threads: int = 1) -> int:
        """Serves HTTPS; gives the port, a free one for 0. Raises OSError if it is taken, ValueError on bad
        certificates."""
        self._logs.attach()
        bound = self.door.listen(
            address,
            port,
            certificate_pem=serving.certificate_pem,
            key_pem=serving.key_pem,
            client_ca_pem=client_ca_pem,
            threads=threads,
        )
        self.port = bound
        log.info("serving HTTPS on %s port %d with %d threads", address, bound, threads)
        self._start_thread()
        return bound

    def listen_on(
        self, listening: socket.socket, *, serving: ServingKeys, client_ca_pem: bytes, threads: int = 1
    ) -> None:
        """Serves HTTPS on a further socket, which listens already and may be another network's; the caller keeps and closes
        its own."""
        self.door.listen_fd(
            listening.fileno(),
            certificate_pem=serving.certificate_pem,
            key_pem=serving.key_pem,
            client_ca_pem=client_ca_pem,
            threads=threads,
        )
        self._start_thread()

    def listen_plain(self, address: str, port: int, *, identity: str) -> int:
        """Plain HTTP on loopback, for benches: every request is `identity`."""
        bound = self.door.listen_plain(address, port, identity=identity)
        self._start_thread()
        return bound

    def transport(self, identity: str) -> LocalTransport:
        """For a part of this process that runs on the current event loop."""
        loop = asyncio.get_running_loop()
        wakeups = self._wakeups.get(loop)
        if wakeups is None:
            self._wakeups = {known: held for known, held in self._wakeups.items() if not known.is_closed()}
            wakeups = self._wakeups[loop] = Wakeups(self.storage.store, loop)
        return LocalTransport(self.door, self.app, wakeups, identity)

    def stop(self, *, drain_timeout_seconds: float = DRAIN_TIMEOUT_SECONDS) -> None:
        """Not ready any more, watches end, what is in flight is answered, what is written is on disk. Idempotent."""
        if self._stopping:
            return
        self._stopping = True
        log.info("stopping: watches end, what is in flight is answered")
        self._logs.detach()
        for wakeups in self._wakeups.values():
            wakeups.close_from_elsewhere()
        self.door.drain(timeout_seconds=drain_timeout_seconds)
        if self._forwarder is not None:
            self._forwarder.close()
        self.door.close()
        if self._thread is not None:
            self._thread.join()
        self.storage.close()

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="kubecore-app", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        """The one Python thread of the wire: hands the last batch's decisions over and sleeps until there are calls."""
        calls = self.door.next([])
        while calls is not None:
            calls = self.door.next([decision for call in calls if (decision := self._decide(call)) is not None])

    def _decide(self, call: Call) -> Answer | Allow | Forward | None:
        """None: the answer comes later, and is handed over by whoever has made it."""
        decision = self.app.decide(call)
        if not isinstance(decision, Later):
            return decision
        decision.answer.add_done_callback(lambda made: self.door.hand_over(made.result()))
        return None

    def _checks(self) -> list[Check]:
        hooks = [
            Check(f"poststarthook/{hook.name}", lambda name=hook.name: self._unfinished(name))  # type: ignore[misc]
            for hook in self._hooks
        ]
        return [
            Check("ping", lambda: None),
            Check("log", lambda: None),
            Check("etcd", self._storage_failure),
            *hooks,
            Check("shutdown", lambda: "process is shutting down" if self._stopping else None, ("readyz",)),
        ]

    def _unfinished(self, hook: str) -> str | None:
        return None if hook in self._done_hooks else "not finished"

    def _storage_failure(self) -> str | None:
        """The storage keeps upstream's name for this check; scripts ask for it."""
        return "the log has failed" if self.storage.store.stats().get("failed") else None

    def _object_counts(self) -> Iterable[tuple[str, int]]:
        counted: dict[str, str] = {}
        for resource in self.served.stored:
            if "list" in resource.verbs:
                counted.setdefault(resource.key_prefix(), resource.qualified)
        return [(name, self.storage.count(prefix)) for prefix, name in counted.items()]

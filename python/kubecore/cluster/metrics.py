"""`metrics.k8s.io` put together: how the API server of a cluster asks its kubelets for figures."""

from __future__ import annotations

import ssl
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubecore.api.clock import Clock
from kubecore.api.meta import Object
from kubecore.apiserver.access.certificates import Certificates
from kubecore.apiserver.storage.protocol import Storage
from kubecore.apiserver.wire import Dialer, MetricsApi, NodeFigures, summary_fetcher
from kubecore.apiserver.wire.node_figures import FetchSummary

REQUESTS_AT_ONCE = 4


class _AtOnce(Executor):
    """Runs what it is given on the caller's own thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as failure:  # the future's reader gets it
            done.set_exception(failure)
        return done


class ClusterMetrics:
    """Owns the threads that wait for kubelets; there are none until somebody asks, and none in virtual time, where nobody may
    wait and there are no kubelets."""

    def __init__(
        self, storage: Storage, certificates: Certificates, dialer: Dialer, *, clock: Clock, threadless: bool
    ) -> None:
        self._certificates = certificates
        self._dialer = dialer
        self._fetch: FetchSummary | None = None
        self._making = threading.Lock()
        self._requests: Executor = (
            _AtOnce() if threadless else ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="metrics-api")
        )
        self._figures = NodeFigures(storage, self._summary, clock=clock)
        self.api = MetricsApi(storage, self._figures, executor=self._requests, clock=clock)

    def close(self) -> None:
        self._figures.close()
        self._requests.shutdown(wait=False, cancel_futures=True)

    def _summary(self, node: Object, timeout_seconds: float) -> bytes:
        with self._making:
            if self._fetch is None:
                # Made when first wanted: a start must not pay for a certificate that many clusters never use.
                self._fetch = summary_fetcher(self._dialer, _client_context(self._certificates))
        return self._fetch(node, timeout_seconds)


def _client_context(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    pair = certificates.kubelet_client
    # The ssl module reads a key pair from files only.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pair.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.certificate_pem + b"\n" + pair.key_pem)
        context.load_cert_chain(path)
    return context

"""One keep-alive connection to a cluster's port, and its metrics: for tests that count what the server does."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubecore.client.http import tls_context
from kubecore.client.kubeconfig import load


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Rest:
    """As the kubeconfig's user, or as whoever a token says."""

    def __init__(self, kubeconfig: Path, *, token: str = "") -> None:
        config = load(kubeconfig)
        if token:
            config = replace(config, client_certificate_pem=b"", client_key_pem=b"")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        address = urlsplit(config.server)
        assert address.hostname is not None
        self._connection = http.client.HTTPSConnection(
            address.hostname, address.port, context=tls_context(config), timeout=30
        )

    def request(self, method: str, path: str, body: Any = None) -> Answer:
        headers = dict(self._headers)
        if body is not None:
            headers["content-type"] = "application/json"
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        return Answer(answer.status, json.loads(text) if text.startswith(("{", "[")) else text)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def stream(self, path: str) -> http.client.HTTPResponse:
        """A watch: read it line by line. The connection serves nothing else from then on."""
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        found = re.search(rf"^{name} (\S+)$", str(self.get("/metrics").body), re.MULTILINE)
        assert found, f"/metrics has no {name}"
        return float(found[1])

    def close(self) -> None:
        self._connection.close()

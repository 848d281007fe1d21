"""Acting as a service account over HTTPS: tokens are asked for, renewed and replaced."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kubecore.api.meta import timestamp
from kubecore.client import Client, ClientConfig, Response, TransportError
from kubecore.cluster import identities
from kubecore.cluster.identities import RETIRED_MAX, ServiceAccountTransport


class Issuer:
    """Answers every request with the same status and object."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        self._answer = Response(status, [], json.dumps(answer).encode())

    async def request(self, *given: Any, **more: Any) -> Response:
        return self._answer


class Counted:
    """Stands for a connection pool; counts those that are open."""

    open = 0

    def __init__(self, *given: Any, **more: Any) -> None:
        Counted.open += 1

    async def request(self, *given: Any, **more: Any) -> Response:
        return Response(200, [], b"{}")

    async def close(self) -> None:
        Counted.open -= 1


def transport(issuer: Issuer) -> ServiceAccountTransport:
    return ServiceAccountTransport(ClientConfig("https://127.0.0.1:1"), Client(issuer), namespace="n", name="robot")  # type: ignore[arg-type]


def test_a_token_that_is_refused_is_a_failure_of_the_transport() -> None:
    refusal = {"kind": "Status", "reason": "Forbidden", "message": "not you", "code": 403}
    with pytest.raises(TransportError, match="no token for n/robot: not you"):
        asyncio.run(transport(Issuer(403, refusal)).request("GET", "/version"))


def test_connections_of_former_tokens_are_closed_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "HttpTransport", Counted)
    expired = {"metadata": {}, "status": {"token": "t", "expirationTimestamp": timestamp(0)}}

    async def scenario() -> tuple[int, int]:
        acting = transport(Issuer(201, expired))
        for _ in range(10):
            await acting.request("GET", "/version")
        most = Counted.open
        await acting.close()
        return most, Counted.open

    assert asyncio.run(scenario()) == (RETIRED_MAX + 1, 0)

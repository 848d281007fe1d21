"""Clients for each identity that the parts act as, in process or over HTTPS.

In process a part simply says who it is: only this process can. Over HTTPS the controllers' process holds the
certificate of `system:kube-controller-manager` and asks the API server for a token of each controller's own service
account (TokenRequest), as upstream does with `--use-service-account-credentials`: least role in both shapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from http import HTTPStatus

from kubecore.api import errors, scheme
from kubecore.api.meta import parse_timestamp
from kubecore.client.client import Client
from kubecore.client.http import HttpTransport
from kubecore.client.kubeconfig import ClientConfig
from kubecore.client.transport import Pairs, Request, Response, StreamRefused, Transport, TransportError, WatchEvent

TransportFor = Callable[[str], Transport]
"""Identity (a user name such as `system:kube-scheduler`) → a transport that acts as it."""

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
TOKEN_SECONDS = 3600
RENEW_AT = 0.8
"""A token is renewed when this share of its life is over."""

RETIRED_MAX = 2
"""Transports of former tokens that are kept for the watches still open on them; beyond it the oldest is closed, and its watches
begin again."""


class ServiceAccountTransport:
    """Implements `Transport` with a token of a service account, asked for by somebody who may create it."""

    def __init__(self, config: ClientConfig, issuer: Client, *, namespace: str, name: str) -> None:
        self._config = config
        self._issuer = issuer
        self._namespace = namespace
        self._name = name
        self._lock = asyncio.Lock()
        self._inner: HttpTransport | None = None
        self._retired: list[HttpTransport] = []
        self._renew_at_seconds = 0.0

    async def request(
        self, method: str, path: str, query: Pairs = (), headers: Pairs = (), body: bytes = b""
    ) -> Response:
        response = await (await self._transport()).request(method, path, query, headers, body)
        self._judge(response)
        return response

    async def batch(self, requests: Sequence[Request]) -> list[Response]:
        responses = await (await self._transport()).batch(requests)
        for response in responses:
            self._judge(response)
        return responses

    async def stream(self, path: str, query: Pairs = (), headers: Pairs = ()) -> AsyncGenerator[list[WatchEvent], None]:
        batches = (await self._transport()).stream(path, query, headers)
        try:
            async for batch in batches:
                yield batch
        except StreamRefused as refused:
            self._judge(refused.response)
            raise
        finally:
            await batches.aclose()

    def _judge(self, response: Response) -> None:
        """A token dies with its service account, whoever deleted it: the next request asks for another."""
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._renew_at_seconds = 0.0

    async def close(self) -> None:
        for transport in (*self._retired, *((self._inner,) if self._inner else ())):
            await transport.close()

    async def _transport(self) -> HttpTransport:
        async with self._lock:
            if self._inner is None or time.time() >= self._renew_at_seconds:
                try:
                    token = await self._token()
                except errors.StatusError as refusal:
                    raise TransportError(f"no token for {self._namespace}/{self._name}: {refusal}") from refusal
                if self._inner is not None:
                    # Its watches go on with the token that they began with.
                    self._retired.append(self._inner)
                    if len(self._retired) > RETIRED_MAX:
                        await self._retired.pop(0).close()
                config = replace(self._config, token=token, client_certificate_pem=b"", client_key_pem=b"")
                self._inner = HttpTransport(config, user_agent=f"kubecore/{self._name}")
            return self._inner

    async def _token(self) -> str:
        accounts = scheme.core("serviceaccounts")
        wanted = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self._name}}
        try:
            await self._issuer.get(accounts, self._namespace, self._name)
        except errors.NotFound:
            with contextlib.suppress(errors.AlreadyExists):
                await self._issuer.create(accounts, wanted, namespace=self._namespace)
        answer = await self._issuer.create(
            accounts,
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "metadata": {},
                "spec": {"expirationSeconds": TOKEN_SECONDS},
            },
            namespace=self._namespace,
            name=self._name,
            subresource="token",
        )
        now = time.time()
        life_seconds = parse_timestamp(answer["status"]["expirationTimestamp"]) - now
        self._renew_at_seconds = now + life_seconds * RENEW_AT
        return str(answer["status"]["token"])


class RemoteIdentities:
    """Transports over HTTPS: the kubeconfig's own identity, and service accounts in whose name it may ask for tokens."""

    def __init__(self, config: ClientConfig, *, user_agent: str) -> None:
        self._config = config
        self._user_agent = user_agent
        self._transports: list[Transport] = []
        self._issuer = Client(HttpTransport(config, user_agent=user_agent))

    def transport(self, identity: str) -> Transport:
        """Anything but a service account is served by the kubeconfig's own credential."""
        made = self._make(identity)
        self._transports.append(made)
        return made

    def _make(self, identity: str) -> Transport:
        if not identity.startswith(SERVICE_ACCOUNT_PREFIX):
            return HttpTransport(self._config, user_agent=self._user_agent)
        namespace, _, name = identity.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        return ServiceAccountTransport(self._config, self._issuer, namespace=namespace, name=name)

    async def close(self) -> None:
        """Every transport that was handed out, too: closing one twice is no error."""
        for transport in self._transports:
            await transport.close()
        await self._issuer.transport.close()

"""Tokens are asked for once, renewed in time, and kept while the API server is away."""

from __future__ import annotations

import random

import pytest

from kubecore.api import errors
from kubecore.api.meta import timestamp
from kubecore.kubelet.volumes.tokens import TokenFailure, Tokens, Wanted

START = 1_800_000_000.0
WANTED = Wanted("default", "builder", "", 3600, "web", "uid-of-web")


class Clock:
    seconds = START

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


class Client:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.bodies: list[dict] = []
        self.failure: Exception | None = None

    async def create(self, resource, body, *, namespace, name, subresource):
        if self.failure:
            raise self.failure
        assert (resource.plural, namespace, name, subresource) == ("serviceaccounts", "default", "builder", "token")
        self.bodies.append(body)
        expires = self.clock.now() + body["spec"]["expirationSeconds"]
        status = {"token": f"token-{len(self.bodies)}", "expirationTimestamp": timestamp(expires)}
        return {**body, "status": status}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> Client:
    return Client(clock)


@pytest.fixture
def tokens(client: Client, clock: Clock) -> Tokens:
    return Tokens(client, clock=clock, randomness=random.Random(1))


async def test_a_token_is_bound_to_its_pod_and_asked_for_once(tokens: Tokens, client: Client) -> None:
    assert (await tokens.get(WANTED)).text == "token-1"
    assert (await tokens.get(WANTED)).text == "token-1"
    assert client.bodies[0]["spec"]["boundObjectRef"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "uid": "uid-of-web",
    }
    assert client.bodies[0]["spec"]["audiences"] == []


async def test_a_token_is_renewed_when_a_fifth_of_its_life_is_left(tokens: Tokens, clock: Clock) -> None:
    token = await tokens.get(WANTED)
    assert START + 0.8 * 3600 - 10 <= token.renew_at <= START + 0.8 * 3600
    clock.seconds = token.renew_at - 1
    assert (await tokens.get(WANTED)).text == "token-1"
    clock.seconds = token.renew_at + 1
    assert (await tokens.get(WANTED)).text == "token-2"


async def test_a_token_is_renewed_after_a_day_at_the_latest(tokens: Tokens) -> None:
    wanted = Wanted("default", "builder", "vault", 30 * 24 * 3600, "web", "uid-of-web")
    assert (await tokens.get(wanted)).renew_at <= START + 24 * 3600


async def test_a_valid_token_serves_while_renewing_fails(tokens: Tokens, client: Client, clock: Clock) -> None:
    token = await tokens.get(WANTED)
    client.failure = errors.ServiceUnavailable("down")
    clock.seconds = token.renew_at + 1
    kept = await tokens.get(WANTED)
    assert kept.text == "token-1"
    assert clock.seconds < kept.renew_at < clock.seconds + 60
    clock.seconds = token.expires_at + 1
    with pytest.raises(TokenFailure, match="expired and refresh failed: down"):
        await tokens.get(WANTED)


async def test_without_an_account_there_is_no_token(tokens: Tokens, client: Client) -> None:
    client.failure = errors.NotFound('serviceaccounts "builder" not found')
    with pytest.raises(TokenFailure) as refused:
        await tokens.get(WANTED)
    assert str(refused.value) == 'failed to fetch token: serviceaccounts "builder" not found'


async def test_a_pods_tokens_go_with_it(tokens: Tokens, client: Client) -> None:
    await tokens.get(WANTED)
    tokens.release("uid-of-web")
    assert (await tokens.get(WANTED)).text == "token-2"

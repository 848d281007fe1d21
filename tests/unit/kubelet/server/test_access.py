"""Who may ask the kubelet what: certificates, tokens, fine-grained permissions, and answers that are remembered."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.support.node_double import NODE, Reviews, node_double
from tests.support.registry import StoppedClock

from kubecore.kubelet.configuration import Authentication, Authorization, WebhookAuthorization
from kubecore.kubelet.server.authentication import Authenticator, User
from kubecore.kubelet.server.authorization import Authorizer, subresources_of


def stranger() -> aiohttp.ClientSession:
    """A client without a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


async def test_the_api_servers_certificate_is_known_and_may_all(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, session):
        async with session.get(f"{node.url}/pods") as answer:
            pods = await answer.json()
        assert (answer.status, pods["kind"], len(pods["items"])) == (200, "PodList", 1)
        (asked,) = node.reviews.asked
        assert asked["user"] == "kube-apiserver-kubelet-client"
        assert asked["groups"] == ["system:masters", "system:authenticated"]
        assert asked["resourceAttributes"] == {
            "verb": "get",
            "version": "v1",
            "resource": "nodes",
            "subresource": "pods",
            "name": NODE,
        }


async def test_strangers_and_wrong_tokens_are_nobody(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, _), stranger() as session:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            async with session.get(f"{node.url}/healthz", headers=headers) as answer:
                assert (answer.status, await answer.text()) == (401, "Unauthorized")


async def test_a_token_is_somebody_who_may_what_rules_say(tmp_path: Path) -> None:
    async with node_double(tmp_path) as (node, _), stranger() as session:
        node.reviews.tokens["good"] = {"username": "monitor", "groups": ["scrapers"]}
        node.reviews.allowed = lambda spec: spec["resourceAttributes"]["subresource"] == "metrics"
        headers = {"authorization": "Bearer good"}
        async with session.get(f"{node.url}/metrics", headers=headers) as answer:
            assert (answer.status, "kubelet_running_pods 1.0" in await answer.text()) == (200, True)
        async with session.get(f"{node.url}/configz", headers=headers) as answer:
            told = "Forbidden (user=monitor, verb=get, resource=nodes, subresource(s)=[configz proxy])"
            assert (answer.status, await answer.text()) == (403, told)


@pytest.mark.parametrize(
    ("path", "subresources"),
    [
        ("/stats/summary", ("stats",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/messages", ("log",)),
        ("/logsomething", ("proxy",)),
        ("/healthz", ("healthz", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/runningpods/", ("pods", "proxy")),
        ("/containerLogs/a/b/c", ("proxy",)),
        ("/exec/a/b/c", ("proxy",)),
    ],
)
def test_each_path_has_its_permission(path: str, subresources: tuple[str, ...]) -> None:
    assert subresources_of(path) == subresources


async def test_answers_are_remembered_for_their_time() -> None:
    reviews, clock = Reviews(), StoppedClock()
    webhook = WebhookAuthorization(cache_authorized_ttl=300, cache_unauthorized_ttl=30)  # type: ignore[arg-type]
    authorizer = Authorizer(reviews, Authorization(webhook=webhook), clock, node_name=NODE)  # type: ignore[arg-type]
    master, nobody = User("a", groups=("system:masters",)), User("b")

    async def asked(user: User, expected: bool) -> int:
        before = len(reviews.asked)
        assert await authorizer.allows(user, "GET", "/stats/summary") is expected
        return len(reviews.asked) - before

    assert [await asked(master, True), await asked(nobody, False)] == [1, 1]
    clock.seconds += 29
    assert [await asked(master, True), await asked(nobody, False)] == [0, 0]
    clock.seconds += 2
    assert [await asked(master, True), await asked(nobody, False)] == [0, 1]
    clock.seconds += 270
    assert await asked(master, True) == 1


async def test_a_token_is_reviewed_again_after_its_time() -> None:
    reviews, clock = Reviews(), StoppedClock()
    reviews.tokens["good"] = {"username": "somebody", "groups": []}
    authenticator = Authenticator(reviews, Authentication(), clock)  # type: ignore[arg-type]

    async def asked(token: str) -> tuple[int, Any]:
        before = len(reviews.asked)
        user = await authenticator.identify(None, token)
        return len(reviews.asked) - before, user and user.name

    assert await asked("good") == (1, "somebody")
    clock.seconds += 119
    assert await asked("good") == (0, "somebody")
    clock.seconds += 2
    reviews.tokens.clear()
    assert await asked("good") == (1, None)
    assert await asked("wrong") == (1, None)
    assert await asked("wrong") == (1, None), "a no is never remembered: the token may be valid a moment later"

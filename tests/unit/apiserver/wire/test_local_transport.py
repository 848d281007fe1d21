"""Requests from inside the process: the same door, verdicts and watches, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import pytest
from tests.support import wire

from kubecore.client import Request, StreamRefused, TransportError, virtual_loop

PODS = "/api/v1/namespaces/default/pods"
WATCH = [("watch", "true")]


def run(scenario: Coroutine[Any, Any, Any]) -> Any:
    return virtual_loop.run(scenario)


def body(obj: dict[str, object]) -> bytes:
    return json.dumps(obj).encode()


def test_what_is_created_can_be_read() -> None:
    async def scenario() -> tuple[int, str]:
        server, _ = wire.server()
        transport = server.transport("system:tester")
        created = await transport.request("POST", PODS, body=body(wire.pod("web")))
        read = await transport.request("GET", f"{PODS}/web")
        assert json.loads(created.body) == json.loads(read.body)
        return created.status, json.loads(read.body)["metadata"]["resourceVersion"]

    assert run(scenario()) == (201, "2")


def test_reads_of_many_pods_ask_python_once() -> None:
    async def scenario() -> tuple[int, int]:
        server, rules = wire.server()
        for number in range(1000):
            wire.put(server.storage, wire.pod(f"p{number}"))
        transport = server.transport("system:tester")
        answers = await transport.batch([Request("GET", f"{PODS}/p{number}") for number in range(1000)])
        assert {answer.status for answer in answers} == {200}
        return rules.asked, server.door.metrics()["python_calls_total"]

    assert run(scenario()) == (1, 1)


def test_a_verdict_for_one_name_is_asked_for_each_name() -> None:
    async def scenario() -> int:
        server, rules = wire.server(rules=wire.Rules(any_name=False))
        transport = server.transport("system:tester")
        for number in (1, 2, 1, 2):
            await transport.request("GET", f"{PODS}/p{number}")
        return rules.asked

    assert run(scenario()) == 2


def test_a_change_of_policy_is_felt_by_the_next_read() -> None:
    async def scenario() -> list[int]:
        server, rules = wire.server()
        wire.put(server.storage, wire.pod("web"))
        transport = server.transport("bob")
        before = await transport.request("GET", f"{PODS}/web")
        rules.forbidden.add("bob")
        wire.change_policy(server.storage)
        after = await transport.request("GET", f"{PODS}/web")
        return [before.status, after.status]

    assert run(scenario()) == [200, 403]


def test_a_watch_ends_at_the_revocation_and_shows_nothing_after_it() -> None:
    async def scenario() -> list[str]:
        server, rules = wire.server()
        transport = server.transport("bob")
        seen: list[str] = []

        async def follow() -> None:
            async with aclosing(transport.stream(PODS, WATCH)) as stream:
                async for batch in stream:
                    seen.extend(json.loads(encoded)["metadata"]["name"] for _, encoded in batch)

        follower = asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        wire.put(server.storage, wire.pod("before"))
        await asyncio.sleep(0.1)
        rules.forbidden.add("bob")
        wire.change_policy(server.storage)
        wire.put(server.storage, wire.pod("after"))
        await asyncio.wait_for(follower, 1)
        return seen

    assert run(scenario()) == ["before"]


def test_a_watch_goes_on_when_policy_still_allows_it() -> None:
    async def scenario() -> list[str]:
        server, _ = wire.server()
        transport = server.transport("bob")
        async with aclosing(transport.stream(PODS, [*WATCH, ("resourceVersion", "1")])) as stream:
            wire.change_policy(server.storage)
            wire.put(server.storage, wire.pod("later"))
            batch = await anext(stream)
            return [json.loads(encoded)["metadata"]["name"] for _, encoded in batch]

    assert run(scenario()) == ["later"]


def test_an_object_that_stops_matching_is_deleted_and_one_that_begins_is_added() -> None:
    async def scenario() -> list[tuple[str, str]]:
        server, _ = wire.server()
        transport = server.transport("t")
        wire.put(server.storage, wire.pod("a", labels={"app": "web"}))
        query = [*WATCH, ("labelSelector", "app=web")]
        seen: list[tuple[str, str]] = []
        async with aclosing(transport.stream(PODS, query)) as stream:
            seen += [
                (kind, json.loads(encoded)["metadata"]["resourceVersion"]) for kind, encoded in await anext(stream)
            ]
            wire.put(server.storage, wire.pod("a", labels={"app": "db"}))
            wire.put(server.storage, wire.pod("a", labels={"app": "db", "x": "y"}))
            wire.put(server.storage, wire.pod("a", labels={"app": "web"}))
            seen += [
                (kind, json.loads(encoded)["metadata"]["resourceVersion"]) for kind, encoded in await anext(stream)
            ]
        return seen

    assert run(scenario()) == [("ADDED", "2"), ("DELETED", "3"), ("ADDED", "5")]


def test_a_streaming_list_ends_with_its_bookmark() -> None:
    async def scenario() -> list[tuple[str, Any]]:
        server, _ = wire.server()
        for name in ("a", "b"):
            wire.put(server.storage, wire.pod(name))
        query = [
            *WATCH,
            ("sendInitialEvents", "true"),
            ("resourceVersionMatch", "NotOlderThan"),
            ("allowWatchBookmarks", "true"),
        ]
        async with aclosing(server.transport("t").stream(PODS, query)) as stream:
            batch = await anext(stream)
        return [(kind, json.loads(encoded)["metadata"]) for kind, encoded in batch]

    first, second, bookmark = run(scenario())
    assert (first[0], second[0], bookmark[0]) == ("ADDED", "ADDED", "BOOKMARK")
    assert bookmark[1]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert bookmark[1]["resourceVersion"] == "3"


def test_a_watch_from_a_forgotten_revision_says_expired() -> None:
    async def scenario() -> list[tuple[str, int]]:
        server, _ = wire.server()
        for number in range(5):
            wire.put(server.storage, wire.pod(f"p{number}"))
        server.storage.compact(4)
        query = [*WATCH, ("resourceVersion", "2")]
        events = [event async for batch in server.transport("t").stream(PODS, query) for event in batch]
        return [(kind, json.loads(encoded)["code"]) for kind, encoded in events]

    assert run(scenario()) == [("ERROR", 410)]


def test_a_watch_ends_when_its_time_is_up() -> None:
    async def scenario() -> float:
        server, _ = wire.server()
        started = asyncio.get_running_loop().time()
        query = [*WATCH, ("timeoutSeconds", "300")]
        assert [batch async for batch in server.transport("t").stream(PODS, query)] == []
        return asyncio.get_running_loop().time() - started

    assert run(scenario()) == pytest.approx(300)


def test_a_refused_watch_is_no_stream() -> None:
    async def scenario() -> int:
        server, _ = wire.server(rules=wire.Rules(forbidden={"bob"}))
        with pytest.raises(StreamRefused) as refused:
            await anext(server.transport("bob").stream(PODS, WATCH))
        return refused.value.response.status

    assert run(scenario()) == 403


def test_closing_ends_streams_and_refuses_more() -> None:
    async def scenario() -> int:
        server, _ = wire.server()
        transport = server.transport("t")

        async def follow() -> int:
            return len([batch async for batch in transport.stream(PODS, WATCH)])

        follower = asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        await transport.close()
        with pytest.raises(TransportError):
            await transport.request("GET", PODS)
        return await asyncio.wait_for(follower, 1)

    assert run(scenario()) == 0


def test_a_bug_in_one_request_is_a_500_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[int]:
        server, _ = wire.server()
        transport = server.transport("t")
        broken = await transport.request("PATCH", f"{PODS}/web", body=b"{}")
        alive = await transport.request("GET", PODS)
        return [broken.status, alive.status]

    assert run(scenario()) == [500, 200]
    assert "a bug" in caplog.text


LISTS = [
    # (query, status, names)
    ("", 200, ["a", "b", "c", "d"]),
    ("limit=2", 200, ["a", "b"]),
    ("labelSelector=tier%3Dfront", 200, ["a", "c"]),
    ("labelSelector=tier%20in%20(front)&limit=1", 200, ["a"]),
    ("fieldSelector=metadata.name%3Db", 200, ["b"]),
    ("fieldSelector=spec.nodeName%3Dn1", 200, ["d"]),
    ("resourceVersion=3&resourceVersionMatch=Exact", 200, ["a", "b"]),
    ("resourceVersion=3&limit=500", 200, ["a", "b"]),
    ("resourceVersion=3", 200, ["a", "b", "c", "d"]),
    ("resourceVersion=0", 200, ["a", "b", "c", "d"]),
    ("resourceVersion=3&resourceVersionMatch=NotOlderThan", 200, ["a", "b", "c", "d"]),
    ("resourceVersion=99", 504, []),
    ("resourceVersion=x", 400, []),
    ("labelSelector=((", 400, []),
    ("fieldSelector=spec.unknown%3Dx", 400, []),
    ("continue=nonsense", 400, []),
    ("resourceVersionMatch=Exact", 422, []),
]


@pytest.mark.parametrize(("query", "status", "names"), LISTS)
def test_lists_follow_the_rules_of_selectors_and_resource_versions(query: str, status: int, names: list[str]) -> None:
    async def scenario() -> tuple[int, list[str]]:
        server, _ = wire.server()
        for name, tier in (("a", "front"), ("b", "back"), ("c", "front"), ("d", "back")):
            wire.put(server.storage, wire.pod(name, labels={"tier": tier}, node="n1" if name == "d" else ""))
        pairs = [tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair]
        unquoted = [(key, value.replace("%3D", "=").replace("%20", " ")) for key, value in pairs]
        answer = await server.transport("t").request("GET", PODS, unquoted)
        items = json.loads(answer.body).get("items", [])
        return answer.status, [item["metadata"]["name"] for item in items]

    assert run(scenario()) == (status, names)


def test_a_chunked_list_is_one_snapshot_until_that_is_forgotten() -> None:
    async def scenario() -> tuple[list[str], list[str], dict[str, Any]]:
        server, _ = wire.server()
        for name in ("a", "b", "c"):
            wire.put(server.storage, wire.pod(name))
        transport = server.transport("t")

        async def chunk(token: str) -> dict[str, Any]:
            query = [("limit", "1"), *([("continue", token)] if token else [])]
            return json.loads((await transport.request("GET", PODS, query)).body)  # type: ignore[no-any-return]

        first = await chunk("")
        assert first["metadata"]["remainingItemCount"] == 2
        wire.put(server.storage, wire.pod("aa"))
        second = await chunk(first["metadata"]["continue"])
        server.storage.compact(server.storage.revision())
        gone = await chunk(second["metadata"]["continue"])
        onward = await chunk(gone["metadata"]["continue"])
        consistent = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
        return consistent, [item["metadata"]["name"] for item in onward["items"]], gone

    consistent, onward, gone = run(scenario())
    assert consistent == ["a", "b"]
    assert onward == ["c"]
    assert (gone["code"], gone["reason"]) == (410, "Expired")


def test_tables_and_metadata_are_answered_as_asked_for() -> None:
    async def scenario() -> list[str]:
        server, _ = wire.server()
        wire.put(server.storage, wire.pod("a"))
        transport = server.transport("t")
        kinds = []
        for form in (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
            "application/vnd.kubernetes.protobuf,application/json",
            "application/vnd.kubernetes.protobuf",
        ):
            answer = await transport.request("GET", PODS, headers=[("accept", form)])
            kinds.append(json.loads(answer.body)["kind"])
        return kinds

    assert run(scenario()) == ["Table", "PartialObjectMetadataList", "PodList", "Status"]

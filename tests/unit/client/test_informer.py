import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kubecore.api import errors
from kubecore.api.scheme import core
from kubecore.client import Client, Informer, RawInformer, WatchEvent, codec, virtual_loop
from support.fake_apiserver import FakeServer


def config_map(name: str, *, color: str = "red") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"color": color},
    }


@asynccontextmanager
async def following(server: FakeServer, **options: Any) -> AsyncIterator[Informer]:
    client = Client(server.transport())
    informer = Informer(client, core("configmaps"), randomness=random.Random(1), **options)
    task = asyncio.ensure_future(informer.run())
    await informer.wait_synced()
    try:
        yield informer
    finally:
        task.cancel()


def test_an_informer_holds_what_was_there_and_what_came_later() -> None:
    async def scenario() -> list[str]:
        server = FakeServer()
        server.seed("configmaps", config_map("early"))
        async with following(server) as informer:
            server.seed("configmaps", config_map("late"))
            await asyncio.sleep(1)
            return sorted(informer.store)

    assert virtual_loop.run(scenario()) == ["default/early", "default/late"]


def test_a_handler_is_told_of_additions_changes_and_deletions() -> None:
    async def scenario() -> list[tuple[str, str]]:
        server, seen = FakeServer(), []
        client = Client(server.transport())
        server.seed("configmaps", config_map("a"))
        async with following(server) as informer:
            informer.add_handler(
                lambda old, new: seen.append((old["data"]["color"] if old else "", new["data"]["color"] if new else ""))
            )
            server.seed("configmaps", config_map("a", color="blue"))
            await asyncio.sleep(1)
            await client.delete(core("configmaps"), "default", "a")
            await asyncio.sleep(1)
        return seen

    assert virtual_loop.run(scenario()) == [("", "red"), ("red", "blue"), ("blue", "")]


def test_an_index_follows_an_object_from_value_to_value() -> None:
    async def scenario() -> tuple[list[str], list[str]]:
        server = FakeServer()
        server.seed("configmaps", config_map("a"))
        async with following(server, indexers={"color": lambda obj: (obj["data"]["color"],)}) as informer:
            server.seed("configmaps", config_map("a", color="blue"))
            await asyncio.sleep(1)
            return (
                [obj["metadata"]["name"] for obj in informer.by_index("color", "red")],
                [obj["metadata"]["name"] for obj in informer.by_index("color", "blue")],
            )

    assert virtual_loop.run(scenario()) == ([], ["a"])


def test_a_follower_that_was_too_slow_lists_again_and_learns_what_vanished() -> None:
    async def scenario() -> tuple[list[str], list[str | None]]:
        server, gone = FakeServer(), []
        server.seed("configmaps", config_map("stays"))
        server.seed("configmaps", config_map("goes"))
        outage = {"on": False}
        server.refusals.append(lambda _: errors.ServiceUnavailable("down") if outage["on"] else None)
        async with following(server) as informer:
            informer.add_handler(lambda old, new: gone.append(old["metadata"]["name"]) if new is None else None)
            # While the watch is cut, one object goes and the server forgets how.
            informer.reflector.resource_version = "1"
            client = Client(server.transport())
            await client.delete(core("configmaps"), "default", "goes")
            await asyncio.sleep(1)
        assert gone == ["goes"]
        server.seed("configmaps", config_map("new"))
        server.forget_history()
        task = asyncio.ensure_future(informer.run())
        informer.reflector.resource_version = "1"
        await asyncio.sleep(5)
        task.cancel()
        return sorted(informer.store), gone

    names, gone = virtual_loop.run(scenario())
    assert names == ["default/new", "default/stays"]
    assert gone == ["goes"]


def test_a_follower_survives_a_server_that_is_down_for_a_while() -> None:
    async def scenario() -> tuple[list[str], float]:
        server = FakeServer()
        server.seed("configmaps", config_map("a"))
        loop = asyncio.get_running_loop()
        server.refusals.append(lambda _: errors.ServiceUnavailable("down") if loop.time() < 60 else None)
        async with following(server) as informer:
            return list(informer.store), loop.time()

    names, seconds = virtual_loop.run(scenario())
    assert names == ["default/a"]
    assert 60 <= seconds < 130


def test_a_raw_follower_gets_bytes_and_a_deletion_for_what_vanished_between_two_lists() -> None:
    seen: list[tuple[str, str]] = []
    informer = RawInformer(
        Client(FakeServer().transport()),
        core("configmaps"),
        lambda events: seen.extend((kind, codec.metadata_of(body).name) for kind, body in events),
        randomness=random.Random(1),
    )

    def encoded(name: str, version: str) -> bytes:
        return codec.encode({"metadata": {"name": name, "namespace": "default", "resourceVersion": version}})

    informer.replace([encoded("a", "1"), encoded("b", "2")])
    informer.replace([encoded("b", "3"), encoded("c", "4")])
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "b"), ("ADDED", "c"), ("DELETED", "a")]


def test_waiting_for_a_condition_ends_with_the_change_that_meets_it() -> None:
    async def scenario() -> tuple[str, float]:
        server = FakeServer()
        client = Client(server.transport())
        server.seed("configmaps", config_map("a"))
        loop = asyncio.get_running_loop()
        loop.call_later(7, server.seed, "configmaps", config_map("a", color="blue"))
        found = await client.wait_for(
            core("configmaps"), "default", "a", lambda obj: obj is not None and obj["data"]["color"] == "blue"
        )
        assert found is not None
        return found["data"]["color"], loop.time()

    assert virtual_loop.run(scenario()) == ("blue", pytest.approx(7))


def test_waiting_for_what_never_comes_ends_with_a_timeout() -> None:
    async def scenario() -> None:
        client = Client(FakeServer().transport())
        with pytest.raises(TimeoutError):
            await client.wait_for(core("configmaps"), "default", "a", lambda obj: obj is not None, timeout_seconds=3)

    virtual_loop.run(scenario())


def test_a_long_list_is_read_in_pages() -> None:
    async def scenario() -> tuple[int, int]:
        server = FakeServer()
        for number in range(25):
            server.seed("configmaps", config_map(f"m{number:02}"))
        listed = await Client(server.transport(), page_limit=10).list(core("configmaps"), "default")
        return len(listed.items), len(server.requests)

    assert virtual_loop.run(scenario()) == (25, 3)


def test_errors_of_the_server_are_raised_as_what_they_are() -> None:
    async def scenario() -> None:
        server = FakeServer()
        client = Client(server.transport())
        server.seed("configmaps", config_map("a"))
        with pytest.raises(errors.NotFound, match='configmaps "b" not found'):
            await client.get(core("configmaps"), "default", "b")
        with pytest.raises(errors.AlreadyExists):
            await client.create(core("configmaps"), config_map("a"))
        stale = await client.get(core("configmaps"), "default", "a")
        await client.update(core("configmaps"), {**stale, "data": {"color": "green"}})
        with pytest.raises(errors.Conflict):
            await client.update(core("configmaps"), {**stale, "data": {"color": "blue"}})

    virtual_loop.run(scenario())


class Ending:
    """A transport whose watches end at once."""

    def __init__(self, server: FakeServer) -> None:
        self._inner = server.transport()
        self.streams = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def stream(self, *_: Any) -> AsyncGenerator[list[WatchEvent], None]:
        self.streams += 1
        return
        yield []


def test_watches_that_end_at_once_are_not_tried_without_end() -> None:
    async def scenario() -> int:
        transport = Ending(FakeServer())
        informer = Informer(Client(transport), core("configmaps"), randomness=random.Random(1))
        task = asyncio.ensure_future(informer.run())
        await asyncio.sleep(300)
        task.cancel()
        return transport.streams

    assert 3 < virtual_loop.run(scenario()) < 40

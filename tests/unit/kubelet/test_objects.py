"""Config maps and secrets that pods refer to: one watch each, for as long as somebody refers to it."""

from __future__ import annotations

import asyncio
import random

import pytest

from kubecore.api import errors
from kubecore.api.scheme import core
from kubecore.client import Client, virtual_loop
from kubecore.kubelet.environment import ObjectsUnavailable
from kubecore.kubelet.objects import ObjectCache, references_of
from support.fake_apiserver import FakeServer
from support.pods import container_of, pod_of

NAME = ("default", "settings")


def _put(server: FakeServer, **fields) -> None:
    metadata = {"name": "settings", "namespace": "default"}
    server.seed("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields})


def _cache(server: FakeServer, woken: list[str]) -> ObjectCache:
    return ObjectCache(Client(server.transport()), core("configmaps"), randomness=random.Random(1), wake=woken.append)


def test_pods_share_a_watch_and_the_last_one_ends_it() -> None:
    async def main() -> None:
        server, woken = FakeServer(), []
        _put(server, data={"a": "1"})
        cache = _cache(server, woken)
        cache.refer("first", [NAME])
        cache.refer("second", [NAME])
        assert (await cache.get(*NAME))["data"] == {"a": "1"}
        assert len(server.waiters) == 1
        cache.release("first")
        _put(server, data={"a": "2"})
        await asyncio.sleep(1)
        assert woken[-1] == "second"
        assert (await cache.get(*NAME))["data"] == {"a": "2"}
        cache.release("second")
        await asyncio.sleep(1)
        assert len(server.waiters) == 0
        with pytest.raises(ObjectsUnavailable, match='object "default"/"settings" not registered'):
            await cache.get(*NAME)

    virtual_loop.run(main())


def test_what_is_not_there_is_said_so_and_its_coming_wakes() -> None:
    async def main() -> None:
        server, woken = FakeServer(), []
        cache = _cache(server, woken)
        cache.refer("first", [NAME])
        with pytest.raises(errors.NotFound) as missing:
            await cache.get(*NAME)
        assert str(missing.value) == 'configmap "settings" not found'
        assert woken == []
        _put(server, data={})
        await asyncio.sleep(1)
        assert woken == ["first"]
        await cache.close()

    virtual_loop.run(main())


def test_an_api_server_that_refuses_is_not_waited_for_for_ever() -> None:
    async def main() -> None:
        server = FakeServer()
        server.refusals.append(lambda _request: errors.Forbidden("no"))
        cache = _cache(server, [])
        cache.refer("first", [NAME])
        with pytest.raises(ObjectsUnavailable, match="failed to sync configmap cache: timed out waiting"):
            await cache.get(*NAME)
        await cache.close()

    virtual_loop.run(main())


def test_what_is_immutable_is_kept_and_no_longer_watched() -> None:
    async def main() -> None:
        server = FakeServer()
        _put(server, data={"a": "1"}, immutable=True)
        cache = _cache(server, [])
        cache.refer("first", [NAME])
        await cache.get(*NAME)
        await asyncio.sleep(1)
        assert len(server.waiters) == 0
        assert (await cache.get(*NAME))["data"] == {"a": "1"}
        await cache.close()

    virtual_loop.run(main())


def test_a_pod_refers_to_what_its_variables_volumes_and_pulls_name() -> None:
    container = container_of(
        env=[
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "by-key", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s-key", "key": "k"}}},
        ],
        envFrom=[{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "s-all"}}],
    )
    volumes = [
        {"name": "1", "configMap": {"name": "volume"}},
        {"name": "2", "secret": {"secretName": "s-volume"}},
        {"name": "3", "projected": {"sources": [{"configMap": {"name": "part"}}, {"secret": {"name": "s-part"}}]}},
    ]
    pod = pod_of(container, volumes=volumes, imagePullSecrets=[{"name": "pull"}])
    found = references_of(pod)
    assert {name for _, name in found.config_maps} == {"by-key", "all", "volume", "part"}
    assert {name for _, name in found.secrets} == {"s-key", "s-all", "s-volume", "s-part", "pull"}

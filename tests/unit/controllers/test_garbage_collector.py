from typing import Any

from kubecore.api.scheme import core, resource
from kubecore.client import Client
from support.controllers import World, replica_set, run, world

GC = "garbage-collector-controller"


def owned(name: str, *owners: dict[str, Any], finalizers: tuple[str, ...] = (), block: bool = True) -> dict[str, Any]:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "default",
            "ownerReferences": references,
            "finalizers": list(finalizers),
        },
    }


def absent_owner() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gone", "uid": "gone-uid"}}


def names(here: World, plural: str = "configmaps") -> list[str]:
    return [obj["metadata"]["name"] for obj in here.server.all(plural)]


async def delete_owner(here: World, policy: str) -> None:
    client = Client(here.server.transport())
    await client.delete(resource("apps", "v1", "replicasets"), "default", "owner", propagation_policy=policy)


def test_what_an_owner_owned_goes_after_it() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            child = here.server.seed("configmaps", owned("child", owner))
            here.server.seed("configmaps", owned("grandchild", child))
            here.server.seed("configmaps", owned("stranger"))
            await here.pass_time(1)
            assert names(here) == ["child", "grandchild", "stranger"]
            await delete_owner(here, "Background")
            await here.pass_time(1)
            assert names(here) == ["stranger"]

    run(scenario())


def test_an_object_whose_owner_never_was_is_deleted() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            here.server.seed("configmaps", owned("child", absent_owner()))
            await here.pass_time(1)
            assert names(here) == []

    run(scenario())


def test_an_object_with_one_owner_left_stays_and_forgets_the_other() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            here.server.seed("configmaps", owned("child", owner, absent_owner()))
            await here.pass_time(1)
            child = here.server.find("configmaps", "default", "child")
            assert child is not None
            assert [each["name"] for each in child["metadata"]["ownerReferences"]] == ["owner"]

    run(scenario())


def test_an_owner_of_the_same_name_but_another_uid_is_not_the_owner() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            impostor = {**owner, "metadata": {**owner["metadata"], "uid": "another"}}
            here.server.seed("configmaps", owned("child", impostor))
            await here.pass_time(1)
            assert names(here) == []

    run(scenario())


def test_in_the_foreground_an_owner_goes_last() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            here.server.seed("configmaps", owned("slow", owner, finalizers=("example.com/wait",)))
            here.server.seed("configmaps", owned("quick", owner))
            await here.pass_time(1)
            await delete_owner(here, "Foreground")
            await here.pass_time(1)
            assert names(here) == ["slow"]
            assert names(here, "replicasets") == ["owner"]
            here.change("configmaps", "default", "slow", lambda obj: obj["metadata"].update(finalizers=[]))
            client = Client(here.server.transport())
            await client.delete(core("configmaps"), "default", "slow")
            await here.pass_time(1)
            assert names(here) == []
            assert names(here, "replicasets") == []

    run(scenario())


def test_in_the_foreground_a_dependent_that_does_not_block_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            here.server.seed("configmaps", owned("slow", owner, finalizers=("example.com/wait",), block=False))
            await here.pass_time(1)
            await delete_owner(here, "Foreground")
            await here.pass_time(1)
            assert names(here, "replicasets") == []

    run(scenario())


def test_a_circle_of_owners_goes_when_one_of_them_is_deleted_in_the_foreground() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            first = here.server.seed("replicasets", replica_set("owner", replicas=0))
            second = here.server.seed("configmaps", owned("second", first))
            third = here.server.seed("configmaps", owned("third", second))
            closing = owned("owner", third)["metadata"]["ownerReferences"]
            here.change("replicasets", "default", "owner", lambda obj: obj["metadata"].update(ownerReferences=closing))
            await here.pass_time(1)
            await delete_owner(here, "Foreground")
            await here.pass_time(2)
            assert names(here) == []
            assert names(here, "replicasets") == []

    run(scenario())


def test_orphans_stay_and_forget_their_owner() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            owner = here.server.seed("replicasets", replica_set("owner", replicas=0))
            here.server.seed("configmaps", owned("child", owner))
            await here.pass_time(1)
            await delete_owner(here, "Orphan")
            await here.pass_time(1)
            child = here.server.find("configmaps", "default", "child")
            assert child is not None
            assert not child["metadata"].get("ownerReferences")
            assert names(here, "replicasets") == []

    run(scenario())


def test_nothing_is_deleted_because_of_an_owner_of_an_unknown_kind() -> None:
    async def scenario() -> None:
        async with world(GC) as here:
            unknown = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "w"}}
            here.server.seed("configmaps", owned("child", unknown))
            await here.pass_time(60)
            assert names(here) == ["child"]

    run(scenario())

"""What every namespace has and how one goes: service account, root CA, token secrets, deletion."""

from __future__ import annotations

import base64
from typing import Any

from kubecore.controllers.namespace import Remaining, conditions, content_resources
from support.controllers import World, run, world

CA = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
Object = dict[str, Any]


def namespace(name: str, **status: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active", **status},
    }


def data_of(here: World, plural: str, space: str, name: str) -> Object:
    found = here.server.find(plural, space, name)
    assert found is not None
    data: Object = found["data"]
    return data


def test_a_namespace_gets_its_default_service_account() -> None:
    async def scenario() -> None:
        async with world("serviceaccount-controller") as here:
            here.create("namespaces", namespace("team"))
            await here.pass_time(1)
            assert here.server.find("serviceaccounts", "team", "default") is not None

    run(scenario())


def test_a_deleted_default_service_account_comes_back() -> None:
    async def scenario() -> None:
        async with world("serviceaccount-controller") as here:
            here.create("namespaces", namespace("team"))
            await here.pass_time(1)
            first = here.server.find("serviceaccounts", "team", "default")
            await here.server.transport().request("DELETE", "/api/v1/namespaces/team/serviceaccounts/default")
            await here.pass_time(1)
            second = here.server.find("serviceaccounts", "team", "default")
            assert first is not None
            assert second is not None
            assert first["metadata"]["uid"] != second["metadata"]["uid"]

    run(scenario())


def test_a_terminating_namespace_gets_none() -> None:
    async def scenario() -> None:
        async with world("serviceaccount-controller") as here:
            here.create("namespaces", namespace("team", phase="Terminating"))
            await here.pass_time(1)
            assert here.server.all("serviceaccounts") == []

    run(scenario())


def test_the_root_ca_is_published_and_put_back() -> None:
    async def scenario() -> None:
        async with world("root-ca-certificate-publisher-controller", root_ca_pem=CA) as here:
            here.create("namespaces", namespace("team"))
            await here.pass_time(1)
            assert data_of(here, "configmaps", "team", "kube-root-ca.crt") == {"ca.crt": CA}
            here.change("configmaps", "team", "kube-root-ca.crt", lambda obj: obj.update(data={"ca.crt": "forged"}))
            await here.pass_time(1)
            assert data_of(here, "configmaps", "team", "kube-root-ca.crt") == {"ca.crt": CA}

    run(scenario())


def test_a_token_secret_is_filled_and_goes_with_its_account() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "robot-token",
            "namespace": "team",
            "annotations": {"kubernetes.io/service-account.name": "robot"},
        },
    }

    async def scenario() -> None:
        options = {"root_ca_pem": CA, "sign_token": lambda account, name: f"{account['metadata']['name']}/{name}"}
        async with world("serviceaccount-token-controller", **options) as here:
            here.create(
                "serviceaccounts",
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "team"}},
            )
            here.create("secrets", secret)
            await here.pass_time(1)
            data = data_of(here, "secrets", "team", "robot-token")
            decoded = {name: base64.b64decode(value).decode() for name, value in data.items()}
            assert decoded == {"token": "robot/robot-token", "ca.crt": CA, "namespace": "team"}
            await here.server.transport().request("DELETE", "/api/v1/namespaces/team/serviceaccounts/robot")
            await here.pass_time(1)
            assert here.server.find("secrets", "team", "robot-token") is None

    run(scenario())


def test_what_a_namespace_can_hold_is_each_storage_once_pods_first_and_events_last() -> None:
    resources = content_resources()
    assert len({resource.storage for resource in resources}) == len(resources)
    assert (resources[0].plural, resources[-1].plural) == ("pods", "events")
    assert {"secrets", "deployments", "rolebindings"} <= {resource.plural for resource in resources}


def test_what_is_beside_the_pods_of_a_namespace_goes_when_they_are_gone() -> None:
    held = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "team", "finalizers": ["example.com/hold"]},
        "spec": {"containers": [{"name": "main", "image": "main:1"}]},
    }

    async def scenario() -> None:
        async with world("namespace-controller") as here:
            here.create("namespaces", namespace("team"))
            here.create("pods", held)
            here.create(
                "secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team"}}
            )
            leaving = {"deletionTimestamp": here.server.now_text(), "finalizers": ["example.com/hold"]}
            here.change("namespaces", "", "team", lambda obj: obj["metadata"].update(leaving))
            await here.pass_time(5)
            assert here.server.find("secrets", "team", "s") is not None
            here.change("pods", "team", "web", lambda obj: obj["metadata"].update(finalizers=[]))
            await here.pass_time(5)
            assert here.server.find("secrets", "team", "s") is None

    run(scenario())


def test_conditions_say_what_is_left_and_since_when() -> None:
    remaining = Remaining(counts={"pods": 2}, finalizers={"example.com/hold": 1})
    said = {row["type"]: row for row in conditions(remaining, [], 1_800_000_000.0)}
    assert (
        said["NamespaceContentRemaining"]["message"] == "Some resources are remaining: pods. has 2 resource instances"
    )
    assert said["NamespaceFinalizersRemaining"]["reason"] == "SomeFinalizersRemain"
    assert said["NamespaceDeletionContentFailure"]["status"] == "False"
    again = {row["type"]: row for row in conditions(remaining, list(said.values()), 1_900_000_000.0)}
    assert again == said

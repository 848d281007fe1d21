from __future__ import annotations

import random
import re

import pytest

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.service_account import ServiceAccount

from ..worlds import World, admission_request, make
from .pods import container, pod

DEFAULT = make("ServiceAccount", "default", "shop")
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def admitted(obj: Object, *accounts: Object) -> Object:
    plugin = ServiceAccount(random.Random(7))
    request = admission_request(World(*(accounts or (DEFAULT,))), obj)
    plugin.mutate(request)
    plugin.validate(request)
    return obj["spec"]  # type: ignore[no-any-return]


def test_a_pod_without_an_account_gets_the_default_one() -> None:
    spec = admitted(pod())
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")


def test_a_missing_account_is_named_as_upstream_names_it() -> None:
    with pytest.raises(Forbidden) as raised:
        ServiceAccount(random.Random(7)).mutate(admission_request(World(), pod()))
    assert raised.value.message == (
        'pods "web" is forbidden: error looking up service account shop/default: serviceaccount "default" not found'
    )


def test_token_ca_and_namespace_are_mounted_in_every_container() -> None:
    spec = admitted(pod(container("a"), container("b"), initContainers=[container("i")]))
    (volume,) = spec["volumes"]
    assert re.fullmatch(r"kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}", volume["name"])
    assert volume["projected"] == {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
    }
    mount = {"name": volume["name"], "readOnly": True, "mountPath": MOUNT}
    assert [each["volumeMounts"] for each in (*spec["initContainers"], *spec["containers"])] == [[mount]] * 3


def test_a_container_that_mounts_something_there_keeps_it() -> None:
    own = {"name": "mine", "mountPath": MOUNT}
    spec = admitted(pod(container(volumeMounts=[own])))
    assert spec["containers"][0]["volumeMounts"] == [own]
    assert "volumes" not in spec


def test_the_pods_word_on_mounting_goes_before_the_accounts() -> None:
    reluctant = make("ServiceAccount", "default", "shop", automountServiceAccountToken=False)
    assert "volumes" not in admitted(pod(), reluctant)
    assert "volumes" in admitted(pod(automountServiceAccountToken=True), reluctant)
    assert "volumes" not in admitted(pod(automountServiceAccountToken=False))


def test_the_accounts_pull_secrets_are_used_unless_the_pod_brings_its_own() -> None:
    account = make("ServiceAccount", "default", "shop", imagePullSecrets=[{"name": "theirs"}])
    assert admitted(pod(), account)["imagePullSecrets"] == [{"name": "theirs"}]
    assert admitted(pod(imagePullSecrets=[{"name": "mine"}]), account)["imagePullSecrets"] == [{"name": "mine"}]


def test_a_mirror_pod_may_not_reach_for_secrets() -> None:
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    assert "serviceAccountName" not in admitted(pod(metadata=mirror))
    with pytest.raises(Forbidden, match="a mirror pod may not reference secrets"):
        admitted(pod(metadata=mirror, volumes=[{"name": "v", "secret": {"secretName": "s"}}]))


def test_a_pod_without_containers_is_left_to_validation() -> None:
    obj = pod()
    obj["spec"]["containers"] = None
    assert admitted(obj)["serviceAccountName"] == "default"

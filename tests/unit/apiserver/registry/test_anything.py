"""Whatever a client sends, it gets an answer: mutilated objects, patches and options never raise."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from tests.support.registry import PODS, SERVICES, Api, pod
from tests.unit.apiserver.registry.test_strategies import GOOD, good, path_of

ROUNDS = 60
JUNK: list[Any] = [None, 0, -1, 1 << 40, "", "x", "A B", True, [], {}, [None], [{}], {"": ""}, 1.5]
RICH_POD = pod(
    volumes=[
        {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}},
        {"name": "e", "emptyDir": {}},
    ],
    initContainers=[{"name": "i", "image": "x", "restartPolicy": "Always"}],
    affinity={
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]
            }
        },
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "z", "labelSelector": {"matchLabels": {"a": "b"}}}}
            ]
        },
    },
    topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
    tolerations=[{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}],
    securityContext={
        "runAsUser": 1,
        "sysctls": [{"name": "a", "value": "b"}],
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    containers=[
        {
            "name": "main",
            "image": "x",
            "ports": [{"containerPort": 1, "hostPort": 2, "name": "http"}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
            "readinessProbe": {"grpc": {"port": 1}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        }
    ],
)
RICH_SERVICE = {
    "metadata": {"name": "thing"},
    "spec": {
        "type": "LoadBalancer",
        "ports": [{"name": "a", "port": 80, "nodePort": 30080, "targetPort": "http"}],
        "selector": {"a": "b"},
        "externalIPs": ["1.2.3.4"],
        "sessionAffinity": "ClientIP",
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    },
}
SUBJECTS = [
    *((path_of(group, plural), good(group, plural)) for group, plural in GOOD),
    (PODS, {**RICH_POD, "metadata": {"name": "thing"}}),
    (SERVICES, RICH_SERVICE),
]


def mutilate(obj: Any, chance: random.Random) -> Any:
    """One place of a copy is removed or becomes junk."""
    obj = copy.deepcopy(obj)
    place, at = obj, obj
    for _ in range(12):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = chance.choice(keys)
        if not isinstance(place[key], (dict, list)) or chance.random() < 0.25:
            if isinstance(place, dict) and chance.random() < 0.3:
                del place[key]
            else:
                place[key] = chance.choice(JUNK)
            return obj
        at, place = place, place[key]
    del at
    return obj


@pytest.mark.parametrize(("path", "subject"), SUBJECTS, ids=[path.rpartition("/")[2] for path, _ in SUBJECTS])
def test_a_mutilated_object_is_answered(path: str, subject: dict[str, Any]) -> None:
    chance = random.Random(path)
    api = Api(seed=3)
    for _ in range(ROUNDS):
        body = mutilate(subject, chance)
        created = api.post(path, body)
        assert created.status in (201, 400, 409, 422), (body, created.body)
        if api.get(f"{path}/thing").status == 404:
            api.post(path, subject).ok()
        stored = api.get(f"{path}/thing").ok()
        changed = mutilate(stored, chance)
        updated = api.put(f"{path}/thing", changed)
        assert updated.status in (200, 400, 409, 422), (changed, updated.body)
        patched = api.patch(f"{path}/thing", mutilate(subject, chance))
        assert patched.status in (200, 400, 409, 422), patched.body
        status = api.put(f"{path}/thing/status", mutilate(stored, chance))
        assert status.status in (200, 400, 404, 409, 422), status.body
        if chance.random() < 0.3:
            assert api.delete(f"{path}/thing").status == 200
            if api.get(f"{path}/thing").status == 200:
                api.patch(f"{path}/thing", {"metadata": {"finalizers": None}, "spec": {"finalizers": None}})


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"1", b"{}", b"\xff", b'{"metadata":null}', b'{"metadata":[]}']
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_that_is_no_object_is_answered(method: str, body: bytes) -> None:
    api = Api()
    api.post(PODS, pod()).ok()
    media_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
    path = PODS if method == "POST" else f"{PODS}/web"
    assert api.send(method, path, body, content_type=media_type).status in (200, 400, 422)


@pytest.mark.parametrize(
    "options", [b"null", b"[]", b"{", b'{"gracePeriodSeconds":"x"}', b'{"preconditions":7}', b'{"kind":"Pod"}']
)
def test_delete_options_that_are_none_are_answered(options: bytes) -> None:
    api = Api()
    api.post(PODS, pod()).ok()
    assert api.send("DELETE", f"{PODS}/web", options).status == 400
    assert api.get(f"{PODS}/web").status == 200

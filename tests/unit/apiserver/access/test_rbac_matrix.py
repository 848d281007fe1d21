"""The compiled index against an evaluator that reads the stored objects anew for each question, over policies made from
a seed."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from kubecore.api.meta import Object
from kubecore.apiserver.access.authorize import Attributes, RbacAuthorizer
from kubecore.apiserver.registry.admission import User

from .worlds import World, rbac, rule

VERBS = ("get", "list", "delete", "escalate")
GROUPS = ("", "apps")
RESOURCES = ("pods", "deployments", "nodes")
SUBRESOURCES = ("", "log", "scale")
NAMESPACES = ("", "red", "blue")
NAMES = ("", "a", "b")
USERS = (
    User("alice", "", ("devs", "system:authenticated")),
    User("bob", "", ("system:authenticated",)),
    User("system:serviceaccount:red:robot", "", ("system:serviceaccounts", "system:serviceaccounts:red")),
)


def plain_answer(world: World, user: User, asked: Attributes) -> bool:
    """RBAC as its documentation tells it: any rule of any role of any binding that names the user."""
    bindings = world.objects("clusterrolebindings") + [
        each for each in world.objects("rolebindings") if each["metadata"]["namespace"] == asked.namespace != ""
    ]
    for each in bindings:
        if not any(is_subject(subject, user, each) for subject in each["subjects"]):
            continue
        wanted = each["roleRef"]
        plural = "clusterroles" if wanted["kind"] == "ClusterRole" else "roles"
        for role in world.objects(plural):
            if role["metadata"]["name"] != wanted["name"]:
                continue
            if plural == "roles" and role["metadata"]["namespace"] != each["metadata"].get("namespace"):
                continue
            if any(allows(one, asked) for one in role["rules"]):
                return True
    return False


def is_subject(subject: dict[str, str], user: User, holder: Object) -> bool:
    if subject["kind"] == "User":
        return subject["name"] == user.name
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    namespace = subject.get("namespace") or holder["metadata"].get("namespace", "")
    return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"


def allows(one: dict[str, Any], asked: Attributes) -> bool:
    full = asked.resource + ("/" + asked.subresource if asked.subresource else "")
    resources = one["resources"]
    return (
        ("*" in one["verbs"] or asked.verb in one["verbs"])
        and ("*" in one["apiGroups"] or asked.group in one["apiGroups"])
        and (
            "*" in resources or full in resources or (asked.subresource != "" and f"*/{asked.subresource}" in resources)
        )
        and (not one.get("resourceNames") or (asked.name != "" and asked.name in one["resourceNames"]))
    )


def some(dice: random.Random, options: tuple[str, ...]) -> str:
    return " ".join(dice.sample(options, dice.randint(1, len(options))))


def policy(seed: int) -> World:
    dice = random.Random(seed)
    world = World()
    roles: list[tuple[str, str, str]] = []
    resources = ("pods", "pods/log", "deployments", "deployments/scale", "*/scale", "nodes", "*")
    for index in range(dice.randint(1, 6)):
        namespace = dice.choice(("", "red", "blue"))
        rules = [
            rule(
                some(dice, (*VERBS, "*")) if dice.random() < 0.3 else some(dice, VERBS[:3]),
                some(dice, resources) if dice.random() < 0.2 else dice.choice(resources),
                dice.sample(("", "apps", "*"), dice.randint(1, 2)),
                names=dice.choice(("", "", "a", "a b")),
            )
            for _ in range(dice.randint(0, 3))
        ]
        kind = "Role" if namespace else "ClusterRole"
        world.put(rbac(kind, f"r{index}", namespace, rules=rules))
        roles.append((kind, namespace, f"r{index}"))
    subjects: list[dict[str, str]] = [
        {"kind": "User", "name": "alice"},
        {"kind": "Group", "name": "devs"},
        {"kind": "Group", "name": "system:authenticated"},
        {"kind": "ServiceAccount", "name": "robot", "namespace": "red"},
        {"kind": "ServiceAccount", "name": "robot"},
    ]
    for index in range(dice.randint(1, 6)):
        kind, namespace, name = dice.choice([*roles, ("ClusterRole", "", "gone")])
        where = namespace or dice.choice(("", "red", "blue"))
        world.put(
            rbac(
                "RoleBinding" if where else "ClusterRoleBinding",
                f"b{index}",
                where,
                roleRef={"kind": kind, "name": name},
                subjects=dice.sample(subjects, dice.randint(1, 2)),
            )
        )
    return world


QUESTIONS = tuple(itertools.product(VERBS, GROUPS, RESOURCES, SUBRESOURCES, NAMESPACES, NAMES))


@pytest.mark.parametrize("seed", range(25))
def test_the_index_answers_every_question_as_a_plain_reading_does(seed: int) -> None:
    world = policy(seed)
    authorizer = RbacAuthorizer(world)
    for user in USERS:
        for verb, group, resource, subresource, namespace, name in QUESTIONS:
            asked = Attributes(user, verb, group, "v1", resource, subresource, namespace, name)
            assert authorizer.authorize(asked).allowed == plain_answer(world, user, asked), (seed, asked)


@pytest.mark.parametrize("seed", range(25))
def test_a_verdict_holds_as_widely_as_it_says(seed: int) -> None:
    world = policy(seed)
    authorizer = RbacAuthorizer(world)
    for user in USERS:
        for verb, group, resource, subresource, namespace, name in QUESTIONS:
            asked = Attributes(user, verb, group, "v1", resource, subresource, namespace, name)
            verdict = authorizer.authorize(asked)
            if not verdict.allowed:
                continue
            names = ("", "a", "b", "other") if verdict.any_name else (name,)
            namespaces = ("", "red", "blue", "other") if verdict.any_namespace else (namespace,)
            for wide_namespace, wide_name in itertools.product(namespaces, names):
                wide = Attributes(user, verb, group, "v1", resource, subresource, wide_namespace, wide_name)
                assert plain_answer(world, user, wide), (seed, asked, wide)

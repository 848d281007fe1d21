from __future__ import annotations

import pytest

from kubecore.api.errors import Forbidden
from kubecore.apiserver.access.authorize import Attributes, RbacAuthorizer, build_authorizer
from kubecore.apiserver.registry.admission import User

from .worlds import ALICE, World, binding, rbac, rule


def ask(world: World, verb: str, resource: str, user: User = ALICE, **more: str) -> Attributes:
    return Attributes(user, verb, more.pop("group", ""), "v1", resource, **more)


def test_the_denial_of_a_list_is_worded_as_upstream_words_it() -> None:
    chain = build_authorizer(["RBAC"], RbacAuthorizer(World()))
    with pytest.raises(Forbidden) as raised:
        chain.check(Attributes(User("x"), "list", "", "v1", "pods", namespace="default"))
    assert raised.value.message == (
        'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert raised.value.details == {"kind": "pods"}
    assert raised.value.status_code == 403


def test_the_denial_of_a_subresource_names_object_group_and_scope() -> None:
    chain = build_authorizer(["RBAC"], RbacAuthorizer(World()))
    with pytest.raises(Forbidden) as raised:
        chain.check(Attributes(User("x"), "update", "apps", "v1", "deployments", "scale", "shop", "web"))
    assert raised.value.message == (
        'deployments.apps "web" is forbidden: User "x" cannot update resource "deployments/scale" in API group "apps" '
        'in the namespace "shop"'
    )
    with pytest.raises(Forbidden, match="at the cluster scope"):
        chain.check(Attributes(User("x"), "list", "", "v1", "nodes"))


def test_the_denial_of_a_path_names_the_path() -> None:
    chain = build_authorizer(["RBAC"], RbacAuthorizer(World()))
    with pytest.raises(Forbidden) as raised:
        chain.check(Attributes(User("system:anonymous"), "get", path="/metrics", is_resource=False))
    assert raised.value.message == 'forbidden: User "system:anonymous" cannot get path "/metrics"'


def test_a_binding_to_a_missing_role_is_named_in_the_denial() -> None:
    world = World(binding("b", "gone", ("User", "alice")))
    verdict = build_authorizer(["RBAC"], RbacAuthorizer(world)).authorize(ask(world, "list", "pods"))
    assert verdict.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'


def test_masters_pass_without_any_role() -> None:
    verdict = build_authorizer(["RBAC"], RbacAuthorizer(World())).authorize(
        Attributes(User("root", "", ("system:masters",)), "delete", "", "v1", "nodes", name="a")
    )
    assert (verdict.allowed, verdict.any_name, verdict.any_namespace) == (True, True, True)


@pytest.mark.parametrize(
    ("granted", "question", "allowed", "any_name", "any_namespace"),
    [
        (rule("get", "pods"), {"name": "a"}, True, True, True),
        (rule("get", "pods", names="a b"), {"name": "b"}, True, False, True),
        (rule("get", "pods", names="a b"), {"name": "c"}, False, False, False),
        (rule("get", "pods/log"), {"name": "a"}, False, False, False),
        (rule("get", "pods/log"), {"name": "a", "subresource": "log"}, True, True, True),
        (rule("get", "*/log"), {"name": "a", "subresource": "log"}, True, True, True),
        (rule("get", "*/log"), {"name": "a"}, False, False, False),
        (rule("*", "*", ["*"]), {"name": "a", "subresource": "log"}, True, True, True),
        (rule("get", "pods", ["apps"]), {"name": "a"}, False, False, False),
    ],
)
def test_a_cluster_role_allows_what_its_rule_says_and_as_widely(
    granted: dict[str, list[str]], question: dict[str, str], allowed: bool, any_name: bool, any_namespace: bool
) -> None:
    world = World(rbac("ClusterRole", "r", rules=[granted]), binding("b", "r", ("User", "alice")))
    verdict = RbacAuthorizer(world).authorize(ask(world, "get", "pods", namespace="shop", **question))
    assert (verdict.allowed, verdict.any_name, verdict.any_namespace) == (allowed, any_name, any_namespace)


def test_a_role_binding_reaches_its_namespace_only() -> None:
    world = World(
        rbac("Role", "r", "shop", rules=[rule("get", "pods")]),
        binding("b", "r", ("Group", "devs"), namespace="shop", cluster_role=False),
    )
    user = User("bob", "", ("devs",))
    chain = RbacAuthorizer(world)
    inside = chain.authorize(ask(world, "get", "pods", user, namespace="shop", name="a"))
    assert (inside.allowed, inside.any_name, inside.any_namespace) == (True, True, False)
    assert inside.reason == 'RBAC: allowed by RoleBinding "b/shop" of Role "r" to Group "devs"'
    assert not chain.authorize(ask(world, "get", "pods", user, namespace="other", name="a")).allowed
    assert not chain.authorize(ask(world, "list", "pods", user)).allowed


def test_a_service_account_subject_is_the_user_it_acts_as() -> None:
    world = World(
        rbac("ClusterRole", "r", rules=[rule("get", "pods")]),
        rbac(
            "RoleBinding",
            "b",
            "shop",
            roleRef={"kind": "ClusterRole", "name": "r"},
            subjects=[{"kind": "ServiceAccount", "name": "robot", "namespace": "tools"}],
        ),
    )
    robot = User("system:serviceaccount:tools:robot")
    verdict = RbacAuthorizer(world).authorize(ask(world, "get", "pods", robot, namespace="shop"))
    assert verdict.reason.endswith('to ServiceAccount "robot/tools"')


def test_paths_match_whole_by_prefix_or_all() -> None:
    world = World(
        rbac("ClusterRole", "r", rules=[rule("get", urls="/healthz /apis/*")]), binding("b", "r", ("User", "alice"))
    )
    chain = RbacAuthorizer(world)

    def allowed(path: str, verb: str = "get") -> bool:
        return chain.authorize(Attributes(ALICE, verb, path=path, is_resource=False)).allowed

    assert allowed("/healthz")
    assert allowed("/apis/apps/v1")
    assert not allowed("/healthz/etcd")
    assert not allowed("/apis")
    assert not allowed("/healthz", "post")


def test_a_deleted_binding_no_longer_allows() -> None:
    world = World(rbac("ClusterRole", "r", rules=[rule("get", "pods")]), binding("b", "r", ("User", "alice")))
    chain = RbacAuthorizer(world)
    assert chain.authorize(ask(world, "get", "pods")).allowed
    world.drop("clusterrolebindings", "", "b", group="rbac.authorization.k8s.io")
    assert not chain.authorize(ask(world, "get", "pods")).allowed


def test_an_aggregated_role_has_the_rules_of_all_that_its_selector_finds() -> None:
    world = World(
        rbac(
            "ClusterRole",
            "view",
            aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]},
            rules=[rule("delete", "nodes")],
        ),
        binding("b", "view", ("User", "alice")),
    )
    chain = RbacAuthorizer(world)
    assert not chain.authorize(ask(world, "get", "widgets", group="shop.example")).allowed
    assert not chain.authorize(ask(world, "delete", "nodes")).allowed
    world.put(
        rbac(
            "ClusterRole",
            "widgets",
            metadata={"labels": {"to-view": "true"}},
            rules=[rule("get", "widgets", ["shop.example"])],
        )
    )
    assert chain.authorize(ask(world, "get", "widgets", group="shop.example")).allowed


def test_modes_are_named_as_upstream_names_them() -> None:
    assert build_authorizer(["AlwaysAllow"], RbacAuthorizer(World())).authorize(ask(World(), "get", "pods")).allowed
    assert not build_authorizer(["AlwaysDeny"], RbacAuthorizer(World())).authorize(ask(World(), "get", "pods")).allowed
    assert (
        build_authorizer(["Node", "RBAC"], RbacAuthorizer(World())).authorize(ask(World(), "get", "pods")).allowed
        is False
    )
    with pytest.raises(ValueError, match="unknown authorization mode"):
        build_authorizer(["Magic"], RbacAuthorizer(World()))


def test_users_that_no_binding_names_share_the_policy_of_their_groups() -> None:
    world = World(
        rbac("ClusterRole", "r", rules=[rule("get", "pods")]),
        binding("nodes", "r", ("Group", "system:nodes")),
        binding("one", "r", ("User", "system:node:7"), namespace="shop"),
    )
    authorizer = RbacAuthorizer(world)
    policies = {id(authorizer.subject(User(f"system:node:{n}", "", ("system:nodes",)))) for n in range(100)}
    assert len(policies) == 2

from __future__ import annotations

import pytest

from kubecore.api.errors import Forbidden, NotFound
from kubecore.api.scheme import resource
from kubecore.apiserver.access.authorize import RbacAuthorizer, build_authorizer
from kubecore.apiserver.access.escalate import EscalationCheck
from kubecore.apiserver.registry.admission import User

from .worlds import ALICE, RBAC, World, binding, rbac, rule

CLUSTER_ROLES, ROLES = resource(RBAC, "v1", "clusterroles"), resource(RBAC, "v1", "roles")
CLUSTER_ROLE_BINDINGS = resource(RBAC, "v1", "clusterrolebindings")
ROLE_BINDINGS = resource(RBAC, "v1", "rolebindings")


def check(*rules: dict[str, list[str]]) -> EscalationCheck:
    """Alice has these rules everywhere; there is a role `reader` of secrets."""
    world = World(
        rbac("ClusterRole", "own", rules=list(rules)),
        binding("b", "own", ("User", "alice")),
        rbac("ClusterRole", "reader", rules=[rule("get list", "secrets")]),
    )
    index = RbacAuthorizer(world)
    return EscalationCheck(build_authorizer(["RBAC"], index), index)


def test_a_role_of_rights_one_lacks_is_refused_in_upstreams_words() -> None:
    with pytest.raises(Forbidden) as raised:
        check(rule("get", "pods")).check_rules(
            ALICE, CLUSTER_ROLES, "", "x", [rule("get list", "pods"), rule("get", urls="/metrics")]
        )
    assert raised.value.message == (
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: user "alice" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}'
    )


@pytest.mark.parametrize(
    ("owned", "wanted", "covered"),
    [
        (rule("get list", "pods services"), rule("list", "services"), True),
        (rule("*", "*", ["*"]), rule("delete", "nodes/proxy"), True),
        (rule("get", "*/scale", ["apps"]), rule("get", "deployments/scale", ["apps"]), True),
        (rule("get", "pods", names="a b"), rule("get", "pods", names="a"), True),
        (rule("get", "pods", names="a"), rule("get", "pods"), False),
        (rule("get", "pods"), rule("get", "pods", names="a"), True),
        (rule("get", "pods"), rule("*", "pods"), False),
        (rule("get", "pods"), rule("get", "pods", ["*"]), False),
        (rule("get", urls="/api*"), rule("get", urls="/apis/*"), True),
        (rule("get", urls="/apis/*"), rule("get", urls="/api*"), False),
    ],
)
def test_one_may_grant_what_one_has(owned: dict[str, list[str]], wanted: dict[str, list[str]], covered: bool) -> None:
    if covered:
        check(owned).check_rules(ALICE, CLUSTER_ROLES, "", "x", [wanted])
    else:
        with pytest.raises(Forbidden):
            check(owned).check_rules(ALICE, CLUSTER_ROLES, "", "x", [wanted])


def test_rights_from_two_rules_add_up() -> None:
    two = check(rule("get", "pods"), rule("list", "pods"))
    two.check_rules(ALICE, CLUSTER_ROLES, "", "x", [rule("get list", "pods")])


def test_who_may_escalate_or_is_a_master_may_write_any_role() -> None:
    everything = [rule("*", "*", ["*"])]
    check(rule("escalate", "roles", [RBAC])).check_rules(ALICE, ROLES, "shop", "x", everything)
    check().check_rules(User("root", "", ("system:masters",)), ROLES, "shop", "x", everything)


def test_a_binding_needs_the_roles_rights_or_leave_to_bind_it() -> None:
    reference = {"kind": "ClusterRole", "name": "reader"}
    with pytest.raises(Forbidden, match=r'rolebindings\.rbac\.authorization\.k8s\.io "x" is forbidden: user "alice"'):
        check().check_binding(ALICE, ROLE_BINDINGS, "shop", "x", reference)
    check(rule("get list", "secrets")).check_binding(ALICE, ROLE_BINDINGS, "shop", "x", reference)
    bind = rule("bind", "clusterroles", [RBAC], names="reader")
    check(bind).check_binding(ALICE, CLUSTER_ROLE_BINDINGS, "", "x", reference)


def test_a_binding_to_a_missing_role_says_which() -> None:
    with pytest.raises(NotFound) as raised:
        check().check_binding(ALICE, ROLE_BINDINGS, "shop", "x", {"kind": "Role", "name": "gone"})
    assert raised.value.message == 'role.rbac.authorization.k8s.io "gone" not found'


def test_a_role_that_gathers_others_needs_every_right() -> None:
    with pytest.raises(Forbidden) as raised:
        check(rule("get list create", "*", ["*"])).check_aggregation(ALICE, CLUSTER_ROLES, "x")
    assert raised.value.message == (
        'clusterroles.rbac.authorization.k8s.io "x" is forbidden: must have cluster-admin privileges to use the '
        "aggregationRule"
    )
    check(rule("*", "*", ["*"]), rule("*", urls="*")).check_aggregation(ALICE, CLUSTER_ROLES, "x")


def test_an_update_that_creates_needs_the_right_to_create() -> None:
    with pytest.raises(Forbidden, match=r'User "alice" cannot create resource "roles"'):
        check(rule("update", "roles", [RBAC])).check_create(ALICE, ROLES, "shop", "x")
    check(rule("create", "roles", [RBAC])).check_create(ALICE, ROLES, "shop", "x")

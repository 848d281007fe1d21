from __future__ import annotations

import copy

import pytest

from kubecore.apiserver.access.authorize import Attributes, RbacAuthorizer
from kubecore.apiserver.access.bootstrap import default_objects, reconciled
from kubecore.apiserver.registry.admission import User

from .worlds import World, rule

NODE = User("system:node:a", "", ("system:nodes", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", "", ("system:authenticated",))
ANONYMOUS = User("system:anonymous", "", ("system:unauthenticated",))
ALICE = User("alice", "", ("system:authenticated",))


@pytest.fixture(scope="module")
def authorizer() -> RbacAuthorizer:
    return RbacAuthorizer(World(*(obj for _, obj in default_objects())))


def controller(name: str) -> User:
    return User(
        f"system:serviceaccount:kube-system:{name}",
        "",
        ("system:serviceaccounts", "system:serviceaccounts:kube-system"),
    )


@pytest.mark.parametrize(
    ("user", "verb", "group", "resource", "subresource", "allowed"),
    [
        (SCHEDULER, "create", "", "pods", "binding", True),
        (SCHEDULER, "watch", "", "pods", "", True),
        (SCHEDULER, "create", "events.k8s.io", "events", "", True),
        (SCHEDULER, "update", "", "secrets", "", False),
        (controller("replicaset-controller"), "create", "", "pods", "", True),
        (controller("replicaset-controller"), "update", "apps", "replicasets", "status", True),
        (controller("replicaset-controller"), "create", "apps", "replicasets", "", False),
        (controller("deployment-controller"), "create", "apps", "replicasets", "", True),
        (controller("generic-garbage-collector"), "delete", "shop.example", "widgets", "", True),
        (controller("namespace-controller"), "deletecollection", "", "secrets", "", True),
        (controller("namespace-controller"), "update", "", "namespaces", "finalize", True),
        (controller("endpointslice-controller"), "create", "discovery.k8s.io", "endpointslices", "", True),
        (controller("service-account-controller"), "create", "", "serviceaccounts", "", True),
        (controller("service-account-controller"), "delete", "", "serviceaccounts", "", False),
        (NODE, "patch", "", "nodes", "status", True),
        (NODE, "update", "coordination.k8s.io", "leases", "", True),
        (NODE, "delete", "", "nodes", "", False),
        (ALICE, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "", True),
        (ALICE, "list", "", "pods", "", False),
    ],
)
def test_components_have_their_own_rights_and_no_others(
    authorizer: RbacAuthorizer, user: User, verb: str, group: str, resource: str, subresource: str, allowed: bool
) -> None:
    asked = Attributes(user, verb, group, "v1", resource, subresource, namespace="default", name="x")
    assert authorizer.authorize(asked).allowed is allowed


@pytest.mark.parametrize(
    ("user", "path", "allowed"),
    [
        (ANONYMOUS, "/healthz", True),
        (ANONYMOUS, "/version", True),
        (ANONYMOUS, "/apis", False),
        (ANONYMOUS, "/metrics", False),
        (ALICE, "/apis/apps/v1", True),
        (ALICE, "/openapi/v3", True),
        (ALICE, "/metrics", False),
        (User("p", "", ("system:monitoring",)), "/metrics", True),
        (controller("job-controller"), "/openid/v1/jwks", True),
    ],
)
def test_paths_are_open_to_those_that_upstream_opens_them_to(
    authorizer: RbacAuthorizer, user: User, path: str, allowed: bool
) -> None:
    assert authorizer.authorize(Attributes(user, "get", path=path, is_resource=False)).allowed is allowed


def test_every_default_says_what_it_is_and_may_be_kept_up() -> None:
    for _, obj in default_objects():
        assert obj["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
        assert obj["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] == "true"


def test_every_binding_names_a_role_that_is_there() -> None:
    found = {(plural, o["metadata"].get("namespace", ""), o["metadata"]["name"]) for plural, o in default_objects()}
    for plural, obj in default_objects():
        if plural == "clusterrolebindings":
            assert ("clusterroles", "", obj["roleRef"]["name"]) in found
        elif plural == "rolebindings":
            assert ("roles", obj["metadata"]["namespace"], obj["roleRef"]["name"]) in found


def test_view_flows_into_edit_and_edit_into_admin() -> None:
    rules = {o["metadata"]["name"]: o["rules"] for plural, o in default_objects() if plural == "clusterroles"}
    assert all(one in rules["edit"] for one in rules["view"])
    assert all(one in rules["admin"] for one in rules["edit"])
    assert not any("secrets" in one["resources"] for one in rules["view"])


def default(name: str) -> dict[str, object]:
    return next(
        obj for plural, obj in default_objects() if plural == "clusterroles" and obj["metadata"]["name"] == name
    )


def test_a_missing_rule_comes_back_and_an_added_one_stays() -> None:
    wanted = default("system:node-proxier")
    stored = copy.deepcopy(wanted)
    extra = rule("get", "secrets")
    stored["rules"] = [*stored["rules"][1:], extra]
    better = reconciled(stored, wanted)
    assert better is not None
    assert extra in better["rules"]
    assert wanted["rules"][0] in better["rules"]  # type: ignore[index]


def test_a_complete_role_is_not_written_again() -> None:
    assert all(reconciled(copy.deepcopy(obj), obj) is None for _, obj in default_objects())


def test_a_role_whose_owner_turned_updates_off_is_left_alone() -> None:
    wanted = default("system:node-proxier")
    stored = copy.deepcopy(wanted)
    stored["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"  # type: ignore[index]
    stored["rules"] = []
    assert reconciled(stored, wanted) is None

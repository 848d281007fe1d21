from __future__ import annotations

from typing import Any

import pytest

from kubecore.api import scheme
from kubecore.api.errors import BadRequest, Invalid
from kubecore.api.meta import Object
from kubecore.apiserver.access.authenticate import Authenticator
from kubecore.apiserver.access.authorize import RbacAuthorizer, build_authorizer
from kubecore.apiserver.access.reviews import review_table
from kubecore.apiserver.registry.admission import User

from .worlds import ALICE, World, binding, make, rbac, rule

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


class Desk:
    """Asks reviews of a world where alice may get pods everywhere and bob in the namespace shop."""

    def __init__(self) -> None:
        self.world = World(
            rbac("ClusterRole", "r", rules=[rule("get", "pods"), rule("get", urls="/metrics")]),
            binding("b", "r", ("User", "alice")),
            binding("c", "r", ("User", "bob"), namespace="shop"),
            make("ServiceAccount", "robot", "shop"),
        )
        self.tokens = self.world.tokens()
        authenticator = Authenticator(self.tokens, self.world, now=lambda: self.world.now)
        self.table = review_table(authenticator, build_authorizer(["RBAC"], RbacAuthorizer(self.world)))

    def ask(self, group: str, plural: str, spec: dict[str, Any], *, user: User = ALICE, namespace: str = "") -> Object:
        resource = scheme.resource(group, "v1", plural)
        review = {"apiVersion": f"{group}/v1", "kind": resource.kind, "metadata": {}, "spec": spec}
        return self.table[group, plural](user, resource, namespace, review)["status"]  # type: ignore[no-any-return]


GET_PODS = {"verb": "get", "resource": "pods", "namespace": "shop"}


def test_one_can_ask_what_one_may_do() -> None:
    desk = Desk()
    status = desk.ask(AUTHORIZATION, "selfsubjectaccessreviews", {"resourceAttributes": GET_PODS})
    assert status == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" to User "alice"',
    }
    other = {"resourceAttributes": GET_PODS | {"verb": "delete"}}
    assert desk.ask(AUTHORIZATION, "selfsubjectaccessreviews", other) == {"allowed": False}
    path = {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
    assert desk.ask(AUTHORIZATION, "selfsubjectaccessreviews", path)["allowed"] is True


def test_one_can_ask_what_somebody_else_may_do() -> None:
    desk = Desk()
    asked = {"user": "bob", "resourceAttributes": GET_PODS}
    assert desk.ask(AUTHORIZATION, "subjectaccessreviews", asked)["allowed"] is True
    elsewhere = {"user": "bob", "resourceAttributes": GET_PODS | {"namespace": "default"}}
    assert desk.ask(AUTHORIZATION, "subjectaccessreviews", elsewhere)["allowed"] is False


@pytest.mark.parametrize(
    ("spec", "field", "why"),
    [
        ({"user": "bob"}, "spec.resourceAttributes", "exactly one of nonResourceAttributes or resourceAttributes"),
        (
            {"user": "bob", "resourceAttributes": GET_PODS, "nonResourceAttributes": {"path": "/"}},
            "spec.nonResourceAttributes",
            "cannot be specified in combination with resourceAttributes",
        ),
        ({"resourceAttributes": GET_PODS}, "spec.user", "at least one of user or group must be specified"),
    ],
)
def test_a_question_that_is_none_is_refused_with_its_field(spec: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(Invalid) as raised:
        Desk().ask(AUTHORIZATION, "subjectaccessreviews", spec)
    (cause,) = raised.value.details["causes"]
    assert cause["field"] == field
    assert why in cause["message"]


def test_a_local_question_is_about_its_namespace() -> None:
    desk, spec = Desk(), {"user": "bob", "resourceAttributes": GET_PODS}
    assert desk.ask(AUTHORIZATION, "localsubjectaccessreviews", spec, namespace="shop")["allowed"] is True
    with pytest.raises(BadRequest, match="must match namespace"):
        desk.ask(AUTHORIZATION, "localsubjectaccessreviews", spec, namespace="default")


def test_the_rules_that_reach_one_are_listed() -> None:
    status = Desk().ask(AUTHORIZATION, "selfsubjectrulesreviews", {"namespace": "shop"})
    assert status == {
        "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}],
        "incomplete": False,
    }


def test_one_can_ask_who_one_is() -> None:
    user = User("jane", "7", ("devs",), {"k": ("v",)})
    assert Desk().ask(AUTHENTICATION, "selfsubjectreviews", {}, user=user) == {
        "userInfo": {"username": "jane", "uid": "7", "groups": ["devs"], "extra": {"k": ["v"]}}
    }


def test_a_token_is_reviewed_for_its_audiences() -> None:
    desk = Desk()
    account = desk.world.list(scheme.core("serviceaccounts"))[0]
    token, _ = desk.tokens.issue(
        service_account=account,
        audiences=["vault"],
        expiration_seconds=600,
        bound_object=None,
        now_seconds=desk.world.now,
    )
    status = desk.ask(AUTHENTICATION, "tokenreviews", {"token": token, "audiences": ["vault", "other"]})
    assert status["authenticated"] is True
    assert status["audiences"] == ["vault"]
    assert status["user"]["username"] == "system:serviceaccount:shop:robot"
    assert "authenticated" not in desk.ask(AUTHENTICATION, "tokenreviews", {"token": token})


def test_a_token_review_needs_a_token() -> None:
    with pytest.raises(BadRequest, match="token is required for TokenReview in authentication"):
        Desk().ask(AUTHENTICATION, "tokenreviews", {})

from __future__ import annotations

import pytest

from kubecore.api.errors import Forbidden, NotFound
from kubecore.apiserver.access.admission.namespace_lifecycle import NamespaceLifecycle

from ..worlds import World, admission_request, make
from .pods import pod

TERMINATING = make("Namespace", "shop", status={"phase": "Terminating"})
ACTIVE = make("Namespace", "shop", status={"phase": "Active"})


def test_nothing_is_created_where_there_is_no_namespace() -> None:
    with pytest.raises(NotFound) as raised:
        NamespaceLifecycle().mutate(admission_request(World(), pod()))
    assert raised.value.message == 'namespaces "shop" not found'
    assert raised.value.details == {"name": "shop", "kind": "namespaces"}


def test_an_active_namespace_takes_pods() -> None:
    NamespaceLifecycle().mutate(admission_request(World(ACTIVE), pod()))


def test_nothing_is_created_where_the_namespace_is_going() -> None:
    with pytest.raises(Forbidden) as raised:
        NamespaceLifecycle().mutate(admission_request(World(TERMINATING), pod()))
    assert raised.value.message == (
        'pods "web" is forbidden: unable to create new content in namespace shop because it is being terminated'
    )
    assert raised.value.details["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": "namespace shop is being terminated",
            "field": "metadata.namespace",
        }
    ]


def test_what_is_there_can_still_be_updated_and_deleted_while_the_namespace_goes() -> None:
    world = World(TERMINATING)
    NamespaceLifecycle().mutate(admission_request(world, pod(), old=pod(), operation="UPDATE"))
    NamespaceLifecycle().mutate(admission_request(World(), None, old=pod(), operation="DELETE"))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_three_namespaces_are_never_deleted(name: str) -> None:
    with pytest.raises(Forbidden) as raised:
        NamespaceLifecycle().mutate(admission_request(World(), None, old=make("Namespace", name), operation="DELETE"))
    assert raised.value.message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


def test_other_namespaces_may_go() -> None:
    NamespaceLifecycle().mutate(admission_request(World(), None, old=make("Namespace", "shop"), operation="DELETE"))


def test_a_namespace_and_a_node_need_no_namespace() -> None:
    for obj in (make("Namespace", "new"), make("Node", "a")):
        NamespaceLifecycle().mutate(admission_request(World(), obj))


def test_reviews_may_ask_about_namespaces_that_are_not_there() -> None:
    review = make("LocalSubjectAccessReview", "", "gone", api_version="authorization.k8s.io/v1")
    NamespaceLifecycle().mutate(admission_request(World(), review))

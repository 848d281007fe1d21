"""Addresses as objects: their names are the addresses."""

from __future__ import annotations

import pytest
from tests.support.registry import Api

ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"


def address(name: str) -> dict[str, object]:
    parent = {"resource": "services", "namespace": "default", "name": "web"}
    return {"metadata": {"name": name}, "spec": {"parentRef": parent}}


@pytest.mark.parametrize("name", ["10.9.8.7", "fe80::42:1dff:fe84:f9e2"])
def test_an_address_of_either_family_is_a_name(name: str) -> None:
    api = Api()
    api.post(ADDRESSES, address(name)).ok()
    assert api.get(f"{ADDRESSES}/{name}").ok()["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["web", "010.9.8.7", "FE80::1", "::ffff:10.9.8.7"])
def test_what_is_no_address_in_canonical_form_is_refused(name: str) -> None:
    refused = Api().post(ADDRESSES, address(name))
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert "metadata.name" in refused.message


def test_an_address_belongs_to_somebody_and_stays_theirs() -> None:
    api = Api()
    refused = api.post(ADDRESSES, {"metadata": {"name": "10.9.8.7"}, "spec": {}})
    assert "spec.parentRef: Required value" in refused.message
    stored = api.post(ADDRESSES, address("10.9.8.7")).ok()
    stored["spec"]["parentRef"]["name"] = "other"
    refused = api.put(f"{ADDRESSES}/10.9.8.7", stored)
    assert "spec.parentRef: Invalid value" in refused.message

"""Image pull secrets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kubecore.kubelet.credentials import best_match, credentials_in, registry_and_path

Object = dict[str, Any]


def secret(entries: Object, *, key: str = ".dockerconfigjson") -> Object:
    written = {"auths": entries} if key == ".dockerconfigjson" else entries
    return {"data": {key: base64.b64encode(json.dumps(written).encode()).decode()}}


def user_for(image: str, *secrets: Object) -> str | None:
    found = best_match(image, [each for given in secrets for each in credentials_in(given)])
    return found.username if found is not None else None


@pytest.mark.parametrize(
    ("image", "place"),
    [
        ("nginx", ("docker.io", "library/nginx")),
        ("nginx:1.2", ("docker.io", "library/nginx")),
        ("me/app@sha256:00", ("docker.io", "me/app")),
        ("ghcr.io/a/b:1", ("ghcr.io", "a/b")),
        ("localhost:5000/app", ("localhost:5000", "app")),
    ],
)
def test_where_an_image_is(image: str, place: tuple[str, str]) -> None:
    assert registry_and_path(image) == place


def test_the_secret_that_names_the_longest_path_counts() -> None:
    given = secret(
        {
            "ghcr.io": {"username": "all", "password": "p"},
            "https://ghcr.io/team/": {"auth": base64.b64encode(b"team:p:with:colons").decode()},
            "*.example.com": {"username": "star", "password": "p"},
        }
    )
    assert user_for("ghcr.io/other/app", given) == "all"
    assert user_for("ghcr.io/team/app:1", given) == "team"
    assert user_for("ghcr.io/teams/app:1", given) == "all"
    assert user_for("eu.example.com/app", given) == "star"
    assert user_for("example.com/app", given) is None
    (_, team) = next(each for each in credentials_in(given) if each[1].username == "team")
    assert team.password == "p:with:colons"


def test_docker_hub_has_many_names() -> None:
    given = secret({"https://index.docker.io/v1/": {"username": "hub", "password": "p"}}, key=".dockercfg")
    assert user_for("nginx", given) == "hub"


@pytest.mark.parametrize(
    "data", [{}, {".dockerconfigjson": "!"}, {".dockerconfigjson": base64.b64encode(b"[]").decode()}]
)
def test_what_is_no_secret_for_a_registry_is_nobody(data: dict[str, str]) -> None:
    assert list(credentials_in({"data": data})) == []

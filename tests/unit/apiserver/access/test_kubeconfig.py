from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubecore.apiserver.access import kubeconfig
from kubecore.apiserver.access.signing import KeyPair

PAIR = KeyPair(b"certificate", b"key")


def ours(server: str = "https://127.0.0.1:6443") -> dict[str, Any]:
    return kubeconfig.document(server=server, ca_pem=b"authority", client=PAIR)


THEIRS = """\
apiVersion: v1
kind: Config
clusters: [{name: work, cluster: {server: https://work.example}}]
users: [{name: me, user: {token: secret}}]
contexts: [{name: work, context: {cluster: work, user: me}}]
current-context: work
extensions: [{name: kept, extension: {a: 1}}]
"""


def test_a_written_file_embeds_everything_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config"
    kubeconfig.write(path, ours())
    config = yaml.safe_load(path.read_text())
    user = config["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == b"key"
    assert base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]) == b"authority"
    assert config["current-context"] == "kubecore"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_merge_keeps_what_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    kubeconfig.merge(path, ours())
    config = yaml.safe_load(path.read_text())
    assert [c["name"] for c in config["clusters"]] == ["work", "kubecore"]
    assert config["users"][0] == {"name": "me", "user": {"token": "secret"}}
    assert config["extensions"] == [{"name": "kept", "extension": {"a": 1}}]
    assert config["current-context"] == "kubecore"


def test_a_second_merge_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, ours())
    kubeconfig.merge(path, ours("https://127.0.0.1:7000"))
    config = yaml.safe_load(path.read_text())
    assert [c["cluster"]["server"] for c in config["clusters"]] == ["https://127.0.0.1:7000"]


def test_removal_leaves_the_rest_and_no_context_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(THEIRS)
    kubeconfig.merge(path, ours())
    assert kubeconfig.remove(path)
    config = yaml.safe_load(path.read_text())
    assert [c["name"] for c in config["contexts"]] == ["work"]
    assert config["current-context"] == ""


def test_removal_leaves_a_context_that_somebody_switched_to(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, ours())
    path.write_text(path.read_text().replace("current-context: kubecore", "current-context: work"))
    assert kubeconfig.remove(path)
    assert yaml.safe_load(path.read_text())["current-context"] == "work"


def test_removal_spares_an_entry_that_points_elsewhere_by_now(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, ours("https://127.0.0.1:7000"))
    assert not kubeconfig.remove(path, server="https://127.0.0.1:6443")
    assert yaml.safe_load(path.read_text())["current-context"] == "kubecore"


def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("clusters: 7\n")
    with pytest.raises(ValueError, match="is not a kubeconfig"):
        kubeconfig.merge(path, ours())
    assert path.read_text() == "clusters: 7\n"


def test_the_users_file_is_the_first_of_kubeconfig_that_exists(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("")
    listed = f"{tmp_path / 'a'}:{tmp_path / 'b'}"
    assert kubeconfig.user_path({"KUBECONFIG": listed}) == tmp_path / "b"
    assert kubeconfig.user_path({"HOME": "/home/me"}) == Path("/home/me/.kube/config")

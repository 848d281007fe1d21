import base64
from pathlib import Path

import pytest

from kubecore.client import kubeconfig
from kubecore.client.kubeconfig import KubeconfigError

TEXT = """
apiVersion: v1
kind: Config
current-context: one
contexts:
- name: one
  context: {cluster: c, user: u, namespace: shop}
- name: two
  context: {cluster: plain, user: t}
clusters:
- name: c
  cluster: {server: "https://127.0.0.1:6443/", certificate-authority: ca.crt, tls-server-name: kubernetes}
- name: plain
  cluster: {server: "https://10.0.0.1", insecure-skip-tls-verify: true}
users:
- name: u
  user: {client-certificate-data: CERT, client-key-data: KEY}
- name: t
  user: {tokenFile: token}
- name: e
  user: {exec: {command: aws}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = TEXT.replace("CERT", base64.b64encode(b"cert").decode()).replace("KEY", base64.b64encode(b"key").decode())
    (tmp_path / "ca.crt").write_bytes(b"ca")
    (tmp_path / "token").write_text("secret\n")
    file = tmp_path / "config"
    file.write_text(text)
    return file


def test_the_current_context_is_used(config: Path) -> None:
    loaded = kubeconfig.load(config)
    assert loaded.server == "https://127.0.0.1:6443"
    assert loaded.namespace == "shop"
    assert loaded.certificate_authority_pem == b"ca"
    assert (loaded.client_certificate_pem, loaded.client_key_pem) == (b"cert", b"key")
    assert loaded.tls_server_name == "kubernetes"


def test_another_context_can_be_named_and_its_token_is_read_anew_each_time(config: Path) -> None:
    loaded = kubeconfig.load(config, context="two")
    assert loaded.insecure_skip_tls_verify
    assert loaded.bearer_token() == "secret"
    (config.parent / "token").write_text("rotated\n")
    assert loaded.bearer_token() == "rotated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("current-context: one", "current-context: three"), "no context named 'three'"),
        (("current-context: one", ""), "no current-context"),
        (("user: u,", "user: e,"), "exec is not supported"),
        (("certificate-authority: ca.crt", "certificate-authority: missing"), "missing: No such file"),
        (("client-certificate-data: ", "client-certificate-data: =="), "is not base64"),
        (("apiVersion: v1\nkind: Config", "- a"), "config"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(config: Path, change: tuple[str, str], message: str) -> None:
    config.write_text(config.read_text().replace(*change))
    with pytest.raises(KubeconfigError, match=message) as caught:
        kubeconfig.load(config)
    assert str(config) in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="No such file"):
        kubeconfig.load(tmp_path / "none")

"""The printed files, and other ways to mistype a manifest: every mistake is named at once, with line, path and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecore_cli.diagnose import Mistake, diagnose
from kubecore_cli.manifests import Source

DATA = Path(__file__).resolve().parents[2] / "data" / "as-printed"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

PRINTED: dict[str, list[tuple[int, str, str]]] = {
    # file: (line, field path, a part of the message)
    "mysql-rc.yaml": [
        (1, "apiVersion", "`v1`"),
        (6, "spec.replicas", "`replicas: 1`"),
        (12, "spec.template.metadata.labels.app", "`app: mysql`"),
        (15, "spec.template.spec.containers[0].name", "`- name: mysql`"),
        (16, "spec.template.spec.containers[0].Image", "`Image: mysql`"),
        (16, "spec.template.spec.containers[0].Image", "probably meant `image`"),
        (17, "spec.template.spec.containers[0].Ports", "probably meant `ports`"),
        (18, "spec.template.spec.containers[0].ports[0].containerPort", "`- containerPort: 3306`"),
        (19, "spec.template.spec.containers[0].Env", "probably meant `env`"),
        (20, "spec.template.spec.containers[0].env[0].name", "`- name: MYSQL_ROOT_PASSWORD`"),
        (21, "spec.template.spec.containers[0].env[0].Value", '`Value: ""`'),
        (21, "spec.template.spec.containers[0].env[0].Value", "probably meant `value`"),
    ],
    "mysql-svc.yaml": [(6, "spec.prots", "probably meant `ports`")],
    "myweb-rc.yaml": [
        (1, "apiVersion", "`v1`"),
        (6, "spec.replicas", "`replicas: 2`"),
        (15, "spec.template.spec.containers[0].name", "probably meant `myweb`"),
        (16, "spec.template.spec.containers[0].Image", "probably meant `image`"),
        (17, "spec.template.spec.containers[0].Ports", "probably meant `ports`"),
    ],
    "myweb-svc.yaml": [
        (6, "spec.prots", "probably meant `ports`"),
        (8, "spec.ports[0].nodePort", "`type: NodePort`"),
    ],
}


def _of(text: str) -> list[Mistake]:
    return diagnose(Source("given.yaml", text))


@pytest.mark.parametrize("name", PRINTED)
def test_every_mistake_of_a_printed_file_is_named_at_once(name: str) -> None:
    found = diagnose(Source(name, (DATA / name).read_text()))
    assert [(mistake.line, mistake.path) for mistake in found] == [(line, path) for line, path, _ in PRINTED[name]]
    for mistake, (_, _, message) in zip(found, PRINTED[name], strict=True):
        assert message in mistake.message


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_mended_files_have_no_mistake(path: Path) -> None:
    assert diagnose(Source(path.name, path.read_text())) == []


def test_an_image_with_a_tag_is_no_missing_space() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    image: nginx:1.25\n    args:\n    - http://x:80\n"
    assert _of(text) == []


def test_text_inside_a_block_is_left_alone() -> None:
    assert (
        _of("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  script: |\n    name:x\n    -name:y\n") == []
    )


def test_a_wrong_type_is_named_in_the_servers_words() -> None:
    (mistake,) = _of("apiVersion: v1\nkind: ReplicationController\nmetadata: {name: a}\nspec: {replicas: many}\n")
    assert "replicas" in mistake.message


def test_an_unknown_kind_is_guessed() -> None:
    (mistake,) = _of("apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: a}\n")
    assert (mistake.line, mistake.path) == (2, "kind")
    assert "probably meant `Deployment`" in mistake.message


def test_a_kind_in_the_wrong_group_is_sent_home() -> None:
    (mistake,) = _of("apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n")
    assert "probably meant `apiVersion: apps/v1`" in mistake.message


def test_lines_count_through_several_documents() -> None:
    first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
    (mistake,) = _of(first + "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndta: {}\n")
    assert (mistake.line, mistake.path) == (8, "dta")

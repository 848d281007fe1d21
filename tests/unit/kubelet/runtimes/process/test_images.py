"""What a name stands for: references, the table of local images, what pulling and removing do."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubecore.kubelet.runtimes.process.images import HOST, Images, PlacedFile, Row, read_table
from kubecore.kubelet.runtimes.process.references import InvalidReference, parse
from kubecore.kubelet.runtimes.protocol import RuntimeCode, RuntimeFailure
from support.process_runtime import log_lines, node

TABLE = """\
images:
- name: shop
  root: host
  command: [sh, -c]
  args: ['cat /opt/shop/page; echo $COLOR; id -un; pwd; ls -l /opt/shop/tool | cut -c1-10; test -e /opt/hidden || echo hidden']
  env: {COLOR: blue}
  user: nobody
  workingDir: /opt/shop
  files:
    /opt/shop/page: "hello\\n"
    /opt/shop/tool: {source: %(source)s, mode: "0750", owner: "0:0"}
    /opt/shop/link: {link: page}
    /opt/shop/data: {directory: true, mode: "1777"}
- name: "example.com/team/*"
  root: %(root)s
"""


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("mysql", "docker.io/library/mysql:latest"),
        ("kubeguide/tomcat-app:v1", "docker.io/kubeguide/tomcat-app:v1"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("index.docker.io/mysql:5.7", "docker.io/library/mysql:5.7"),
        ("a@sha256:" + "0" * 64, "docker.io/library/a@sha256:" + "0" * 64),
        ("a:1@sha256:" + "0" * 64, "docker.io/library/a:1@sha256:" + "0" * 64),
    ],
)
def test_names_are_read_as_docker_reads_them(name: str, whole: str) -> None:
    assert str(parse(name)) == whole


@pytest.mark.parametrize("name", ["", "Upper", "a:", "a b", "a//b", "a@md5:1", "-a", "a:tag:tag", "http://a/b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidReference):
        parse(name)


def _images(tmp_path: Path, *rows: Row) -> Images:
    return Images(tmp_path / "state", rows)


def test_a_name_without_a_tag_in_the_table_stands_for_all_of_them(tmp_path: Path) -> None:
    images = _images(tmp_path, Row(name="shop", root=str(tmp_path)), Row(name="web:1", root=HOST))
    assert images.row_of("shop:7")[1] == images.row_of("docker.io/library/shop")[1]
    assert images.row_of("web:1")
    with pytest.raises(RuntimeFailure) as failed:
        images.row_of("web:2")
    assert failed.value.code is RuntimeCode.NOT_FOUND


def test_a_pattern_matches_and_the_tables_rows_come_before_the_built_in(tmp_path: Path) -> None:
    images = _images(
        tmp_path, Row(name="quay.io/*", root=HOST, env={"A": "b"}), Row(name="busybox", root=HOST, user="1")
    )
    assert images.row_of("quay.io/a/b:1")[1] == Row(name="quay.io/*", root=HOST, env={"A": "b"})
    row = images.row_of("busybox:1.36")[1]
    assert row is not None
    assert row.user == "1"


def test_an_image_is_there_once_it_was_pulled_until_it_is_removed(tmp_path: Path) -> None:
    images = _images(tmp_path)
    assert images.find("alpine") is None
    wanted, row = images.row_of("alpine:3.20")
    assert row is not None
    stored = images.pull_row(wanted, row)
    assert images.find("alpine:3.20") == stored
    assert images.find(stored.id) == stored
    assert images.find(stored.digests[0]) == stored
    assert images.find("alpine") is None
    again = Images(tmp_path / "state", ())
    assert again.all() == images.all()
    again.remove("alpine:3.20")
    assert again.all() == []


def test_layers_go_when_neither_image_nor_container_has_them(tmp_path: Path) -> None:
    images = _images(tmp_path)
    row = Row(name="shop", root=HOST, files={"/page": "one"})
    (layer,) = images.pull_row(parse("shop"), row).layers
    images.sweep(set())
    assert (tmp_path / "state" / layer).is_dir()
    images.remove("shop")
    images.sweep({layer})
    assert (tmp_path / "state" / layer).is_dir()
    images.sweep(set())
    assert not (tmp_path / "state" / layer).exists()


def test_the_id_follows_what_the_row_says(tmp_path: Path) -> None:
    def identity(row: Row, folder: str) -> str:
        images = Images(tmp_path / folder, ())
        return images.pull_row(parse(row.name), row).id

    row = Row(name="shop", root=HOST, files={"/page": "one"})
    assert identity(row, "a") == identity(row, "b")
    assert identity(row, "a") != identity(Row(name="shop", root=HOST, files={"/page": "two"}), "c")
    assert identity(row, "a") == identity(Row(name="other", root=HOST, files={"/page": "one"}), "d")


def test_a_tag_moves_to_the_image_that_was_pulled_last(tmp_path: Path) -> None:
    images = _images(tmp_path)
    first = images.pull_row(parse("shop:1"), Row(name="shop", root=HOST, files={"/page": "one"}))
    second = images.pull_row(parse("shop:1"), Row(name="shop", root=HOST, files={"/page": "two"}))
    assert images.find("shop:1") == second
    kept = images.find(first.id)
    assert kept is not None
    assert kept.tags == ()


def test_a_digest_that_is_not_the_images_is_not_found(tmp_path: Path) -> None:
    images = _images(tmp_path, Row(name="shop", root=HOST))
    wanted, row = images.row_of("shop@sha256:" + "0" * 64)
    assert row is not None
    with pytest.raises(RuntimeFailure, match="not found"):
        images.pull_row(wanted, row)


def test_a_present_row_is_there_without_a_pull_and_is_pinned(tmp_path: Path) -> None:
    images = _images(tmp_path, Row(name="registry.k8s.io/pause:3.10", root=HOST, present=True))
    (image,) = images.all()
    assert (image.repo_tags, image.pinned) == (("registry.k8s.io/pause:3.10",), True)


def test_what_a_row_names_must_be_there(tmp_path: Path) -> None:
    images = _images(tmp_path)
    with pytest.raises(RuntimeFailure, match="is not there"):
        images.pull_row(parse("a"), Row(name="a", root=str(tmp_path / "missing")))
    with pytest.raises(RuntimeFailure, match="No such file"):
        images.pull_row(
            parse("a"), Row(name="a", root=HOST, files={"/x": PlacedFile(source=str(tmp_path / "missing"))})
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images: [{name: a, root: host, colour: red}]", "colour"),
        ("images: [{name: a}]", "image a: exactly one of root and layout is needed"),
        ("images: [{name: a, root: host, layout: /x}]", "exactly one of root and layout"),
        ("images: [{root: host}]", "name"),
        ("images: [", "flow"),
    ],
)
def test_a_wrong_table_is_refused_with_its_file_and_field(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "images.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"images\.yaml: .*") as failed:
        read_table(str(file))
    assert said in str(failed.value)


def test_a_directory_is_copied_and_relative_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "web" / "inner").mkdir(parents=True)
    (tmp_path / "web" / "inner" / "page").write_text("hello")
    (tmp_path / "web" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "web" / "run").chmod(0o755)
    table = tmp_path / "images.yaml"
    table.write_text("images: [{name: shop, root: host, files: {/opt/web: {source: web}}}]")
    (row,) = read_table(str(table))
    (layer,) = _images(tmp_path).pull_row(parse("shop"), row).layers
    placed = tmp_path / "state" / layer / "opt" / "web"
    assert (placed / "inner" / "page").read_text() == "hello"
    assert [oct((placed / name).stat().st_mode & 0o777) for name in ("run", "inner/page", "inner")] == [
        "0o755",
        "0o644",
        "0o755",
    ]


async def test_a_row_of_the_table_becomes_a_container(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    table = tmp_path / "images.yaml"
    table.write_text(TABLE % {"source": "/bin/true", "root": root})
    async with node(tmp_path / "node", "--images", str(table)) as on_node:
        container = await on_node.created(await on_node.sandbox(), "", image="shop:3", command=())
        await on_node.runtime.start_container(container)
        ended = await on_node.ended(container)
        assert [text for _, _, text in log_lines(ended.log_path)] == [
            "hello",
            "blue",
            "nobody",
            "/opt/shop",
            "-rwxr-x---",
            "hidden",
        ]
        assert ended.user is not None
        assert ended.user.uid == 65534
        image = await on_node.runtime.image_status("shop:3")
        assert image is not None
        assert (image.username, image.size_bytes > 0) == ("nobody", True)
        assert (await on_node.runtime.image_filesystem()).used_bytes > 0
        await on_node.runtime.pull_image("example.com/team/app:1", None)


async def test_pause_waits_and_ends_when_it_is_told(tmp_path: Path) -> None:
    async with node(tmp_path / "node") as on_node:
        image = "registry.k8s.io/pause:3.10"
        container = await on_node.created(await on_node.sandbox(), "", image=image, command=())
        await on_node.runtime.start_container(container)
        waiting = await on_node.runtime.exec_sync(
            container, ["sh", "-c", "until ps -e -o comm= | grep -q sleep; do :; done"], 10
        )
        assert waiting.exit_code == 0
        await on_node.runtime.stop_container(container, 30)
        assert (await on_node.runtime.container_status(container)).exit_code == 0

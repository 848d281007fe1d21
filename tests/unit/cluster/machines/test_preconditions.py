from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kubecore.cluster.machines import preconditions
from kubecore.cluster.machines.site import Site
from kubecore.cluster.options import ClusterOptions
from kubecore_cli.main import main


def test_without_root_up_says_what_it_needs_and_what_works_without_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert main(["up", "--runtime=process", "--port=0", f"--data-dir={tmp_path}"]) == 1
    assert capsys.readouterr().out == (
        "error: --runtime process needs root: network namespaces, mounts and control groups are made (try: sudo). "
        "simulated nodes need nothing of this: kubecore up --nodes N\n"
    )


def test_programs_that_are_missing_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("ip", "nft") else f"/usr/sbin/{name}")
    with pytest.raises(preconditions.Unable, match=r"ip \(Debian: iproute2\), nft \(Debian: nftables\)"):
        Site(ClusterOptions(runtime="process"))


@pytest.mark.parametrize("name", ["", "-a", "a/b", "A", "x" * 40])
def test_a_cluster_s_name_is_a_name_for_namespaces(name: str) -> None:
    with pytest.raises(ValueError, match="--cluster-name"):
        Site(ClusterOptions(runtime="process", cluster_name=name))


def test_a_table_of_images_that_no_runtime_would_take_is_refused_at_once(tmp_path: Path) -> None:
    table = tmp_path / "images.yaml"
    table.write_text("images: [{name: web}]")
    with pytest.raises(ValueError, match="image web: exactly one of root and layout"):
        Site(ClusterOptions(runtime="process", images=table))

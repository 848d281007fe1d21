"""What `apply` and `create` tell a person beside what they did."""

from __future__ import annotations

import pytest

from kubecore_cli.notices import tell_made
from support.services import service


def test_a_service_on_every_node_names_the_ports_to_open(capsys: pytest.CaptureFixture[str]) -> None:
    ports = [{"port": 80, "nodePort": 30001}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]
    tell_made(service("myweb", type="NodePort", ports=ports))
    said = capsys.readouterr()
    assert said.out == ""
    assert "open the ports tcp:30001, udp:30053 in the nodes' firewalls" in said.err


def test_a_service_inside_the_cluster_needs_no_open_port(capsys: pytest.CaptureFixture[str]) -> None:
    tell_made(service("db"))
    assert capsys.readouterr().err == ""

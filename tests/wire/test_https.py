"""The listener with a plain HTTPS client: certificates, tokens, bounds, watches, the graceful end."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support import wire

from kubecore.apiserver.access.certificates import Certificates, KeyPair
from kubecore.apiserver.storage.embedded import EmbeddedStorage
from kubecore.apiserver.wire import APIServer, ServedResources

PODS = "/api/v1/namespaces/default/pods"


@dataclass
class House:
    """A listening server, and clients for it."""

    server: APIServer
    rules: wire.Rules
    certificates: Certificates
    port: int
    directory: Path
    open: list[http.client.HTTPSConnection] = field(default_factory=list)

    def client(self, pair: KeyPair | None = None) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self.certificates.ca_pem.decode())
        if pair is not None:
            file = self.directory / f"client-{len(self.open)}.pem"
            file.write_bytes(pair.certificate_pem + pair.key_pem)
            context.load_cert_chain(file)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        self.open.append(connection)
        return connection


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    rules = wire.Rules()
    storage = EmbeddedStorage.memory()
    certificates = Certificates()
    server = APIServer(storage=storage, gate=rules, registry=wire.Shelf(storage), served=ServedResources())
    server.start()
    port = server.listen("127.0.0.1", 0, serving=certificates.server, client_ca_pem=certificates.ca_pem)
    made = House(server, rules, certificates, port, tmp_path)
    yield made
    for connection in made.open:
        connection.close()
    server.stop(drain_timeout_seconds=5)


def ask(
    connection: http.client.HTTPSConnection, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_what_is_created_is_durable_and_can_be_read(house: House) -> None:
    client = house.client(house.certificates.admin)
    status, created = ask(client, "POST", PODS, json.dumps(wire.pod("web")).encode())
    assert status == 201
    assert house.server.storage.durable_revision() >= int(json.loads(created)["metadata"]["resourceVersion"])
    assert ask(client, "GET", f"{PODS}/web") == (200, created)


def test_a_certificate_of_another_authority_is_401_and_no_broken_handshake(house: House) -> None:
    stranger = house.client(Certificates().admin)
    status, body = ask(stranger, "GET", PODS)
    assert (status, json.loads(body)["reason"]) == (401, "Unauthorized")
    # A token that is known still speaks for it.
    assert ask(stranger, "GET", PODS, authorization="Bearer good")[0] == 200


def test_tokens_are_judged(house: House) -> None:
    assert ask(house.client(), "GET", PODS, authorization="Bearer good")[0] == 200
    assert ask(house.client(), "GET", PODS, authorization="Bearer wrong")[0] == 401


def test_ten_thousand_pods_are_read_with_one_question(house: House) -> None:
    for number in range(10_000):
        wire.put(house.server.storage, wire.pod(f"p{number}"))
    house.server.storage.wait_durable(house.server.storage.revision())
    client = house.client(house.certificates.admin)
    statuses = {ask(client, "GET", f"{PODS}/p{number}")[0] for number in range(10_000)}
    figures = house.server.door.metrics()
    assert statuses == {200}
    assert (house.rules.asked, figures["python_calls_total"], figures["verdict_hits_total"]) == (1, 1, 9_999)


def test_a_change_of_policy_is_felt_by_the_next_request(house: House) -> None:
    client = house.client()
    assert ask(client, "GET", PODS, authorization="Bearer bob")[0] == 200
    house.rules.forbidden.add("bob")
    wire.change_policy(house.server.storage)
    assert ask(client, "GET", PODS, authorization="Bearer bob")[0] == 403


def test_a_body_over_the_limit_is_413(house: House) -> None:
    client = house.client(house.certificates.admin)
    client.putrequest("POST", PODS)
    client.putheader("Content-Length", str(3 * 1024 * 1024 + 1))
    client.endheaders()
    answer = client.getresponse()
    assert (answer.status, json.loads(answer.read())["reason"]) == (413, "RequestEntityTooLarge")


def test_a_client_that_sends_a_body_over_the_limit_to_its_end_gets_to_read_the_413(house: House) -> None:
    client = house.client(house.certificates.admin)
    status, answer = ask(client, "POST", PODS, b" " * (8 * 1024 * 1024))
    assert (status, json.loads(answer)["reason"]) == (413, "RequestEntityTooLarge")


def test_people_get_json_that_is_indented(house: House) -> None:
    client = house.client(house.certificates.admin)
    ask(client, "POST", PODS, json.dumps(wire.pod("web")).encode())
    for path in (PODS, f"{PODS}/web", f"{PODS}/nobody", "/version"):
        _, plain = ask(client, "GET", path)
        for target, agent in ((f"{path}?pretty=true", "go"), (path, "curl/8.5"), (path, "Mozilla/5.0")):
            _, pretty = ask(client, "GET", target, user_agent=agent)
            assert json.loads(pretty) == json.loads(plain)
            assert pretty.startswith(b'{\n  "')
        assert ask(client, "GET", f"{path}?pretty=0", user_agent="curl/8.5")[1] == plain


def test_each_answer_has_an_audit_id_of_its_own_or_the_clients(house: House) -> None:
    client = house.client(house.certificates.admin)
    client.request("GET", "/version")
    first = client.getresponse()
    first.read()
    client.request("GET", "/version", headers={"Audit-ID": "mine"})
    second = client.getresponse()
    second.read()
    assert len(first.headers["Audit-Id"]) == 36
    assert second.headers["Audit-Id"] == "mine"


def test_a_deprecated_resource_warns(house: House) -> None:
    client = house.client(house.certificates.admin)
    client.request("GET", "/api/v1/namespaces/default/endpoints")
    answer = client.getresponse()
    answer.read()
    warning = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert answer.headers["Warning"] == f'299 - "{warning}"'


def test_a_watch_tells_a_change_and_ends_when_the_server_does(house: House) -> None:
    client = house.client(house.certificates.admin)
    client.request("GET", f"{PODS}?watch=1&resourceVersion=1")
    stream = client.getresponse()
    assert stream.status == 200
    wire.put(house.server.storage, wire.pod("web"))
    event = json.loads(stream.readline())
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "web")
    ending = threading.Thread(target=lambda: house.server.stop(drain_timeout_seconds=5))
    ending.start()
    assert stream.read() == b""
    ending.join(10)
    assert not ending.is_alive()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", house.port), timeout=1)


def test_a_watch_with_a_timeout_ends_with_a_bookmark(house: House) -> None:
    client = house.client(house.certificates.admin)
    client.request("GET", f"{PODS}?watch=1&resourceVersion=1&timeoutSeconds=1&allowWatchBookmarks=true")
    lines = client.getresponse().read().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["BOOKMARK"]


def test_a_watch_is_cut_by_a_revocation_and_shows_nothing_after_it(house: House) -> None:
    client = house.client()
    client.request("GET", f"{PODS}?watch=1&resourceVersion=1", headers={"Authorization": "Bearer bob"})
    stream = client.getresponse()
    wire.put(house.server.storage, wire.pod("before"))
    assert json.loads(stream.readline())["object"]["metadata"]["name"] == "before"
    house.rules.forbidden.add("bob")
    wire.change_policy(house.server.storage)
    wire.put(house.server.storage, wire.pod("after"))
    assert stream.read() == b""


def test_plain_http_is_for_loopback_only(house: House) -> None:
    with pytest.raises(ValueError, match="not a loopback address"):
        house.server.listen_plain("0.0.0.0", 0, identity="bench")
    port = house.server.listen_plain("127.0.0.1", 0, identity="bench")
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    plain.request("GET", PODS)
    assert plain.getresponse().status == 200
    plain.close()

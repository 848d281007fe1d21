"""`/logs`: recent lines, and who wrote what."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from kubecore.apiserver.registry.admission import User
from kubecore.apiserver.wire.logs import LINES_MAX, WRITES_MAX, LogPages, RecentLogs, RecentWrites


@dataclass
class Asked:
    path: str = "/logs"
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    verb: str = "create"
    group: str = ""
    resource: str = "pods"
    subresource: str = ""
    namespace: str = "shop"
    name: str = "web"


class Clock:
    def now(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def logs() -> Iterator[RecentLogs]:
    made = RecentLogs()
    made.attach()
    level = logging.getLogger("kubecore").level
    logging.getLogger("kubecore").setLevel(logging.INFO)
    yield made
    logging.getLogger("kubecore").setLevel(level)
    made.detach()


def _lines(logs: RecentLogs, **query: str) -> list[str]:
    body = logs.answer(Asked(query=list(query.items()))).body  # type: ignore[arg-type]
    return [line.partition(" ")[2] for line in body.decode().splitlines()]


def test_what_our_parts_say_is_kept_and_strangers_are_not(logs: RecentLogs) -> None:
    logging.getLogger("kubecore.scheduler.queue").warning("no node for %s", "web")
    logging.getLogger("kubecore.controllers.node").info("node-0 is silent")
    logging.getLogger("kubecore.controllers.node").debug("looking")
    logging.getLogger("elsewhere").error("not ours")
    assert _lines(logs) == [
        "WARNING kubecore.scheduler.queue: no node for web",
        "INFO kubecore.controllers.node: node-0 is silent",
    ]
    assert _lines(logs, component="scheduler") == ["WARNING kubecore.scheduler.queue: no node for web"]
    assert _lines(logs, tailLines="1") == ["INFO kubecore.controllers.node: node-0 is silent"]


def test_a_reader_goes_on_where_it_was(logs: RecentLogs) -> None:
    log = logging.getLogger("kubecore.x")
    log.info("one")
    answer = logs.answer(Asked())  # type: ignore[arg-type]
    last = dict(answer.headers)["kubecore-last"]
    assert _lines(logs, after=last) == []
    log.info("two")
    assert _lines(logs, after=last) == ["INFO kubecore.x: two"]


def test_the_ring_is_bounded(logs: RecentLogs) -> None:
    for number in range(LINES_MAX + 5):
        logging.getLogger("kubecore.x").info("line %d", number)
    kept = _lines(logs)
    assert len(kept) == LINES_MAX
    assert kept[0] == "INFO kubecore.x: line 5"


def test_a_server_that_has_stopped_listens_no_more() -> None:
    made = RecentLogs()
    made.attach()
    made.detach()
    logging.getLogger("kubecore.x").warning("late")
    assert _lines(made) == []


def test_who_wrote_a_revision_is_known_for_a_while() -> None:
    writes = RecentWrites(Clock())
    agent = [("user-agent", "kubectl/v1.33")]
    for revision in range(1, WRITES_MAX + 3):
        writes.note(User("anna"), Asked(headers=agent), revision, b"")  # type: ignore[arg-type]
    pages = LogPages(RecentLogs(), writes)
    answer = pages.answer(Asked("/logs/writes", query=[("after", str(WRITES_MAX))]))  # type: ignore[arg-type]
    assert answer is not None
    assert json.loads(answer.body)["writes"] == [
        {
            "revision": WRITES_MAX + number,
            "time": 1_700_000_000.0,
            "user": "anna",
            "agent": "kubectl/v1.33",
            "verb": "create",
            "group": "",
            "resource": "pods",
            "subresource": "",
            "namespace": "shop",
            "name": "web",
        }
        for number in (1, 2)
    ]
    assert len(writes.since(0)) == WRITES_MAX
    assert pages.answer(Asked("/logs/other")) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b'{"apiVersion":"v1","kind":"Pod","metadata":{"resourceVersion":"7","name":"web-1","uid":"x"}}', "web-1"),
        (b'{"kind":"Pod","metadata":{"resourceVersion":"7","generateName":"web-","name":"web-2"}}', "web-2"),
        (b'{"kind":"Status","metadata":{},"details":{"name":"other"}}', ""),
        (b"k8s\x00\n", ""),
    ],
)
def test_what_was_created_is_named_by_its_answer(answer: bytes, name: str) -> None:
    writes = RecentWrites(Clock())
    writes.note(User("anna"), Asked(name=""), 7, answer)  # type: ignore[arg-type]
    assert [record.name for record in writes.since(0)] == [name]

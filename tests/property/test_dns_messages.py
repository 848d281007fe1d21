"""Whatever arrives at the name server, it answers or stays silent; what it writes, others can read."""

from __future__ import annotations

import random
import struct

import dns.message
from hypothesis import given
from hypothesis import strategies as st

from kubecore.proxy.dns.forward import Forwarder, belongs
from kubecore.proxy.dns.message import BadMessage, Code, Query, Record, Type, name_bytes, parse, respond
from kubecore.proxy.dns.records import ClusterRecords
from kubecore.proxy.dns.server import NameServer, addresses_in

LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join).filter(lambda name: len(name) < 250)
HEADER = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 1)


def server() -> NameServer:
    records = ClusterRecords("cluster.local", now=lambda: 0.0)
    return NameServer(records, Forwarder([], randomness=random.Random(1)))


@given(st.one_of(st.binary(max_size=600), st.binary(max_size=60).map(lambda rest: HEADER + rest)))
def test_no_message_is_too_strange(message: bytes) -> None:
    try:
        said = respond(parse(message), Code.REFUSED)
    except BadMessage as bad:
        said = bad.answer
    assert said[:2] in (b"", message[:2])
    server().answer_now(message, tcp=False)
    addresses_in(message, "a.example", 5)
    belongs(HEADER + b"\x01a\0\0\1\0\1", message)


@given(NAME, st.integers(0, 65535), st.integers(512, 4096))
def test_a_question_is_read_as_it_was_asked(name: str, number: int, payload: int) -> None:
    asked = dns.message.make_query(name, "AAAA", use_edns=0, payload=payload, id=number)
    query = parse(asked.to_wire())
    assert (query.id, query.name, query.type, query.edns) == (number, name, Type.AAAA, True)
    assert query.udp_bytes == min(payload, 1232)


RECORD = st.one_of(
    st.builds(lambda name: Record(name, Type.A, 5, "10.0.0.1"), NAME),
    st.builds(lambda name: Record(name, Type.AAAA, 5, "fd00::1"), NAME),
    st.builds(lambda name, other: Record(name, Type.CNAME, 5, other), NAME, NAME),
    st.builds(lambda name, other: Record(name, Type.PTR, 5, other), NAME, NAME),
    st.builds(
        lambda name, target, port: Record(name, Type.SRV, 5, (0, 100, port, target)), NAME, NAME, st.integers(0, 65535)
    ),
    st.builds(lambda name, text: Record(name, Type.TXT, 5, text), NAME, LABEL),
    st.builds(lambda name, other: Record(name, Type.SOA, 5, (other, name, 1, 2, 3, 4, 5)), NAME, NAME),
)


@given(NAME, st.lists(RECORD, max_size=30), st.integers(512, 4096))
def test_an_answer_is_read_as_it_was_meant_or_says_that_it_is_cut(name: str, records: list[Record], limit: int) -> None:
    question = name_bytes(name) + struct.pack("!HH", Type.A, 1)
    query = Query(7, 0x0100, name, Type.A, question, edns=True)
    written = respond(query, Code.SUCCESS, records, limit=limit)
    assert len(written) <= limit
    read = dns.message.from_wire(written, one_rr_per_rrset=True)
    found = [(each.name.to_text(omit_final_dot=True), each.rdtype, each.ttl) for each in read.answer]
    assert found == [(each.name, each.type, each.ttl_seconds) for each in records][: len(found)]
    assert (len(found) < len(records)) == bool(written[2] & 0x02)
    for each, record in zip(read.answer, records, strict=False):
        if record.type == Type.SRV:
            target = each[0].to_text().rstrip(".").split(" ")
            assert target == [str(part) for part in record.data]
        elif record.type in (Type.CNAME, Type.PTR):
            assert each[0].to_text().rstrip(".") == record.data

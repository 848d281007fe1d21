"""Random services and endpoints: the table that many small transactions made is the table that one writes from nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubecore.proxy.backend import Update
from kubecore.proxy.nftables import NftablesBackend, NftablesOptions
from kubecore.proxy.table import ServiceTable
from support.netns import inside, namespaces
from support.services import NODE, OTHER_NODE, endpoint, endpoint_slice, node, service

NAMES = ("web", "db", "dns")
ADDRESSES = [f"10.244.0.{number}" for number in range(1, 14)]
OPTIONS = NftablesOptions(detect="ClusterCIDR", cluster_cidrs=("10.244.0.0/16",))


class Minutes:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def _services() -> st.SearchStrategy[dict[str, Any]]:
    ports = st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["", "p", "q"]),
                "port": st.sampled_from([80, 80, 81]),
                "protocol": st.sampled_from(["TCP", "TCP", "UDP", "SCTP"]),
                "nodePort": st.sampled_from([0, 30001, 30002]),
            }
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda port: (port["port"], port["protocol"]),
    )
    return st.fixed_dictionaries(
        {
            "type": st.sampled_from(["ClusterIP", "LoadBalancer"]),
            "ports": ports,
            "externalIPs": st.sampled_from([[], ["203.0.113.1"], ["203.0.113.1", "203.0.113.2"]]),
            "ingress": st.lists(st.just({"ip": "198.51.100.1"}), max_size=1),
            "loadBalancerSourceRanges": st.lists(
                st.sampled_from(["192.0.2.0/24", "198.18.0.0/16"]), max_size=2, unique=True
            ),
            "internalTrafficPolicy": st.sampled_from(["Cluster", "Local"]),
            "externalTrafficPolicy": st.sampled_from(["Cluster", "Local"]),
            "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
            "sessionAffinityConfig": st.sampled_from(
                [{"clientIP": {"timeoutSeconds": seconds}} for seconds in (10, 20)]
            ),
        }
    )


def _endpoints() -> st.SearchStrategy[list[dict[str, Any]]]:
    conditions = st.sampled_from(
        [{}, {"ready": False}, {"ready": False, "terminating": True}, {"ready": False, "serving": False}]
    )
    one = st.builds(
        lambda ip, where, how: endpoint(ip, where, conditions=how),
        st.sampled_from(ADDRESSES),
        st.sampled_from([NODE, OTHER_NODE]),
        conditions,
    )
    return st.lists(one, max_size=12, unique_by=lambda each: each["addresses"][0])


STEP = st.one_of(
    st.tuples(st.just("service"), st.sampled_from(NAMES), _services()),
    st.tuples(st.just("slice"), st.sampled_from(NAMES), _endpoints()),
    st.tuples(st.just("no service"), st.sampled_from(NAMES), st.none()),
    st.tuples(st.just("sync"), st.just(""), st.none()),
)
FILLED = st.tuples(
    *(
        st.tuples(st.just(what), st.just(name), how())
        for name in NAMES
        for what, how in (("service", _services), ("slice", _endpoints))
    )
)
STEPS = st.builds(lambda first, then: [*first, *then], FILLED, st.lists(STEP, max_size=10))


def _table() -> dict[str, Any]:
    """As `nft` tells it, without numbers that say how it came to be."""
    listed = subprocess.run(
        ["nft", "-j", "list", "table", "ip", "kubecore-proxy"], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = {}
    for item in json.loads(listed.stdout)["nftables"]:
        for kind, told in item.items():
            if kind == "metainfo":
                continue
            told.pop("handle", None)
            if kind == "rule":
                found.setdefault(f"rules of {told['chain']}", []).append(told["expr"])
            else:
                if isinstance(told.get("elem"), list):
                    told["elem"] = sorted(told["elem"], key=json.dumps)
                found[f"{kind} {told.get('name')}"] = told
    return found


def _leave_behind(chain: str) -> None:
    subprocess.run(["nft", f"add chain ip kubecore-proxy {chain}"], check=True)


async def _play(steps: list[tuple[str, str, Any]]) -> None:
    clock = Minutes()
    table = ServiceTable(NODE, lambda: None)
    table.node_updated(node())
    backend = NftablesBackend(OPTIONS, clock=clock)
    restarted = NftablesBackend(OPTIONS, clock=clock)
    fresh = NftablesBackend(OPTIONS, clock=clock)
    services: dict[str, dict[str, Any]] = {}
    slices: dict[str, dict[str, Any]] = {}

    async def sync(which: NftablesBackend, *, everything: bool) -> None:
        changed = table.take_all() if everything else table.take()
        await which.sync(Update(changed, table.node, ("10.96.0.0/16",), everything))

    try:
        await sync(backend, everything=True)
        for what, name, how in [*steps, ("sync", "", None)]:
            if what == "service":
                new = service(name, clusterIP=f"10.96.0.{1 + NAMES.index(name)}", **dict(how))
                table.service_changed(services.get(name), new)
                services[name] = new
            elif what == "slice":
                each = endpoint_slice(*how, of=name, name=name)
                each["ports"] = [
                    {"name": port, "port": 8080, "protocol": protocol}
                    for port in ("", "p", "q")
                    for protocol in ("TCP", "UDP", "SCTP")
                ]
                table.slice_changed(slices.get(name), each)
                slices[name] = each
            elif what == "no service" and name in services:
                table.service_changed(services.pop(name), None)
            elif what == "sync":
                await sync(backend, everything=False)
                clock.at += 60
                await backend.sweep()
        grown = _table()
        # A proxy that starts on what an earlier one left behind, with some of it not wanted any more.
        _leave_behind("service-OLD-a/b")
        await sync(restarted, everything=True)
        clock.at += 60
        await restarted.sweep()
        assert grown == _table()
        await restarted.clean_up()
        await sync(fresh, everything=True)
        assert grown == _table()
    finally:
        for each in (backend, restarted, fresh):
            await each.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(STEPS)
def test_increments_add_up_to_the_whole(steps: list[tuple[str, str, Any]]) -> None:
    with namespaces("table") as (name,), inside(name):
        asyncio.run(_play(steps))

"""The nftables backend: one transaction for each update, both families in it.

In: `Update`s. Out: scripts to the kernel. An update of a few services writes the chains and elements that differ; after
a failure, and at the start, everything is written over whatever is there, still as one transaction, so that no packet
ever meets half a table. What nothing leads to any more is swept a moment later (`state.py` says why).
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from kubecore.api.clock import Clock, SystemClock
from kubecore.proxy.backend import BackendError, Update
from kubecore.proxy.model import FAMILIES, Family, canonical_ip, family_of
from kubecore.proxy.nftables import base, names
from kubecore.proxy.nftables.detect import Mode, local_traffic
from kubecore.proxy.nftables.library import Nftables, NftablesError
from kubecore.proxy.nftables.rules import Manner, fragment
from kubecore.proxy.nftables.state import TableState
from kubecore.proxy.table import Node

PRIMARY = "primary"

STALE_SECONDS = 1.0
"""How long a chain stays after nothing leads to it: before Linux 6.2 the kernel sees that only after a moment."""

_CHAIN = re.compile(r"^\tchain (\S+) \{", re.MULTILINE)
_SET = re.compile(r"^\tset (\S+) \{", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NftablesOptions:
    """`node_port_addresses`: CIDRs, or `primary` for the node's own addresses; empty: every address."""

    families: tuple[Family, ...] = FAMILIES
    masquerade_all: bool = False
    masquerade_bit: int = 14
    detect: Mode = ""
    cluster_cidrs: tuple[str, ...] = ()
    interface: str = ""
    node_port_addresses: tuple[str, ...] = (PRIMARY,)


class NftablesBackend:
    name = "nftables"

    def __init__(self, options: NftablesOptions | None = None, *, clock: Clock | None = None) -> None:
        self._options = options or NftablesOptions()
        self._clock = clock or SystemClock()
        self._states = {family: TableState(family) for family in self._options.families}
        # A thread of its own: the library is one thread's, and a transaction must not hold up the loop.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nftables")
        self._nftables: Nftables | None = None
        self._manners: dict[Family, Manner] = {}
        self._node_port_ips: dict[Family, tuple[str, ...]] = {}
        self._service_cidrs: tuple[str, ...] = ()
        self._is_new = True
        self._is_lost = True
        self._starts_over = False

    def needs_everything(self, node: Node, service_cidrs: tuple[str, ...]) -> bool:
        return self._is_lost or self._manners != self._all_manners(node) or service_cidrs != self._service_cidrs

    async def sync(self, update: Update) -> None:
        self._manners = self._all_manners(update.node)
        self._service_cidrs = update.service_cidrs
        # Until the kernel has said yes, nothing is known.
        self._is_lost = True
        try:
            await self._run(functools.partial(self._write, update))
        except NftablesError as failure:
            # What is there may be what is in the way (a set of another timeout): the next try starts from nothing.
            self._starts_over = update.everything
            raise BackendError(str(failure)) from failure
        self._is_lost = self._is_new = self._starts_over = False

    def _write(self, update: Update) -> None:
        """In the library's thread."""
        script: list[str] = []
        now = self._clock.monotonic()
        for family, state in self._states.items():
            if update.everything:
                state.forget()
                script += self._base(family)
            wanted = {key: fragment(ports, self._manners[family]) for key, ports in update.services.items()}
            change = state.change(wanted, now)
            script += change.commands()
            if update.everything and not self._starts_over:
                script += state.leftovers(*self._existing(family), now).commands()
            script += self._node_ports(family, update.node, everything=update.everything)
        if script:
            self._library().run("\n".join(script))

    def _base(self, family: Family) -> Iterable[str]:
        cidrs = [cidr for cidr in self._service_cidrs if family_of(cidr) == family]
        if self._starts_over:
            yield f"add table {base.word(family)} {names.TABLE}"
            yield f"delete table {base.word(family)} {names.TABLE}"
        yield from base.commands(
            family,
            mark=1 << self._options.masquerade_bit,
            service_cidrs=cidrs,
            node_ports_everywhere=not self._options.node_port_addresses,
            is_new=self._is_new and not self._starts_over,
        )

    def _existing(self, family: Family) -> tuple[list[str], list[str]]:
        """Chains and sets of the table as it stands."""
        listing = f"{base.word(family)}"
        chains = self._library().run(f"list chains {listing}")
        sets = self._library().run(f"list sets {listing}")
        return _CHAIN.findall(_of_table(chains)), _SET.findall(_of_table(sets))

    def _node_ports(self, family: Family, node: Node, *, everything: bool) -> Iterable[str]:
        wanted = node_port_ips(family, node, self._options.node_port_addresses)
        known = () if everything else self._node_port_ips.get(family, ())
        container = f"{base.word(family)} {names.TABLE} {names.NODE_PORT_IPS}"
        yield from (f"delete element {container} {{ {each} }}" for each in known if each not in wanted)
        yield from (f"add element {container} {{ {each} }}" for each in wanted if each not in known)
        self._node_port_ips[family] = wanted

    def _all_manners(self, node: Node) -> dict[Family, Manner]:
        return {family: self._manner(family, node) for family in self._states}

    def _manner(self, family: Family, node: Node) -> Manner:
        options = self._options
        local = local_traffic(
            options.detect,
            family,
            cluster_cidrs=options.cluster_cidrs,
            pod_cidrs=node.pod_cidrs,
            interface=options.interface,
        )
        return Manner(family, local, options.masquerade_all, node.address(family))

    @property
    def leftovers_due(self) -> float | None:
        times = [time for state in self._states.values() for time in state.stale.values()]
        return min(times) + STALE_SECONDS if times and not self._is_lost else None

    async def sweep(self) -> None:
        until = self._clock.monotonic() - STALE_SECONDS
        script = [command for state in self._states.values() for command in state.sweep(until)]
        if not script:
            return
        try:
            await self._run(functools.partial(self._library_run, "\n".join(script)))
        except NftablesError as failure:
            # They are found again when everything is written.
            self._is_lost = True
            raise BackendError(str(failure)) from failure

    async def close(self) -> None:
        if self._nftables is not None:
            await self._run(self._nftables.close)
            self._nftables = None
        self._thread.shutdown(wait=False)

    async def clean_up(self) -> None:
        tables = [f"{base.word(family)} {names.TABLE}" for family in self._states]
        script = "\n".join(f"add table {table}\ndelete table {table}" for table in tables)
        try:
            await self._run(functools.partial(self._library_run, script))
        except NftablesError as failure:
            raise BackendError(str(failure)) from failure
        for state in self._states.values():
            state.forget()
        self._is_new = self._is_lost = True

    async def _run(self, work: Callable[[], object]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _library_run(self, script: str) -> str:
        return self._library().run(script)

    def _library(self) -> Nftables:
        if self._nftables is None:
            self._nftables = Nftables()
        return self._nftables


def _of_table(listing: str) -> str:
    """The part of a listing that is our table's."""
    _, found, rest = listing.partition(f" {names.TABLE} {{\n")
    return rest.partition("\n}")[0] if found else ""


def node_port_ips(family: Family, node: Node, selected: Sequence[str]) -> tuple[str, ...]:
    """The addresses on which node ports answer. Loopback never: a packet from there cannot be sent on."""
    if PRIMARY in selected:
        own = canonical_ip(node.address(family))
        return (own,) if own else ()
    networks = [ipaddress.ip_network(cidr) for cidr in selected]
    kept: dict[str, None] = {}
    for text in _own_addresses():
        address = ipaddress.ip_address(text)
        if f"IPv{address.version}" != family or address.is_loopback:
            continue
        if any(address.version == network.version and address in network for network in networks):
            kept[str(address)] = None
    return tuple(kept)


def _own_addresses() -> Iterable[str]:
    for listed in psutil.net_if_addrs().values():
        for each in listed:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                yield each.address.partition("%")[0]

"""What one family's table holds, as we know it, and the commands from there to what it should hold.

In: fragments of services. Out: nft commands, only for chains and elements that differ. Two services may claim one
element (the same external address and port): the one whose name sorts first has it, whichever came first, so that the
table depends on the services alone and not on their history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubecore.proxy.model import Family
from kubecore.proxy.nftables import names
from kubecore.proxy.nftables.base import BY_ADDRESS, BY_PORT, word
from kubecore.proxy.nftables.rules import Element, Fragment

_MAPS = frozenset((*BY_ADDRESS, *BY_PORT))
_NOTHING = Fragment()

Value = tuple[str, str]


@dataclass(slots=True)
class Change:
    """Commands of one transaction in the order in which they must come."""

    chains: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    elements_out: list[str] = field(default_factory=list)
    elements_in: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    sets_out: list[str] = field(default_factory=list)

    def commands(self) -> Iterable[str]:
        for part in (
            self.chains,
            self.sets,
            self.rules,
            self.elements_out,
            self.elements_in,
            self.stale,
            self.sets_out,
        ):
            yield from part


class TableState:
    """One family's. After a failed transaction it knows nothing any more: `forget`, then write everything."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.table = f"{word(family)} {names.TABLE}"
        self._fragments: dict[str, Fragment] = {}
        self._claims: dict[Element, dict[str, Value]] = {}
        self.stale: dict[str, float] = {}
        """Chains that nothing leads to any more, already empty, and since when."""

    def forget(self) -> None:
        self._fragments.clear()
        self._claims.clear()
        self.stale.clear()

    def change(self, wanted: Mapping[str, Fragment], now: float) -> Change:
        """From what is known to what is wanted for these services; takes it as done."""
        change = Change()
        touched: dict[Element, Value | None] = {}
        for service, new in wanted.items():
            old = self._fragments.pop(service, _NOTHING)
            if new.chains or new.elements:
                self._fragments[service] = new
            self._change_sets(change, old, new)
            self._change_chains(change, old, new, now)
            self._claim(service, old, new, touched)
        self._change_elements(change, touched)
        return change

    def _change_chains(self, change: Change, old: Fragment, new: Fragment, now: float) -> None:
        for chain, rules in new.chains.items():
            before = old.chains.get(chain)
            if before == rules:
                continue
            if before is None:
                change.chains.append(f"add chain {self.table} {chain}")
                self.stale.pop(chain, None)
            change.chains.append(f"flush chain {self.table} {chain}")
            change.rules += [f"add rule {self.table} {chain} {rule}" for rule in rules]
        for chain in old.chains:
            if chain not in new.chains:
                change.stale.append(f"flush chain {self.table} {chain}")
                self.stale[chain] = now

    def _change_sets(self, change: Change, old: Fragment, new: Fragment) -> None:
        kind = "ipv6_addr" if self.family == "IPv6" else "ipv4_addr"
        for name, seconds in new.sets.items():
            before = old.sets.get(name)
            if before == seconds:
                continue
            if before is not None:
                # A timeout cannot be changed. The chains that name the set are written anew in this transaction.
                users = [chain for chain, rules in old.chains.items() if any(f"@{name} " in rule for rule in rules)]
                change.sets += [f"flush chain {self.table} {chain}" for chain in users]
                change.sets.append(f"delete set {self.table} {name}")
                for chain in users:
                    old.chains[chain] = []
            change.sets.append(
                f"add set {self.table} {name} {{ type {kind} ; flags dynamic,timeout ; timeout {seconds}s ; }}"
            )
        change.sets_out += [f"delete set {self.table} {name}" for name in old.sets if name not in new.sets]

    def _claim(self, service: str, old: Fragment, new: Fragment, touched: dict[Element, Value | None]) -> None:
        for element, value in new.elements.items():
            if old.elements.get(element) != value:
                touched.setdefault(element, self._value(element))
                self._claims.setdefault(element, {})[service] = value
        for element in old.elements:
            if element not in new.elements:
                touched.setdefault(element, self._value(element))
                claims = self._claims[element]
                del claims[service]
                if not claims:
                    del self._claims[element]

    def _value(self, element: Element) -> Value | None:
        claims = self._claims.get(element)
        return claims[min(claims)] if claims else None

    def _change_elements(self, change: Change, touched: Mapping[Element, Value | None]) -> None:
        for (container, key), before in touched.items():
            now = self._value((container, key))
            if before == now:
                continue
            if before is not None:
                change.elements_out.append(f"delete element {self.table} {container} {{ {key} }}")
            if now is not None:
                verdict, comment = now
                said = f' comment "{comment}"' if comment else ""
                leads = f" : {verdict}" if container in _MAPS else ""
                change.elements_in.append(f"add element {self.table} {container} {{ {key}{said}{leads} }}")

    def leftovers(self, chains: Iterable[str], sets: Iterable[str], now: float) -> Change:
        """What a table of an earlier life holds beyond what is known now."""
        known = {chain for each in self._fragments.values() for chain in each.chains}
        kept = {name for each in self._fragments.values() for name in each.sets}
        change = Change()
        for chain in chains:
            if names.is_of_a_service(chain) and chain not in known:
                change.stale.append(f"flush chain {self.table} {chain}")
                self.stale[chain] = now
        change.sets_out += [
            f"delete set {self.table} {name}" for name in sets if names.is_affinity(name) and name not in kept
        ]
        return change

    def sweep(self, until: float) -> list[str]:
        """Commands that remove the chains that are stale since then or longer; takes it as done."""
        due = [chain for chain, since in self.stale.items() if since <= until]
        for chain in due:
            del self.stale[chain]
        return [f"delete chain {self.table} {chain}" for chain in due]

"""Tables of kube-proxy and of kubecore's service proxy in one form, so that they can be held against each other.

In: `nft -j list table`. Out: `Table`: hooks, maps and sets, rules by chain. What is different on purpose is made the same:
names without their hash, and the three places where ours has rules and upstream a set without a name (docs/design/proxy.md):
the choice of an endpoint, source ranges, service networks.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from typing import Any

Rule = tuple[Any, ...]
Table = dict[str, dict[str, Any]]

HASH = re.compile(r"-[0-9A-Z]{8}-")
OWN_NAMES = re.compile(r"kube(core)?-proxy")


def read(family: str, table: str) -> Table | None:
    """None: there is no such table yet."""
    listed = subprocess.run(["nft", "-j", "list", "table", family, table], capture_output=True, text=True, check=False)
    if listed.returncode:
        return None
    chains: dict[str, Any] = {}
    sets: dict[str, Any] = {}
    rules: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(OWN_NAMES.sub("proxy", HASH.sub("-", listed.stdout)))["nftables"]:
        for kind, told in item.items():
            if kind == "chain":
                chains[told["name"]] = [told.get(field) for field in ("type", "hook", "prio", "policy")]
            elif kind in ("map", "set"):
                elements = sorted(json.dumps(each) for each in told.get("elem") or ())
                sets[told["name"]] = [kind, told["type"], told.get("map"), told.get("timeout"), elements]
            elif kind == "rule":
                rules.setdefault(told["chain"], []).append(told)
    # A service's chain without rules waits to be removed; upstream does so only when something else has changed.
    chains = {name: told for name, told in chains.items() if "/" not in name or name in rules}
    return {"chains": chains, "sets": sets, "rules": {chain: list(_rules(listed)) for chain, listed in rules.items()}}


def _rules(listed: Iterable[dict[str, Any]]) -> Iterable[Rule]:
    """A chain's rules; those that choose an endpoint, or let in source ranges, as one."""
    chosen: list[str] = []
    allowed: list[str] = []
    for rule in listed:
        expression, chain = rule["expr"], rule["chain"]
        target = expression[-1].get("goto", {}).get("target", "")
        text = json.dumps(expression, sort_keys=True)
        if "numgen" in text and "vmap" in expression[0]:
            choices = expression[0]["vmap"]["data"]["set"]
            yield ("one of", *sorted(verdict["goto"]["target"] for _, verdict in choices))
        elif "numgen" in text:
            chosen.append(target)
        elif target.startswith("endpoint-") and len(expression) == 1:
            yield ("one of", *sorted([*chosen, target]))
            chosen = []
        elif chain.startswith("firewall-") and "/" in chain and "return" in expression[-1]:
            allowed += _ranges(expression[0])
        elif chain.startswith("firewall-") and "/" in chain:
            inside = allowed or _ranges(expression[0])
            yield ("only from", *sorted(inside))
        elif chain == "cluster-ips-check" and "drop" in expression[-1]:
            yield from (("drop", network) for network in _ranges(expression[0]))
        else:
            yield (text, rule.get("comment"))


def _ranges(expression: dict[str, Any]) -> list[str]:
    right = expression["match"]["right"]
    listed = right["set"] if isinstance(right, dict) and "set" in right else [right]
    return [
        f"{each['prefix']['addr']}/{each['prefix']['len']}" if isinstance(each, dict) else str(each) for each in listed
    ]


def differences(theirs: Table, ours: Table) -> list[str]:
    found = []
    for part in theirs:
        for name in sorted({*theirs[part], *ours[part]}):
            one, other = theirs[part].get(name), ours[part].get(name)
            if one != other:
                found.append(f"{part} {name}\n  theirs: {one}\n  ours:   {other}")
    return found

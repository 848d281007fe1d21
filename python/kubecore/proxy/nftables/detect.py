"""How a packet of a pod of this node is told from others: the words of a rule that match it, or everything else.

What is not local and goes to a cluster address is masqueraded, because the answer must come back through this node.
Upstream's `--detect-local-mode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kubecore.proxy.model import Family, family_of

Mode = Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"]


@dataclass(frozen=True, slots=True)
class LocalTraffic:
    """`if_local`, `if_not_local`: both empty if nobody can tell."""

    if_local: str = ""
    if_not_local: str = ""


def local_traffic(
    mode: Mode, family: Family, *, cluster_cidrs: Sequence[str], pod_cidrs: Sequence[str], interface: str
) -> LocalTraffic:
    match mode:
        case "ClusterCIDR" | "NodeCIDR":
            cidrs = cluster_cidrs if mode == "ClusterCIDR" else pod_cidrs
            cidr = next((each for each in cidrs if family_of(each) == family), "")
            word = "ip6" if family == "IPv6" else "ip"
            return LocalTraffic(f"{word} saddr {cidr}", f"{word} saddr != {cidr}") if cidr else LocalTraffic()
        case "BridgeInterface":
            return LocalTraffic(f'iifname "{interface}"', f'iifname != "{interface}"')
        case "InterfaceNamePrefix":
            return LocalTraffic(f'iifname "{interface}*"', f'iifname != "{interface}*"')
        case _:
            return LocalTraffic()

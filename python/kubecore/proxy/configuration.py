"""The service proxy's configuration: upstream's file (`kubeproxy.config.k8s.io/v1alpha1`) and upstream's flags.

In: the YAML text of a KubeProxyConfiguration, flags as a command line gives them. Out: `KubeProxyConfiguration` with upstream's
defaults. Durations are seconds here and `1m30s` in the file. What has no meaning for this proxy (iptables, ipvs, winkernel, ...) is
accepted and named; unknown fields are errors.
Source: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from kubecore.api import component_config
from kubecore.api.component_config import ConfigurationError, Duration, Part, boolean, comma_separated

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
MODES = ("nftables", "userspace")
"""Upstream has iptables and ipvs too; userspace is ours, for boxes where nftables is not allowed."""

WHOSE = "the proxy's"


class ClientConnection(Part, frozen=True, kw_only=True):
    """Of it, only the kubeconfig counts here."""

    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = ""
    qps: float = 0
    burst: int = 0


class DetectLocal(Part, frozen=True, kw_only=True):
    bridge_interface: str = ""
    interface_name_prefix: str = ""
    cluster_cidrs: tuple[str, ...] = msgspec.field(name="clusterCIDRs", default=())


class Nftables(Part, frozen=True, kw_only=True):
    masquerade_bit: int = 14
    masquerade_all: bool = False
    sync_period: Duration = Duration(30)
    min_sync_period: Duration = Duration(1)


class KubeProxyConfiguration(Part, frozen=True, kw_only=True):
    """What this proxy acts on. `mode` empty: nftables."""

    api_version: str = API_VERSION
    kind: str = KIND
    mode: str = ""
    bind_address: str = "0.0.0.0"
    healthz_bind_address: str = "0.0.0.0:10256"
    metrics_bind_address: str = "127.0.0.1:10249"
    hostname_override: str = ""
    client_connection: ClientConnection = ClientConnection()
    cluster_cidr: str = msgspec.field(name="clusterCIDR", default="")
    detect_local_mode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    detect_local: DetectLocal = DetectLocal()
    node_port_addresses: tuple[str, ...] = ()
    nftables: Nftables = Nftables()


WITHOUT_MEANING = frozenset(
    [
        "metadata",
        "featureGates",
        "logging",
        "enableProfiling",
        "showHiddenMetricsForVersion",
        "bindAddressHardFail",
        "iptables",
        "ipvs",
        "winkernel",
        "windowsRunAsService",
        "conntrack",
        "configSyncPeriod",
        "oomScoreAdj",
        "portRange",
        "linux",
        "windows",
        "syncPeriod",
        "minSyncPeriod",
    ]
)
"""Upstream's fields that change nothing here: accepted, so that a file written for kube-proxy loads."""


def load(text: str) -> tuple[KubeProxyConfiguration, list[str]]:
    """(configuration, names of the fields that are accepted and ignored). Raises ConfigurationError."""
    fields = component_config.read_file(text, whose=WHOSE, api_version=API_VERSION, kind=KIND)
    kept, ignored = component_config.without(fields, WITHOUT_MEANING)
    return _convert(kept), ignored


FLAGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "proxy-mode": ("mode", str),
    "bind-address": ("bindAddress", str),
    "healthz-bind-address": ("healthzBindAddress", str),
    "metrics-bind-address": ("metricsBindAddress", str),
    "hostname-override": ("hostnameOverride", str),
    "cluster-cidr": ("clusterCIDR", str),
    "detect-local-mode": ("detectLocalMode", str),
    "pod-bridge-interface": ("detectLocal.bridgeInterface", str),
    "pod-interface-name-prefix": ("detectLocal.interfaceNamePrefix", str),
    "nodeport-addresses": ("nodePortAddresses", comma_separated),
    "masquerade-all": ("nftables.masqueradeAll", boolean),
    "nftables-masquerade-bit": ("nftables.masqueradeBit", int),
    "nftables-sync-period": ("nftables.syncPeriod", str),
    "nftables-min-sync-period": ("nftables.minSyncPeriod", str),
}
"""Upstream's flag → the field that it overrides, and how its text is read."""


def with_flags(configuration: KubeProxyConfiguration, flags: Mapping[str, str]) -> KubeProxyConfiguration:
    """The configuration with what the command line says (names without dashes in front). Raises ConfigurationError."""
    return _convert(component_config.overridden(configuration, flags, FLAGS))


def _convert(written: Mapping[str, Any]) -> KubeProxyConfiguration:
    made = component_config.converted(written, KubeProxyConfiguration, whose=WHOSE)
    if made.mode and made.mode not in MODES:
        raise ConfigurationError(f"mode: {made.mode!r} is not supported, expected one of {', '.join(MODES)}")
    return made

"""The service proxy's configuration: upstream's file (`kubeproxy.config.k8s.io/v1alpha1`) and upstream's flags.

In: the YAML text of a KubeProxyConfiguration, flags as a command line gives them. Out: `KubeProxyConfiguration` with upstream's
defaults. Durations are seconds here and `1m30s` in the file. What has no meaning for this proxy (iptables, ipvs, winkernel, ...) is
accepted and named; unknown fields are errors.
Source: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec
import yaml

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
MODES = ("nftables", "userspace")
"""Upstream has iptables and ipvs too; userspace is ours, for boxes where nftables is not allowed."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


class ConfigurationError(ValueError):
    """The file or a flag cannot be understood."""


class Duration(float):
    """Seconds; in a file Go's form: `10s`, `1m30s`."""


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base: immutable, by keyword, upstream's names in a file."""


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
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as failure:
        raise ConfigurationError(f"the proxy's configuration is not YAML: {failure}") from failure
    if not isinstance(written, dict) or written.get("kind") != KIND or written.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f"the file must be of apiVersion {API_VERSION} and kind {KIND}")
    ignored = sorted(name for name in written if name in WITHOUT_MEANING)
    # Null stands for the default, as in Go.
    return _convert(
        {name: value for name, value in written.items() if name not in ignored and value is not None}
    ), ignored


def _boolean(text: str) -> bool:
    lower = text.lower()
    if lower in ("true", "t", "1", ""):
        return True
    if lower in ("false", "f", "0"):
        return False
    raise ConfigurationError(f"{text!r} is neither true nor false")


def _list(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


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
    "nodeport-addresses": ("nodePortAddresses", _list),
    "masquerade-all": ("nftables.masqueradeAll", _boolean),
    "nftables-masquerade-bit": ("nftables.masqueradeBit", int),
    "nftables-sync-period": ("nftables.syncPeriod", str),
    "nftables-min-sync-period": ("nftables.minSyncPeriod", str),
}
"""Upstream's flag → the field that it overrides, and how its text is read."""


def with_flags(configuration: KubeProxyConfiguration, flags: Mapping[str, str]) -> KubeProxyConfiguration:
    """The configuration with what the command line says (names without dashes in front). Raises ConfigurationError."""
    written: dict[str, Any] = msgspec.to_builtins(configuration, enc_hook=lambda seconds: f"{float(seconds):f}s")
    for flag, text in flags.items():
        if flag not in FLAGS:
            raise ConfigurationError(f"unknown flag: --{flag}")
        path, read = FLAGS[flag]
        *parents, last = path.split(".")
        holder = written
        for parent in parents:
            holder = holder[parent]
        try:
            holder[last] = read(text)
        except ValueError as failure:
            raise ConfigurationError(f'invalid argument "{text}" for "--{flag}" flag: {failure}') from failure
    return _convert(written)


def _convert(written: Mapping[str, Any]) -> KubeProxyConfiguration:
    try:
        made = msgspec.convert(written, KubeProxyConfiguration, dec_hook=_decode_duration)
    except msgspec.ValidationError as failure:
        raise ConfigurationError(f"the proxy's configuration: {failure}") from failure
    if made.mode and made.mode not in MODES:
        raise ConfigurationError(f"mode: {made.mode!r} is not supported, expected one of {', '.join(MODES)}")
    return made


def _decode_duration(kind: type, value: Any) -> Any:
    if kind is not Duration or not isinstance(value, str):
        raise ConfigurationError(f"a duration is a text such as 10s, not {value!r}")
    parts = _DURATION_PART.findall(value)
    if value != "0" and "".join(number + unit for number, unit in parts) != value:
        raise ConfigurationError(f'time: invalid duration "{value}"')
    return Duration(sum(float(number) * _UNITS[unit] for number, unit in parts))

from __future__ import annotations

import pytest

from kubecore.api.component_config import ConfigurationError
from kubecore.proxy.configuration import KubeProxyConfiguration, load, with_flags

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def test_a_file_written_for_kube_proxy_loads_and_tells_what_means_nothing_here() -> None:
    text = HEAD + (
        "mode: nftables\nclusterCIDR: 10.244.0.0/16\nbindAddress: null\n"
        "nftables: {masqueradeAll: true, minSyncPeriod: 500ms}\niptables: {masqueradeBit: 14}\nconntrack: {min: 1}\n"
    )
    configuration, ignored = load(text)
    assert (configuration.mode, configuration.cluster_cidr, configuration.bind_address) == (
        "nftables",
        "10.244.0.0/16",
        "0.0.0.0",
    )
    assert configuration.nftables.masquerade_all
    assert configuration.nftables.min_sync_period == 0.5
    assert ignored == ["conntrack", "iptables"]


def test_a_flag_wins_over_the_file() -> None:
    configuration, _ = load(HEAD + "hostnameOverride: one\n")
    changed = with_flags(configuration, {"hostname-override": "two", "masquerade-all": "", "nodeport-addresses": "a,b"})
    assert (changed.hostname_override, changed.nftables.masquerade_all, changed.node_port_addresses) == (
        "two",
        True,
        ("a", "b"),
    )
    assert changed.nftables.sync_period == KubeProxyConfiguration().nftables.sync_period


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kind: KubeletConfiguration\n", "must be of apiVersion"),
        (HEAD + "mode: ipvs\n", "'ipvs' is not supported"),
        (HEAD + "clusterCidr: 10.0.0.0/8\n", "clusterCidr"),
        (HEAD + "nftables: {syncPeriod: soon}\n", "invalid duration"),
        ("{", "not YAML"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        load(text)

"""Upstream's configuration file and flags."""

from __future__ import annotations

import msgspec
import pytest

from kubecore.api.component_config import ConfigurationError, parse_duration
from kubecore.kubelet.configuration import (
    FLAGS,
    NOT_ACTED_ON,
    KubeletConfiguration,
    asked_in_vain,
    load,
    with_flags,
)

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def test_a_file_written_for_upstream_loads() -> None:
    text = HEAD + (
        "syncFrequency: 1m30s\nclusterDNS: [10.96.0.10]\nclusterDomain: cluster.local\ncgroupDriver: systemd\n"
        "rotateCertificates: true\nauthentication: {webhook: {cacheTTL: 3s}, x509: {clientCAFile: /ca.crt}}\n"
        "evictionHard: {memory.available: 5%}\nregisterWithTaints: [{key: a, effect: NoSchedule}]\ncpuCFSQuota: false\n"
        "shutdownGracePeriodByPodPriority: [{priority: 10, shutdownGracePeriodSeconds: 5}]\nstaticPodPath: null\n"
    )
    configuration, ignored = load(text)
    assert configuration.sync_frequency == 90
    assert configuration.cluster_dns == ("10.96.0.10",)
    assert configuration.authentication.webhook.cache_ttl == 3
    assert configuration.authentication.x509.client_ca_file == "/ca.crt"
    assert configuration.eviction_hard == {"memory.available": "5%"}
    assert configuration.register_with_taints[0].key == "a"
    assert configuration.cpu_cfs_quota is False
    assert configuration.shutdown_grace_period_by_pod_priority[0].shutdown_grace_period_seconds == 5
    assert configuration.max_pods == 110
    assert ignored == ["cgroupDriver", "rotateCertificates"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "maxPod: 3", "maxPod"),
        (HEAD + "maxPods: many", "maxPods"),
        (HEAD + "syncFrequency: soon", 'invalid duration "soon"'),
        (HEAD + "syncFrequency: 10", "a duration is a text"),
        ("kind: Pod\napiVersion: v1", "kubelet.config.k8s.io/v1beta1"),
        ("- a", "not an object"),
        ("{", "not YAML"),
    ],
)
def test_mistakes_are_named(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load(text)


def test_what_is_asked_in_vain_is_told() -> None:
    configuration, _ = load(HEAD + "seccompDefault: true\neventBurst: 100\nmaxPods: 3\n")
    assert asked_in_vain(configuration) == ["seccompDefault"]
    assert asked_in_vain(with_flags(configuration, {"event-qps": "7"})) == ["eventRecordQPS", "seccompDefault"]
    assert {field.encode_name for field in msgspec.structs.fields(KubeletConfiguration)} > NOT_ACTED_ON


def test_flags_go_before_the_file() -> None:
    configuration, _ = load(HEAD + "maxPods: 50\nport: 1")
    changed = with_flags(
        configuration,
        {
            "max-pods": "20",
            "cluster-dns": "10.0.0.1, 10.0.0.2",
            "anonymous-auth": "true",
            "eviction-hard": "memory.available<1Gi,nodefs.available<5%",
            "register-with-taints": "a=b:NoSchedule",
            "system-reserved": "cpu=100m",
            "sync-frequency": "5s",
        },
    )
    assert (changed.max_pods, changed.port, changed.sync_frequency) == (20, 1, 5)
    assert changed.cluster_dns == ("10.0.0.1", "10.0.0.2")
    assert changed.authentication.anonymous.enabled
    assert changed.eviction_hard == {"memory.available": "1Gi", "nodefs.available": "5%"}
    assert (changed.register_with_taints[0].value, changed.register_with_taints[0].effect) == ("b", "NoSchedule")
    assert changed.system_reserved == {"cpu": "100m"}


def test_flags_that_are_unknown_or_wrong_are_named() -> None:
    with pytest.raises(ConfigurationError, match="unknown flag: --colour"):
        with_flags(KubeletConfiguration(), {"colour": "red"})
    with pytest.raises(ConfigurationError, match='invalid argument "x" for "--max-pods" flag'):
        with_flags(KubeletConfiguration(), {"max-pods": "x"})


def test_every_flag_names_a_field() -> None:
    samples = {"boolean": "true", "int": "1", "_pairs": "cpu=1", "_thresholds": "memory.available<1Gi"}
    for flag, (_, read) in FLAGS.items():
        text = samples.get(read.__name__, "a=b:NoSchedule" if read.__name__ == "_taints" else "10s")
        assert with_flags(KubeletConfiguration(), {flag: text}) is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("2h", 7200), ("250ms", 0.25), ("1.5h", 5400), ("0", 0), ("-1s", -1)],
)
def test_durations_as_go_writes_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)

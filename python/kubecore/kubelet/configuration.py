"""The kubelet's configuration: upstream's file (`kubelet.config.k8s.io/v1beta1`) and upstream's flags.

In: the YAML text of a KubeletConfiguration, flags as a command line gives them. Out: `KubeletConfiguration`, complete
with upstream's defaults. Durations are seconds here and `1m30s` in the file. Fields that have no meaning for this
kubelet are accepted and named in `ignored`, those that it does not act on yet by `asked_in_vain`; unknown ones are errors.
Source: https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from kubecore.api import component_config
from kubecore.api.component_config import Duration, Part, boolean, comma_separated

API_VERSION = "kubelet.config.k8s.io/v1beta1"

WHOSE = "the kubelet's"


class AnonymousAuthentication(Part, frozen=True, kw_only=True):
    enabled: bool = False


class WebhookAuthentication(Part, frozen=True, kw_only=True):
    enabled: bool = True
    cache_ttl: Duration = msgspec.field(name="cacheTTL", default=Duration(120))


class X509Authentication(Part, frozen=True, kw_only=True):
    client_ca_file: str = msgspec.field(name="clientCAFile", default="")


class Authentication(Part, frozen=True, kw_only=True):
    anonymous: AnonymousAuthentication = AnonymousAuthentication()
    webhook: WebhookAuthentication = WebhookAuthentication()
    x509: X509Authentication = X509Authentication()


class WebhookAuthorization(Part, frozen=True, kw_only=True):
    cache_authorized_ttl: Duration = msgspec.field(name="cacheAuthorizedTTL", default=Duration(300))
    cache_unauthorized_ttl: Duration = msgspec.field(name="cacheUnauthorizedTTL", default=Duration(30))


class Authorization(Part, frozen=True, kw_only=True):
    """`mode`: Webhook or AlwaysAllow."""

    mode: str = "Webhook"
    webhook: WebhookAuthorization = WebhookAuthorization()


class CrashLoopBackOff(Part, frozen=True, kw_only=True):
    max_container_restart_period: Duration = Duration(300)


class Taint(Part, frozen=True, kw_only=True):
    key: str
    value: str = ""
    effect: str


class PriorityGracePeriod(Part, frozen=True, kw_only=True):
    """A row of `shutdownGracePeriodByPodPriority`."""

    priority: int
    shutdown_grace_period_seconds: int


class KubeletConfiguration(Part, frozen=True, kw_only=True):
    """What this kubelet acts on, with upstream's names and defaults."""

    api_version: str = API_VERSION
    kind: str = "KubeletConfiguration"

    # the server
    enable_server: bool = True
    address: str = "0.0.0.0"
    port: int = 10250
    read_only_port: int = 0
    healthz_port: int = 10248
    healthz_bind_address: str = "127.0.0.1"
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    authentication: Authentication = Authentication()
    authorization: Authorization = Authorization()
    enable_debugging_handlers: bool = True
    enable_system_log_handler: bool = True
    streaming_connection_idle_timeout: Duration = Duration(4 * 3600)

    # sources
    static_pod_path: str = ""
    file_check_frequency: Duration = Duration(20)
    sync_frequency: Duration = Duration(60)

    # the node
    register_node: bool = True
    register_with_taints: tuple[Taint, ...] = ()
    node_status_update_frequency: Duration = Duration(10)
    node_status_report_frequency: Duration = Duration(300)
    node_lease_duration_seconds: int = 40
    node_status_max_images: int = 50
    provider_id: str = msgspec.field(name="providerID", default="")
    max_pods: int = 110
    pods_per_core: int = 0
    pod_pids_limit: int = -1
    system_reserved: dict[str, str] = msgspec.field(default_factory=dict)
    kube_reserved: dict[str, str] = msgspec.field(default_factory=dict)
    enforce_node_allocatable: tuple[str, ...] = ("pods",)
    local_storage_capacity_isolation: bool = True

    # pods
    cluster_domain: str = ""
    cluster_dns: tuple[str, ...] = msgspec.field(name="clusterDNS", default=())
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    resolv_conf: str = "/etc/resolv.conf"
    cpu_cfs_quota: bool = msgspec.field(name="cpuCFSQuota", default=True)
    cpu_cfs_quota_period: Duration = msgspec.field(name="cpuCFSQuotaPeriod", default=Duration(0.1))
    cgroup_root: str = ""
    cgroups_per_qos: bool = msgspec.field(name="cgroupsPerQOS", default=True)
    seccomp_default: bool = False
    crash_loop_back_off: CrashLoopBackOff = CrashLoopBackOff()
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    pod_housekeeping_period: Duration = Duration(2)

    # images and logs
    serialize_image_pulls: bool | None = None
    max_parallel_image_pulls: int | None = None
    registry_pull_qps: int = msgspec.field(name="registryPullQPS", default=5)
    registry_burst: int = 10
    image_minimum_gc_age: Duration = msgspec.field(name="imageMinimumGCAge", default=Duration(120))
    image_maximum_gc_age: Duration = msgspec.field(name="imageMaximumGCAge", default=Duration(0))
    image_gc_high_threshold_percent: int = msgspec.field(name="imageGCHighThresholdPercent", default=85)
    image_gc_low_threshold_percent: int = msgspec.field(name="imageGCLowThresholdPercent", default=80)
    container_log_max_size: str = "10Mi"
    container_log_max_files: int = 5
    container_log_monitor_interval: Duration = Duration(10)
    pod_logs_dir: str = "/var/log/pods"

    # events, volumes, eviction, shutdown
    event_record_qps: int = msgspec.field(name="eventRecordQPS", default=50)
    event_burst: int = 100
    volume_stats_agg_period: Duration = Duration(60)
    config_map_and_secret_change_detection_strategy: str = "Watch"
    eviction_hard: dict[str, str] | None = None
    eviction_soft: dict[str, str] = msgspec.field(default_factory=dict)
    eviction_soft_grace_period: dict[str, str] = msgspec.field(default_factory=dict)
    eviction_pressure_transition_period: Duration = Duration(300)
    eviction_max_pod_grace_period: int = 0
    eviction_minimum_reclaim: dict[str, str] = msgspec.field(default_factory=dict)
    merge_default_eviction_settings: bool = False
    shutdown_grace_period: Duration = Duration(0)
    shutdown_grace_period_critical_pods: Duration = Duration(0)
    shutdown_grace_period_by_pod_priority: tuple[PriorityGracePeriod, ...] = ()

    # the runtime
    runtime_request_timeout: Duration = Duration(120)
    container_runtime_endpoint: str = "unix:///run/containerd/containerd.sock"
    image_service_endpoint: str = ""

    feature_gates: dict[str, bool] = msgspec.field(default_factory=dict)


# fmt: off
WITHOUT_MEANING = frozenset((
    "metadata", "staticPodURL", "staticPodURLHeader", "httpCheckFrequency", "tlsCipherSuites", "tlsMinVersion",
    "tlsCurvePreferences", "rotateCertificates", "serverTLSBootstrap", "oomScoreAdj", "kubeletCgroups",
    "systemCgroups", "cgroupDriver", "cpuManagerPolicy", "singleProcessOOMKill", "cpuManagerPolicyOptions",
    "cpuManagerReconcilePeriod", "memoryManagerPolicy", "topologyManagerPolicy", "topologyManagerScope",
    "topologyManagerPolicyOptions", "qosReserved", "hairpinMode", "maxOpenFiles", "contentType", "kubeAPIQPS",
    "kubeAPIBurst", "enableControllerAttachDetach", "protectKernelDefaults", "makeIPTablesUtilChains",
    "iptablesMasqueradeBit", "iptablesDropBit", "failSwapOn", "memorySwap", "containerLogMaxWorkers", "runOnce",
    "systemReservedCgroup", "kubeReservedCgroup", "showHiddenMetricsForVersion", "reservedSystemCPUs",
    "volumePluginDir", "logging", "enableProfilingHandler", "enableDebugFlagsHandler", "reservedMemory",
    "memoryThrottlingFactor", "tracing", "failCgroupV1", "userNamespaces",
    "imagePullCredentialsVerificationPolicy", "preloadedImagesVerificationAllowlist",
))
# fmt: on
"""Upstream's fields that change nothing here: accepted, so that a file written for upstream's kubelet loads."""


NOT_ACTED_ON = frozenset(
    {
        "readOnlyPort",
        "streamingConnectionIdleTimeout",
        "enforceNodeAllocatable",
        "localStorageCapacityIsolation",
        "seccompDefault",
        "podHousekeepingPeriod",
        "registryPullQPS",
        "registryBurst",
        "eventRecordQPS",
        "eventBurst",
        "volumeStatsAggPeriod",
        "configMapAndSecretChangeDetectionStrategy",
        "runtimeRequestTimeout",
        "imageServiceEndpoint",
        "featureGates",
    }
)
"""Fields that are understood and shown (`/configz`), but nothing here looks at them yet."""


def asked_in_vain(configuration: KubeletConfiguration) -> list[str]:
    """The fields among those that a file or a flag has changed."""
    upstreams = KubeletConfiguration()
    return sorted(
        field.encode_name
        for field in msgspec.structs.fields(KubeletConfiguration)
        if field.encode_name in NOT_ACTED_ON and getattr(configuration, field.name) != getattr(upstreams, field.name)
    )


def load(text: str) -> tuple[KubeletConfiguration, list[str]]:
    """(configuration, names of the fields that are accepted and ignored). Raises ConfigurationError."""
    fields = component_config.read_file(text, whose=WHOSE, api_version=API_VERSION, kind="KubeletConfiguration")
    kept, ignored = component_config.without(fields, WITHOUT_MEANING)
    return convert(kept), ignored


def convert(written: Mapping[str, Any]) -> KubeletConfiguration:
    """From the fields of a file. Raises ConfigurationError."""
    return component_config.converted(written, KubeletConfiguration, whose=WHOSE)


def _pairs(text: str) -> dict[str, str]:
    """`a=1,b=2`"""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _thresholds(text: str) -> dict[str, str]:
    """`memory.available<100Mi,nodefs.available<10%`"""
    pairs = (pair.partition("<") for pair in text.split(",") if pair)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _taints(text: str) -> list[dict[str, str]]:
    """`key=value:Effect,...`"""
    taints = []
    for each in comma_separated(text):
        pair, _, effect = each.rpartition(":")
        key, _, value = pair.partition("=")
        taints.append({"key": key, "value": value, "effect": effect})
    return taints


def _text(text: str) -> str:
    return text


FLAGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "address": ("address", _text),
    "port": ("port", int),
    "read-only-port": ("readOnlyPort", int),
    "healthz-port": ("healthzPort", int),
    "healthz-bind-address": ("healthzBindAddress", _text),
    "tls-cert-file": ("tlsCertFile", _text),
    "tls-private-key-file": ("tlsPrivateKeyFile", _text),
    "client-ca-file": ("authentication.x509.clientCAFile", _text),
    "anonymous-auth": ("authentication.anonymous.enabled", boolean),
    "authentication-token-webhook": ("authentication.webhook.enabled", boolean),
    "authorization-mode": ("authorization.mode", _text),
    "pod-manifest-path": ("staticPodPath", _text),
    "file-check-frequency": ("fileCheckFrequency", _text),
    "sync-frequency": ("syncFrequency", _text),
    "register-node": ("registerNode", boolean),
    "register-with-taints": ("registerWithTaints", _taints),
    "node-status-update-frequency": ("nodeStatusUpdateFrequency", _text),
    "node-status-max-images": ("nodeStatusMaxImages", int),
    "provider-id": ("providerID", _text),
    "max-pods": ("maxPods", int),
    "pods-per-core": ("podsPerCore", int),
    "pod-max-pids": ("podPidsLimit", int),
    "system-reserved": ("systemReserved", _pairs),
    "kube-reserved": ("kubeReserved", _pairs),
    "enforce-node-allocatable": ("enforceNodeAllocatable", comma_separated),
    "cluster-dns": ("clusterDNS", comma_separated),
    "cluster-domain": ("clusterDomain", _text),
    "pod-cidr": ("podCIDR", _text),
    "resolv-conf": ("resolvConf", _text),
    "cpu-cfs-quota": ("cpuCFSQuota", boolean),
    "cpu-cfs-quota-period": ("cpuCFSQuotaPeriod", _text),
    "cgroup-root": ("cgroupRoot", _text),
    "cgroups-per-qos": ("cgroupsPerQOS", boolean),
    "seccomp-default": ("seccompDefault", boolean),
    "allowed-unsafe-sysctls": ("allowedUnsafeSysctls", comma_separated),
    "serialize-image-pulls": ("serializeImagePulls", boolean),
    "minimum-image-ttl-duration": ("imageMinimumGCAge", _text),
    "image-gc-high-threshold": ("imageGCHighThresholdPercent", int),
    "image-gc-low-threshold": ("imageGCLowThresholdPercent", int),
    "container-log-max-size": ("containerLogMaxSize", _text),
    "container-log-max-files": ("containerLogMaxFiles", int),
    "pod-log-dir": ("podLogsDir", _text),
    "event-qps": ("eventRecordQPS", int),
    "event-burst": ("eventBurst", int),
    "volume-stats-agg-period": ("volumeStatsAggPeriod", _text),
    "eviction-hard": ("evictionHard", _thresholds),
    "eviction-soft": ("evictionSoft", _thresholds),
    "eviction-soft-grace-period": ("evictionSoftGracePeriod", _pairs),
    "eviction-pressure-transition-period": ("evictionPressureTransitionPeriod", _text),
    "eviction-max-pod-grace-period": ("evictionMaxPodGracePeriod", int),
    "eviction-minimum-reclaim": ("evictionMinimumReclaim", _pairs),
    "runtime-request-timeout": ("runtimeRequestTimeout", _text),
    "container-runtime-endpoint": ("containerRuntimeEndpoint", _text),
    "image-service-endpoint": ("imageServiceEndpoint", _text),
}
"""Upstream's flag → the field that it overrides, and how its text is read."""


def with_flags(configuration: KubeletConfiguration, flags: Mapping[str, str]) -> KubeletConfiguration:
    """The configuration with what the command line says (names without dashes in front). Raises ConfigurationError."""
    return convert(component_config.overridden(configuration, flags, FLAGS))

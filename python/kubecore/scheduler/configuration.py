"""KubeSchedulerConfiguration v1, as upstream reads it: profiles, plugins and their weights, what plugins are told.

In: the file, decoded. Out: profiles for the kernel and the queue's backoff. Every node is always considered, so
`percentageOfNodesToScore` and `parallelism` are read and have no effect, and so are the settings of the process
(client connection, leader election, health, metrics, debugging). What cannot be honoured is refused, by its path.
Source: https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubecore.scheduler.plugin_arguments import read_arguments
from kubecore.scheduler.profile import DEFAULT_PLUGINS, Profile, Refused

Object = dict[str, Any]

API_VERSION = "kubescheduler.config.k8s.io/v1"
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 10.0
WEIGHTS_SUM_MAX = 100_000
"""Of one profile: the kernel adds up scores in 24 bits."""

FIELDS = frozenset(
    (
        "apiVersion",
        "kind",
        "profiles",
        "podInitialBackoffSeconds",
        "podMaxBackoffSeconds",
        "extenders",
        "percentageOfNodesToScore",
        "parallelism",
        "leaderElection",
        "clientConnection",
        "healthzBindAddress",
        "metricsBindAddress",
        "enableProfiling",
        "enableContentionProfiling",
        "delayCacheUntilActive",
    )
)
POINTS = (
    "multiPoint",
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
)


@dataclass(frozen=True, slots=True)
class Configuration:
    """`seed` decides between equally good nodes."""

    profiles: tuple[Profile, ...] = (Profile(),)
    backoff_first_seconds: float = BACKOFF_FIRST_SECONDS
    backoff_longest_seconds: float = BACKOFF_LONGEST_SECONDS
    seed: int = 0


def read(given: Object) -> Configuration:
    """Raises Refused: a field that is unknown, wrong or not supported."""
    if given.get("apiVersion") != API_VERSION or given.get("kind") != "KubeSchedulerConfiguration":
        raise Refused("", f"wanted a KubeSchedulerConfiguration of {API_VERSION}")
    _only(given, FIELDS, "")
    if given.get("extenders"):
        raise Refused("extenders", "not supported yet")
    profiles = given.get("profiles") or [{}]
    read_profiles = tuple(
        _profile(profile, f"profiles[{index}]", is_single=len(profiles) == 1) for index, profile in enumerate(profiles)
    )
    names = [profile.scheduler_name for profile in read_profiles]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise Refused(f"profiles[{index}].schedulerName", f'Duplicate value: "{name}"')
    first = given.get("podInitialBackoffSeconds", BACKOFF_FIRST_SECONDS)
    longest = given.get("podMaxBackoffSeconds", BACKOFF_LONGEST_SECONDS)
    if first <= 0:
        raise Refused("podInitialBackoffSeconds", "must be greater than 0")
    if longest < first:
        raise Refused("podMaxBackoffSeconds", "must be greater than or equal to PodInitialBackoffSeconds")
    return Configuration(read_profiles, float(first), float(longest))


def _only(given: Mapping[str, Any], known: Iterable[str], path: str) -> None:
    for field in given:
        if field not in known:
            raise Refused(f"{path}.{field}".lstrip("."), "unknown field")


def _profile(given: Object, path: str, *, is_single: bool) -> Profile:
    _only(given, ("schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"), path)
    name = given.get("schedulerName") or ("default-scheduler" if is_single else "")
    if not name:
        raise Refused(f"{path}.schedulerName", "Required value")
    plugins = given.get("plugins") or {}
    _only(plugins, POINTS, f"{path}.plugins")
    everywhere = _at_point(DEFAULT_PLUGINS, plugins.get("multiPoint") or {}, f"{path}.plugins.multiPoint")
    at = {
        point: _at_point(everywhere, plugins.get(point) or {}, f"{path}.plugins.{point}")
        for point in ("preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "bind")
    }
    if "PrioritySort" not in at["queueSort"]:
        raise Refused(f"{path}.plugins.queueSort", "PrioritySort is the only way of sorting there is")
    if "DefaultBinder" not in at["bind"]:
        raise Refused(f"{path}.plugins.bind", f'at least one bind plugin is needed for profile "{name}"')
    if "SchedulingGates" not in at["preEnqueue"]:
        raise Refused(f"{path}.plugins.preEnqueue", "SchedulingGates cannot be disabled")
    weights = {plugin: weight for plugin, weight in at["score"].items() if plugin in at["preScore"]}
    if sum(weights.values()) > WEIGHTS_SUM_MAX:
        raise Refused(f"{path}.plugins.score", f"weights add up to more than {WEIGHTS_SUM_MAX}")
    return Profile(
        scheduler_name=name,
        filters=frozenset(at["filter"]) & frozenset(at["preFilter"]),
        weights=weights,
        preempts="DefaultPreemption" in at["postFilter"],
        arguments=read_arguments(given.get("pluginConfig") or [], f"{path}.pluginConfig"),
    )


def _at_point(inherited: Mapping[str, int], given: Object, path: str) -> dict[str, int]:
    """The plugins that run at one point: what is disabled goes, what is enabled comes, or is weighed anew."""
    _only(given, ("enabled", "disabled"), path)
    disabled = {each["name"] for each in given.get("disabled") or ()}
    enabled = {}
    for index, each in enumerate(given.get("enabled") or ()):
        if each["name"] not in DEFAULT_PLUGINS:
            raise Refused(f"{path}.enabled[{index}].name", f'plugin "{each["name"]}" does not exist')
        if each["name"] in enabled:
            raise Refused(f"{path}.enabled[{index}].name", f'plugin "{each["name"]}" already registered')
        # A weight of 0 means that none was given.
        enabled[each["name"]] = each.get("weight") or inherited.get(each["name"], 0) or DEFAULT_PLUGINS[each["name"]]
    kept = {} if "*" in disabled else {name: weight for name, weight in inherited.items() if name not in disabled}
    return {**kept, **enabled}

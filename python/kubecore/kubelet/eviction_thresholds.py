"""When a node is short of something: thresholds of the configuration, against what was observed. Pure.

In: the configuration's `eviction...` fields, a sample of the node. Out: which thresholds are met, and the node conditions
that follow. Source: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from kubecore.api import quantity
from kubecore.api.component_config import parse_duration
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.stats.samples import DiskUse, Sample

MEMORY, DISK, INODES, PIDS = "memory", "ephemeral-storage", "inodes", "pids"

SIGNALS = {
    "memory.available": (MEMORY, "MemoryPressure"),
    "nodefs.available": (DISK, "DiskPressure"),
    "nodefs.inodesFree": (INODES, "DiskPressure"),
    "imagefs.available": (DISK, "DiskPressure"),
    "imagefs.inodesFree": (INODES, "DiskPressure"),
    "containerfs.available": (DISK, "DiskPressure"),
    "containerfs.inodesFree": (INODES, "DiskPressure"),
    "pid.available": (PIDS, "PIDPressure"),
}
"""Signal → what there is too little of, and the condition that says so."""

HARD_DEFAULTS = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}

BYTES = (MEMORY, DISK)


class ThresholdFailure(ValueError):
    """The configuration's thresholds cannot be understood."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, or a part (0 to 1) of the capacity."""

    number: Decimal | None = None
    part: Decimal | None = None

    def of(self, capacity: int) -> int:
        if self.part is not None:
            return int(self.part * capacity)
        return int(self.number or 0)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Met while less than `amount` is available. `grace_seconds` 0: hard."""

    signal: str
    amount: Amount
    grace_seconds: float = 0.0
    minimum_reclaim: Amount = Amount()

    @property
    def resource(self) -> str:
        return SIGNALS[self.signal][0]

    @property
    def condition(self) -> str:
        return SIGNALS[self.signal][1]

    @property
    def is_hard(self) -> bool:
        return self.grace_seconds == 0


@dataclass(frozen=True, slots=True)
class Observation:
    available: int
    capacity: int
    timestamp: int


Observations = Mapping[str, Observation]


def thresholds_of(configuration: KubeletConfiguration) -> tuple[Threshold, ...]:
    """Hard ones, then soft ones. Raises ThresholdFailure."""
    given = configuration.eviction_hard
    hard = HARD_DEFAULTS if given is None else given
    if given is not None and configuration.merge_default_eviction_settings:
        hard = {**HARD_DEFAULTS, **given}
    reclaim = {signal: _amount(signal, text) for signal, text in configuration.eviction_minimum_reclaim.items()}
    found: list[Threshold] = []
    for signal, text in hard.items():
        amount = _amount(signal, text)
        if amount is not None:
            found.append(Threshold(signal, amount, 0.0, reclaim.get(signal) or Amount()))
    for signal, text in configuration.eviction_soft.items():
        amount = _amount(signal, text)
        if signal not in configuration.eviction_soft_grace_period:
            raise ThresholdFailure(f"grace period must be specified for the soft eviction threshold {signal}")
        grace = parse_duration(configuration.eviction_soft_grace_period[signal])
        if amount is not None:
            found.append(Threshold(signal, amount, float(grace), reclaim.get(signal) or Amount()))
    return tuple(found)


def _amount(signal: str, text: str) -> Amount | None:
    """None: 0% and 100% switch a threshold off."""
    if signal not in SIGNALS:
        raise ThresholdFailure(f"unsupported eviction signal {signal}")
    if text in ("0%", "100%"):
        return None
    try:
        if text.endswith("%"):
            part = Decimal(text[:-1]) / 100
            if not 0 <= part <= 1:
                raise ThresholdFailure(f"eviction percentage threshold {signal} must be between 0% and 100%: {text}")
            return Amount(part=part)
        number = quantity.parse(text)
    except (InvalidOperation, quantity.QuantityError) as problem:
        raise ThresholdFailure(f"eviction threshold {signal}: {text}: {problem}") from problem
    if number <= 0:
        raise ThresholdFailure(f"eviction threshold {signal} must be positive: {text}")
    return Amount(number=number)


# ── what is observed ──


def observe(sample: Sample) -> Observations:
    node = sample.node
    memory, processes = node.memory, node.processes
    found = {
        "memory.available": Observation(
            memory.available_bytes, memory.available_bytes + memory.working_set_bytes, memory.timestamp
        ),
        "pid.available": Observation(processes.maximum - processes.running, processes.maximum, processes.timestamp),
        **_disk("nodefs", node.filesystem),
    }
    if node.image_filesystem is not None:
        found.update(_disk("imagefs", node.image_filesystem))
        found.update(_disk("containerfs", node.image_filesystem))
    return found


def _disk(name: str, use: DiskUse) -> dict[str, Observation]:
    return {
        f"{name}.available": Observation(use.available_bytes, use.capacity_bytes, use.timestamp),
        f"{name}.inodesFree": Observation(use.inodes_free, use.inodes, use.timestamp),
    }


def met(
    thresholds: Iterable[Threshold], observations: Observations, *, with_minimum_reclaim: bool
) -> tuple[Threshold, ...]:
    """`with_minimum_reclaim`: what was met counts until that much more is available."""
    found = []
    for threshold in thresholds:
        observed = observations.get(threshold.signal)
        if observed is None:
            continue
        wanted = threshold.amount.of(observed.capacity)
        if with_minimum_reclaim:
            wanted += threshold.minimum_reclaim.of(observed.capacity)
        if observed.available < wanted:
            found.append(threshold)
    return tuple(found)


def newly_observed(
    thresholds: Iterable[Threshold], observations: Observations, before: Observations
) -> tuple[Threshold, ...]:
    """Those whose figures are newer than when they were last acted on."""
    return tuple(
        threshold
        for threshold in thresholds
        if threshold.signal in observations
        and (
            threshold.signal not in before
            or observations[threshold.signal].timestamp > before[threshold.signal].timestamp
        )
    )

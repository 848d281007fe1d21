"""Capabilities: their numbers, the set that a container has by default (containerd's), and what add and drop make of it."""

from __future__ import annotations

from kubecore.kubelet.runtimes.protocol import Capabilities

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NUMBERS = {name: number for number, name in enumerate(_NAMES.split())}

_DEFAULT_NAMES = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
)
DEFAULT = frozenset(_DEFAULT_NAMES.split())


class UnknownCapability(ValueError):
    """No such capability."""


def mask_of(wanted: Capabilities, *, privileged: bool, permitted: int) -> int:
    """The bits a container gets: default or all, plus `add`, minus `drop`, and never more than the runtime has itself (`permitted`)."""
    if privileged:
        return permitted
    add, drop = _names(wanted.add), _names(wanted.drop)
    names = set(NUMBERS) if "ALL" in add else set() if "ALL" in drop else set(DEFAULT)
    # A name in both: what is added by name stays when everything is dropped, else dropping wins, as in containerd.
    names = (names | add) - {"ALL"} if "ALL" in drop else (names | add) - drop - {"ALL"}
    mask = 0
    for name in names:
        mask |= 1 << NUMBERS[name]
    return mask & permitted


def own_permitted() -> int:
    """What this process may give away."""
    with open("/proc/self/status", encoding="ascii") as status:
        rows = dict(line.split(":", 1) for line in status)
    return int(rows["CapPrm"], 16) & int(rows["CapBnd"], 16)


def not_in(mask: int) -> list[int]:
    """The capabilities of this kernel that `mask` lacks."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        return [number for number in range(int(last.read()) + 1) if not mask >> number & 1]


def _names(given: tuple[str, ...]) -> set[str]:
    names = {name.upper().removeprefix("CAP_") for name in given}
    if unknown := names - set(NUMBERS) - {"ALL"}:
        raise UnknownCapability(f'unknown capability "CAP_{min(unknown)}"')
    return names

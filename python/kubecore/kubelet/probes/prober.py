"""Carries out one probe of one container: which kind, where to, how often again, and what is said about it.

In: the pod, its container, the probe. Out: well or not; events Unhealthy and ProbeWarning in upstream's words.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kubecore.api.meta import Object, name_of, namespace_of
from kubecore.kubelet.environment import expand_static
from kubecore.kubelet.probes import grpc, http, tcp
from kubecore.kubelet.probes.outcome import OUTPUT_BYTES_MAX, Outcome, Verdict, failure, seconds_text
from kubecore.kubelet.runtimes.protocol import ExecResult, RuntimeCode, RuntimeFailure
from kubecore.kubelet.seams import ProbeKind

log = logging.getLogger(__name__)

TRIES_MAX = 3
"""A probe that could not be carried out is tried again that often before it counts for nothing."""

EXEC_MARGIN_SECONDS = 2.0
"""What a runtime may take longer than the probe's time before it is given up."""

TITLES = {ProbeKind.STARTUP: "Startup", ProbeKind.LIVENESS: "Liveness", ProbeKind.READINESS: "Readiness"}
FIELDS = {
    ProbeKind.STARTUP: "startupProbe",
    ProbeKind.LIVENESS: "livenessProbe",
    ProbeKind.READINESS: "readinessProbe",
}


class Executor(Protocol):
    """The one thing that probes ask of the runtime."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: float) -> ExecResult: ...


class Say(Protocol):
    """Events; as `EventRecorder.event`."""

    def __call__(self, pod: Object, container: Mapping[str, Any], reason: str, message: str) -> None: ...


class PortFailure(Exception):
    """The probe names a port that the container has not."""


class Prober:
    def __init__(self, runtime: Executor, say: Say) -> None:
        self._runtime = runtime
        self._say = say

    async def probe(
        self, kind: ProbeKind, pod: Object, container: Mapping[str, Any], container_id: str, pod_ip: str
    ) -> bool | None:
        """Whether the container is well; None: the probe could not be carried out, which says nothing."""
        spec = container[FIELDS[kind]]
        outcome = Outcome(Verdict.UNKNOWN)
        for _ in range(TRIES_MAX):
            outcome = await self._once(spec, pod, container, container_id, pod_ip)
            if not outcome.error:
                break
        title = TITLES[kind]
        if outcome.error:
            self._say(
                pod,
                container,
                "Unhealthy",
                f"{title} probe errored and resulted in {outcome.verdict} state: {outcome.error}",
            )
            return None
        if outcome.verdict is Verdict.WARNING:
            self._say(pod, container, "ProbeWarning", f"{title} probe warning: {outcome.output}")
        if outcome.verdict is Verdict.FAILURE:
            self._say(pod, container, "Unhealthy", f"{title} probe failed: {outcome.output}")
        return outcome.verdict in (Verdict.SUCCESS, Verdict.WARNING)

    async def _once(
        self, spec: Mapping[str, Any], pod: Object, container: Mapping[str, Any], container_id: str, pod_ip: str
    ) -> Outcome:
        timeout = float(spec.get("timeoutSeconds") or 1)
        try:
            if "exec" in spec:
                command = expand_static(spec["exec"].get("command") or (), container)
                return await self._exec(container_id, command, timeout)
            if "httpGet" in spec:
                action = spec["httpGet"]
                url = http.url_of(action, action.get("host") or pod_ip, port_of(action["port"], container))
                return await http.probe(url, http.headers_of(action), timeout_seconds=timeout)
            if "tcpSocket" in spec:
                action = spec["tcpSocket"]
                port = port_of(action["port"], container)
                return await tcp.probe(action.get("host") or pod_ip, port, timeout_seconds=timeout)
            if "grpc" in spec:
                service = spec["grpc"].get("service") or ""
                return await grpc.probe(pod_ip, spec["grpc"]["port"], service, timeout_seconds=timeout)
        except PortFailure as problem:
            return Outcome(Verdict.UNKNOWN, error=str(problem))
        where = f"{name_of(pod)}_{namespace_of(pod)}({pod['metadata']['uid']}):{container['name']}"
        return Outcome(Verdict.UNKNOWN, error=f"missing probe handler for {where}")

    async def _exec(self, container_id: str, command: Sequence[str], limit_seconds: float) -> Outcome:
        late = f'command timed out: "{" ".join(command)}" timed out after {seconds_text(limit_seconds)}'
        try:
            async with asyncio.timeout(limit_seconds + EXEC_MARGIN_SECONDS):
                result = await self._runtime.exec_sync(container_id, command, limit_seconds)
        except TimeoutError:
            return failure(late)
        except RuntimeFailure as problem:
            if problem.code is RuntimeCode.DEADLINE_EXCEEDED:
                return failure(late)
            return Outcome(Verdict.UNKNOWN, error=f"rpc error: code = {problem.code.value} desc = {problem.message}")
        output = (result.stdout + result.stderr)[:OUTPUT_BYTES_MAX].decode(errors="replace")
        return Outcome(Verdict.SUCCESS if result.exit_code == 0 else Verdict.FAILURE, output)


def port_of(port: int | str, container: Mapping[str, Any]) -> int:
    """A number, the name of one of the container's ports, or a number in a text. Raises PortFailure."""
    number = port if isinstance(port, int) else None
    if number is None:
        named = (each["containerPort"] for each in container.get("ports") or () if each.get("name") == port)
        number = next(named, None)
    if number is None and str(port).isdecimal():
        number = int(port)
    if number is None:
        raise PortFailure(f'strconv.Atoi: parsing "{port}": invalid syntax')
    if not 0 < number < 65536:
        raise PortFailure(f"invalid port number: {number}")
    return number

"""tcpSocket: whoever accepts a connection is well."""

from __future__ import annotations

import asyncio

from kubecore.kubelet.probes.outcome import Outcome, Verdict, dial_problem, failure, join, linger


async def probe(host: str, port: int, *, timeout_seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return failure(f"dial tcp {join(host, port)}: i/o timeout")
    except OSError as problem:
        return failure(dial_problem(host, port, problem))
    linger(writer.get_extra_info("socket"))
    writer.close()
    return Outcome(Verdict.SUCCESS)

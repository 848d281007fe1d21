import asyncio
import random
from typing import Any

from kubecore.api.clock import LoopClock
from kubecore.client import Client, LeaderElection, Response, virtual_loop
from support.fake_apiserver import FakeServer, FakeTransport


def candidate(server: FakeServer | FakeTransport, name: str) -> LeaderElection:
    loop = asyncio.get_running_loop()
    return LeaderElection(
        Client(server.transport() if isinstance(server, FakeServer) else server),
        name="part",
        identity=name,
        clock=LoopClock(loop, epoch_seconds=1_800_000_000.0),
        randomness=random.Random(name),
    )


def test_one_leads_and_the_next_takes_over_at_once_when_it_ends() -> None:
    async def scenario() -> tuple[list[str], float]:
        server, log = FakeServer(), []
        loop = asyncio.get_running_loop()

        async def lead(name: str, seconds: float) -> None:
            log.append(name)
            await asyncio.sleep(seconds)

        first = asyncio.ensure_future(candidate(server, "a").run(lambda: lead("a", 60)))
        await asyncio.sleep(1)
        second = asyncio.ensure_future(candidate(server, "b").run(lambda: lead("b", 1)))
        await asyncio.sleep(50)
        assert log == ["a"]
        await asyncio.gather(first, second)
        return log, loop.time()

    log, seconds = virtual_loop.run(scenario())
    assert log == ["a", "b"]
    assert seconds < 70


def test_a_leader_that_falls_silent_is_succeeded_after_the_lease_duration() -> None:
    async def scenario() -> tuple[float, dict[str, object]]:
        server = FakeServer()
        loop = asyncio.get_running_loop()
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 3, "renewTime": "long ago"}
        metadata = {"name": "part", "namespace": "kube-system"}
        server.seed(
            "leases",
            {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec},
        )
        began = []

        async def lead() -> None:
            began.append(loop.time())
            lease = server.find("leases", "kube-system", "part")
            assert lease is not None
            began.append(lease["spec"])

        await candidate(server, "heir").run(lead)
        return began[0], began[1]

    seconds, spec = virtual_loop.run(scenario())
    assert 15 <= seconds < 20
    assert spec["holderIdentity"] == "heir"
    assert spec["leaseTransitions"] == 4


def test_who_loses_the_lease_stops_leading() -> None:
    async def scenario() -> bool:
        server = FakeServer()
        stopped = asyncio.Event()

        async def lead() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                stopped.set()

        running = asyncio.ensure_future(candidate(server, "a").run(lead))
        await asyncio.sleep(5)
        lease = server.find("leases", "kube-system", "part")
        assert lease is not None
        lease["spec"]["holderIdentity"] = "usurper"
        server.seed("leases", lease)
        await asyncio.wait_for(running, 30)
        taken = server.find("leases", "kube-system", "part")
        assert taken is not None
        assert taken["spec"]["holderIdentity"] == "usurper"
        return stopped.is_set()

    assert virtual_loop.run(scenario())


class Deaf(FakeTransport):
    """Answers no request once told to; the connection stays open."""

    deaf = False

    async def request(self, *given: Any, **more: Any) -> Response:
        if self.deaf:
            await asyncio.sleep(3600)
        return await super().request(*given, **more)


def test_a_leader_whose_server_does_not_answer_stops_before_its_lease_is_anybodys() -> None:
    async def scenario() -> float:
        transport = Deaf(FakeServer())
        loop = asyncio.get_running_loop()
        stopped: list[float] = []

        async def lead() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                stopped.append(loop.time())

        running = asyncio.ensure_future(candidate(transport, "a").run(lead))
        await asyncio.sleep(20)
        transport.deaf = True
        await asyncio.wait_for(running, 100)
        return stopped[0] - 20

    assert virtual_loop.run(scenario()) <= 15

import asyncio
from typing import Any

from kubecore.api import errors
from kubecore.api.clock import LoopClock
from kubecore.client import Client, EventRecorder, virtual_loop
from kubecore.client.events import SPAM_BURST, Form
from support.fake_apiserver import FakeServer


def pod(name: str = "p") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": "7"},
    }


def recording(server: FakeServer, form: Form = "core/v1") -> EventRecorder:
    clock = LoopClock(asyncio.get_running_loop(), epoch_seconds=1_800_000_000.0)
    return EventRecorder(Client(server.transport()), component="tester", clock=clock, form=form)


def test_an_event_names_its_object_its_reason_and_who_says_so() -> None:
    async def scenario() -> dict[str, Any]:
        server = FakeServer()
        recorder = recording(server)
        recorder.event(pod(), "Normal", "Created", "It is there")
        await recorder.flush()
        [event] = server.all("events")
        return event

    event = virtual_loop.run(scenario())
    assert event["involvedObject"] == {
        "kind": "Pod",
        "namespace": "default",
        "name": "p",
        "uid": "uid-p",
        "apiVersion": "v1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"]) == ("Normal", "Created", "It is there")
    assert event["source"] == {"component": "tester"}
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2027-01-15T08:00:00Z"
    assert event["metadata"]["name"].startswith("p.")


def test_the_same_event_again_is_counted_not_written_again() -> None:
    async def scenario() -> list[dict[str, Any]]:
        server = FakeServer()
        recorder = recording(server)
        for _ in range(3):
            recorder.event(pod(), "Warning", "Failed", "No luck")
            await recorder.flush()
            await asyncio.sleep(60)
        return server.all("events")

    [event] = virtual_loop.run(scenario())
    assert event["count"] == 3
    assert event["lastTimestamp"] == "2027-01-15T08:02:00Z"


def test_many_messages_for_one_reason_are_combined() -> None:
    async def scenario() -> list[dict[str, Any]]:
        server = FakeServer()
        recorder = recording(server)
        for number in range(20):
            recorder.event(pod(), "Normal", "Created", f"Created pod: {number}")
        await recorder.flush()
        return server.all("events")

    events = virtual_loop.run(scenario())
    assert len(events) == 10
    [combined] = [event for event in events if event["message"].startswith("(combined from similar events): ")]
    assert combined["count"] == 11


def test_who_says_too_much_about_one_object_is_not_heard_any_more() -> None:
    async def scenario() -> int:
        server = FakeServer()
        recorder = recording(server)
        for number in range(100):
            recorder.event(pod(), "Normal", f"Reason{number}", "x")
        recorder.event(pod("other"), "Normal", "Heard", "x")
        await recorder.flush()
        return len(server.all("events"))

    assert virtual_loop.run(scenario()) == SPAM_BURST + 1


def test_a_series_of_the_new_form_grows_and_ends() -> None:
    async def scenario() -> list[dict[str, Any]]:
        server = FakeServer()
        recorder = recording(server, "events.k8s.io/v1")
        for pause in (60, 60, 600, 0):
            recorder.event(pod(), "Warning", "FailedScheduling", "0/1 nodes", action="Scheduling")
            await recorder.flush()
            await asyncio.sleep(pause)
        return server.all("events")

    first, second = sorted(virtual_loop.run(scenario()), key=lambda event: event["eventTime"])
    assert first["apiVersion"] == "events.k8s.io/v1"
    assert first["series"] == {"count": 3, "lastObservedTime": "2027-01-15T08:02:00.000000Z"}
    assert first["reportingInstance"]
    assert "series" not in second


def test_an_event_that_was_removed_meanwhile_is_written_anew() -> None:
    async def scenario() -> list[dict[str, Any]]:
        server = FakeServer()
        recorder = recording(server)
        recorder.event(pod(), "Normal", "Created", "x")
        await recorder.flush()
        server.objects.clear()
        recorder.event(pod(), "Normal", "Created", "x")
        await recorder.flush()
        return server.all("events")

    [event] = virtual_loop.run(scenario())
    assert event["count"] == 2


def test_a_refused_event_stops_nobody() -> None:
    async def scenario() -> tuple[int, int]:
        server = FakeServer()
        recorder = recording(server)
        server.refusals.append(lambda request: errors.Forbidden("no") if b"Bad" in request.body else None)
        recorder.event(pod(), "Normal", "Bad", "x")
        recorder.event(pod(), "Normal", "Good", "x")
        await recorder.flush()
        return len(server.all("events")), recorder.dropped

    assert virtual_loop.run(scenario()) == (1, 1)

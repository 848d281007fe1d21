"""What fills a node's disk: logs, images; and what containers leave behind."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubecore.api.component_config import Duration
from kubecore.client import virtual_loop
from kubecore.kubelet.configuration import KubeletConfiguration
from kubecore.kubelet.crash_backoff import CrashBackoff
from kubecore.kubelet.image_collection import ImageCollection, Room
from kubecore.kubelet.log_rotation import LogRotation
from kubecore.kubelet.runtimes.protocol import (
    Container,
    ContainerMetadata,
    ContainerState,
    FilesystemUsage,
    Image,
    Mount,
    RuntimeCode,
    RuntimeFailure,
)
from kubecore.kubelet.termination import PATH_ANNOTATION, POLICY_ANNOTATION, TerminationMessages
from support.fake_runtime import Program
from support.kubelet import container, pod, world


class Disk:
    """Images on a disk of 100 bytes; only what collection asks of a runtime."""

    def __init__(self, *images: Image) -> None:
        self.images = {each.id: each for each in images}

    async def list_images(self) -> list[Image]:
        return list(self.images.values())

    async def remove_image(self, image: str) -> None:
        del self.images[image]

    async def image_filesystem(self) -> FilesystemUsage:
        return FilesystemUsage(mountpoint="/images", used_bytes=0, inodes_used=0, timestamp=0)

    def room(self, path: str) -> Room:
        assert path == "/images"
        return Room(100, 100 - sum(each.size_bytes for each in self.images.values()))


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds


def image(name: str, size: int, **more: Any) -> Image:
    return Image(id=name, repo_tags=(f"{name}:1",), size_bytes=size, **more)


def ran(name: str, image_id: str) -> Container:
    return Container(
        id=name,
        sandbox_id="s",
        metadata=ContainerMetadata(name=name),
        state=ContainerState.RUNNING,
        created_at=1,
        image=image_id,
        image_ref=image_id,
        image_id=image_id,
    )


def collection(disk: Disk, clock: Now, said: list[tuple[str, str]], **configuration: Any) -> ImageCollection:
    return ImageCollection(
        disk,  # type: ignore[arg-type]
        KubeletConfiguration(**configuration),
        clock,
        used_at={"old": 10.0, "new": 20.0},
        containers=lambda: [ran("app", "used")],
        say=lambda reason, message: said.append((reason, message)),
        room=disk.room,
    )


def test_above_the_high_threshold_the_longest_unused_images_go_down_to_the_low_one() -> None:
    async def story() -> None:
        disk = Disk(image("used", 40), image("new", 30), image("old", 20), image("kept", 5, pinned=True))
        clock, said = Now(), list[tuple[str, str]]()
        collector = collection(disk, clock, said)
        await collector.collect()
        # Just seen: nothing is old enough yet.
        assert len(disk.images) == 4
        clock.seconds = 200
        await collector.collect()
        assert sorted(disk.images) == ["kept", "new", "used"]

    virtual_loop.run(story())


def test_when_not_enough_can_be_freed_the_node_says_so() -> None:
    async def story() -> None:
        disk, clock, said = Disk(image("used", 95)), Now(), list[tuple[str, str]]()
        await collection(disk, clock, said).collect()
        ((reason, message),) = said
        assert reason == "FreeDiskSpaceFailed"
        assert "Attempted to free 15 bytes, but only found 0 bytes eligible to free." in message

    virtual_loop.run(story())


def test_images_that_are_too_old_go_whatever_room_there_is() -> None:
    async def story() -> None:
        disk, clock, said = Disk(image("used", 1), image("old", 1)), Now(), list[tuple[str, str]]()
        collector = collection(disk, clock, said, image_maximum_gc_age=Duration(3600))
        await collector.collect()
        clock.seconds = 4000
        await collector.collect()
        assert sorted(disk.images) == ["used"]

    virtual_loop.run(story())


async def at_once(work: Callable[[Path], None], path: Path) -> None:
    work(path)


def test_a_log_that_is_too_large_is_rotated_and_older_ones_compressed(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, containerLogMaxSize="-1") as here:
            here.create(pod())
            await here.pass_time(2)
            (running,) = here.kubelet.running_containers()
            configuration = KubeletConfiguration(container_log_max_size="10", container_log_max_files=3)
            rotation = LogRotation(
                here.runtime, configuration, here.clock, running=here.kubelet.running_containers, aside=at_once
            )
            for number in range(4):
                _write(running, f"run {number}: " + "x" * 20)
                await rotation.look()
                await here.pass_time(11)
            rotated = _rotated(running)
            assert [name.endswith(".gz") for name in rotated] == [True, False]
            with gzip.open(Path(running.log_path).parent / rotated[0], "rt") as opened:
                assert opened.read().startswith("run 2")
            assert here.runtime.calls_of("reopen_container_log") >= 4
            _write(running, "small")
            await rotation.look()
            assert _read(running) == "small"
            # A log that cannot be opened again keeps its name.
            here.runtime.fail("reopen_container_log", RuntimeFailure(RuntimeCode.UNKNOWN, "no"))
            _write(running, "y" * 20)
            await rotation.look()
            assert _read(running) == "y" * 20

    virtual_loop.run(story())


def _write(logged: Container, text: str) -> None:
    Path(logged.log_path).write_text(text)


def _read(logged: Container) -> str:
    return Path(logged.log_path).read_text()


def _rotated(logged: Container) -> list[str]:
    path = Path(logged.log_path)
    return sorted(each.name for each in path.parent.glob(f"{path.name}.*"))


def ended(log_path: Path, message_path: Path | None, **more: Any) -> Container:
    mounts = (Mount(container_path="/dev/termination-log", host_path=str(message_path)),) if message_path else ()
    fields: dict[str, Any] = {
        "id": "c1",
        "sandbox_id": "s",
        "metadata": ContainerMetadata(name="app"),
        "state": ContainerState.EXITED,
        "created_at": 1,
        "exit_code": 1,
        "image": "a",
        "image_ref": "a",
        "image_id": "a",
        "mounts": mounts,
        "log_path": str(log_path),
        "annotations": {PATH_ANNOTATION: "/dev/termination-log", POLICY_ANNOTATION: "FallbackToLogsOnError"},
        **more,
    }
    return Container(**fields)


def test_a_termination_message_is_the_containers_last_word(tmp_path: Path) -> None:
    message, output = tmp_path / "message", tmp_path / "0.log"
    output.write_text("2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n")
    message.write_text("x" * 5000 + "the end")
    told = TerminationMessages()(ended(output, message))
    assert len(told) == 4096
    assert told.endswith("the end")


def test_without_a_message_the_log_speaks_if_it_failed(tmp_path: Path) -> None:
    message, output = tmp_path / "message", tmp_path / "0.log"
    message.touch()
    output.write_text("2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stderr F two\n")
    assert TerminationMessages()(ended(output, message)) == "one\ntwo\n"
    assert TerminationMessages()(ended(output, message, exit_code=0)) == ""
    unfinished = tmp_path / "1.log"
    unfinished.write_text("2026-01-01T00:00:00Z stdout P DO\n2026-01-01T00:00:00Z stdout P NE\n")
    assert TerminationMessages()(ended(unfinished, message)) == "DONE"
    only_file = {PATH_ANNOTATION: "/dev/termination-log", POLICY_ANNOTATION: "File"}
    assert TerminationMessages()(ended(output, message, annotations=only_file)) == ""
    assert TerminationMessages()(ended(output, message, message="killed")) == "killed: one\ntwo\n"


def test_a_termination_log_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "message"
    secret.write_text("secret")
    link.symlink_to(secret)
    told = TerminationMessages()(ended(tmp_path / "none", link, exit_code=0))
    assert "secret\n" not in told
    assert told.startswith("Error on reading termination log")


def test_the_message_is_in_the_pods_status(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as here:
            here.runtime.programs["app"] = Program(run_seconds=1, exit_code=1, output="it broke\n")
            policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
            here.create(pod("web", container("app", **policy), restartPolicy="Never"))
            await here.pass_time(3)
            assert here.container("app")["state"]["terminated"]["message"] == "it broke\n"

    virtual_loop.run(story())


def test_pauses_double_up_to_the_longest_and_are_forgiven() -> None:
    backoff = CrashBackoff(longest_seconds=300)
    assert backoff.pause("a", 0) == 0
    now, pauses = 0.0, []
    for _ in range(8):
        backoff.next("a", now, now)
        pauses.append(backoff.pause("a", now))
        now += 1
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert backoff.pause("a", now + 601) == 0
    backoff.forget("a")
    assert backoff.pause("a", now) == 0

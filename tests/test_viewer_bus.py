"""The viewer's shared memory: whole pictures, true states, nothing left over; in real processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import first_line, started
from waiting import until

from mkds_gym.errors import ViewerError
from mkds_gym.utils.processes import start_time
from mkds_gym.viewer import Board, Bus, Run, State, Status, Tile, parse_show, runs
from mkds_gym.viewer.bus import layout
from mkds_gym.viewer.bus.runs import alive
from mkds_gym.viewer.bus.shared_memory import DoubleBuffer, create_file

BLACK = np.zeros((192, 256, 3), np.uint8)


@pytest.fixture
def bus() -> Iterator[Bus]:
    with Bus(1) as bus:
        yield bus


# Pictures ---------------------------------------------------------------------------------------


def test_shots_of_a_busy_writer_are_never_torn(bus: Bus) -> None:
    with started("bus_writer.py", bus.folder, 60) as writer:
        first_line(writer)
        tile, numbers = Tile(bus.folder, 0), set()
        end = time.monotonic() + 0.8
        while time.monotonic() < end or len(numbers) <= 20:
            shot = tile.shot()
            if shot is not None:
                value = shot.status.frame % 251
                assert (shot.picture == value).all()
                assert shot.scene == bytes([value]) * 999
                numbers.add(shot.number)
            assert writer.poll() is None
        # Copies that do not check the numbers are torn, so the test above can fail.
        segment = layout.open_segment(bus.folder / "0", layout.TILE, writable=False)
        slot = segment.double_buffer(layout.message_size(256, 192)).slots[0]
        start = 8 + layout.STATUS.itemsize
        until(lambda: len(np.unique(slot[start : start + BLACK.size].copy())) > 1)


def test_killed_writer_counts_as_dead_and_leaves_a_whole_picture(bus: Bus) -> None:
    tile, early = Tile(bus.folder, 0), bus.publisher(0)
    assert tile.state() == State.WAITING
    early.open()
    with started("bus_writer.py", bus.folder, 60) as writer:
        first_line(writer)
        early.leave()  # does not concern the publisher that opened the tile later
        assert tile.state() == State.DRIVING
        writer.kill()
        until(lambda: tile.state() == State.DEAD, 10.0)  # nobody waits for it: zombies are dead
        shot = tile.shot()
        assert shot is not None
        assert np.unique(shot.picture).tolist() == [shot.status.frame % 251]
    early.open()
    early.leave()
    assert tile.pid == 0
    publisher = bus.publisher(0)
    publisher.publish(BLACK, Status(frame=7))
    shot = tile.shot(shot.number)
    assert shot is not None
    assert shot.status.frame == 7
    assert tile.state() == State.DRIVING
    publisher.set_state(State.CLOSED)
    assert tile.state() == State.CLOSED


def test_unfinished_message_is_not_read(tmp_path: Path) -> None:
    view = create_file(tmp_path / "x", DoubleBuffer.room(100))
    writer, reader = (DoubleBuffer(view, 0, 100) for _ in range(2))
    assert reader.read() is None
    writer.put(b"one")

    def fail(slot: int) -> int:
        writer.slots[slot][8:20] = 255
        read = reader.read()
        assert read is not None
        assert read[1].tobytes() == b"one"
        raise RuntimeError("half way")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="half way"):
            writer.write(fail)
    writer.put(b"second")
    read = reader.read(1)
    assert read is not None
    assert (read[0], read[1].tobytes()) == (2, b"second")
    assert reader.read(2) is None
    with pytest.raises(ValueError, match="101 bytes: expected at most 100"):
        writer.put(bytes(101))


def test_published_picture_is_read_in_both_formats() -> None:
    with Bus([3, 5], width=8, height=4) as bus:
        publisher, tile = bus.publisher(5), Tile(bus.folder, 5)
        with pytest.raises(KeyError, match="no tile 0"):
            bus.publisher(0)
        wrong: tuple[tuple[Any, str], ...] = (
            (np.zeros((8, 4, 3), np.uint8), r"shape \(8, 4, 3\)"),
            (np.zeros((4, 8, 3)), "dtype float64"),
            (np.zeros((8, 4), np.uint16), r"expected uint8 \(4, 8, 3\), or uint16 \(4, 8\)"),
        )
        for picture, words in wrong:
            with pytest.raises(ValueError, match=words):
                publisher.publish(picture)
        colours = np.arange(32, dtype=np.uint16).reshape(4, 8) * 1023 | 0x8000
        publisher.publish(colours, Status(lap=2), b"scene")
        shot = tile.shot()
        assert shot is not None
        assert (shot.status.lap, shot.scene) == (2, b"scene")
        assert np.array_equal(shot.pixels, colours)
        channels = np.stack([colours >> n & 31 for n in (0, 5, 10)], 2)
        assert np.array_equal(shot.picture >> 3, channels)
        publisher.publish(np.ones((4, 8, 3), np.uint8))
        shot = tile.shot()
        assert shot is not None
        assert shot.picture.tolist() == np.ones((4, 8, 3)).tolist()
        unpickled = pickle.loads(pickle.dumps(publisher))
    for use in (lambda: unpickled.publish(shot.picture), lambda: Run(bus.folder)):
        with pytest.raises(ViewerError, match="is over"):
            use()


# What remains -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["end", "exception", "ctrl-c", "fork"])
def test_run_leaves_nothing_behind(end: str) -> None:
    with started("bus_owner.py", "wait" if end == "ctrl-c" else end) as owner:
        folder = Path(first_line(owner))
        if end == "ctrl-c":
            assert len(list(folder.iterdir())) == 3
            owner.send_signal(signal.SIGINT)
        output, errors = owner.communicate(timeout=30)
    assert not folder.exists()
    assert "resource_tracker" not in errors
    assert (errors == "") == (end in ("end", "fork"))
    if end == "fork":  # the child ended first
        assert output == "3\n"


def test_runs_of_other_namespaces_and_users_are_left_alone(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, namespace, pid, start, made = bus.folder.name.rsplit("-", 4)
    dead = bus.folder.with_name(f"{head}-{namespace}-{pid}-{int(start) + 1}-{made}")
    foreign = bus.folder.with_name(f"{head}-17-{pid}-{int(start) + 1}-{made}")
    user = os.geteuid()
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: user + 1)
        dead.mkdir()
        # Runs are unpickled, so a run of another user could execute code.
        assert not {bus.folder, dead} & set(runs())
        assert dead.exists()
    foreign.mkdir()
    try:
        assert bus.folder in runs()
        assert not dead.exists()
        assert foreign.exists()
        assert not alive(foreign)
    finally:
        foreign.rmdir()


def test_link_to_a_folder_is_not_a_run(bus: Bus) -> None:
    head, _, made = bus.folder.name.rpartition("-")
    link = bus.folder.with_name(f"{head}-{int(made) + 1}")
    link.symlink_to(bus.folder)
    try:
        assert bus.folder in runs()
        assert link not in runs()
    finally:
        link.unlink()


def test_killed_run_is_removed_at_the_next_start() -> None:
    with started("bus_owner.py", "wait") as owner:
        folder = Path(first_line(owner))
        with Bus(1) as other:
            # The order of their starts, not of their processes.
            assert [run for run in runs() if run in (other.folder, folder)] == [
                folder,
                other.folder,
            ]
    with Bus(1):
        assert not folder.exists()


def test_new_file_replaces_an_old_one(tmp_path: Path) -> None:
    first = create_file(tmp_path / "0", 100)
    first[0] = 7
    second = create_file(tmp_path / "0", 50)
    assert (len(second), second[0]) == (50, 0)
    assert first[0] == 7  # open mappings keep the old file
    with pytest.raises(OSError, match=r"space|large"):
        create_file(tmp_path / "2", 1 << 60)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"tiles": 1, "width": 0}, ValueError, "width=0 is out of range"),
        ({"tiles": 1, "height": -1}, ValueError, "height=-1 is out of range"),
        ({"tiles": 0}, ValueError, "tiles=0 is out of range: expected an integer from 1 to 256"),
        ({"tiles": 2, "width": 1 << 20, "height": 1 << 20}, ViewerError, "show fewer"),
    ],
)
def test_bad_bus_is_refused(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    before = runs()
    with pytest.raises(error, match=words):
        Bus(**arguments)
    assert set(runs()) <= set(before)


# Segments of strangers ----------------------------------------------------------------------------


def _look(bus: Bus) -> None:
    run = Run(bus.folder)
    run.board()
    run.tiles[0].shot()


def _write(name: str, offset: int, data: bytes) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / name).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    return write


def _shorten(name: str, size: int) -> Callable[[Path], object]:
    def shorten(folder: Path) -> None:
        data = (folder / name).read_bytes()[:size]
        (folder / name).unlink()  # the run still uses the old file
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)

    return shorten


def _pipe(folder: Path) -> None:
    (folder / "0").unlink()
    os.mkfifo(folder / "0", 0o600)


def _link(folder: Path) -> None:
    (folder / "0").rename(folder.parent / f"{folder.name}.moved")
    (folder / "0").symlink_to(folder.parent / f"{folder.name}.moved")


HUGE = (1 << 40).to_bytes(8, "little")
_MESSAGE = 4096 + 64
"""Where the first slot of a double buffer begins."""
# The first message is in the second slot.
_SECOND = _MESSAGE + DoubleBuffer.room(layout.message_size(256, 192)) // 2 - 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_shorten("board", 0), "is over"),
        (_shorten("board", 10), "damaged .10 bytes"),
        (_shorten("0", 5000), "damaged .5000 bytes"),
        (_write("0", 0, b"x"), "another version"),
        (_write("0", 16, HUGE), "pictures of 1099511627776 x 192"),
        (_write("0", 24, HUGE), "pictures of 256 x 1099511627776"),
        (_write("0", 16, bytes(8)), "pictures of 0 x 192"),
        (_write("0", 16, (1024).to_bytes(8, "little")), "damaged"),
        (_write("0", _SECOND, bytes(8)), "a message of 0 bytes"),
        (_write("0", _SECOND, (400).to_bytes(8, "little")), "a message of 400 bytes"),
        (_write("0", _SECOND + 8, b"\x07"), "pixels of 7 bytes"),
        (_write("board", 4096 + 64 + 8 + layout.BOARD_ROOM + 64, b"[[[["), "pictures"),
        (_pipe, "only you can write"),
        (_link, "is over"),
        (lambda folder: (folder / "0").chmod(0o644), "only you can write"),
        (lambda folder: folder.chmod(0o755), "only you can write"),
    ],
)
def test_segment_of_a_stranger_or_damaged_is_refused(
    bus: Bus, change: Callable[[Path], object], words: str
) -> None:
    bus.post(Board("title"))
    bus.publisher(0).publish(BLACK, Status(frame=7))
    _look(bus)
    try:
        change(bus.folder)
        with pytest.raises(ViewerError, match=words):
            _look(bus)
    finally:
        bus.folder.with_name(f"{bus.folder.name}.moved").unlink(missing_ok=True)


def test_course_that_others_can_write_is_not_unpickled(bus: Bus) -> None:
    publisher, tile = bus.publisher(0), Tile(bus.folder, 0)
    publisher.publish_course(5, pickle.dumps("course"))
    assert tile.course(5) == "course"
    publisher.publish_course(6, b"damaged")
    with pytest.raises(ViewerError, match="damaged"):
        tile.course(6)
    publisher.publish_course(7, pickle.dumps("other"))
    (bus.folder / "0.course").chmod(0o666)
    assert tile.course(7) is None


# Board, viewers, arguments ------------------------------------------------------------------------


def test_board_and_requests_reach_the_other_side() -> None:
    with Bus([1, 4], label="a/b c") as bus:
        run = Run(bus.folder)
        assert "mkds-a_b_c-" in bus.folder.name
        assert [tile.index for tile in run.tiles] == [1, 4]
        assert run.board() == Board()
        board = Board("title", "generation 3 · best 17", {1: "driver 9"}, "fitness")
        bus.post(board)
        assert run.board() == board
        assert run.board() == board
        bus.post(Board("t", "h" * 10, {1: "x" * 200_000}))
        assert run.board().header == "h" * 10
        publisher = bus.publisher(1)
        publisher.open()
        assert not bus.watched
        assert not publisher.wanted(time.monotonic())
        run.watch()
        assert bus.watched
        assert publisher.wanted(time.monotonic())
        assert not publisher.scenes_wanted(time.monotonic())
        run.watch(scenes=True)
        assert publisher.scenes_wanted(time.monotonic())
        assert not publisher.wanted(time.monotonic() + 3.0)
        assert run.alive
    assert not run.alive
    assert publisher.over
    assert not publisher.wanted(time.monotonic())


def test_start_time_is_of_running_processes_only() -> None:
    started_at = start_time(os.getpid())
    assert started_at is not None
    assert start_time(os.getpid()) == started_at
    process = subprocess.Popen(["true"])
    process.wait()
    assert start_time(process.pid) is None


@pytest.mark.parametrize(
    ("show", "count", "expected"),
    [
        ("none", 4, ()),
        (" ALL ", 4, (0, 1, 2, 3)),
        ("first", 4, (0,)),
        ("3, 0", 4, (0, 3)),
        ([2, 1], 4, (1, 2)),
        (2, 4, (2,)),
        (np.int64(2), 4, (2,)),
        (np.arange(1, 3), 4, (1, 2)),
        (True, 3, (0, 1, 2)),
        (False, 3, ()),
        ([False, True, True], 3, (1, 2)),
        ([], 3, ()),
    ],
)
def test_show_is_parsed(show: Any, count: int, expected: tuple[int, ...]) -> None:
    assert parse_show(show, count) == expected


@pytest.mark.parametrize(
    ("show", "words"),
    [
        ("some", "is not an integer: expected none, first, all"),
        ("0,4", "4 is out of range: expected integers from 0 to 3"),
        (-1, "out of range"),
        (2.5, "'2.5' is not an integer"),
        ([2.0], "not an integer"),
        ([True, 2], "'True' is not an integer"),
        (None, "not an integer"),
        ("1,0,01", "1 is given twice"),
        ([True, False], "2 bools: expected 4"),
    ],
)
def test_bad_show_is_refused(show: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_show(show, 4)

"""The frame bus: whole pictures, honest states, and nothing left behind, with real processes."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mkds_gym.errors import ViewerError
from mkds_gym.viewer.bus import Board, Bus, Run, State, Status, Tile, alive, parse_show, runs
from mkds_gym.viewer.shared import DoubleBuffer, Segment, birth


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    assert text, process.communicate()[1]
    return text


OWNER = """
    import os, sys, time
    from mkds_gym.viewer.bus import Bus
    bus = Bus(2, label="left over")
    print(bus.folder, flush=True)
    how = sys.argv[1]
    if how == "exception":
        raise RuntimeError("on purpose")
    if how == "wait":
        time.sleep(60)
"""

WRITER = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from mkds_gym.viewer.bus import Publisher, Status
    publisher = Publisher(Path(sys.argv[1]), 0)
    pictures = [np.full((192, 256, 3), value, np.uint8) for value in range(251)]
    number = 0
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        number += 1
        publisher.publish(pictures[number % 251], Status(frame=number), bytes([number % 251]) * 999)
        if number == 1:
            print("published", flush=True)
"""


def test_no_picture_is_torn() -> None:
    with Bus(1) as bus:
        writer = start(WRITER, bus.folder, 2.0)
        line(writer)
        tile, seen = Tile(bus.folder, 0), set()
        while writer.poll() is None:
            shot = tile.shot()
            if shot is None:
                continue
            assert (shot.picture == shot.status.frame % 251).all()
            assert shot.scene == bytes([shot.status.frame % 251]) * 999
            seen.add(shot.number)
        assert writer.returncode == 0, writer.communicate()[1]
        assert len(seen) > 20


def test_a_reader_that_would_take_any_copy_sees_torn_ones() -> None:
    """The test above can fail: the same copies, without a look at the numbers."""
    with Bus(1) as bus:
        writer = start(WRITER, bus.folder, 8.0)
        line(writer)
        slot = Tile(bus.folder, 0)._buffer.slots[0]
        torn = False
        while writer.poll() is None and not torn:
            # After length and status, as far as the picture goes.
            torn = len(np.unique(slot[72 : 72 + 192 * 256 * 3].copy())) > 1
        writer.kill()
        writer.communicate()
        assert torn


def test_a_writer_that_is_killed_leaves_a_whole_picture_and_counts_as_dead() -> None:
    with Bus(1) as bus:
        tile = Tile(bus.folder, 0)
        assert tile.state() == State.WAITING
        writer = start(WRITER, bus.folder, 60.0)
        line(writer)
        assert tile.state() == State.DRIVING
        writer.kill()
        # Not waited for: a zombie is dead too.
        deadline = time.monotonic() + 10.0
        while tile.state() != State.DEAD:
            assert time.monotonic() < deadline
        shot = tile.shot()
        assert shot is not None
        assert np.unique(shot.picture).tolist() == [shot.status.frame % 251]
        writer.communicate()
        # Another takes its place.
        publisher = bus.publisher(0)
        publisher.publish(np.zeros((192, 256, 3), np.uint8), Status(frame=7))
        shot = tile.shot(shot.number)
        assert shot is not None
        assert shot.status.frame == 7
        assert tile.state() == State.DRIVING
        publisher.say(State.CLOSED)
        assert tile.state() == State.CLOSED


def test_who_leaves_a_tile_leaves_that_of_another_alone() -> None:
    """Two lanes may change places: one opens the tile before the other has left it."""
    with Bus(1) as bus:
        tile, early = Tile(bus.folder, 0), bus.publisher(0)
        early.open()
        writer = start(WRITER, bus.folder, 60.0)
        line(writer)
        early.leave()
        assert tile.state() == State.DRIVING
        writer.kill()
        writer.communicate()
        assert tile.state() == State.DEAD
        # Its own it does free: nobody is missed there.
        early.open()
        early.leave()
        assert int(tile._words[4]) == 0


def test_a_message_under_way_is_not_seen(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path / "x", DoubleBuffer.room(100))
    writer, reader = (DoubleBuffer(segment.view, 0, 100) for _ in range(2))
    assert reader.read() is None
    writer.put(b"one")

    def fails(slot: int) -> int:
        writer.slots[slot][8:20] = 255
        read = reader.read()
        assert read is not None
        assert read[1].tobytes() == b"one"
        raise RuntimeError("half way")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="half way"):
            writer.write(fails)
    writer.put(b"second")
    read = reader.read(1)
    assert read is not None
    assert (read[0], read[1].tobytes()) == (2, b"second")
    assert reader.read(2) is None
    with pytest.raises(ValueError, match="101 bytes"):
        writer.put(bytes(101))


@pytest.mark.parametrize("how", ["end", "exception", "ctrl-c"])
def test_nothing_is_left_behind(how: str) -> None:
    owner = start(OWNER, "wait" if how == "ctrl-c" else how)
    folder = Path(line(owner))
    if how == "ctrl-c":
        assert len(list(folder.iterdir())) == 3
        owner.send_signal(signal.SIGINT)
    _, errors = owner.communicate(timeout=30)
    assert not folder.exists()
    assert "resource_tracker" not in errors
    assert (how == "end") == (errors == "")


def test_what_a_killed_run_leaves_goes_at_the_next_start() -> None:
    owner = start(OWNER, "wait")
    folder = Path(line(owner))
    assert folder in runs()
    with Bus(1) as other:
        assert folder.exists()  # it still runs
        # In the order in which they began, not their processes: this one is the older.
        assert [run for run in runs() if run in (other.folder, folder)] == [folder, other.folder]
    owner.kill()
    owner.communicate()
    assert folder.exists()
    with Bus(1):
        assert not folder.exists()


def test_runs_of_another_pid_namespace_are_left_alone() -> None:
    """As of a container with the same /dev/shm: of its processes nothing can be told here."""
    owner = start(OWNER, "wait")
    folder = Path(line(owner))
    owner.kill()
    owner.communicate()
    head, _, *tail = folder.name.rsplit("-", 4)
    foreign = folder.rename(folder.with_name("-".join([head, "17", *tail])))
    try:
        assert foreign not in runs()
        assert not alive(foreign)
        with Bus(1) as bus:
            assert foreign.exists()
            assert bus.folder in runs()
    finally:
        foreign.rename(folder)
    runs()
    assert not folder.exists()


def test_runs_of_another_user_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in a run is unpickled: code of theirs would run as this one."""
    owner = start(OWNER, "wait")
    folder = Path(line(owner))
    with monkeypatch.context() as other, Bus(1) as bus:
        assert bus.folder in runs()
        user = os.geteuid()
        other.setattr(os, "geteuid", lambda: user + 1)
        assert not {bus.folder, folder} & set(runs())
    owner.kill()
    owner.communicate()
    runs()
    assert not folder.exists()


def test_a_link_to_a_folder_is_no_run() -> None:
    with Bus(1) as bus:
        head, _, made = bus.folder.name.rpartition("-")
        link = bus.folder.with_name(f"{head}-{int(made) + 1}")
        link.symlink_to(bus.folder)
        try:
            assert bus.folder in runs()
            assert link not in runs()
        finally:
            link.unlink()


def test_a_forked_child_removes_nothing() -> None:
    program = """
        import os
        from mkds_gym.viewer.bus import Bus
        bus = Bus(1)
        child = os.fork()
        if child == 0:
            import sys
            sys.exit(0)
        os.waitpid(child, 0)
        print(len(list(bus.folder.iterdir())), flush=True)
    """
    process = start(program)
    assert line(process) == "2"
    assert process.communicate()[1] == ""


def test_creating_replaces_what_is_left_over(tmp_path: Path) -> None:
    first = Segment.create(tmp_path / "0", 100)
    first.view[0] = 7
    second = Segment.create(tmp_path / "0", 50)
    assert len(second.view) == 50
    assert second.view[0] == 0
    assert first.view[0] == 7  # who has it open keeps it
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least 1"):
            Segment.create(tmp_path / "1", size)
    with pytest.raises(OSError, match=r"space|large"):
        Segment.create(tmp_path / "2", 1 << 60)
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_bad_sizes_and_pictures_are_refused() -> None:
    before = runs()
    for width, height in ((0, 192), (256, -1)):
        with pytest.raises(ValueError, match="at least 1"):
            Bus(1, width=width, height=height)
    with pytest.raises(ValueError, match="0 tiles"):
        Bus(0)
    with pytest.raises(ViewerError, match="show fewer"):
        Bus(2, width=1 << 20, height=1 << 20)
    assert set(runs()) <= set(before)
    with Bus([3, 5], width=8, height=4) as bus:
        publisher = bus.publisher(5)
        with pytest.raises(KeyError, match="no tile 0"):
            bus.publisher(0)
        with pytest.raises(ValueError, match="shape"):
            publisher.publish(np.zeros((8, 4, 3), np.uint8))
        with pytest.raises(ValueError, match="float"):
            publisher.publish(np.zeros((4, 8, 3)))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"uint16 of \(4, 8\)"):
            publisher.publish(np.zeros((8, 4), np.uint16))
        colours = np.arange(32, dtype=np.uint16).reshape(4, 8) * 1023 | 0x8000
        publisher.publish(colours, Status(lap=2), b"scene")
        shot = Tile(bus.folder, 5).shot()
        assert shot is not None
        assert (shot.status.lap, shot.scene) == (2, b"scene")
        assert np.array_equal(shot.pixels, colours)
        assert np.array_equal(
            shot.picture >> 3, np.stack([colours >> n & 31 for n in (0, 5, 10)], 2)
        )
        publisher.publish(np.ones((4, 8, 3), np.uint8))
        shot = Tile(bus.folder, 5).shot()
        assert shot is not None
        assert shot.picture.tolist() == np.ones((4, 8, 3)).tolist()
        unpickled = pickle.loads(pickle.dumps(publisher))
    with pytest.raises(ViewerError, match="is over"):
        unpickled.publish(np.ones((4, 8, 3), np.uint8))
    with pytest.raises(ViewerError, match="is over"):
        Run(bus.folder)


def test_the_board_and_who_watches() -> None:
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
    assert not publisher.wanted(time.monotonic())


def test_births_tell_processes_apart() -> None:
    born = birth(os.getpid())
    assert born is not None
    assert birth(os.getpid()) == born
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert birth(process.pid) is None


def test_what_show_means() -> None:
    assert parse_show("none", 4) == ()
    assert parse_show(" ALL ", 4) == (0, 1, 2, 3)
    assert parse_show("first", 4) == (0,)
    assert parse_show("3, 0", 4) == (0, 3)
    assert parse_show([2, 1], 4) == (1, 2)
    assert parse_show(2, 4) == (2,)
    assert parse_show(np.int64(2), 4) == (2,)  # type: ignore[arg-type]
    assert parse_show(np.arange(1, 3), 4) == (1, 2)  # type: ignore[arg-type]
    assert parse_show(True, 3) == (0, 1, 2)
    assert parse_show(False, 3) == ()
    assert parse_show([False, True, True], 3) == (1, 2)
    assert parse_show([], 3) == ()
    with pytest.raises(ValueError, match="2 times; there are 3"):
        parse_show([True, False], 3)
    no_number = "is no number; write none, first, all"
    for bad, match in (
        ("some", no_number),
        ("0,4", "outside 0..3"),
        (-1, "outside"),
        (2.5, "'2.5' " + no_number),
        ([2.0], no_number),
        ([True, 2], "'True' " + no_number),
        (None, no_number),
        ("1,0,01", "1 is named twice"),
    ):
        with pytest.raises(ValueError, match=match):
            parse_show(bad, 4)  # type: ignore[arg-type]

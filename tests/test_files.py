"""Files are written completely or not at all, also through links."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mkds_gym.errors import RecordingError, StateError
from mkds_gym.utils.files import replacing, write_bytes


def test_write_keeps_links_and_permissions_and_leaves_nothing_on_error(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    real.parent.mkdir()
    link.symlink_to(real)
    write_bytes(link, b"new")
    real.chmod(0o600)
    write_bytes(link, b"newer")
    assert link.is_symlink()
    assert real.read_bytes() == b"newer"
    assert real.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ZeroDivisionError), replacing(link) as partial:
        partial.write_bytes(bytes(1 // 0))
    assert [entry.read_bytes() for entry in real.parent.iterdir()] == [b"newer"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_new_file_has_permissions_of_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "file", b"new")
        (tmp_path / "other").write_bytes(b"new")
    finally:
        os.umask(before)
    modes = {entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()}
    assert modes == {0o666 & ~mask}


def test_device_or_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    # A daemon, as it would wait forever if the pipe were replaced.
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_bytes(pipe, b"through")
    reader.join(10)
    assert heard == [b"through"]
    assert pipe.is_fifo()
    ends = os.pipe()
    write_bytes(f"/dev/fd/{ends[1]}", b"as /dev/stdout is")
    assert os.read(ends[0], 100) == b"as /dev/stdout is"
    for end in ends:
        os.close(end)
    with pytest.raises(RecordingError, match=r"cannot write '.*pipe': no process reads this pipe"):
        write_bytes(pipe, b"nobody waits")
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(RecordingError, match=r"cannot write '.*full': No space left"):
        write_bytes(full, b"too much")
    assert full.is_symlink()
    with pytest.raises(StateError, match="Is a directory"):
        write_bytes(tmp_path, b"", StateError)
    assert {entry.name for entry in tmp_path.iterdir()} == {"pipe", "full"}

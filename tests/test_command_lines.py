"""What holds for every command: odd paths are refused in one line, closed pipes end it quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.commands import COMMANDS, LONG, use_line
from fuzz.kinds import RefusedError

from mkds_gym.utils.files import exists, is_file, is_folder, same_file, why_unwritable

ODD_PATHS = ("x" * 10_000, "x" * 300, "a/" * 3000, "a\0b")
"""No file can have these paths."""
LINES = {
    " ".join([name, *line]): (name, line) for name, lines in COMMANDS.items() for line in lines
}
STOPPED = {name: ("--frames", "0") if "doctor" in name else ("--workers", "0") for name in LONG}
"""Arguments that keep the long commands from driving when they accept the odd one."""


@pytest.mark.parametrize(("name", "line"), LINES.values(), ids=LINES)
def test_odd_paths_are_refused(
    name: str, line: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`use_line` lets no traceback and no endless message pass."""
    monkeypatch.chdir(tmp_path)
    for place, word in enumerate(line):
        any_text = word.startswith("-") or line[place - 1] == "--names"
        for odd in () if any_text else ODD_PATHS:
            words = [*line[:place], odd, *line[place + 1 :], *STOPPED.get(name, ())]
            with pytest.raises(RefusedError):
                use_line(name, words, tmp_path)


def test_checks_of_paths_never_raise(tmp_path: Path) -> None:
    for odd in ODD_PATHS:
        assert (is_folder(odd), is_file(odd), exists(odd)) == (False, False, False)
        assert why_unwritable(odd).startswith("cannot be a path")
    assert (is_folder(tmp_path), is_file(tmp_path), exists(tmp_path)) == (True, False, True)
    assert same_file(tmp_path / "a" / ".." / "b", tmp_path / "b")
    file = tmp_path / "file"
    file.touch()
    assert (is_folder(file), is_file(file), exists(file)) == (False, True, True)
    assert why_unwritable(file / "a") == f"{file} is not a folder"
    assert why_unwritable(tmp_path / "no" / "a") == (
        f"the folder {tmp_path / 'no'} does not exist: make it first"
    )


@pytest.mark.parametrize(
    ("file", "problem"),
    [("a.gif", "may not write there"), ("b/a.gif", "may not open the folder {locked}/b")],
)
def test_folder_without_permission_is_named(file: str, problem: str, tmp_path: Path) -> None:
    """The capabilities of root are dropped, so that permissions count."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o000)
    line = ["mkds_gym.replay", "a.mkr", "--gif", str(locked / file)]
    drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    command = [*(drop if os.getuid() == 0 else ()), sys.executable, "-m", *line]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    locked.chmod(0o700)
    assert result.returncode == 1
    problem = problem.format(locked=locked)
    assert f"--gif {locked / file}: this user {problem}\n" in result.stderr


@pytest.mark.parametrize("line", ["doctor", "roms list"])
def test_closed_output_ends_a_command_without_a_traceback(line: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", *f"mkds_gym.{line}".split()],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "MKDS_HOME": str(tmp_path)},
        timeout=60,
    )
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")

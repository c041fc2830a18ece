"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkds_gym.core import library_path

# A shell has what a script starts in the background ignore these, and all that is started from
# there: the tests of what Ctrl-C does would wait in vain.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """The name of an X display with a real server behind it (Xvfb).

    It ends with its file: others, in the same process, look for what they left running.
    """
    server = shutil.which("Xvfb")
    assert server is not None, "the window tests need Xvfb: apt-get install xvfb"
    read, write = os.pipe()
    process = subprocess.Popen(
        [server, "-displayfd", str(write), "-screen", "0", "1024x900x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def unknown_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with one byte more, which no program minds, beside its dependencies."""
    original = library_path()
    folder = tmp_path_factory.mktemp("site")
    (folder / "desmume").mkdir()
    copy = folder / "desmume" / original.name
    copy.write_bytes(original.read_bytes() + b"\0")
    (folder / "py_desmume.libs").symlink_to(original.parent.parent / "py_desmume.libs")
    return copy

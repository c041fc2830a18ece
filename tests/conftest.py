"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import x_server

from mkds_gym.emulator.loader import library_path

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
    with x_server() as (_, name):
        yield name


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

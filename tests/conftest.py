"""Fixtures of all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from consoles import race_console
from programs import x_server

from mkds_gym.emulator import Snapshot
from mkds_gym.emulator.desmume.loader import library_path
from mkds_gym.env import MKDSEnv

# A shell lets background processes and their children ignore these signals. The tests of Ctrl-C
# would wait forever.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session")
def race_start() -> Snapshot:
    """The 100th frame of `race_console`, in which keys matter already."""
    with race_console() as console:
        console.step(0, 100)
        return console.snapshot()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """The name of an X display with a real server behind it (Xvfb).

    It ends with its file, as tests of other files look for leftover processes.
    """
    with x_server() as (_, name):
        yield name
        # Xlib ends the process at the next use of a connection to a server that is gone.
        if "pygame" in sys.modules:
            sys.modules["pygame"].display.quit()


@pytest.fixture(scope="module")
def unknown_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with a byte added, which changes its hash only, and its dependencies."""
    original = library_path()
    folder = tmp_path_factory.mktemp("site")
    (folder / "desmume").mkdir()
    copy = folder / "desmume" / original.name
    copy.write_bytes(original.read_bytes() + b"\0")
    (folder / "py_desmume.libs").symlink_to(original.parent.parent / "py_desmume.libs")
    return copy


@pytest.fixture(scope="module")
def default_start() -> Iterator[None]:
    """Keep the default race start booted: the environments of a process share a start in use."""
    env = MKDSEnv()
    env.reset()
    yield
    env.close()


@pytest.fixture
def make_env(default_start: None) -> Iterator[Callable[..., MKDSEnv]]:  # noqa: ARG001
    """A function that makes environments, which are closed at the end of the test."""
    made: list[MKDSEnv] = []

    def make(**arguments: Any) -> MKDSEnv:
        env = gym.make("MKDS-v0", **arguments).unwrapped
        assert isinstance(env, MKDSEnv)
        made.append(env)
        return env

    yield make
    for env in made:
        env.close()

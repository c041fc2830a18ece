"""Memory of an emulator, and that saving memory changes no result."""

from __future__ import annotations

import os

import numpy as np
import pytest
from programs import run_file

from mkds_gym.emulator import Console
from mkds_gym.emulator.desmume import internals
from mkds_gym.emulator.desmume import library as libraries
from mkds_gym.emulator.desmume.builds import Build
from mkds_gym.emulator.desmume.library import Library
from mkds_gym.env import MKDSEnv


def known_build(library: Library) -> Build:
    assert library.build is not None
    return library.build


def test_another_environment_takes_forty_megabytes() -> None:
    run = run_file("memory_per_environment.py")
    assert run.returncode == 0, run.stderr
    assert 10 < float(run.stdout) < 50


def test_ended_thread_leaves_no_savestate_behind() -> None:
    run = run_file("memory_after_threads.py")
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 11


def test_folded_memory_stays_zero_through_a_race() -> None:
    env = MKDSEnv(mode="vs", items=True, obs_type="pixels", screens="both", frame_skip=10)
    env.reset(seed=0)
    for step in range(22):
        env.step(step % 11)
    library = env.console.library
    mmu = internals.require_symbol(library.image, "MMU")
    spans = known_build(library).always_zero
    for offset, size in spans:
        assert not internals.memory(mmu + offset, size).any()
    # A byte written to folded memory appears at every other place.
    offset, size = spans[0]
    start = -(-(mmu + offset) // 4096) * 4096
    internals.memory(start, 1)[:] = 1
    try:
        places = range(start, start + size - 2 * internals.FOLD_SIZE, internals.FOLD_SIZE)
        assert [internals.memory(place, 1)[0] for place in places] == [1] * len(places)
        assert len(places) > 5
    finally:
        internals.memory(start, 1)[:] = 0
    env.close()


def test_images_share_colour_tables_but_not_writes() -> None:
    consoles = [Console() for _ in range(2)]
    tables = []
    for console in consoles:
        symbol, size = known_build(console.library).colour_tables
        start = internals.require_symbol(console.library.image, symbol)
        tables.append(internals.memory(start, size))
        assert tables[-1].any()
        assert not internals.is_anonymous(start + 4096, size - 8192)  # a file backs it
    one, other = tables
    assert np.array_equal(one, other)
    before = other[5000]
    other[5000] = before ^ 1
    assert one[5000] == before
    other[5000] = before
    for console in consoles:
        console.close()


def test_console_without_files_in_memory_gives_the_same_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make = os.memfd_create

    def refuse(name: str, *flags: int) -> int:
        if name in ("mkds-gym-tables", "mkds-gym-zeros"):
            raise OSError("no more files")
        return make(name, *flags)

    usual = Console()
    usual.step(frames=30)
    monkeypatch.setattr(libraries, "idle", [])  # so that a new image is loaded
    libraries.shared_tables.cache_clear()
    monkeypatch.setattr(os, "memfd_create", refuse)
    plain = Console()
    plain.step(frames=30)
    assert np.array_equal(plain.ram, usual.ram)
    assert np.array_equal(plain.screen("both"), usual.screen("both"))
    offset, size = known_build(plain.library).always_zero[0]
    mmu = internals.require_symbol(plain.library.image, "MMU")
    assert internals.is_anonymous(mmu + offset, size)
    for console in (plain, usual):
        console.close()


@pytest.mark.slow
def test_closed_environments_keep_no_threads_and_little_memory() -> None:
    """Each of the 50 rounds opens and closes five consoles."""
    run = run_file("open_and_close.py", "50")
    assert run.returncode == 0, run.stderr
    before, after = (line.split() for line in run.stdout.splitlines())
    assert int(before[1]) <= 4
    assert int(after[1]) <= 4
    assert float(before[0]) < 230
    assert float(after[0]) - float(before[0]) < 30

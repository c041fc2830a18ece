"""What an emulator takes of the machine's memory, and that taking less changes nothing."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from mkds_gym.emulator import internals
from mkds_gym.emulator import library as libraries
from mkds_gym.emulator.console import Console
from mkds_gym.env import MKDSEnv

MEASURE = """
import sys
import gymnasium as gym
import mkds_gym

def proportional():
    # Memory that is shared, with a file or between places, counts once.
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024

def taken(count):
    envs = gym.make_vec("MKDS-v0", num_envs=count)
    envs.reset(seed=0)
    for _ in range(20):
        envs.step([0] * count)
    envs.reset(seed=0)
    return envs, proportional()

few, before = taken(1)
more, after = taken(4)
print((after - before) / 4)
"""


def test_an_environment_more_takes_forty_megabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, timeout=120, check=True
    )
    assert 10 < float(done.stdout) < 50


LEFT = """
import os, threading
from pathlib import Path
from mkds_gym.emulator import loader
from mkds_gym.env import MKDSEnv

def resident():
    loader.trim_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

env = MKDSEnv()
env.reset()
over = threading.Event()
# With so many the C library has no heap for each, and a new one gets any.
others = [threading.Thread(target=over.wait) for _ in range(8 * os.cpu_count() + 1)]
for thread in others:
    thread.start()
seen = []
for _ in range(20):
    thread = threading.Thread(target=env.clone_state)
    thread.start()
    thread.join()
    seen.append(resident())
over.set()
print((seen[-1] - seen[2]) / 2**20)
"""


def test_a_thread_that_ends_leaves_no_savestate_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=120, check=True
    )
    assert float(done.stdout) < 11


def test_what_is_folded_stays_zero_through_races() -> None:
    env = MKDSEnv(mode="vs", items=True, obs_type="pixels", screens="both", frame_skip=10)
    for seed in range(2):
        env.reset(seed=seed)
        for step in range(30):
            env.step(step % 11)
    core = env.console.library
    assert core.build is not None
    mmu = ctypes.addressof(ctypes.c_uint8.in_dll(core.image, "MMU"))
    for offset, size in core.build.always_zero:
        assert not internals.memory(mmu + offset, size).any()
    # And it is folded: a byte written is seen at every other place, and put back.
    offset, size = core.build.always_zero[0]
    start = -(-(mmu + offset) // 4096) * 4096
    internals.memory(start, 1)[:] = 1
    try:
        places = range(start, start + size - 2 * internals.FOLD_SIZE, internals.FOLD_SIZE)
        assert [internals.memory(place, 1)[0] for place in places] == [1] * len(places)
        assert len(places) > 5
    finally:
        internals.memory(start, 1)[:] = 0
    env.close()


def test_colour_tables_are_those_of_the_first_image() -> None:
    consoles = [Console() for _ in range(3)]
    tables = []
    for console in consoles:
        core = console.library
        assert core.build is not None
        symbol, size = core.build.colour_tables
        start = ctypes.addressof(ctypes.c_uint8.in_dll(core.image, symbol))
        table = internals.memory(start, size)
        assert table.any()
        tables.append(table)
        assert not internals.is_anonymous(start + 4096, size - 8192)  # it is a file's now
    for table in tables[1:]:
        assert np.array_equal(table, tables[0])
        # Private all the same: what one writes, the others do not see.
        before = table[5000]
        table[5000] = before ^ 1
        assert tables[0][5000] == before
        table[5000] = before
    for console in consoles:
        console.close()


def test_without_files_in_memory_all_works_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
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
    core = plain.library
    assert core.build is not None
    offset, size = core.build.always_zero[0]
    mmu = ctypes.addressof(ctypes.c_uint8.in_dll(core.image, "MMU"))
    assert internals.is_anonymous(mmu + offset, size)
    for console in (plain, usual):
        console.close()

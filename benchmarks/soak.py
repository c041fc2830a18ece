"""``python -m benchmarks.soak``: does memory stay constant over a million frames?

One process drives with random actions, in turns: a native vector environment, a single environment
with pictures, and one with a new random course at every reset; with resets in the middle of
episodes, clones and restores. Now and then another vector is made, and closed. Some thirty times,
what is free is given back to the system, and the memory that is resident, the open files and the
threads are looked at. What is filled in the first third (caches, code of the recompiler) is no
growth. From then on, growth is the median of the slopes between any two samples.

Exit status: 0 constant, 1 it grew by more than ``--limit``, 2 bad arguments, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import gc
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401  registers MKDS-v0
from benchmarks.report import check_writable, describe, machine, say, table

_TURN: Final = 500
"""Frames that the vector, and each single environment, drives in its turn."""
_PASSING: Final = 40
"""Turns after which another vector is made and closed."""
_SAMPLES: Final = 30
_WARM_UP: Final = 1 / 3
"""Share of the samples that tell nothing of growth."""
_LAST: Final = 10
"""Rows of the table in docs/reference/benchmarks.md."""


@dataclass(frozen=True)
class Sample:
    """What a process holds.

    Attributes:
        frames: driven so far, of all consoles.
        episodes: begun so far.
        seconds: since the start.
        resident_mib: memory, when what is free in it has been given back to the system.
        files: open.
        threads: of the process, the emulator's included.
    """

    frames: int
    episodes: int
    seconds: float
    resident_mib: float
    files: int
    threads: int


class Soak:
    """The environments, and what they have driven.

    Args:
        envs: environments in the vector.
        seed: of the actions and the courses.
    """

    def __init__(self, envs: int, seed: int) -> None:
        self.frames = 0
        self.episodes = 0
        self._turns = 0
        self._envs = envs
        self._rng = np.random.default_rng(seed)
        with ExitStack() as stack:
            self._vector: Any = stack.enter_context(closing(self._new_vector()))
            self._singles: list[Any] = [
                stack.enter_context(closing(env))
                for env in (
                    gym.make("MKDS-v0", obs_type="pixels"),
                    gym.make("MKDS-v0", course_set="train"),
                )
            ]
            self._vector.reset(seed=seed)
            for env in self._singles:
                env.reset(seed=seed)
            self.episodes += envs + len(self._singles)
            self._stack = stack.pop_all()

    def turn(self) -> None:
        """The vector, and each single environment, drives `_TURN` frames."""
        if self._turns % _PASSING == 0:
            self._pass_by()
        self._turns += 1
        vector = self._vector
        skip = self._singles[0].unwrapped.frame_skip
        for _ in range(math.ceil(_TURN / skip / vector.num_envs)):
            actions = self._rng.integers(vector.single_action_space.n, size=vector.num_envs)
            _, _, terminated, truncated, _ = vector.step(actions)
            self.frames += skip * vector.num_envs
            self.episodes += int(np.count_nonzero(terminated | truncated))
        for env in self._singles:
            clone = None
            for _ in range(math.ceil(_TURN / skip)):
                action = int(self._rng.integers(env.action_space.n))
                _, _, terminated, truncated, _ = env.step(action)
                self.frames += skip
                chance = self._rng.random()
                if terminated or truncated or chance < 0.005:
                    env.reset()
                    self.episodes += 1
                    clone = None
                elif chance < 0.01:
                    clone = env.unwrapped.clone_state()
                elif chance < 0.02 and clone is not None:
                    env.unwrapped.restore_state(clone)

    def _pass_by(self) -> None:
        """Another vector is made, drives for a moment, and is closed."""
        with closing(self._new_vector()) as vector:
            # Its threads drive to a place of the course and keep it: what they hold ends with them.
            vector.reset(options={"progress": float(self._rng.uniform(0.05, 0.15))})
            vector.step(np.zeros(self._envs, np.int64))
        self.episodes += self._envs

    def _new_vector(self) -> Any:
        return gym.make_vec("MKDS-v0", num_envs=self._envs, vectorization_mode="vector_entry_point")

    def close(self) -> None:
        """End everything."""
        self._stack.close()


def samples(soak: Soak, frames: int) -> Iterator[Sample]:
    """Drive, and look at the process some thirty times.

    Args:
        soak: what drives.
        frames: to drive from here on, of all consoles together.
    """
    begin, end = time.monotonic(), soak.frames + frames
    every = max(1, frames // _SAMPLES)
    wanted = soak.frames + every
    while soak.frames < end:
        soak.turn()
        if soak.frames >= wanted:
            yield Sample(
                soak.frames,
                soak.episodes,
                time.monotonic() - begin,
                _resident_mib(),
                len(os.listdir("/proc/self/fd")),  # noqa: PTH208
                len(os.listdir("/proc/self/task")),  # noqa: PTH208
            )
            wanted = soak.frames + every


def growth(seen: Sequence[Sample]) -> float:
    """MiB per 100,000 frames: the median slope between any two samples after the warm-up.

    Raises:
        ValueError: fewer than three samples are left then.
    """
    counted = seen[math.ceil(len(seen) * _WARM_UP) :]
    if len(counted) < 3:
        raise ValueError(f"{len(seen)} samples are too few to tell growth; drive more frames")
    slopes = [
        (b.resident_mib - a.resident_mib) / (b.frames - a.frames)
        for a, b in itertools.combinations(counted, 2)
    ]
    return statistics.median(slopes) * 1e5


def _resident_mib() -> float:
    # States of 11 MB come and go, and leave holes that are used again, or not: no growth.
    gc.collect()
    with contextlib.suppress(AttributeError):  # of the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def report(seen: Sequence[Sample]) -> str:
    """The samples as a Markdown table."""
    return "\n".join(
        table(
            ("frames", "episodes", "seconds", "resident MiB", "files", "threads"),
            [
                (
                    f"{s.frames:,}",
                    f"{s.episodes:,}",
                    f"{s.seconds:.0f}",
                    f"{s.resident_mib:.1f}",
                    str(s.files),
                    str(s.threads),
                )
                for s in seen
            ],
        )
    )


def growth_line(mib: float) -> str:
    """A sentence of what `growth` gives."""
    return f"Growth per 100,000 frames: {mib:+.2f} MiB."


def summary(result: dict[str, Any]) -> str:
    """When, where, the last samples, and growth, as Markdown, of what ``--json`` wrote."""
    seen = [Sample(**sample) for sample in result["samples"]]
    last = seen[-_LAST:]
    return "\n".join(
        [
            f"{describe(result)} {last[-1].frames:,} frames in {last[-1].seconds / 60:.0f} "
            f"minutes; environments in the vector: {result['envs']}. The last {len(last)} of "
            f"{len(seen)} samples:",
            "",
            report(last),
            "",
            f"{growth_line(result['growth'])} The limit is {result['limit']:g}.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module.

    Args:
        argv: arguments, by default the process's own.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Drive for long, and see whether memory stays constant.",
    )
    parser.add_argument(
        "--frames", type=int, default=1_000_000, metavar="N", help="to drive (1000000)"
    )
    parser.add_argument(
        "--envs", type=int, default=2, metavar="N", help="environments in the vector (2)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the actions (0)")
    parser.add_argument(
        "--limit",
        type=float,
        default=1.0,
        metavar="MIB",
        help="growth per 100,000 frames that still counts as none (1)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file")
    options = parser.parse_args(argv)
    # Fewer would be over before enough samples are taken.
    least = _SAMPLES * 3 * _TURN
    if options.frames < least:
        parser.error(f"--frames {options.frames} must be at least {least}")
    if not 1 <= options.envs <= 64:
        parser.error(f"--envs {options.envs} is outside 1..64")
    if options.seed < 0:
        parser.error(f"--seed {options.seed} must not be negative")
    if not options.limit > 0:
        parser.error(f"--limit {options.limit} must be greater than 0")
    check_writable(parser, "--json", options.json)
    about: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": machine(),
        **{name: getattr(options, name) for name in ("envs", "seed", "limit")},
    }
    seen: list[Sample] = []
    stopped = False
    try:
        with closing(Soak(options.envs, options.seed)) as soak:
            for sample in samples(soak, options.frames):
                seen.append(sample)
                say(
                    f"{sample.frames:,} frames, {sample.episodes:,} episodes, "
                    f"{sample.resident_mib:.1f} MiB, {sample.seconds:.0f} s"
                )
    except KeyboardInterrupt:
        stopped = True
    if seen:
        print(report(seen))
    if stopped:
        say("stopped")
        return 130
    grown = growth(seen)
    print(f"\n{growth_line(grown)}")
    if options.json is not None:
        result = {**about, "samples": [asdict(sample) for sample in seen], "growth": grown}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if grown < options.limit else 1


if __name__ == "__main__":
    sys.exit(main())

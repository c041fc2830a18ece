"""Does memory stay constant over a million frames? ``python -m benchmarks.soak``.

One process drives with random actions, in turns: a native vector environment, an environment with
pictures, and an environment with a new random course at every reset, with resets within episodes,
clones and restores. From time to time another vector environment is made and closed. About thirty
times, free memory is returned to the system, and resident memory, open files and threads are
counted. Caches fill during the first third, which is not counted. After that, growth is the median
of the slopes between all pairs of samples.

Exit status: 0 constant, 1 growth above ``--limit``, 2 bad arguments, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401  registers MKDS-v0
from benchmarks.report import add_json, describe, log, machine, table, write_json
from mkds_gym.utils.command_line import ArgumentParser

_TURN: Final = 500
"""Frames that the vector and each single environment drive per turn."""
_NEW_VECTOR: Final = 40
"""Turns between two vectors that are made and closed."""
_SAMPLES: Final = 30
_WARM_UP: Final = 1 / 3
"""Share of the samples that is not counted."""
_LAST: Final = 10
"""Samples shown in the docs."""


@dataclass(frozen=True)
class Sample:
    """What the process uses.

    Attributes:
        frames: driven so far, by all consoles.
        episodes: started so far.
        seconds: since the start.
        resident_mib: memory, after free memory was returned to the system.
        files: open.
        threads: of the process, including the emulator's.
    """

    frames: int
    episodes: int
    seconds: float
    resident_mib: float
    files: int
    threads: int


class Soak:
    """The environments, and a count of frames and episodes.

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
        """Let the vector and each single environment drive `_TURN` frames."""
        if self._turns % _NEW_VECTOR == 0:
            self._make_and_close_vector()
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

    def _make_and_close_vector(self) -> None:
        with closing(self._new_vector()) as vector:
            # Its threads drive along the course; their memory must end with them.
            vector.reset(options={"progress": float(self._rng.uniform(0.05, 0.15))})
            vector.step(np.zeros(self._envs, np.int64))
        self.episodes += self._envs

    def _new_vector(self) -> Any:
        return gym.make_vec("MKDS-v0", num_envs=self._envs, vectorization_mode="vector_entry_point")

    def close(self) -> None:
        """Close all environments."""
        self._stack.close()


def samples(soak: Soak, frames: int) -> Iterator[Sample]:
    """Drive, and yield about thirty samples.

    Args:
        soak: the environments.
        frames: number to drive, by all consoles together.
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
    """Return the growth in MiB per 100,000 frames, after the warm-up.

    Raises:
        ValueError: fewer than three samples are left after the warm-up.
    """
    counted = seen[math.ceil(len(seen) * _WARM_UP) :]
    if len(counted) < 3:
        raise ValueError(f"{len(seen)} samples are too few to measure growth; drive more frames")
    slopes = [
        (b.resident_mib - a.resident_mib) / (b.frames - a.frames)
        for a, b in itertools.combinations(counted, 2)
    ]
    return statistics.median(slopes) * 1e5


def _resident_mib() -> float:
    # Freed states of 11 MB leave holes in the heap, which are not growth.
    gc.collect()
    with contextlib.suppress(AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def report(seen: Sequence[Sample]) -> str:
    """Return the samples as a Markdown table."""
    return table(
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


def growth_line(mib: float) -> str:
    """Return a sentence about the result of `growth`."""
    return f"Growth per 100,000 frames: {mib:+.2f} MiB."


def summary(result: dict[str, Any]) -> str:
    """Return machine, last samples and growth as Markdown; ``result`` is what ``--json`` saves."""
    seen = [Sample(**sample) for sample in result["samples"]]
    last = seen[-_LAST:]
    return (
        f"{describe(result['machine'])} {last[-1].frames:,} frames in "
        f"{last[-1].seconds / 60:.0f} minutes, {result['envs']} environments in the vector. The "
        f"last {len(last)} of {len(seen)} samples:\n\n{report(last)}\n\n"
        f"{growth_line(result['growth'])} The limit is {result['limit']:g}."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    parser = ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Drive for a long time and check that memory stays constant.",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=1_000_000,
        metavar="N",
        help="frames to drive (default: %(default)s)",
    )
    parser.add_argument(
        "--envs",
        type=int,
        default=2,
        metavar="N",
        help="environments in the vector (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the actions and courses (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=1.0,
        metavar="MIB",
        help="accepted growth per 100,000 frames (default: %(default)s)",
    )
    add_json(parser)
    options = parser.parse_args(argv)
    least = _SAMPLES * 3 * _TURN
    if options.frames < least:
        parser.error(f"--frames {options.frames} must be at least {least}")
    if not 1 <= options.envs <= 64:
        parser.error(f"--envs {options.envs} is outside 1..64")
    if options.seed < 0:
        parser.error(f"--seed {options.seed} must not be negative")
    if not options.limit > 0:
        parser.error(f"--limit {options.limit} must be greater than 0")
    about: dict[str, Any] = {
        "machine": machine(),
        **{name: getattr(options, name) for name in ("envs", "seed", "limit")},
    }
    seen: list[Sample] = []
    stopped = False
    try:
        with closing(Soak(options.envs, options.seed)) as soak:
            for sample in samples(soak, options.frames):
                seen.append(sample)
                log(
                    f"{sample.frames:,} frames, {sample.episodes:,} episodes, "
                    f"{sample.resident_mib:.1f} MiB, {sample.seconds:.0f} s"
                )
    except KeyboardInterrupt:
        stopped = True
    if seen:
        print(report(seen))
    if stopped:
        log("stopped")
        return 130
    grown = growth(seen)
    print(f"\n{growth_line(grown)}")
    samples_json = [asdict(sample) for sample in seen]
    write_json(options.json, {**about, "samples": samples_json, "growth": grown})
    return 0 if grown < options.limit else 1


if __name__ == "__main__":
    sys.exit(main())

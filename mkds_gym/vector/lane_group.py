"""`LaneGroup`: the lanes of a vector environment, and the threads that run them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import gymnasium as gym

from mkds_gym.episodes.shared_console import FrameRequest
from mkds_gym.vector.factory import EnvFactory, check_equal_spaces
from mkds_gym.vector.lanes import Batch, Lane
from mkds_gym.vector.shared_lanes import SharedLane, run_together
from mkds_gym.vector.threads import ThreadPool

logger = logging.getLogger(__name__)


class LaneGroup:
    """Makes the environments of a vector environment, runs tasks for them, and replaces them.

    Args:
        factory: makes the environments.
        num_envs: number of environments.
        drivers_per_console: number of environments that share a console.
        num_threads: threads that run tasks, the calling thread included.

    Attributes:
        lanes: a lane for each environment, in order.
        batch: arrays of all environments.

    Raises:
        ValueError: the spaces of the environments differ.
        Exception: what `EnvFactory.make` raises.
    """

    def __init__(
        self, factory: EnvFactory, num_envs: int, drivers_per_console: int, num_threads: int
    ) -> None:
        self._factory = factory
        self._drivers = drivers_per_console
        self._lane_type: type[Lane] = Lane if drivers_per_console == 1 else SharedLane
        envs: list[gym.Env[Any, Any]] = []
        try:
            for index in range(num_envs):
                envs.append(factory.make(index))
            check_equal_spaces(envs)
            self.batch: Final = Batch(envs[0].observation_space, num_envs)
            self.lanes: Final = [
                self._lane_type(env, index, self.batch) for index, env in enumerate(envs)
            ]
        except BaseException:
            close_all(envs)
            raise
        self._pool = ThreadPool(num_threads, "mkds-vector")

    def stop_threads(self) -> None:
        """End the threads, after the tasks that they are running."""
        self._pool.close()

    def run(
        self, lanes: Sequence[Lane], task: Callable[[Lane], Iterator[FrameRequest] | None]
    ) -> dict[int, Exception]:
        """Run a task for each of some lanes, in the threads; one console is in one thread.

        The lanes stay ``in_call``; the caller clears the flag once the results are complete.

        Args:
            lanes: the lanes, in order.
            task: does its work when called, or yields the frames that a lane waits for.

        Returns:
            What the tasks raised, by index.
        """
        failures: dict[int, Exception] = {}
        consoles = [
            list(group)
            for _, group in itertools.groupby(lanes, lambda lane: lane.index // self._drivers)
        ]

        def attempt(number: int) -> None:
            run_together(consoles[number], task, failures)

        for lane in lanes:
            lane.in_call = True
        self._pool.run(attempt, len(consoles))
        return dict(sorted(failures.items()))

    def replace(self, index: int, begin: Callable[[Lane], Iterator[FrameRequest]] | None) -> Lane:
        """Replace an environment by a new one, which takes over its random generator.

        Args:
            index: of the environment.
            begin: resets the new lane. None: the new environment waits for its first reset, and
                the old one's last observation stays.

        Returns:
            The new lane.

        Raises:
            Exception: the new environment cannot be made or reset; the old one stays.
        """
        new = self._factory.make(index)
        old = self.lanes[index]
        seat = old.core.seat
        kept = None if seat is None or seat.closed else seat.snapshot()
        viewer, old.core.viewer = old.core.viewer, None
        try:
            lane = self._lane_type(new, index, self.batch)
            lane.core.copy_np_random(old.core)
            if begin is None:
                lane.core.prepare()  # can be rendered and cloned before its first reset
            lane.core.viewer = viewer
            if begin is not None:
                failures: dict[int, Exception] = {}
                run_together([lane], begin, failures)
                if failures:
                    raise failures[index]
        except BaseException:
            new.close()
            if seat is not None and kept is not None:
                seat.restore(kept)
            old.core.viewer = viewer
            raise
        lane.in_call = True
        self.lanes[index] = lane
        try:
            old.close()
        except Exception as error:
            logger.warning("environment %d could not be closed: %r", index, error)
        return lane


def close_all(envs: Sequence[gym.Env[Any, Any] | Lane]) -> None:
    """Close all environments or lanes; raise the first error afterwards."""
    errors: list[Exception] = []
    for env in envs:
        try:
            env.close()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]

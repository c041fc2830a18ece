"""`Lane`: one environment of a vector environment, and where its episode stands."""

from __future__ import annotations

import copy
import enum
import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import create_empty_array

from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.shared_console import FrameRequest, SharedConsole


class Status(enum.Enum):
    """Where a lane stands between two calls of the vector environment."""

    IDLE = enum.auto()
    """Not reset yet, or a call was interrupted: a reset is needed."""
    RUNNING = enum.auto()
    """An episode is under way."""
    OVER = enum.auto()
    """The episode has ended. The next step resets the environment, or is refused."""
    FAILED = enum.auto()
    """The environment raised `Lane.error`: a reset or a replacement is needed."""


class Batch:
    """The arrays that a vector environment returns. Each lane writes into its own row.

    Args:
        space: the observation space of one environment.
        num_envs: number of rows.

    Attributes:
        observations: an array of shape ``(num_envs, *leaf.shape)`` for each leaf of ``space``.
        rewards: float64 ``(num_envs,)``.
        terminations: bool ``(num_envs,)``.
        truncations: bool ``(num_envs,)``.
    """

    def __init__(self, space: gym.Space[Any], num_envs: int) -> None:
        self.observations: Any = create_empty_array(space, n=num_envs, fn=np.zeros)
        self.rewards = np.zeros(num_envs, np.float64)
        self.terminations = np.zeros(num_envs, np.bool_)
        self.truncations = np.zeros(num_envs, np.bool_)

    def clear(self) -> None:
        """Set all rewards to 0 and all flags to False."""
        self.rewards.fill(0.0)
        self.terminations.fill(False)
        self.truncations.fill(False)


class Lane:
    """One environment, its row of the batch, and the status of its episode.

    Args:
        env: an `MKDSEnv`, wrapped or not. Without wrappers, it writes its observations straight
            into the batch; with wrappers, they are copied there.
        index: row of the batch.
        batch: arrays of all environments.

    Attributes:
        core: ``env`` without its wrappers.
        status: where the episode stands.
        in_call: a call has started and has not been completed. A lane in which an interrupted
            call left this set needs a reset.
        error: the exception of the environment, if ``status`` is ``FAILED``.
        info: info of the last reset or step; None if there is nothing to report.
        final: observation and info of the episode that ended in the last step and was reset in
            the same step (autoreset mode ``SameStep``).
        unproven: the environment has replaced a failed one, and has not completed a step yet.

    Raises:
        TypeError: the observations cannot be stored in arrays.
    """

    def __init__(self, env: gym.Env[Any, Any], index: int, batch: Batch) -> None:
        core = env.unwrapped
        assert isinstance(core, MKDSEnv)
        self.env = env
        self.core = core
        self.index = index
        self.status = Status.IDLE
        self.in_call = False
        self.error: Exception | None = None
        self.info: dict[str, Any] | None = None
        self.final: tuple[Any, dict[str, Any]] | None = None
        self.unproven = False
        self._batch = batch
        self._row: Any = None
        if type(env) is MKDSEnv:
            self._row = _row(batch.observations, index)
        else:
            _check_arrays(env.observation_space, batch.observations)
        self._observation: Any = None

    @property
    def shared(self) -> SharedConsole | None:
        """The console, if it is shared."""
        return None if self.core.seat is None else self.core.seat.shared

    @property
    def ready(self) -> bool:
        """Whether the environment has been reset, has not failed, and is in no unfinished call."""
        return not self.in_call and self.status in (Status.RUNNING, Status.OVER)

    @property
    def full_info(self) -> dict[str, Any]:
        """A new dict: ``info``, with ``final_obs`` and ``final_info`` if there is `final`."""
        info = self.info or {}
        if self.final is None:
            return dict(info)
        observation, final = self.final
        return {"final_obs": observation, "final_info": final, **info}

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> Iterator[FrameRequest]:
        """Start an episode and write its first observation; errors as `MKDSEnv.reset`.

        Yields:
            Frames that a lane of a shared console waits for, see `step`.
        """
        if self._row is not None:
            self.info = yield from self._reset_into(seed, options)
            return
        self._observation, self.info = yield from self._call(
            functools.partial(self.env.reset, seed=seed, options=options)
        )
        _write(self._batch.observations, self.index, self._observation)

    def step(self, action: Any, *, reset_at_end: bool) -> Iterator[FrameRequest]:
        """Take a step, or reset an episode that is over; errors as `MKDSEnv.step`.

        Args:
            action: an element of the action space.
            reset_at_end: reset in the same step if the episode ends (``SameStep``).

        Yields:
            Frames that a lane of a shared console waits for. Other lanes yield nothing.
        """
        self.final = None
        if self.status is Status.OVER:
            yield from self.reset()
            self.begin()
            return
        reward: Any
        if self._row is not None:
            reward, terminated, truncated, self.info = yield from self._step_into(action)
        else:
            self._observation, reward, terminated, truncated, self.info = yield from self._call(
                functools.partial(self.env.step, action)
            )
            _write(self._batch.observations, self.index, self._observation)
        self.unproven = False
        self._put(reward, terminated, truncated)
        if terminated or truncated:
            self.status = Status.OVER
            if reset_at_end:
                self.final = (self.observation(), self.info)
                yield from self.reset()
                self.status = Status.RUNNING

    def _reset_into(
        self, seed: int | None, options: dict[str, Any] | None
    ) -> Generator[FrameRequest, None, dict[str, Any]]:
        return self.core.reset_into(self._row, seed=seed, options=options)
        yield

    def _step_into(
        self, action: Any
    ) -> Generator[FrameRequest, None, tuple[float, bool, bool, dict[str, Any]]]:
        return self.core.step_into(action, self._row)
        yield

    def _call(self, method: Callable[[], Any]) -> Generator[FrameRequest, None, Any]:
        """Call a method of an environment with wrappers."""
        return method()
        yield

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def begin(self) -> None:
        """Mark the start of an episode: reward 0, no flags, running."""
        self._put(0.0, terminated=False, truncated=False)
        self.status = Status.RUNNING
        self.error = None
        self.final = None

    def fail(self, error: Exception) -> None:
        """Mark the environment as failed."""
        self.status = Status.FAILED
        self.error = error

    def cut_off(self, info: dict[str, Any]) -> None:
        """End the episode as truncated, with no reward: its step failed.

        A step that was completed before its reset failed keeps what it earned.
        """
        if self.final is None:
            self._put(0.0, terminated=False, truncated=True)
        self.info = info
        self.status = Status.OVER

    def observation(self) -> Any:
        """Return a copy of the last observation, an element of the observation space."""
        return copy.deepcopy(self._row) if self._row is not None else self._observation

    def _put(self, reward: float, terminated: bool, truncated: bool) -> None:
        self._batch.rewards[self.index] = reward
        self._batch.terminations[self.index] = terminated
        self._batch.truncations[self.index] = truncated


def _row(observations: Any, index: int) -> Any:
    """A view of one row; of a dict of arrays, a dict of views."""
    if isinstance(observations, dict):
        return {name: array[index] for name, array in observations.items()}
    return observations[index]


def _check_arrays(space: gym.Space[Any], observations: Any) -> None:
    if isinstance(observations, dict):
        for array in observations.values():
            _check_arrays(space, array)
    elif isinstance(observations, tuple) and isinstance(space, gym.spaces.Tuple):
        for part, array in zip(space.spaces, observations, strict=True):
            _check_arrays(part, array)
    elif not isinstance(observations, np.ndarray):
        raise TypeError(
            f"observations of {space} cannot be stored in arrays; use vectorization_mode='sync'"
        )


def _write(observations: Any, index: int, observation: Any) -> None:
    """Copy an observation into its row."""
    if isinstance(observations, np.ndarray):
        observations[index] = observation
        return
    parts = observations.items() if isinstance(observations, dict) else enumerate(observations)
    for key, part in parts:
        _write(part, index, observation[key])

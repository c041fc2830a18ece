"""Episodes that start along a lap: `StartStates` collects states, `RandomStarts` starts at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.episodes.state_list import MAX_FILE, pack_states, unpack_states
from mkds_gym.errors import StateError
from mkds_gym.kartlab.boot import MAX_LAPS
from mkds_gym.utils.arguments import MAX_LIST, file_path, integer, number, shown
from mkds_gym.utils.files import write_bytes
from mkds_gym.utils.reading import read_file


class StartStates(Sequence[ClonedState]):
    """States of one race, in the order in which they were reached.

    Make them with `collect`, or load a file of `save`. Start an episode at one with
    ``env.reset(options={"state": states.sample(generator)})``, or wrap the environment in
    `RandomStarts`.

    Args:
        states: states of `MKDSEnv.clone_state`, at least one.

    Raises:
        ValueError: `states` is empty.
        TypeError: an element is not a `ClonedState`.
    """

    def __init__(self, states: Sequence[ClonedState]) -> None:
        self._states = tuple(states)
        if not self._states:
            raise ValueError("states is empty: expected at least one state")
        for state in self._states:
            if not isinstance(state, ClonedState):
                raise TypeError(f"states has {shown(state)}: expected results of clone_state()")

    @classmethod
    def collect(
        cls,
        env: gym.Env[Any, Any],
        count: int = 20,
        *,
        laps: float = 1.0,
        policy: Callable[[Any], Any] | None = None,
        seed: int | None = None,
    ) -> StartStates:
        """Drive along the course and clone states at equal distances.

        Args:
            env: an `MKDSEnv`, wrapped or not. Reset it again afterwards.
            count: number of states.
            laps: the states lie between the race start and this many laps.
            policy: function from an observation to an action, used to step `env`; None uses the
                scripted driver. If the episode ends before `laps`, fewer states are returned.
            seed: seed of the reset.

        Raises:
            ValueError: `count` is less than 1, or `laps` is not within the race.
            TypeError: `count` is not an integer, `policy` is not callable, or `env` is not an
                `MKDSEnv`.
            StateError: a state cannot be reached.
        """
        base = env.unwrapped
        if not isinstance(base, MKDSEnv):
            raise TypeError(f"env={shown(base)} is not an MKDSEnv")
        count = integer("count", count, 1, MAX_LIST)
        laps = number("laps", laps, 1e-6, MAX_LAPS)
        if policy is not None and not callable(policy):
            raise TypeError(f"policy={shown(policy)} is not callable")
        points = [laps * number / count for number in range(count)]
        observation, _ = env.reset(seed=seed)
        if policy is None:
            try:
                return cls(base.clone_along(points))
            except ValueError as error:
                raise ValueError(f"laps={shown(laps)}, count={count}: {error}") from error
        states = []
        ended = False
        for point in points:
            while base.course.track.laps(base.race) < point and not ended:
                observation, _, terminated, truncated, _ = env.step(policy(observation))
                ended = terminated or truncated
            if ended:
                break
            states.append(base.clone_state())
        if not states:
            raise StateError(
                f"the policy's episode ended at {base.course.track.laps(base.race):.2f} laps, "
                "before the first state: pass another policy, or None for the scripted driver"
            )
        return cls(states)

    def sample(self, generator: np.random.Generator) -> ClonedState:
        """Return a random state, all with equal probability.

        Raises:
            TypeError: `generator` is not a NumPy generator.
        """
        if not isinstance(generator, np.random.Generator):
            raise TypeError(
                f"generator={shown(generator)} is not a generator: pass np.random.default_rng(seed)"
            )
        return self._states[int(generator.integers(len(self._states)))]

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file for `load`. An existing file is replaced when the new one is complete.

        The file holds the consoles. It leaves out the metrics, events and reward of the episodes in
        which the states were cloned: a reset starts them again.

        Raises:
            StateError: the file cannot be written, or the states have too many race starts.
        """
        write_bytes(path, pack_states(self._states), StateError)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> StartStates:
        """Read a file of `save`: data, which may come from anyone.

        The states start episodes (``env.reset(options={"state": state})``); `restore_state` refuses
        them. States that another user has saved are tried in a child process when a console first
        loads them.

        Raises:
            StateError: the file is missing, damaged, or not a file of `save`.
        """
        remedy = "StartStates.collect(env).save(path) writes such a file"
        file = file_path("path", path, "a file of StartStates.save")
        name = f"start states '{file}'"
        data = read_file(file, name, StateError, limit=MAX_FILE, remedy=remedy)
        return cls(unpack_states(data, name))

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, index: Any) -> Any:
        return self._states[index]

    def __iter__(self) -> Iterator[ClonedState]:
        return iter(self._states)


class RandomStarts(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Starts each episode at a random state; the ``seed`` of a reset seeds the choice.

    A reset with other options is passed on unchanged.

    Args:
        env: an `MKDSEnv`, wrapped or not.
        states: the states to start at.

    Raises:
        TypeError: `states` is not a `StartStates`.
    """

    def __init__(self, env: gym.Env[Any, Any], states: StartStates) -> None:
        if not isinstance(states, StartStates):
            raise TypeError(
                f"states={shown(states)} is not a StartStates: expected StartStates.collect(...)"
            )
        # Not copied, so that an environment made from the spec starts at the same states.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, states=states)
        gym.Wrapper.__init__(self, env)
        self._states = states
        self._generator = np.random.default_rng()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode at a random state; arguments and errors as `MKDSEnv.reset`."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        if not options:
            options = {"state": self._states.sample(self._generator)}
        return self.env.reset(seed=seed, options=options)

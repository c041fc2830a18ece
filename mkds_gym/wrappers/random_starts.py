"""Episodes that start along a lap: `StartStates` collects states, `RandomStarts` starts at them."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.errors import StateError, reason
from mkds_gym.utils.arguments import integer, shown
from mkds_gym.utils.files import write_bytes

_MAGIC: Final = b"MKDS start states 2\n"


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
                raise TypeError(f"states has {state!r}: expected results of clone_state()")

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
            raise TypeError(f"env={base!r} is not an MKDSEnv")
        count = integer("count", count, 1)
        if not 0 < laps < 100:
            raise ValueError(
                f"laps={laps!r} is out of range: expected more than 0, up to the race's"
            )
        if policy is not None and not callable(policy):
            raise TypeError(f"policy={policy!r} is not callable")
        points = [laps * number / count for number in range(count)]
        observation, _ = env.reset(seed=seed)
        if policy is None:
            try:
                return cls(base.clone_along(points))
            except ValueError as error:
                raise ValueError(f"laps={laps!r}, count={count}: {error}") from error
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
                f"generator={generator!r} is not a generator: pass np.random.default_rng(seed)"
            )
        return self._states[int(generator.integers(len(self._states)))]

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file for `load`. An existing file is replaced when the new one is complete.

        Raises:
            StateError: the file cannot be written.
        """
        data = _MAGIC + zlib.compress(pickle.dumps(self._states), 1)
        write_bytes(path, data, StateError)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> StartStates:
        """Read a file of `save`. It is a pickle: load only files that you trust.

        Raises:
            StateError: the file is missing, damaged, or not a file of `save`.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StateError(
                f"cannot read start states '{path}': {reason(error)}; "
                "StartStates.collect(env).save(path) writes such a file"
            ) from error
        if not data.startswith(_MAGIC):
            raise StateError(
                f"'{path}' is not a file of start states of this version: "
                "StartStates.collect(env).save(path) writes such a file"
            )
        try:
            return cls(pickle.loads(zlib.decompress(data[len(_MAGIC) :])))
        except StateError as error:
            raise StateError(f"start states '{path}': {error}") from error
        except Exception as error:  # a damaged pickle may raise anything
            raise StateError(
                f"start states '{path}' are damaged ({type(error).__name__}: {error}): "
                "save them again"
            ) from error

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

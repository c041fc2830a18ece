"""States along a lap, to start episodes at: learning need not always begin at the start line."""

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
from mkds_gym.utils.arguments import integer
from mkds_gym.utils.files import write_bytes

_MAGIC: Final = b"MKDS start states 2\n"


class StartStates(Sequence[ClonedState]):
    """States of one race, in the order in which they were driven through.

    Make some with `collect`, or read a file of `save` with `load`; then start episodes with
    ``env.reset(options={"state": states.sample(generator)})``.

    Args:
        states: of `MKDSEnv.clone_state`.

    Raises:
        ValueError: there are none.
        TypeError: there is something else among them.
    """

    def __init__(self, states: Sequence[ClonedState]) -> None:
        self._states = tuple(states)
        if not self._states:
            raise ValueError("StartStates wants at least one state; StartStates.collect makes some")
        for state in self._states:
            if not isinstance(state, ClonedState):
                raise TypeError(f"StartStates takes states of clone_state(), not {state!r}")

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
        """Drive and clone.

        Args:
            env: a `MKDSEnv`, wrapped or not. It is reset, and is to be reset again afterwards.
            count: how many states.
            laps: how far: the states lie evenly between the race start and there.
            policy: action of an observation, with which ``env`` is stepped; where the episode ends
                before ``laps``, so do the states. None is the scripted driver.
            seed: of the first reset.

        Raises:
            ValueError: ``count`` is less than 1, or ``laps`` not more than 0 or beyond the race.
            TypeError: ``count`` is no whole number, ``policy`` cannot be called, or ``env`` is
                another environment.
            StateError: nobody gets there, or ``policy`` not to the first of them.
        """
        base = env.unwrapped
        if not isinstance(base, MKDSEnv):
            raise TypeError(f"StartStates collects in a MKDSEnv, not in {base!r}")
        count = integer("count", count, 1)
        if not 0 < laps < 100:
            raise ValueError(f"laps={laps!r}; allowed: more than 0, and no more than the race has")
        if policy is not None and not callable(policy):
            raise TypeError(f"policy={policy!r} is no function of an observation")
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
                "before the first of the states; give one that drives, or none"
            )
        return cls(states)

    def sample(self, generator: np.random.Generator) -> ClonedState:
        """One of the states, each as likely as the others.

        Raises:
            TypeError: the generator is none.
        """
        if not isinstance(generator, np.random.Generator):
            raise TypeError(
                f"sample() wants a generator such as np.random.default_rng(0), not {generator!r}"
            )
        return self._states[int(generator.integers(len(self._states)))]

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file for `load`, replaced only once the new one is complete.

        Their race start is in it once.

        Raises:
            StateError: it cannot be written.
        """
        data = _MAGIC + zlib.compress(pickle.dumps(self._states), 1)
        write_bytes(path, data, StateError)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> StartStates:
        """Read a file of `save`. Only load files that you trust: they are pickles.

        Raises:
            StateError: missing, damaged, or no such file.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise StateError(
                f"cannot read start states '{path}': {reason(error)}; make them with "
                "StartStates.collect(env).save(path)"
            ) from error
        if not data.startswith(_MAGIC):
            raise StateError(
                f"'{path}' holds no start states of this version; make them with "
                "StartStates.collect(env).save(path)"
            )
        try:
            return cls(pickle.loads(zlib.decompress(data[len(_MAGIC) :])))
        except StateError as error:
            raise StateError(f"start states '{path}': {error}") from error
        except Exception as error:  # a damaged pickle may raise anything
            raise StateError(
                f"start states '{path}' are damaged ({type(error).__name__}: {error}); "
                "save them again"
            ) from error

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, index: Any) -> Any:
        return self._states[index]

    def __iter__(self) -> Iterator[ClonedState]:
        return iter(self._states)


class RandomStarts(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Has each reset begin at one of the states, drawn by a generator that ``seed`` seeds.

    A reset with options of its own is left as it is.

    Args:
        env: a `MKDSEnv`, wrapped or not.
        states: where to begin.
    """

    def __init__(self, env: gym.Env[Any, Any], states: StartStates) -> None:
        if not isinstance(states, StartStates):
            raise TypeError(f"RandomStarts wants StartStates, not {states!r}")
        # The states themselves: a specification that is made again begins at the same ones.
        RecordConstructorArgs.__init__(self, _disable_deepcopy=True, states=states)
        gym.Wrapper.__init__(self, env)
        self._states = states
        self._chance = np.random.default_rng()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; see `MKDSEnv.reset`."""
        if seed is not None:
            self._chance = np.random.default_rng(seed)
        if not options:
            options = {"state": self._states.sample(self._chance)}
        return self.env.reset(seed=seed, options=options)

"""`MKDSVectorEnv`: many races in one process, ``gym.make_vec("MKDS-v0", num_envs=8)``.

Each environment is a real `MKDSEnv` with an emulator of its own. The emulator runs without
Python's lock, so that a few threads keep as many cores busy; observations, rewards and flags go
straight into the arrays of the batch. Nothing is pickled and nothing goes through a pipe.
"""

from __future__ import annotations

import copy as copying
import logging
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array, iterate
from numpy.typing import NDArray

from mkds_gym.batch import InfoForm, Lane, PlainLane, WrappedLane
from mkds_gym.core import trim_memory
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import VectorEnvError
from mkds_gym.threads import ThreadPool

logger = logging.getLogger(__name__)

MAX_ENVS: Final = 1024
"""More than any machine has memory for."""
MAX_THREADS: Final = 256
ON_ERROR: Final = ("raise", "replace")
RESET_MASK: Final = "reset_mask"
PER_ENV: Final = "per_env"

EnvWrapper: TypeAlias = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
Options: TypeAlias = Mapping[str, Any]


class MKDSVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """Races in one process, stepped together by a few threads.

    Step for step and bit for bit, whatever the number of threads, its results are those of
    ``num_envs`` single environments, in the form of Gymnasium's `SyncVectorEnv`. Get one with
    ``gym.make_vec("MKDS-v0", num_envs=8, frame_skip=4)``: all arguments go here.

    Args:
        num_envs: how many environments, at least 1. Each takes a few ten MB of memory (see
            docs/environment.md).
        num_threads: how many threads step them, the calling one included; None is one for each
            core of the processor that this process may use. More than ``num_envs`` are not started.
        copy: `reset` and `step` return copies of the observations. False: always the same arrays,
            overwritten by the next call.
        autoreset_mode: what becomes of an environment whose episode is over, one of
            `gymnasium.vector.AutoresetMode` or its value: ``"NextStep"``, ``"SameStep"`` or
            ``"Disabled"``.
        on_error: what becomes of an environment that fails in a step. ``"raise"``: `VectorEnvError`
            after the others have made the step. ``"replace"``: a new one takes its place, and its
            episode counts as truncated; ``infos["error"]`` has the cause.
        env_kwargs: arguments of `MKDSEnv` for each environment alone, a dict (or None) each; they
            go before those for all. Observation and action spaces must stay the same.
        env_wrappers: each called with an environment, gives a wrapped one
            (``gymnasium.wrappers``), from the inside out.
        max_episode_steps: truncate episodes after so many steps; None does not.
        **kwargs: arguments of `MKDSEnv`, for all.

    Attributes:
        envs: the environments, in order.
        num_threads: see above, as it came out.
        closed: after `close`.

    Raises:
        ValueError, TypeError: an argument is wrong; nothing has been started.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        num_threads: int | None = None,
        copy: bool = True,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        on_error: str = "raise",
        env_kwargs: Sequence[Mapping[str, Any] | None] | None = None,
        env_wrappers: Sequence[EnvWrapper] = (),
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        # What close() touches exists before anything that may raise.
        self.envs: list[gym.Env[Any, Any]] = []
        self._end: Callable[[], object] = _nothing
        self.num_envs = _whole("num_envs", num_envs, MAX_ENVS)
        if num_threads is None:
            num_threads = len(os.sched_getaffinity(0))
        else:
            num_threads = _whole("num_threads", num_threads, MAX_THREADS)
        self.num_threads = min(num_threads, self.num_envs)
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        if not isinstance(copy, bool):
            raise TypeError(f"copy={copy!r} is neither True nor False")
        self.copy = copy
        if on_error not in ON_ERROR:
            raise ValueError(
                f"on_error={on_error!r} is not one of {', '.join(map(repr, ON_ERROR))}"
            )
        self._replaces = on_error == "replace"
        self._kwargs = self._each_kwargs(env_kwargs, kwargs)
        self._wrappers = tuple(env_wrappers)
        if max_episode_steps is not None:
            steps = _whole("max_episode_steps", max_episode_steps)
            self._wrappers = (_TimeLimit(steps), *self._wrappers)

        try:
            for index in range(self.num_envs):
                self.envs.append(self._make(index))
            first = self.envs[0]
            self.single_observation_space = first.observation_space
            self.single_action_space = first.action_space
            self._check_spaces()
        except BaseException:
            self._close_envs()
            raise
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.render_mode = first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}

        self._observations: Any = create_empty_array(
            self.single_observation_space, n=self.num_envs, fn=np.zeros
        )
        self._lanes = [self._lane(index) for index in range(self.num_envs)]
        self._rewards = np.zeros(self.num_envs, np.float64)
        self._terminations = np.zeros(self.num_envs, np.bool_)
        self._truncations = np.zeros(self.num_envs, np.bool_)
        # Of each environment, as a list is quicker to read than an array: its episode is over
        # (or has never begun).
        self._over = [True] * self.num_envs
        self._never_reset = True
        self._failed: dict[int, BaseException] = {}
        # Of the call under way.
        self._actions: Any = ()
        self._infos: list[dict[str, Any] | None] = [None] * self.num_envs
        self._finals: list[tuple[Any, dict[str, Any]] | None] = [None] * self.num_envs
        self._failures: dict[int, BaseException] = {}
        self._form: InfoForm | None = None

        self._process = os.getpid()
        self._pool = ThreadPool(self.num_threads, "mkds-vector")
        # For one that is never closed; the pool knows nothing of this object.
        self._end = weakref.finalize(self, self._pool.close)

    # Making environments --------------------------------------------------------------------

    def _each_kwargs(
        self, env_kwargs: Sequence[Mapping[str, Any] | None] | None, kwargs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The arguments of each environment."""
        if env_kwargs is None:
            env_kwargs = [None] * self.num_envs
        if isinstance(env_kwargs, Mapping | str) or not isinstance(env_kwargs, Sequence):
            raise TypeError(
                f"env_kwargs={env_kwargs!r} is no list: give a dict of arguments (or None) for "
                "each environment; arguments for all go in directly, as in frame_skip=4"
            )
        if len(env_kwargs) != self.num_envs:
            raise ValueError(f"env_kwargs has {len(env_kwargs)} items for {self.num_envs} envs")
        each = []
        for index, own in enumerate(env_kwargs):
            if own is not None and not isinstance(own, Mapping):
                raise TypeError(f"env_kwargs[{index}]={own!r} is neither a dict nor None")
            each.append({**kwargs, **(own or {})})
        modes = {repr(arguments.get("render_mode")) for arguments in each}
        if len(modes) > 1:
            raise ValueError(
                f"one render_mode for all environments, not {', '.join(sorted(modes))}"
            )
        if self.num_envs > 1 and modes == {"'human'"}:
            raise ValueError(
                "render_mode='human' is one window, for num_envs=1; use 'rgb_array' and render()"
            )
        return each

    def _make(self, index: int) -> gym.Env[Any, Any]:
        try:
            env: gym.Env[Any, Any] = MKDSEnv(**self._kwargs[index])
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise TypeError(
                f"{error}; arguments of the vector environment are num_envs, num_threads, copy, "
                "autoreset_mode, on_error, env_kwargs, env_wrappers and max_episode_steps"
            ) from None
        try:
            for wrapper in self._wrappers:
                wrapped: object = wrapper(env)
                if not isinstance(wrapped, gym.Env):
                    raise TypeError(f"env_wrappers: {wrapper!r} gave {wrapped!r}, no environment")
                env = wrapped
        except BaseException:
            env.close()
            raise
        return env

    def _check_spaces(self) -> None:
        for index, env in enumerate(self.envs):
            for what, space, expected in (
                ("observations", env.observation_space, self.single_observation_space),
                ("actions", env.action_space, self.single_action_space),
            ):
                if space != expected:
                    raise ValueError(
                        f"environment {index} has {what} of {space}, and environment 0 of "
                        f"{expected}: all must have the same; see env_kwargs"
                    )

    # Gymnasium -------------------------------------------------------------------------------

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each environment's ``np_random``."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]
    def np_random(  # type: ignore[override]
        self,
    ) -> tuple[np.random.Generator, ...]:
        """The ``np_random`` of each environment."""
        return self.get_attr("np_random")

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Options | Sequence[Options | None] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Restore the race starts.

        Args:
            seed: an int seeds environment ``i`` with ``seed + i``; or one for each; None goes on.
            options: of `MKDSEnv.reset`, for all environments; or a list of them (or None), one
                for each. Two more may stand in the dict: ``"reset_mask"`` (bool array of shape
                ``(num_envs,)``: only these are reset) and ``"per_env"`` (the list, whose items go
                before the options for all).

        Returns:
            Observations and infos; with a mask, infos of those that were reset only.

        Raises:
            ValueError, TypeError: options or seeds are wrong.
            VectorEnvError: some environments cannot be reset, and others could.
            MKDSError: none of several can; the first's own error.
        """
        self._check_alive()
        seeds = self._seeds(seed)
        mask, each = self._each_options(options)
        chosen = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        failures: dict[int, BaseException] = {}

        def reset_one(number: int) -> None:
            index = chosen[number]
            # Until it is done: a reset that fails leaves nothing to step.
            self._over[index] = True
            try:
                infos[index] = self._lanes[index].reset(seeds[index], each[index])
            except Exception as error:
                failures[index] = error
            else:
                self._over[index] = False
                self._failed.pop(index, None)

        self._pool.run(reset_one, len(chosen))
        if self._never_reset:
            trim_memory()
        for index in chosen:
            self._rewards[index] = 0.0
            self._terminations[index] = self._truncations[index] = False
        if failures:
            self._failed.update(failures)
            if len(failures) == len(chosen):
                raise failures[min(failures)]
            raise self._error("reset()", failures, None)
        self._never_reset = False
        return self._returned(), self._merge(infos)

    def step(
        self, actions: Any, *, step_mask: NDArray[np.bool_] | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step all environments.

        Args:
            actions: a batch, one of ``action_space``.
            step_mask: bool array of shape ``(num_envs,)``: only these make the step. The others
                cost nothing; their observation stays, reward and flags are 0 and False.

        Returns:
            Observations, rewards (float64), terminations and truncations (bool), each of shape
            ``(num_envs, ...)``, and infos.

        Raises:
            ValueError: the actions are not of the space; nothing has been stepped.
            gymnasium.error.ResetNeeded: before the first reset; in mode ``Disabled``, when an
                episode is over.
            VectorEnvError: environments failed (``on_error="raise"``), in this step or before.
        """
        self._check_alive()
        if self._never_reset:
            raise gym.error.ResetNeeded("call envs.reset() before envs.step()")
        chosen: Sequence[int] = range(self.num_envs)
        if step_mask is not None:
            chosen = np.flatnonzero(self._mask("step_mask", step_mask)).tolist()
        if self._failed and (still := [i for i in chosen if i in self._failed]):
            raise self._error("an earlier call", {i: self._failed[i] for i in still}, None)
        if self.autoreset_mode == AutoresetMode.DISABLED and any(self._over):
            over = [i for i in chosen if self._over[i]]
            if over:
                raise gym.error.ResetNeeded(
                    f"the episodes of environments {over} are over; reset them with "
                    "envs.reset(options={'reset_mask': ...}), or leave them out with step_mask"
                )
        self._actions = self._check_actions(actions, chosen)
        if len(chosen) < self.num_envs:
            self._rewards.fill(0.0)
            self._terminations.fill(False)
            self._truncations.fill(False)
        self._infos = [None] * self.num_envs
        self._finals = [None] * self.num_envs
        self._failures = {}
        task: Callable[[int], object] = self._step_one
        if len(chosen) < self.num_envs:
            task = _Chosen(task, chosen)
        try:
            self._pool.run(task, len(chosen))
        except BaseException:
            # Some have made the step and others not, and one may be in the middle of it.
            self._never_reset = True
            raise
        if self._failures:
            self._mend()
        infos = self._merge(self._infos, self._finals)
        results = (
            self._returned(),
            self._rewards.copy(),
            self._terminations.copy(),
            self._truncations.copy(),
            infos,
        )
        if self._failures and not self._replaces:
            raise self._error("step()", self._failures, results)
        return results

    def _step_one(self, index: int) -> None:
        """One environment's step; runs in any thread."""
        lane = self._lanes[index]
        try:
            if self._over[index] and self.autoreset_mode == AutoresetMode.NEXT_STEP:
                self._infos[index] = lane.reset()
                self._over[index] = False
                self._rewards[index] = 0.0
                self._terminations[index] = self._truncations[index] = False
                return
            reward, terminated, truncated, info = lane.step(self._actions[index])
            self._rewards[index] = reward
            self._terminations[index] = terminated
            self._truncations[index] = truncated
            if terminated or truncated:
                self._over[index] = True
                if self.autoreset_mode == AutoresetMode.SAME_STEP:
                    self._finals[index] = (lane.observation(), info)
                    info = lane.reset()
                    self._over[index] = False
            self._infos[index] = info
        except Exception as error:
            self._failures[index] = error

    def replace(
        self, index: int, *, seed: int | None = None, options: Options | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Put a new environment, made with the same arguments, in the place of one; reset it.

        The others go on where they are. To be called after a `VectorEnvError`, or at any time.

        Args:
            index: of the environment.
            seed: of the new one; None goes on with the ``np_random`` of the old one.
            options: of `MKDSEnv.reset`.

        Returns:
            Observations of all, and infos of the new one, as `reset` with a mask.

        Raises:
            IndexError: there is no such environment.
            MKDSError: the new one cannot be reset.
        """
        self._check_alive()
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"index={index!r} is no environment's number")
        if not 0 <= index < self.num_envs:
            raise IndexError(f"no environment {index}; there are {self.num_envs}, from 0 on")
        self._swap(int(index))
        infos: list[dict[str, Any] | None] = [None] * self.num_envs
        infos[index] = self._lanes[index].reset(seed, None if options is None else dict(options))
        self._rewards[index] = 0.0
        self._terminations[index] = self._truncations[index] = False
        self._over[index] = False
        self._failed.pop(index, None)
        return self._returned(), self._merge(infos)

    def render(self) -> tuple[Any, ...]:
        """The picture of each environment, see `MKDSEnv.render`."""
        self._check_alive()
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or get an attribute.

        Returns:
            What each gave, in order.
        """
        self._check_alive()
        found = [env.get_wrapper_attr(name) for env in self.envs]
        return tuple(each(*args, **kwargs) if callable(each) else each for each in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment.

        Args:
            name: of the attribute.
            values: a list or tuple with one for each environment, or one for all.

        Raises:
            ValueError: the list has another length.
        """
        self._check_alive()
        if not isinstance(values, list | tuple):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} environments")
        for env, value in zip(self.envs, values, strict=True):
            env.set_wrapper_attr(name, value)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - as the base class passes them
        """Close all consoles and end the threads; `close` calls it once."""
        self._end()
        self._close_envs()

    def __enter__(self) -> MKDSVectorEnv:
        """Itself, closed at the block's end."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Within ---------------------------------------------------------------------------------

    def _close_envs(self) -> None:
        first: BaseException | None = None
        for env in self.envs:
            try:
                env.close()
            except Exception as error:
                first = first or error
        if first is not None:
            raise first

    def _check_alive(self) -> None:
        if self.closed:
            raise gym.error.ClosedEnvironmentError(
                "this vector environment is closed; make a new one"
            )
        if os.getpid() != self._process:
            raise gym.error.Error(
                "this vector environment belongs to the process that this one was forked from; "
                "make a new one in the process that steps it"
            )

    def _mask(self, name: str, mask: Any) -> NDArray[np.bool_]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"{name}={mask!r} is no NumPy array of bool")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"{name} has the shape {mask.shape}, not ({self.num_envs},)")
        if not mask.any():
            raise ValueError(f"{name} has no True: it names no environment")
        return mask

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
            return [int(seed) + index for index in range(self.num_envs)]
        if isinstance(seed, bool | str) or not isinstance(seed, Sequence | np.ndarray):
            raise TypeError(
                f"seed={seed!r} is neither a whole number, nor a list of them, nor None"
            )
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments")
        return [None if each is None else int(each) for each in seed]

    def _each_options(
        self, options: Options | Sequence[Options | None] | None
    ) -> tuple[NDArray[np.bool_] | None, list[dict[str, Any] | None]]:
        """The mask, and the options of each environment."""
        common: dict[str, Any] = {}
        own: Any = None
        mask = None
        if isinstance(options, Mapping):
            common = dict(options)
            own = common.pop(PER_ENV, None)
            if RESET_MASK in common:
                mask = self._mask(RESET_MASK, common.pop(RESET_MASK))
        else:
            own = options
        if own is None:
            return mask, [common or None] * self.num_envs
        if isinstance(own, str) or not isinstance(own, Sequence):
            raise TypeError(
                f"options={own!r} is neither a dict for all environments, nor a list with a dict "
                "or None for each"
            )
        if len(own) != self.num_envs:
            raise ValueError(f"options for {len(own)} of {self.num_envs} environments")
        each: list[dict[str, Any] | None] = []
        for index, item in enumerate(own):
            if item is not None and not isinstance(item, Mapping):
                raise TypeError(
                    f"the options of environment {index}, {item!r}, are no dict or None"
                )
            each.append({**common, **(item or {})} or None)
        return mask, each

    def _check_actions(self, actions: Any, chosen: Sequence[int]) -> Sequence[Any]:
        """The action of each environment; refused here, before any of them steps."""
        space = self.single_action_space
        kinds = {gym.spaces.Discrete: "iu", gym.spaces.MultiBinary: "iub", gym.spaces.Box: "iuf"}
        kind = kinds.get(type(space))
        if kind is None:  # a wrapper's own kind of actions
            listed = list(iterate(self.action_space, actions))
            if len(listed) != self.num_envs:
                raise ValueError(f"{len(listed)} actions for {self.num_envs} environments")
            return listed
        try:
            array = np.asarray(actions)
        except ValueError:
            array = np.empty(0)
        expected = self.action_space.shape
        if array.shape != expected or array.dtype.kind not in kind:
            raise ValueError(
                f"actions of shape {array.shape} and type {array.dtype}; a batch of {space} for "
                f"{self.num_envs} environments has the shape {expected}"
            )
        if isinstance(space, gym.spaces.Discrete):
            good = (array >= space.start) & (array < space.start + space.n)
        elif isinstance(space, gym.spaces.MultiBinary):
            good = (array == 0) | (array == 1)
        else:
            good = np.isfinite(array)
        if not good.all():
            for index in chosen:
                if not good[index].all():
                    raise ValueError(
                        f"actions[{index}] = {array[index].tolist()!r} is no action of {space}"
                    )
        return array.tolist() if array.ndim == 1 else list(array)

    def _returned(self) -> Any:
        return copying.deepcopy(self._observations) if self.copy else self._observations

    def _error(
        self, where: str, failures: Mapping[int, BaseException], results: tuple[Any, ...] | None
    ) -> VectorEnvError:
        index = min(failures)
        cause = failures[index]
        others = sorted(set(failures) - {index})
        error = VectorEnvError(
            f"environment {index} of {self.num_envs} failed in {where}: "
            f"{type(cause).__name__}: {cause}"
            + (f" (and so did {', '.join(map(str, others))})" if others else "")
            + (
                "; the others have made the step, and what it gave is in the error's `results`"
                if results
                else ""
            )
            + f"; go on with envs.replace({index}), or envs.reset()",
            failures,
            results,
        )
        error.__cause__ = cause
        return error

    def _mend(self) -> None:
        """Cut off the episodes of the environments that failed; replace them if so asked."""
        for index, error in sorted(self._failures.items()):
            self._rewards[index] = 0.0
            self._terminations[index] = False
            self._truncations[index] = True
            self._finals[index] = None
            self._infos[index] = {"error": f"{type(error).__name__}: {error}"}
            self._over[index] = True
            if not self._replaces:
                self._failed[index] = error
                continue
            logger.warning(
                "environment %d failed and is replaced", index, exc_info=(type(error), error, None)
            )
            last = self._lanes[index].observation()
            self._swap(index)
            if self.autoreset_mode == AutoresetMode.SAME_STEP:
                self._finals[index] = (last, self._infos[index] or {})
                self._infos[index] = self._lanes[index].reset()
                self._over[index] = False

    def _swap(self, index: int) -> None:
        """A new environment in the place of one, closed; it goes on with its chance."""
        old = self.envs[index]
        new = self._make(index)
        new.unwrapped.np_random = old.unwrapped.np_random
        before: Any = old.unwrapped
        after: Any = new.unwrapped
        spectator, before.spectator = before.spectator, None
        after.spectator = spectator
        self.envs[index] = new
        self._lanes[index] = self._lane(index)
        self._over[index] = True
        try:
            old.close()
        except Exception as error:
            logger.warning("environment %d could not be closed: %r", index, error)

    def _lane(self, index: int) -> Lane:
        env, space, batch = self.envs[index], self.single_observation_space, self._observations
        if type(env) is MKDSEnv:
            return PlainLane(env, space, batch, index)
        return WrappedLane(env, space, batch, index)

    def _merge(
        self,
        infos: Sequence[dict[str, Any] | None],
        finals: Sequence[tuple[Any, dict[str, Any]] | None] = (),
    ) -> dict[str, Any]:
        """One dict of arrays, as `VectorEnv._add_info` makes it of one info after the other."""
        if all(infos) and not any(finals):
            if self._form is None or not self._form.fits(infos):
                self._form = InfoForm(infos[0])
            if self._form.fits(infos):
                return self._form.merge(infos)
        merged: dict[str, Any] = {}
        for index, info in enumerate(infos):
            final = finals[index] if finals else None
            if final is not None:
                merged = self._add_info(
                    merged, {"final_obs": final[0], "final_info": final[1]}, index
                )
            if info is not None:
                merged = self._add_info(merged, info, index)
        return merged


class _Chosen:
    """A task for some of the environments."""

    def __init__(self, task: Callable[[int], object], chosen: Sequence[int]) -> None:
        self._task = task
        self._chosen = chosen

    def __call__(self, number: int) -> None:
        self._task(self._chosen[number])


class _TimeLimit:
    """Gymnasium's `TimeLimit`, as a wrapper with one argument."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __call__(self, env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(env, self._steps)


def _nothing() -> None:
    """What there is to end before the threads are started."""


def _whole(name: str, value: Any, most: int | None = None) -> int:
    """A whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} is not a whole number")
    if value < 1 or (most is not None and value > most):
        allowed = "at least 1" if most is None else f"1 to {most}"
        raise ValueError(f"{name}={value}; allowed: {allowed}")
    return int(value)


def _autoreset_mode(mode: Any) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        allowed = ", ".join(repr(each.value) for each in AutoresetMode)
        raise ValueError(f"autoreset_mode={mode!r} is not one of {allowed}") from None

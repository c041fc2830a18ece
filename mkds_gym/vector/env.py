"""`MKDSVectorEnv`: many races in one process, ``gym.make_vec("MKDS-v0", num_envs=8)``.

Each environment is a real `MKDSEnv` with an emulator of its own. The emulator runs without
Python's lock, so that a few threads keep as many cores busy; observations, rewards and flags go
straight into the arrays of the batch. Nothing is pickled and nothing goes through a pipe.
"""

from __future__ import annotations

import copy as copying
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array
from numpy.typing import NDArray

from mkds_gym.emulator.library import trim_memory
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.errors import MKDSError, StateError, VectorEnvError
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import integer
from mkds_gym.vector.arguments import (
    Actions,
    Mask,
    Options,
    autoreset_mode_of,
    checked_wrappers,
    chosen_by,
    each_kwargs,
    each_options,
    each_seed,
    each_state,
)
from mkds_gym.vector.lanes import InfoForm, Lane, PlainLane, WrappedLane
from mkds_gym.vector.threads import ThreadPool, usable_cores

logger = logging.getLogger(__name__)

MAX_ENVS: Final = 1024
"""More than any machine has memory for."""
MAX_THREADS: Final = 256
ON_ERROR: Final = ("raise", "replace")

_T = TypeVar("_T")
EnvWrapper: TypeAlias = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


class MKDSVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """Races in one process, stepped together by a few threads.

    Step for step and bit for bit, whatever the number of threads, its results are those of
    ``num_envs`` single environments, in the form of Gymnasium's `SyncVectorEnv`. Get one with
    ``gym.make_vec("MKDS-v0", num_envs=8, frame_skip=4)``: all arguments go here.

    Args:
        num_envs: how many environments, at least 1. Each takes a few ten MB of memory (see
            docs/reference/environment.md).
        num_threads: how many threads step them, the calling one included; None is one for each
            core of the processor that this process may use (by its affinity, and by the quota of
            its container). More than ``num_envs`` are not started.
        copy: `reset` and `step` return copies of the observations. False: always the same arrays,
            overwritten by the next call.
        autoreset_mode: what becomes of an environment whose episode is over, one of
            `gymnasium.vector.AutoresetMode` or its value: ``"NextStep"``, ``"SameStep"`` or
            ``"Disabled"``.
        on_error: what becomes of an environment that fails in a step. ``"raise"``: `VectorEnvError`
            after the others have made the step. ``"replace"``: a new one takes its place, and its
            episode counts as truncated; ``infos["error"]`` has the cause. One whose replacement
            fails as well, before its first step is done, is a `VectorEnvError` all the same.
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
        self._lock = threading.Lock()
        self._process = os.getpid()
        self.num_envs = integer("num_envs", num_envs, 1, MAX_ENVS)
        if num_threads is None:
            num_threads = min(usable_cores(), MAX_THREADS)
        else:
            num_threads = integer("num_threads", num_threads, 1, MAX_THREADS)
        self.num_threads = min(num_threads, self.num_envs)
        self.autoreset_mode = autoreset_mode_of(autoreset_mode)
        if not isinstance(copy, bool):
            raise TypeError(f"copy={copy!r} is neither True nor False")
        self.copy = copy
        if on_error not in ON_ERROR:
            raise ValueError(
                f"on_error={on_error!r} is not one of {', '.join(map(repr, ON_ERROR))}"
            )
        self._replaces = on_error == "replace"
        self._kwargs = each_kwargs(self.num_envs, env_kwargs, kwargs)
        self._wrappers = checked_wrappers(env_wrappers)
        if max_episode_steps is not None:
            steps = integer("max_episode_steps", max_episode_steps, 1)
            limit = functools.partial(gym.wrappers.TimeLimit, max_episode_steps=steps)
            self._wrappers = (limit, *self._wrappers)

        # Of each environment, in lists as these are quicker to read than arrays: it is in an
        # episode, and in no call that may have been left half way; that episode is over.
        self._begun = [False] * self.num_envs
        self._over = [False] * self.num_envs
        self._failed: dict[int, BaseException] = {}
        self._fresh: set[int] = set()  # in the place of one that failed, and not stepped yet
        # Of the call under way.
        self._actions: Any = ()
        self._infos: list[dict[str, Any] | None] = [None] * self.num_envs
        self._finals: list[tuple[Any, dict[str, Any]] | None] = [None] * self.num_envs
        self._failures: dict[int, Exception] = {}
        self._form: InfoForm | None = None

        try:
            self._make_all()
        except BaseException:
            self._close_envs()
            raise
        self._pool = ThreadPool(self.num_threads, "mkds-vector")
        # For one that is never closed; the pool knows nothing of this object.
        self._end = weakref.finalize(self, self._pool.close)

    # Making environments --------------------------------------------------------------------

    def _make_all(self) -> None:
        """The environments, and the arrays that they write into."""
        for index in range(self.num_envs):
            self.envs.append(self._make(index))
        first = self.envs[0]
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self._check_spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._given_actions = Actions(self.single_action_space, self.action_space, self.num_envs)
        self.render_mode = first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self._observations: Any = create_empty_array(
            self.single_observation_space, n=self.num_envs, fn=np.zeros
        )
        self._lanes = [self._lane(env, index) for index, env in enumerate(self.envs)]
        self._rewards = np.zeros(self.num_envs, np.float64)
        self._terminations = np.zeros(self.num_envs, np.bool_)
        self._truncations = np.zeros(self.num_envs, np.bool_)

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
                for each. Two more may stand in the dict: ``"reset_mask"`` (bool array or list
                of shape ``(num_envs,)``: only these are reset) and ``"per_env"`` (the list, whose
                items go before the options for all).

        Returns:
            Observations and infos; with a mask, infos of those that were reset only.

        Raises:
            ValueError, TypeError: seeds, or the options of all that are to be reset, are wrong. A
                wrong seed or an option of an unknown name ends no episode.
            StateError: episodes are under way, and no state that was given can be used (no file,
                no savestate); they go on.
            VectorEnvError: some cannot be reset, or none for another cause (an emulator that
                fails, a savestate for the first reset that cannot be used); the others have been.
        """
        self._check_usable()
        with self._lock:
            seeds = each_seed(self.num_envs, seed)
            chosen, each = each_options(self.num_envs, options)
            first = not any(self._begun)
            races = {i: self._core(i).race for i in chosen if self._begun[i]}
            infos, failures = self._on_each(
                chosen, lambda index: self._lanes[index].reset(seeds[index], each[index])
            )
            if first:
                trim_memory()
            for index in chosen:
                error = failures.get(index)
                refused = _is_refusal(error) or isinstance(error, StateError)
                if refused and self._untouched(index, races.get(index)):
                    self._begun[index] = True
                else:
                    self._settle(index, error)
            if failures:
                raise self._joint_error("reset()", failures, chosen)
            return self._returned(), self._merge(infos)

    def step(
        self, actions: Any, *, step_mask: Mask | None = None
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step all environments.

        Args:
            actions: a batch, one of ``action_space``.
            step_mask: bool array (or list) of shape ``(num_envs,)``: only these make the step. The
                others cost nothing; their observation stays, reward and flags are 0 and False.

        Returns:
            Observations, rewards (float64), terminations and truncations (bool), each of shape
            ``(num_envs, ...)``, and infos.

        Raises:
            ValueError: the actions are not of the space; nothing has been stepped.
            gymnasium.error.ResetNeeded: before the first reset; in mode ``Disabled``, when an
                episode is over.
            VectorEnvError: environments failed (``on_error="raise"``), in this step or before.
        """
        self._check_usable()
        with self._lock:
            return self._step(actions, chosen_by(self.num_envs, "step_mask", step_mask))

    def _step(
        self, actions: Any, chosen: Sequence[int]
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        self._check_begun(chosen)
        if self.autoreset_mode == AutoresetMode.DISABLED and any(self._over):
            over = [i for i in chosen if self._over[i]]
            if over:
                raise gym.error.ResetNeeded(
                    f"the episodes of environments {over} are over; reset them with "
                    "envs.reset(options={'reset_mask': ...}), or leave them out with step_mask"
                )
        self._actions = self._given_actions.each(actions, chosen)
        task: Callable[[int], object] = self._step_one
        if len(chosen) < self.num_envs:
            self._rewards.fill(0.0)
            self._terminations.fill(False)
            self._truncations.fill(False)
            task = lambda number: self._step_one(chosen[number])  # noqa: E731
        self._infos = [None] * self.num_envs
        self._finals = [None] * self.num_envs
        self._failures = {}
        for index in chosen:
            self._begun[index] = False
        self._pool.run(task, len(chosen))
        given_up = self._mend() if self._failures else {}
        infos = self._merge(self._infos, self._finals)
        results = (
            self._returned(),
            self._rewards.copy(),
            self._terminations.copy(),
            self._truncations.copy(),
            infos,
        )
        # If this was interrupted, they stay as not begun: what they did is nobody's to tell.
        for index in chosen:
            self._begun[index] = index not in given_up
        if given_up:
            raise self._error("step()", given_up, results)
        return results

    def _step_one(self, index: int) -> None:
        """One environment's step; runs in any thread."""
        lane = self._lanes[index]
        try:
            # In mode `Disabled` that was refused; in `SameStep` only a restored state is like this.
            if self._over[index]:
                self._infos[index] = lane.reset()
                self._clear(index)
                return
            reward, terminated, truncated, info = lane.step(self._actions[index])
            if self._fresh:
                self._fresh.discard(index)
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

    def clone_states(self, mask: Mask | None = None) -> tuple[ClonedState | None, ...]:
        """The whole state of each environment, see `MKDSEnv.clone_state`.

        Args:
            mask: bool array (or list) of shape ``(num_envs,)``: only these; None is all.

        Returns:
            ``num_envs`` states, for `restore_states` and `MKDSEnv.restore_state`; None for those
            that the mask leaves out.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
            VectorEnvError: environments failed, now or before.
        """
        self._check_usable()
        with self._lock:
            chosen = chosen_by(self.num_envs, "mask", mask)
            self._check_begun(chosen)
            states, failures = self._on_each(chosen, lambda index: self._core(index).clone_state())
            for index in chosen:
                self._begun[index] = True
            if failures:
                raise self._joint_error("clone_states()", failures, chosen)
            return tuple(states)

    def restore_states(
        self,
        states: ClonedState | Sequence[ClonedState | None],
        mask: Mask | None = None,
    ) -> None:
        """Go back to cloned states, see `MKDSEnv.restore_state`; the next `step` goes on from them.

        An episode that was under way in the state is under way again, also if the environment's
        own was over, or none has begun yet. What wrappers count (``max_episode_steps``) is no part
        of a state and goes on; where no episode is under way, they begin anew by a reset. What is
        observed of the states comes with the next step. Where a state is of an ended episode, that
        step is a reset, also in mode ``SameStep``; in ``Disabled`` it is refused.

        Args:
            states: one for all environments, or one (or None, which leaves it out) for each.
            mask: bool array (or list) of shape ``(num_envs,)``: only these; None is all.

        Raises:
            TypeError, ValueError: no such states, or another number of them; nothing has changed.
            StateError: none of the states can be restored where it should be.
            VectorEnvError: some cannot, and their environments are as before; or environments
                failed.
        """
        self._check_usable()
        with self._lock:
            each = each_state(self.num_envs, states)
            chosen = [i for i in chosen_by(self.num_envs, "mask", mask) if each[i] is not None]
            under_way = [b and not o for b, o in zip(self._begun, self._over, strict=True)]
            begun = list(self._begun)

            def restore(index: int) -> dict[str, Any]:
                env = self._core(index)
                state = each[index]
                assert state is not None
                if env is not self.envs[index] and not under_way[index]:
                    # One episode goes on there, whatever it takes to get there.
                    with env.unseen():
                        env.restore_state(state)
                        # Only now that the state is not refused, which is to change nothing.
                        self._over[index] = begun[index] = False
                        self.envs[index].reset()
                        begun[index] = True
                env.restore_state(state)
                return {}

            _, failures = self._on_each(chosen, restore)
            for index in chosen:
                error = failures.get(index)
                if isinstance(error, StateError):  # nothing has changed
                    self._begun[index] = begun[index]
                    # Unless the emulator has met a damaged one.
                    self._over[index] = self._over[index] or self._core(index).episode_over
                else:
                    self._settle(index, error)
                    self._over[index] = self._core(index).episode_over
            if failures:
                raise self._joint_error("restore_states()", failures, chosen)

    def replace(
        self, index: int, *, seed: int | None = None, options: Options | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Put a new environment, made with the same arguments, in the place of one; reset it.

        The others go on where they are. To be called after a `VectorEnvError`, or at any time.
        What was done to the old one by hand is not done to the new one: attributes that were set,
        watchers, a recorder, ``draw``, a start that was given to `reset`; nor has it the state of
        the old one's wrappers. Its ``spectator`` and its ``np_random`` move.

        Args:
            index: of the environment.
            seed: of the new one; None goes on with the ``np_random`` of the old one.
            options: of `MKDSEnv.reset`.

        Returns:
            Observations of all, and infos of the new one, as `reset` with a mask.

        Raises:
            IndexError: there is no such environment.
            ValueError, TypeError, MKDSError: the new one cannot be made or reset; the old one is
                where it was.
        """
        self._check_usable()
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"index={index!r} is no environment's number")
        if not 0 <= index < self.num_envs:
            raise IndexError(f"no environment {index}; there are {self.num_envs}, from 0 on")
        with self._lock:
            infos: list[dict[str, Any] | None] = [None] * self.num_envs
            own = None if options is None else dict(options)
            infos[index] = self._renew(int(index), lambda lane: lane.reset(seed, own))
            self._settle(int(index), None)
            return self._returned(), self._merge(infos)

    def render(self) -> tuple[Any, ...]:
        """The picture of each environment, see `MKDSEnv.render`."""
        self._check_usable()
        with self._lock:
            return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or get an attribute.

        Of episodes that such a method begins or ends, this object knows nothing: there are `reset`
        and `restore_states` for that.

        Returns:
            What each gave, in order.
        """
        self._check_usable()
        with self._lock:
            found = [env.get_wrapper_attr(name) for env in self.envs]
            return tuple(each(*args, **kwargs) if callable(each) else each for each in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment.

        Args:
            name: of an attribute that they have: ``"frame_skip"``, ``"spectator"``, or one of a
                wrapper.
            values: a list or tuple with one for each environment, or one for all.

        Raises:
            AttributeError: they have no such attribute; none is set.
            ValueError: the list has another length, or a value is wrong.
        """
        self._check_usable()
        if not isinstance(values, list | tuple):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(f"{len(values)} values for {self.num_envs} environments")
        with self._lock:
            if not all(env.has_wrapper_attr(name) for env in self.envs):
                raise AttributeError(
                    f"the environments have no attribute {name!r}; to be set there are "
                    "'frame_skip', 'spectator' and what your wrappers have; all other arguments "
                    "of an environment are given when it is made"
                )
            for env, value in zip(self.envs, values, strict=True):
                env.set_wrapper_attr(name, value)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - as the base class passes them
        """Close all consoles and end the threads; `close` calls it once."""
        if os.getpid() != self._process:  # the lock may be that of a thread that is not here
            self._end()
            self._close_envs()
            return
        self._check_idle()
        with self._lock:
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

    def _check_usable(self) -> None:
        self._check_alive()
        self._check_idle()

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

    def _check_idle(self) -> None:
        """Refuse a call while another is under way.

        The lock is only taken afterwards, by a ``with`` that Ctrl-C cannot get between.
        """
        if self._lock.locked():
            raise gym.error.AlreadyPendingCallError(
                "a call of this vector environment is still under way, in another thread or in "
                "what this one was called from; make one call after the other",
                "call",
            )

    def _check_begun(self, chosen: Sequence[int]) -> None:
        """Refuse environments that have failed, or are not in an episode."""
        if self._failed and (still := [i for i in chosen if i in self._failed]):
            raise self._error("an earlier call", {i: self._failed[i] for i in still}, None)
        idle = [i for i in chosen if not self._begun[i]]
        if len(idle) == self.num_envs:
            raise gym.error.ResetNeeded("call envs.reset() first")
        if idle:
            raise gym.error.ResetNeeded(
                f"environments {idle} have not been reset, or not since a call was interrupted; "
                "call envs.reset(), or envs.reset(options={'reset_mask': ...}) for these"
            )

    def _core(self, index: int) -> MKDSEnv:
        """An environment without its wrappers."""
        env = self.envs[index].unwrapped
        assert isinstance(env, MKDSEnv)
        return env

    def _untouched(self, index: int, race: RaceState | None) -> bool:
        """Whether a reset that failed has changed nothing: the episode goes on, or stays over.

        Args:
            index: of the environment.
            race: that it had read last before; None where it was in no episode.
        """
        if race is None:
            return False
        env = self._core(index)
        return env.race is race and (self._over[index] or not env.episode_over)

    def _on_each(
        self, chosen: Sequence[int], task: Callable[[int], _T]
    ) -> tuple[list[_T | None], dict[int, Exception]]:
        """Call a task with each of these numbers, in the threads.

        They are not begun then: that is to be set where the task has succeeded.

        Returns:
            What it gave, for each environment, and what it raised, by number.
        """
        given: list[_T | None] = [None] * self.num_envs
        failures: dict[int, Exception] = {}

        def attempt(number: int) -> None:
            index = chosen[number]
            try:
                given[index] = task(index)
            except Exception as error:
                failures[index] = error

        for index in chosen:
            self._begun[index] = False
        self._pool.run(attempt, len(chosen))
        return given, failures

    def _clear(self, index: int) -> None:
        """An environment is at the beginning of an episode, of which nothing is to be told yet."""
        self._rewards[index] = 0.0
        self._terminations[index] = self._truncations[index] = False
        self._over[index] = False

    def _settle(self, index: int, error: Exception | None) -> None:
        """An environment is in an episode; or it has failed, with an error."""
        self._clear(index)
        if error is None:
            self._begun[index] = True
            self._failed.pop(index, None)
        else:
            self._failed[index] = error

    def _returned(self) -> Any:
        return copying.deepcopy(self._observations) if self.copy else self._observations

    def _error(
        self, where: str, failures: Mapping[int, BaseException], results: tuple[Any, ...] | None
    ) -> VectorEnvError:
        index = min(failures)
        cause = failures[index]
        message = (
            f"environment {index} of {self.num_envs} failed in {where}: "
            f"{type(cause).__name__}: {cause}"
        )
        if others := sorted(set(failures) - {index}):
            message += f" (and so did {', '.join(map(str, others))})"
        if results:
            message += (
                "; the others have made the step, and what it gave is in the error's `results`"
            )
        if lost := sorted(failures.keys() & self._failed.keys()):
            message += f"; go on with envs.replace({lost[0]}), or envs.reset()"
        error = VectorEnvError(message, failures, results)
        error.__cause__ = cause
        return error

    def _joint_error(
        self, where: str, failures: Mapping[int, Exception], chosen: Sequence[int]
    ) -> Exception:
        """What to raise of a call that failed for some of those it was for.

        Where every one of them refused what it was given, that is the caller's own mistake.
        """
        refused = all(
            _is_refusal(error) or (isinstance(error, StateError) and index not in self._failed)
            for index, error in failures.items()
        )
        if refused and len(failures) == len(chosen):
            return failures[min(failures)]
        return self._error(where, failures, None)

    def _mend(self) -> dict[int, Exception]:
        """Cut off the episodes of the environments that failed; replace them if so asked.

        Returns:
            Those that have failed for good.
        """
        given_up: dict[int, Exception] = {}
        for index, error in sorted(self._failures.items()):
            told = {"error": f"{type(error).__name__}: {error}"}
            self._infos[index] = told
            # Else the step was made, and the episode ended; it is the next that has not begun.
            if self._finals[index] is None:
                self._rewards[index] = 0.0
                self._terminations[index] = False
                self._truncations[index] = True
            self._over[index] = True
            if self._replaces and index not in self._fresh:
                logger.warning(
                    "environment %d failed and is replaced",
                    index,
                    exc_info=(type(error), error, error.__traceback__),
                )
                try:
                    self._put_new(index, told)
                except Exception as again:
                    again.__cause__ = again.__cause__ or error
                    error = again
                    told["error"] += f"; and its replacement: {type(again).__name__}: {again}"
                else:
                    continue
            self._failed[index] = given_up[index] = error
        return given_up

    def _put_new(self, index: int, told: dict[str, Any]) -> None:
        """Replace an environment that failed in a step, as the autoreset mode wants it."""
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            last = self._lanes[index].observation()
            self._infos[index] = {**self._renew(index, lambda lane: lane.reset()), **told}
            self._finals[index] = self._finals[index] or (last, told)
            self._over[index] = False
        else:
            self._renew(index, None)
        self._fresh.add(index)

    def _renew(self, index: int, begin: Callable[[Lane], dict[str, Any]] | None) -> dict[str, Any]:
        """Put a new environment in the place of one, which is closed; it goes on with its chance.

        Args:
            index: of the environment.
            begin: called with the new one's lane; what it gives is given back. None: it waits for
                its first reset, and the last observation of the old one stays.

        Raises:
            Exception: the new one cannot be made or begin; the old one is in place.
        """
        new = self._make(index)
        old: Any = self._core(index)
        inner: Any = new.unwrapped
        spectator, old.spectator = old.spectator, None
        try:
            lane = self._lane(new, index)
            inner.go_on_with_chance_of(old)
            info: dict[str, Any] = {}
            if begin is None:
                # What there is to render, clone and ask for attributes until then. Its wrappers,
                # its chance and its spectator are to know nothing of it.
                inner.prepare()
            inner.spectator = spectator
            if begin is not None:
                info = begin(lane)
        except BaseException:
            new.close()
            old.spectator = spectator
            raise
        self._begun[index] = False  # until the caller says so: there is no going back from here
        self._close_env(index)
        self.envs[index], self._lanes[index] = new, lane
        self._fresh.discard(index)
        return info

    def _close_env(self, index: int) -> None:
        """Close one that is replaced; it may not be able to."""
        try:
            self.envs[index].close()
        except Exception as error:
            logger.warning("environment %d could not be closed: %r", index, error)

    def _lane(self, env: gym.Env[Any, Any], index: int) -> Lane:
        space, batch = self.single_observation_space, self._observations
        if type(env) is MKDSEnv:
            return PlainLane(env, space, batch, index)
        return WrappedLane(env, space, batch, index)

    def _merge(
        self,
        infos: Sequence[dict[str, Any] | None],
        finals: Sequence[tuple[Any, dict[str, Any]] | None] = (),
    ) -> dict[str, Any]:
        """One dict of arrays, as `VectorEnv._add_info` makes it of one info after the other."""
        if not any(finals):
            complete = [info for info in infos if info]
            if len(complete) == self.num_envs:
                if self._form is None or not self._form.fits(complete):
                    self._form = InfoForm(complete)
                if self._form.usable:
                    return self._form.merge(complete)
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

    def _add_info(
        self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int
    ) -> dict[str, Any]:
        """As the base class, which fails at None where another environment had a number."""
        for key, value in env_info.items():
            array = vector_infos.get(key)
            if value is None and isinstance(array, np.ndarray) and array.dtype != np.object_:
                vector_infos[key] = array.astype(np.object_)
        return super()._add_info(vector_infos, env_info, env_num)


def _nothing() -> None:
    """What there is to end before the threads are started."""


def _is_refusal(error: Exception | None) -> bool:
    """Whether an argument was refused, which is the caller's mistake and no failure."""
    return isinstance(error, ValueError | TypeError) and not isinstance(error, MKDSError)

"""`MKDSVectorEnv`: many races in one process, ``gym.make_vec("MKDS-v0", num_envs=8)``.

Each environment is an `MKDSEnv` with its own emulator. The emulator releases Python's global lock
while it runs, so a few threads keep as many cores busy. Observations, rewards and flags are
written straight into the batch's arrays; nothing is pickled or sent through a pipe.
"""

from __future__ import annotations

import contextlib
import copy as copying
import functools
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from mkds_gym.emulator.desmume.loader import trim_memory
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.errors import ConcurrentCallError, StateError
from mkds_gym.kartlab.boot import MAX_DRIVERS
from mkds_gym.utils.arguments import boolean, choice, integer, shown
from mkds_gym.utils.portable_errors import describe
from mkds_gym.vector.arguments import (
    ActionBatch,
    Mask,
    Options,
    check_autoreset_mode,
    check_length,
    check_wrappers,
    kwargs_per_env,
    masked_indices,
    options_per_env,
    seeds_per_env,
    states_per_env,
)
from mkds_gym.vector.factory import EnvFactory, EnvWrapper
from mkds_gym.vector.failures import is_refusal, joint_error, vector_env_error
from mkds_gym.vector.infos import merge_infos
from mkds_gym.vector.lane_group import LaneGroup, close_all
from mkds_gym.vector.lanes import Lane, Status
from mkds_gym.vector.threads import usable_cores

logger = logging.getLogger(__name__)

MAX_ENVS: Final = 1024
"""Upper limit of ``num_envs``: more than any machine has memory for."""
MAX_THREADS: Final = 256
"""Upper limit of ``num_threads``."""
ON_ERROR: Final = ("raise", "replace")
"""Values of ``on_error``."""

StepResult: TypeAlias = tuple[
    Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class MKDSVectorEnv(VectorEnv[Any, Any, NDArray[Any]]):
    """Many races in one process, stepped together by a few threads.

    Make one with ``gym.make_vec("MKDS-v0", num_envs=8, frame_skip=4)``; all arguments are passed
    on to this class. The results are bit for bit those of ``num_envs`` single environments in the
    form of Gymnasium's `SyncVectorEnv`, whatever the number of threads.

    Args:
        num_envs: number of environments, 1 to 1024. Each takes about 40 MB of memory.
        num_threads: threads that step the environments, the calling thread included, 1 to 256;
            at most ``num_envs`` are started. None: one for each processor core that this process
            may use (CPU affinity and container quota).
        copy: `reset` and `step` return copies of the observations. False: they return the same
            arrays every time, and the next call overwrites them.
        autoreset_mode: how an environment is reset after its episode, an `AutoresetMode` or its
            value: ``"NextStep"``, ``"SameStep"`` or ``"Disabled"``.
        on_error: what happens if an environment fails in a step. ``"raise"``: a `VectorEnvError`,
            after the other environments have completed the step. ``"replace"``: a new environment
            replaces the failed one, its episode is truncated, and ``infos["error"]`` has the
            cause. A replacement that fails before it completes a step always raises.
        env_kwargs: arguments of `MKDSEnv` per environment, a list of dicts (or None). They
            override ``kwargs``. The observation and action spaces must be equal.
        env_wrappers: wrappers applied to each environment, the innermost first.
        max_episode_steps: number of steps after which an episode is truncated; None is no limit.
        drivers_per_console: number of environments that share a console, 1 to 8; a divisor of
            ``num_envs``. Environments 0 to ``drivers_per_console - 1`` share the first console.
            Each drives a time trial of its own, and the results are the same. The environments of a
            console take the memory of one, and little more time. Needs Kartlab, a time trial, and
            one fixed course per console. Cloned states are those of drivers. A picture takes three
            more frames.
        **kwargs: arguments of `MKDSEnv` for all environments.

    Attributes:
        num_threads: number of threads in use.
        closed: whether `close` was called.

    Raises:
        ValueError, TypeError: an argument is wrong. Nothing has been started.
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
        drivers_per_console: int = 1,
        **kwargs: Any,
    ) -> None:
        # close() may be called on an object whose constructor failed.
        self._lanes: list[Lane] = []
        self._stop_threads: Callable[[], object] = lambda: None
        self._lock: Any = threading.RLock()
        self._process = os.getpid()

        self.num_envs = integer("num_envs", num_envs, 1, MAX_ENVS)
        drivers = integer("drivers_per_console", drivers_per_console, 1, MAX_DRIVERS)
        if self.num_envs % drivers:
            raise ValueError(
                f"num_envs={num_envs} is not a multiple of drivers_per_console={drivers}: all "
                "consoles need the same number of drivers"
            )
        consoles = self.num_envs // drivers
        if num_threads is None:
            num_threads = min(usable_cores(), MAX_THREADS)
        self.num_threads = min(integer("num_threads", num_threads, 1, MAX_THREADS), consoles)
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.copy = boolean("copy", copy)
        self._replaces_failed = choice("on_error", on_error, ON_ERROR) == "replace"
        env_kwargs = kwargs_per_env(self.num_envs, env_kwargs, kwargs)
        wrappers = check_wrappers(env_wrappers)
        if max_episode_steps is not None:
            steps = integer("max_episode_steps", max_episode_steps, 1)
            limit = functools.partial(gym.wrappers.TimeLimit, max_episode_steps=steps)
            wrappers = (limit, *wrappers)

        factory = EnvFactory(env_kwargs, wrappers, drivers)
        self._group = LaneGroup(factory, self.num_envs, drivers, self.num_threads)
        self._lanes = self._group.lanes
        # Ends the threads of an object that is never closed. The group has no reference to it.
        self._stop_threads = weakref.finalize(self, self._group.stop_threads)
        self._batch = self._group.batch
        self._set_spaces(self._lanes[0].env)

    # Gymnasium's interface ------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Options | Sequence[Options | None] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start a new episode in each environment.

        Args:
            seed: an int seeds environment ``i`` with ``seed + i``; a list has a seed (or None)
                for each; None keeps the random generators as they are.
            options: options of `MKDSEnv.reset` for all environments, or a list with options (or
                None) for each. The dict may also hold ``"reset_mask"`` (bool, shape
                ``(num_envs,)``: only these environments are reset) and ``"per_env"`` (such a
                list, which overrides the options for all).

        Returns:
            Observations, and the infos of the environments that were reset.

        Raises:
            ValueError, TypeError: the seeds or all options are wrong. An unknown option and a bad
                seed end no episode.
            StateError: episodes are under way, and no given state can be used; the episodes
                continue.
            VectorEnvError: some environments could not be reset; the others were.
        """
        with self._call():
            seeds = seeds_per_env(self.num_envs, seed)
            chosen, each = options_per_env(self.num_envs, options)
            lanes = [self._lanes[index] for index in chosen]
            first = not any(lane.ready for lane in self._lanes)
            races = {lane.index: lane.core.race for lane in lanes if lane.ready}
            failures = self._group.run(
                lanes, lambda lane: lane.reset(seeds[lane.index], each[lane.index])
            )
            if first:
                trim_memory()
            for lane in lanes:
                error = failures.get(lane.index)
                lane.in_call = False
                if error is None:
                    lane.begin()
                elif not (is_refusal(error) and self._continues(lane, races.get(lane.index))):
                    lane.fail(error)
            if failures:
                raise joint_error("reset()", failures, lanes, self._lanes)
            return self._observations(), self._merge_infos(lanes)

    def step(self, actions: Any, *, step_mask: Mask | None = None) -> StepResult:
        """Step all environments.

        Args:
            actions: an element of ``action_space``.
            step_mask: bool, shape ``(num_envs,)``: only these environments are stepped. The
                others keep their observation; their reward is 0 and their flags are False.

        Returns:
            Observations ``(num_envs, ...)``, rewards (float64), terminations and truncations
            (bool) of shape ``(num_envs,)``, and infos.

        Raises:
            ValueError: the actions are not in the action space. Nothing has been stepped.
            gymnasium.error.ResetNeeded: before the first reset, and in mode ``Disabled`` after
                the end of an episode.
            VectorEnvError: environments failed (``on_error="raise"``), now or in an earlier call.
        """
        with self._call():
            chosen = masked_indices(self.num_envs, "step_mask", step_mask)
            lanes = [self._lanes[index] for index in chosen]
            self._check_steppable(lanes)
            each = self._action_batch.split(actions, chosen)
            if len(lanes) < self.num_envs:
                self._batch.clear()
            same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
            failures = self._group.run(
                lanes, lambda lane: lane.step(each[lane.index], reset_at_end=same_step)
            )
            lost = {i: e for i, error in failures.items() if (e := self._handle_failure(i, error))}
            lanes = [self._lanes[index] for index in chosen]  # some have been replaced
            batch = self._batch
            results = (
                self._observations(),
                batch.rewards.copy(),
                batch.terminations.copy(),
                batch.truncations.copy(),
                self._merge_infos(lanes),
            )
            # An interrupt before this line makes a reset necessary: the results are lost.
            for lane in lanes:
                lane.in_call = False
            if lost:
                raise vector_env_error("step()", lost, self._lanes, results)
            return results

    def render(self) -> tuple[Any, ...]:
        """Return the picture of each environment, see `MKDSEnv.render`."""
        with self._call():
            return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or get an attribute.

        Use `reset` and `restore_states` to start episodes: this object does not notice episodes
        that a method called here starts or ends.

        Returns:
            The result of each environment, in order.

        Raises:
            TypeError: the name is not a string.
            AttributeError: an environment has no such attribute.
        """
        with self._call():
            self._check_attribute(name)
            found = [env.get_wrapper_attr(name) for env in self.envs]
            return tuple(each(*args, **kwargs) if callable(each) else each for each in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment.

        Args:
            name: an existing attribute: ``"frame_skip"``, or one of a wrapper.
            values: one value for all environments, or a list or tuple with one for each.

        Raises:
            AttributeError: an environment has no such attribute. Nothing has been set.
            ValueError: the list has another length, or a value is wrong.
        """
        if not isinstance(values, list | tuple):
            values = [values] * self.num_envs
        check_length("values", values, self.num_envs)
        with self._call():
            self._check_attribute(name)
            for env, value in zip(self.envs, values, strict=True):
                env.set_wrapper_attr(name, value)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 - as the base class passes them
        """Close all consoles and end the threads; `close` calls it once."""
        forked = os.getpid() != self._process  # a parent thread may hold the lock
        with contextlib.nullcontext() if forked else self._alone():
            self._stop_threads()
            close_all(self._lanes)

    @property
    def envs(self) -> list[gym.Env[Any, Any]]:
        """The environments, in order."""
        return [lane.env for lane in self._lanes]

    @property
    def env_infos(self) -> list[dict[str, Any]]:
        """The info of each environment from its last reset or step, before they are merged.

        After a reset in the same step (``SameStep``), the info also has ``final_obs`` and
        ``final_info``. The dicts are new.
        """
        return [lane.full_info for lane in self._lanes]

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

    def __enter__(self) -> MKDSVectorEnv:
        """Return this object; the end of the ``with`` block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # States and replacement -----------------------------------------------------------------

    def clone_states(self, mask: Mask | None = None) -> tuple[ClonedState | None, ...]:
        """Return the complete state of each environment, see `MKDSEnv.clone_state`.

        Args:
            mask: bool, shape ``(num_envs,)``: only these environments; None is all.

        Returns:
            ``num_envs`` states for `restore_states` or `MKDSEnv.restore_state`; None for
            environments that are not in the mask.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
            VectorEnvError: environments failed, now or in an earlier call.
        """
        with self._call():
            lanes = [self._lanes[i] for i in masked_indices(self.num_envs, "mask", mask)]
            self._check_ready(lanes)
            states: list[ClonedState | None] = [None] * self.num_envs

            def clone(lane: Lane) -> None:
                states[lane.index] = lane.core.clone_state()

            failures = self._group.run(lanes, clone)
            for lane in lanes:
                lane.in_call = False
            if failures:
                raise joint_error("clone_states()", failures, lanes, self._lanes)
            return tuple(states)

    def restore_states(
        self,
        states: ClonedState | Sequence[ClonedState | None],
        mask: Mask | None = None,
    ) -> None:
        """Go back to cloned states, see `MKDSEnv.restore_state`. The next `step` continues there.

        The episode of the state is under way again, even if the environment's own episode was
        over or had not begun. The next step returns the first observation. If the state's
        episode has ended, the next step resets the environment (mode ``Disabled`` refuses).
        Wrappers are not part of a state: their counters (``max_episode_steps``) continue, or
        start with a reset where no episode was under way.

        Args:
            states: one state for all environments, or one (or None, to skip it) for each.
            mask: bool, shape ``(num_envs,)``: only these environments; None is all.

        Raises:
            TypeError, ValueError: expected cloned states, one for each environment. Nothing has
                changed.
            StateError: no state fits its environment. Nothing has changed.
            VectorEnvError: some states do not fit, and their environments are unchanged; or
                environments failed.
        """
        with self._call():
            each = states_per_env(self.num_envs, states)
            chosen = masked_indices(self.num_envs, "mask", mask)
            lanes = [self._lanes[index] for index in chosen if each[index] is not None]
            running = {lane.index for lane in lanes if lane.ready and lane.status is Status.RUNNING}
            before = {lane.index: Status.IDLE if lane.in_call else lane.status for lane in lanes}

            def restore(lane: Lane) -> None:
                state = each[lane.index]
                assert state is not None
                if lane.env is not lane.core and lane.index not in running:
                    # The wrappers need a reset. Observers see one episode, not the reset's.
                    with lane.core.without_viewer():
                        lane.core.restore_state(state)  # a refusal here changes nothing
                        before[lane.index] = Status.IDLE
                        lane.env.reset()
                        before[lane.index] = Status.RUNNING
                lane.core.restore_state(state)

            failures = self._group.run(lanes, restore)
            for lane in lanes:
                error = failures.get(lane.index)
                lane.in_call = False
                if error is None:
                    lane.begin()
                elif isinstance(error, StateError):
                    lane.status = before[lane.index]
                else:
                    lane.fail(error)
                # A damaged state can end the episode too.
                if lane.status is Status.RUNNING and lane.core.episode_over:
                    lane.status = Status.OVER
            if failures:
                raise joint_error("restore_states()", failures, lanes, self._lanes)

    def replace(
        self, index: int, *, seed: int | None = None, options: Options | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Replace one environment by a new one with the same arguments, and reset it.

        The other environments continue. Call this after a `VectorEnvError`, or at any time. The
        new environment takes over ``np_random`` and the ``viewer``. It does not take over
        attributes that were set, watchers, recorders, the start given to `reset`, or the state of
        wrappers.

        Args:
            index: of the environment.
            seed: of the new environment; None continues with the old ``np_random``.
            options: of `MKDSEnv.reset`.

        Returns:
            Observations of all environments, and the infos of the new one.

        Raises:
            IndexError: ``index`` is out of range.
            ValueError, TypeError, MKDSError: the new environment cannot be made or reset. The old
                one stays as it is.
        """
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"index={shown(index)} is not an integer")
        if not 0 <= index < self.num_envs:
            raise IndexError(f"index={index} is out of range: expected 0 to {self.num_envs - 1}")
        with self._call():
            reset_options = None if options is None else dict(options)
            lane = self._group.replace(int(index), lambda new: new.reset(seed, reset_options))
            lane.begin()
            lane.in_call = False
            return self._observations(), self._merge_infos([lane])

    def _set_spaces(self, env: gym.Env[Any, Any]) -> None:
        self.single_observation_space = env.observation_space
        self.single_action_space = env.action_space
        self.observation_space = batch_space(env.observation_space, self.num_envs)
        self.action_space = batch_space(env.action_space, self.num_envs)
        self._action_batch = ActionBatch(env.action_space, self.action_space, self.num_envs)
        self.render_mode = env.render_mode
        self.metadata = {**env.metadata, "autoreset_mode": self.autoreset_mode}

    def _check_attribute(self, name: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"name={shown(name)} is not a string")
        if not all(env.has_wrapper_attr(name) for env in self.envs):
            raise AttributeError(
                f"the environments have no attribute {shown(name)}: expected 'frame_skip', "
                "'viewer' or an attribute of a wrapper; pass other arguments to make_vec()"
            )

    # Checks ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        """A call of this object: check that it may start, and hold the lock."""
        if self.closed:
            raise gym.error.ClosedEnvironmentError(
                "this vector environment is closed; make a new one"
            )
        if os.getpid() != self._process:
            raise gym.error.Error(
                "this vector environment was made before os.fork(), in another process; make a "
                "new one in the forked process"
            )
        with self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock; refuse at once while another call holds it."""
        nested = self._lock._is_owned()
        # Ctrl-C may arrive before Python knows that it has the lock; see `one_thread`.
        try:
            if nested or not self._lock.acquire(False):
                raise ConcurrentCallError(
                    "another call of this MKDSVectorEnv is still under way, in another thread or "
                    "in a callback: make one call after the other"
                )
            yield
        finally:
            if not nested:
                try:  # noqa: SIM105 - a Ctrl-C in suppress() would keep the lock
                    self._lock.release()
                except RuntimeError:
                    pass

    def _check_ready(self, lanes: Sequence[Lane]) -> None:
        """Refuse environments that failed, were not reset, or were in an interrupted call."""
        failed = {lane.index: lane.error for lane in lanes if lane.status is Status.FAILED}
        if failed:
            raise vector_env_error("an earlier call", failed, self._lanes)
        idle = [lane.index for lane in lanes if not lane.ready]
        if len(idle) == self.num_envs:
            raise gym.error.ResetNeeded("call envs.reset() first")
        if idle:
            raise gym.error.ResetNeeded(
                f"environments {idle} need a reset: they were never reset, or a call was "
                "interrupted; call envs.reset(), or envs.reset(options={'reset_mask': ...})"
            )

    def _check_steppable(self, lanes: Sequence[Lane]) -> None:
        self._check_ready(lanes)
        if self.autoreset_mode is AutoresetMode.DISABLED:
            over = [lane.index for lane in lanes if lane.status is Status.OVER]
            if over:
                raise gym.error.ResetNeeded(
                    f"the episodes of environments {over} are over; call "
                    "envs.reset(options={'reset_mask': ...}), or exclude them with step_mask"
                )

    def _continues(self, lane: Lane, race: object) -> bool:
        """Whether a failed reset changed nothing: the episode goes on, or is still over."""
        unchanged = race is not None and lane.core.race is race
        return unchanged and (lane.status is Status.OVER or not lane.core.episode_over)

    # Failures ---------------------------------------------------------------------------------

    def _handle_failure(self, index: int, error: Exception) -> Exception | None:
        """Truncate the episode of a failed environment, and replace the environment if configured.

        Returns:
            The error, unless a new environment has replaced the failed one.
        """
        lane = self._lanes[index]
        info = {"error": describe(error)}
        lane.cut_off(info)
        if self._replaces_failed and not lane.unproven:
            logger.warning("environment %d failed and is replaced", index, exc_info=error)
            try:
                self._replace_in_step(lane, info)
                return None
            except Exception as second:
                second.__cause__ = second.__cause__ or error
                info["error"] += f"; and its replacement: {describe(second)}"
                error = second
        lane.fail(error)
        return error

    def _replace_in_step(self, failed: Lane, info: dict[str, Any]) -> None:
        """Replace an environment that failed in a step, according to the autoreset mode."""
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = failed.final or (failed.observation(), info)
            lane = self._group.replace(failed.index, lambda new: new.reset())
            lane.final, lane.status = final, Status.RUNNING
            lane.info = {**(lane.info or {}), **info}
        else:
            lane = self._group.replace(failed.index, None)
            lane.final, lane.status, lane.info = failed.final, Status.OVER, info
        lane.unproven = True

    # Results --------------------------------------------------------------------------------

    def _observations(self) -> Any:
        observations = self._batch.observations
        return copying.deepcopy(observations) if self.copy else observations

    def _merge_infos(self, lanes: Sequence[Lane]) -> dict[str, Any]:
        return merge_infos(self.num_envs, [(lane.index, lane.full_info) for lane in lanes])

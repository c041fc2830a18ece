"""Pools of workers: environments in worker processes, or emulators stepped by threads.

Workers are numbered from 0. An episode that ends without a record in its info ended because its
worker failed and was replaced; ``infos["error"]`` then holds the reason.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import resource_tracker
from typing import Any, Final

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState
from numpy.typing import NDArray

from mkds_gym.errors import VectorEnvError
from mkds_neat.episode import STARTED, EnvironmentFactory, EpisodeWrapper

_LOG = logging.getLogger(__name__)

_CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a terminated worker process has to close its console before it is killed."""

StepResult = tuple[Any, Any, Any, dict[str, Any]]
"""Observations, terminations, truncations and infos of all workers."""


class Stopped(Exception):  # noqa: N818 - a stop on request is not an error
    """The evaluation was asked to stop. The results that were reported remain valid."""


class ThreadPool:
    """Emulators in this process, stepped by threads.

    Args:
        factory: Names the environment.
        publishers: publisher of each worker, or None.

    Raises:
        Exception: The environment cannot be made.
    """

    processes: Final[list[Any]] = []

    def __init__(self, factory: EnvironmentFactory, publishers: Sequence[Any]) -> None:
        self.envs: Any = gym.make_vec(
            factory.env_id,
            num_envs=len(publishers),
            vectorization_mode="vector_entry_point",
            env_wrappers=(EpisodeWrapper,),
            copy=False,
            autoreset_mode=AutoresetMode.DISABLED,
            on_error="replace",
            **factory.kwargs,
        )
        self.single_action_space: Any = self.envs.single_action_space
        self._failed: set[int] = set()
        if any(publishers):
            base: Any = self.envs.unwrapped
            base.set_attr("viewer", list(publishers))

    def begin(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> Any:
        """Begin an episode in the workers of the mask; return the observations of all workers.

        An environment that cannot be reset is replaced once.
        """
        try:
            return self.envs.reset(seed=seeds, options={"reset_mask": mask})[0]
        except VectorEnvError as error:
            for worker, cause in sorted(error.failures.items()):
                _LOG.warning("worker %d failed and is replaced", worker, exc_info=cause)
                self._failed = {worker}
                observations = self.envs.replace(worker, seed=seeds[worker])[0]
                self._failed = set()  # the new environment did not cause later errors
            return observations

    def advance(self, actions: Any, active: Sequence[int]) -> StepResult:
        """Step the active workers; the others rest."""
        mask = np.zeros(len(actions), np.bool_)
        mask[active] = True
        try:
            observations, _, terminated, truncated, infos = self.envs.step(actions, step_mask=mask)
        except VectorEnvError as error:
            self._failed = set(error.failures)
            raise error.failures[min(error.failures)] from error
        return observations, terminated, truncated, infos

    def failed(self) -> set[int]:
        """Return the workers that caused the last error."""
        return self._failed

    def shut_down(self) -> None:
        """Close the emulators."""
        self.envs.close()


# Without type arguments, which Gymnasium accepts only from 1.4 on.
class ProcessPool(AsyncVectorEnv):
    """Worker processes that start, fail and end in an orderly way.

    Args:
        factories: Make the environments.
        start_method: Start method of `multiprocessing`.
        timeout: Seconds in which all workers must start, and answer each call.
        stopping: Called while they start; True raises `Stopped`.

    Attributes:
        timeout: Seconds in which all workers must answer a call.
    """

    def __init__(
        self,
        factories: Sequence[EnvironmentFactory],
        start_method: str,
        timeout: float,
        stopping: Callable[[], bool],
    ) -> None:
        # `shut_down` needs these if the base class fails.
        self.parent_pipes: list[Any] = []
        self.processes: list[Any] = []
        self.timeout = timeout
        self._stopping = stopping
        if start_method == "forkserver":
            # The server imports the environment once, and each worker is a quick fork of it.
            context: Any = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["mkds_neat.episode", "mkds_gym.env"])
        if start_method != "fork":
            # Starting the tracker unblocks SIGINT; the tracker must run before SIGINT is blocked.
            resource_tracker.ensure_running()
        # Ctrl-C reaches the whole process group. The workers, and the server that forks them,
        # inherit the blocked signal. Otherwise it would kill them during their imports, before
        # `EnvironmentFactory` can ignore it.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            super().__init__(
                factories,
                copy=False,
                context=start_method,
                autoreset_mode=AutoresetMode.DISABLED,
            )
        except BaseException:
            self.shut_down()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _check_spaces(self) -> None:
        """Check the spaces when all processes have started, with a timeout and a way to stop."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            # The base class would wait for answers without a limit.
            self.call_async(STARTED)
            self._await_answers()
            self.call_wait()
            super()._check_spaces()  # type: ignore[no-untyped-call]
        except (EOFError, ConnectionError) as error:
            codes = set()
            for process in self.processes:
                process.join(0.5)
                codes |= {process.exitcode} - {None}
            raise RuntimeError(
                "a worker ended while it started, with exit code "
                + ", ".join(map(str, sorted(codes)))
            ) from error

    def _await_answers(self) -> None:
        deadline = time.monotonic() + self.timeout
        for pipe in self.parent_pipes:
            while not pipe.poll(0.1):  # also true at the end of a pipe
                if self._stopping():
                    raise Stopped
                if time.monotonic() > deadline:
                    raise multiprocessing.TimeoutError(
                        f"a worker has not started within {self.timeout:.0f} seconds"
                    )

    def begin(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> Any:
        """Begin an episode in the workers of the mask; return the observations of all workers."""
        self.reset_async(seed=list(seeds), options={"reset_mask": mask})
        return self.reset_wait(self.timeout)[0]

    def advance(self, actions: Any, active: Sequence[int]) -> StepResult:  # noqa: ARG002
        """Step all workers. An `EpisodeWrapper` without an episode does not step."""
        self.step_async(actions)
        observations, _, terminated, truncated, infos = self.step_wait(self.timeout)
        return observations, terminated, truncated, infos

    def failed(self) -> set[int]:
        """Return the workers that raised an error or whose process has ended."""
        return {
            worker
            for worker, (process, pipe) in enumerate(
                zip(self.processes, self.parent_pipes, strict=True)
            )
            if pipe is None or not process.is_alive()
        }

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """Raise the last error, as the base class does. The tracebacks go to the log."""
        last: BaseException | None = None
        for _ in range(sum(not success for success in successes)):
            worker, kind, value, trace = self.error_queue.get()
            _LOG.warning("worker %d failed:\n%s", worker, trace)
            self.parent_pipes[worker].close()
            self.parent_pipes[worker] = None
            last = value if isinstance(value, Exception) else kind(value)
        if last is not None:
            self._state = AsyncState.DEFAULT
            raise last

    def shut_down(self) -> None:
        """End the worker processes.

        ``AsyncVectorEnv.close()`` would wait without a limit for a worker that has ended.
        """
        pipes = [pipe for pipe in self.parent_pipes if pipe is not None and not pipe.closed]
        for pipe in pipes:
            with contextlib.suppress(OSError):  # that worker has ended
                pipe.send(("close", None))
        deadline = time.monotonic() + _CLOSE_TIMEOUT
        # The answer to an unfinished step may fill the pipe; reading it lets the worker continue.
        for pipe in pipes:
            with contextlib.suppress(EOFError, OSError):
                while pipe.poll(max(0.0, deadline - time.monotonic())):
                    pipe.recv()
        # A process that was never started has no pid and cannot be joined.
        processes = [process for process in self.processes if process.pid is not None]
        for process in processes:
            process.join(0.2)
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(max(0.5, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in pipes:
            pipe.close()
        if hasattr(self, "error_queue"):
            self.error_queue.close()
            self.error_queue.join_thread()
        self.closed = True


WorkerPool = ThreadPool | ProcessPool

"""The worker process of Gymnasium's `AsyncVectorEnv`, for wrappers with exceptions of their own."""

from __future__ import annotations

from typing import Any

from gymnasium.vector.async_vector_env import _async_worker

from mkds_gym.utils.portable_errors import portable


class _ErrorQueue:
    """A queue of errors that gets no exception that cannot be pickled."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, item: tuple[int, type[BaseException], BaseException, str]) -> None:
        index, _, error, trace = item
        error = portable(error)
        self._queue.put((index, type(error), error, trace))


def async_worker(
    index: int,
    env_fn: Any,
    pipe: Any,
    parent_pipe: Any,
    shared_memory: Any,
    error_queue: Any,
    *rest: Any,
) -> None:
    """Serve an `AsyncVectorEnv`, as its own worker does, and report every exception.

    Gymnasium's worker sends an exception itself. If a wrapper raises one that cannot be pickled,
    such as of a local class, the main process waits for it without end. This worker sends a
    `mkds_gym.errors.ComponentError` instead. (`MKDSEnv` itself raises only exceptions that can be
    sent.) Pass it as ``vector_kwargs={"worker": async_worker}``.

    Args:
        index: number of the worker.
        env_fn: makes the environment.
        pipe: connection to the main process.
        parent_pipe: the main process's end of it.
        shared_memory: arrays for the observations, or None.
        error_queue: takes exceptions.
        rest: further arguments of Gymnasium's worker.
    """
    queue: Any = _ErrorQueue(error_queue)
    _async_worker(index, env_fn, pipe, parent_pipe, shared_memory, queue, *rest)

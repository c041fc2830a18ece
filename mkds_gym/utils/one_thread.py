"""Refuse calls of an object while another thread is in one of its methods."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from mkds_gym.errors import ConcurrentCallError
from mkds_gym.utils.portable_errors import in_worker, portable

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound="OneThread")

_objects: weakref.WeakSet[OneThread] = weakref.WeakSet()


class OneThread:
    """Base class of objects whose `one_thread` methods run in one thread at a time."""

    def __init__(self) -> None:
        self._in_use: Any = threading.RLock()
        _objects.add(self)

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Refuse calls of other threads in the context, which counts as a call of ``name``.

        Raises:
            ConcurrentCallError: another thread is in a call.
        """
        lock = self._in_use
        nested = lock._is_owned()
        try:
            if not nested and not lock.acquire(False):
                _refuse(name, self)
            yield
        finally:
            if not nested:
                try:  # noqa: SIM105 - a Ctrl-C in suppress() would keep the lock
                    lock.release()
                except RuntimeError:
                    pass


def one_thread(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Let a method of a `OneThread` refuse to start while another thread is in such a method.

    The refused call raises `ConcurrentCallError` and changes nothing. Methods may call each other
    in the same thread.

    In a worker process, an exception of custom code that cannot be pickled becomes a
    `ComponentError`: Gymnasium's `AsyncVectorEnv` would wait for it without end.
    """

    @functools.wraps(method)
    def guarded(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        lock = self._in_use
        if lock._is_owned():  # `threading.Condition` relies on this method too
            return method(self, *args, **kwargs)
        # A Ctrl-C may arrive after any call, also before Python knows that it has the lock. So the
        # lock is always released, and a lock that this thread does not have refuses that.
        try:
            if not lock.acquire(False):
                _refuse(method.__name__, self)
            return method(self, *args, **kwargs)
        except BaseException as error:
            if in_worker() and (sent := portable(error)) is not error:
                raise sent from None
            raise
        finally:
            try:  # noqa: SIM105 - a Ctrl-C in suppress() would keep the lock
                lock.release()
            except RuntimeError:
                pass

    return guarded


def _refuse(name: str, called: OneThread) -> NoReturn:
    kind = type(called).__name__
    raise ConcurrentCallError(
        f"{name}() was called while another thread is in a call of the same {kind}: make one call "
        f"after the other, or one {kind} per thread"
    )


def _forget_threads() -> None:
    """In a forked child: the parent's other threads are in no call here."""
    for found in list(_objects):
        found._in_use = threading.RLock()


os.register_at_fork(after_in_child=_forget_threads)

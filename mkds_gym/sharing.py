"""What several environments of a process use together is made once."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_all: weakref.WeakSet[Shared[Any]] = weakref.WeakSet()


class Shared(Generic[T]):
    """Values by key, for as long as somebody has them; safe to use from several threads."""

    def __init__(self) -> None:
        self._values: weakref.WeakValueDictionary[Hashable, T] = weakref.WeakValueDictionary()
        self._forget_locks()
        _all.add(self)

    def _forget_locks(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key, made if nobody has it; who asks meanwhile waits for it.

        Raises:
            Exception: whatever ``make`` raises; the next one who asks tries again.
        """
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                return value
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                value = self._values.get(key)
            if value is None:
                value = make()
                with self._lock:
                    self._values[key] = value
                    # Whoever waits has this lock already, and then finds the value.
                    self._making.pop(key, None)
            return value


def _after_fork() -> None:
    """In a forked child: a lock may have been held by a thread that does not exist here."""
    for shared in list(_all):
        shared._forget_locks()


os.register_at_fork(after_in_child=_after_fork)

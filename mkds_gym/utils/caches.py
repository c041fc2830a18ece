"""What several environments of a process use together is made once."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_all: weakref.WeakSet[Shared[Any] | Kept[Any, Any]] = weakref.WeakSet()


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


class Kept(Generic[K, T]):
    """Values by key, those asked for last; safe to use from several threads.

    Args:
        limit: how many are kept between two calls.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, T] = OrderedDict()
        self._forget_locks()
        _all.add(self)

    def _forget_locks(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._values)

    def get(self, keys: Sequence[K], make: Callable[[list[K]], Iterable[tuple[K, T]]]) -> list[T]:
        """The values of some keys; what is missing is made, while whoever asks meanwhile waits.

        Args:
            keys: in any order, more than ``limit`` too.
            make: called with the missing ones, if there are any; gives each with its value.

        Returns:
            Their values, in the order of ``keys``.

        Raises:
            Exception: whatever ``make`` raises; what it made before is kept.
        """
        with self._lock:
            try:
                missing = [key for key in dict.fromkeys(keys) if key not in self._values]
                if missing:
                    for key, value in make(missing):
                        self._values[key] = value
                for key in keys:
                    self._values.move_to_end(key)
                return [self._values[key] for key in keys]
            finally:
                while len(self._values) > self._limit:
                    self._values.popitem(last=False)


def _after_fork() -> None:
    """In a forked child: a lock may have been held by a thread that does not exist here."""
    for shared in list(_all):
        shared._forget_locks()


os.register_at_fork(after_in_child=_after_fork)

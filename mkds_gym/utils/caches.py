"""Thread-safe caches, for objects that several environments of a process share."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_caches: weakref.WeakSet[WeakCache[Any] | LRUCache[Any, Any]] = weakref.WeakSet()


class WeakCache(Generic[T]):
    """Values by key, held only while other objects refer to them."""

    def __init__(self) -> None:
        self._values: weakref.WeakValueDictionary[Hashable, T] = weakref.WeakValueDictionary()
        self.new_locks()
        _caches.add(self)

    def new_locks(self) -> None:
        """Replace the locks, which a thread of the parent process may hold after a fork."""
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key. If it is missing, make it while other threads wait for it.

        Raises:
            Exception: whatever ``make`` raises. The next thread tries again.
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
                    # Waiting threads have this lock already, and then find the value.
                    self._making.pop(key, None)
            return value


class LRUCache(Generic[K, T]):
    """Values by key, the least recently used dropped first.

    Args:
        limit: number of values that stay between two calls.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, T] = OrderedDict()
        self.new_locks()
        _caches.add(self)

    def new_locks(self) -> None:
        """Replace the lock, which a thread of the parent process may hold after a fork."""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    def get(self, keys: Sequence[K], make: Callable[[list[K]], Iterable[tuple[K, T]]]) -> list[T]:
        """Return the values of some keys. Make the missing ones while other threads wait.

        Args:
            keys: keys in any order, possibly more than ``limit``.
            make: called with the missing keys, if any; yields each key with its value.

        Returns:
            The values, in the order of ``keys``.

        Raises:
            Exception: whatever ``make`` raises. Values made before that stay.
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
    for cache in list(_caches):
        cache.new_locks()


os.register_at_fork(after_in_child=_after_fork)

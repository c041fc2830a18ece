"""Caches make a value once, in one thread, while other threads wait."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mkds_gym.utils.caches import LRUCache, WeakCache


class Value:
    """An object with weak references."""


def in_threads(count: int, call: Callable[[], Any]) -> list[Any]:
    """Call a function in several threads at once, and return the results."""
    begin = threading.Barrier(count)

    def go(_: int) -> Any:
        begin.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


def test_weak_cache_makes_a_value_once_and_drops_it_with_its_users() -> None:
    cache: WeakCache[Value] = WeakCache()
    made = []

    def make() -> Value:
        made.append(threading.get_ident())
        time.sleep(0.02)
        return Value()

    values = in_threads(6, lambda: cache.get("a", make))
    assert len(made) == 1
    assert len(set(map(id, values))) == 1
    assert cache.get("b", make) is not values[0]
    assert len(made) == 2
    del values
    gc.collect()
    cache.get("a", make)
    assert len(made) == 3


def test_weak_cache_makes_different_values_at_once() -> None:
    cache: WeakCache[Value] = WeakCache()
    both = threading.Barrier(2)
    names = iter("ab")

    def make() -> Value:
        both.wait(timeout=30)  # one thread alone does not pass
        return Value()

    first, second = in_threads(2, lambda: cache.get(next(names), make))
    assert first is not second


def test_weak_cache_retries_in_a_waiting_thread_after_an_error() -> None:
    cache: WeakCache[Value] = WeakCache()
    tries: list[int] = []

    def make() -> Value:
        tries.append(1)
        time.sleep(0.02)
        if len(tries) == 1:
            raise RuntimeError("first try")
        return Value()

    def get() -> Value | None:
        try:
            return cache.get("a", make)
        except RuntimeError:
            return None

    values = in_threads(4, get)
    assert values.count(None) == 1
    assert len(set(values)) == 2
    assert len(tries) == 2


def test_lru_cache_makes_values_once_and_is_bounded() -> None:
    cache: LRUCache[int, str] = LRUCache(3)
    asked: list[list[int]] = []

    def make(missing: list[int]) -> Iterator[tuple[int, str]]:
        asked.append(missing)
        for key in missing:
            time.sleep(0.005)
            yield key, str(key)

    assert in_threads(5, lambda: cache.get([2, 1, 2], make)) == [["2", "1", "2"]] * 5
    assert asked == [[2, 1]]
    # More keys than the limit, in one call: the last ones stay.
    assert cache.get([1, 7, 2, 8, 9], make) == ["1", "7", "2", "8", "9"]
    assert asked[1:] == [[7, 8, 9]]
    assert len(cache) == 3
    cache.get([2], make)
    assert asked[2:] == []
    cache.get([4], make)
    assert cache.get([2, 9, 4], make) == ["2", "9", "4"]
    assert asked[2:] == [[4]]


def test_lru_cache_keeps_values_made_before_an_error() -> None:
    cache: LRUCache[int, str] = LRUCache(9)

    def make(missing: list[int]) -> Iterator[tuple[int, str]]:
        for key in missing:
            if key == 3:
                raise ValueError("three")
            yield key, str(key)

    with pytest.raises(ValueError, match="three"):
        cache.get([1, 2, 3, 4], make)
    assert len(cache) == 2
    assert cache.get([1, 2, 4], make) == ["1", "2", "4"]


def test_forked_child_does_not_wait_for_threads_of_its_parent() -> None:
    lru: LRUCache[int, int] = LRUCache(2)
    weak: WeakCache[Value] = WeakCache()
    begun, go_on = threading.Event(), threading.Event()

    def make(missing: list[int]) -> Iterator[tuple[int, int]]:
        begun.set()
        go_on.wait(timeout=30)
        yield from ((key, key) for key in missing)

    thread = threading.Thread(target=lru.get, args=([1], make))
    thread.start()
    assert begun.wait(timeout=30)
    child = os.fork()
    if not child:
        right = lru.get([2], lambda missing: [(key, key) for key in missing]) == [2]
        weak.get("a", Value)
        os._exit(0 if right else 1)
    until = time.monotonic() + 20
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    go_on.set()
    thread.join()
    if not ended:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert ended
    assert os.waitstatus_to_exitcode(status) == 0

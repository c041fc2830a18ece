"""What environments of a process share: made once, by one thread, while the others wait."""

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
    """Something that can be referred to weakly."""


def in_threads(count: int, call: Callable[[], Any]) -> list[Any]:
    """What a call returns in threads that make it at once."""
    begin = threading.Barrier(count)

    def go(_: int) -> Any:
        begin.wait(timeout=30)
        return call()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


def test_a_shared_value_is_made_once_and_goes_with_its_users() -> None:
    shared: WeakCache[Value] = WeakCache()
    made = []

    def make() -> Value:
        made.append(threading.get_ident())
        time.sleep(0.02)
        return Value()

    values = in_threads(6, lambda: shared.get("a", make))
    assert len(made) == 1
    assert len(set(map(id, values))) == 1
    assert shared.get("b", make) is not values[0]
    assert len(made) == 2
    del values
    gc.collect()
    shared.get("a", make)
    assert len(made) == 3


def test_different_shared_values_are_made_at_once() -> None:
    shared: WeakCache[Value] = WeakCache()
    both = threading.Barrier(2)
    names = iter("ab")

    def make() -> Value:
        both.wait(timeout=30)  # never gets past it alone
        return Value()

    first, second = in_threads(2, lambda: shared.get(next(names), make))
    assert first is not second


def test_who_waits_for_a_shared_value_that_fails_makes_it() -> None:
    shared: WeakCache[Value] = WeakCache()
    tries: list[int] = []

    def make() -> Value:
        tries.append(1)
        time.sleep(0.02)
        if len(tries) == 1:
            raise RuntimeError("the first one")
        return Value()

    def get() -> Value | None:
        try:
            return shared.get("a", make)
        except RuntimeError:
            return None

    values = in_threads(4, get)
    assert values.count(None) == 1
    assert len(set(values)) == 2
    assert len(tries) == 2


def test_kept_values_are_made_once_and_bounded() -> None:
    kept: LRUCache[int, str] = LRUCache(3)
    asked: list[list[int]] = []

    def make(missing: list[int]) -> Iterator[tuple[int, str]]:
        asked.append(missing)
        for key in missing:
            time.sleep(0.005)
            yield key, str(key)

    assert in_threads(5, lambda: kept.get([2, 1, 2], make)) == [["2", "1", "2"]] * 5
    assert asked == [[2, 1]]
    # More than are kept, in one call; those asked for last stay.
    assert kept.get([1, 7, 2, 8, 9], make) == ["1", "7", "2", "8", "9"]
    assert asked[1:] == [[7, 8, 9]]
    assert len(kept) == 3
    kept.get([2], make)
    assert asked[2:] == []
    kept.get([4], make)
    assert kept.get([2, 9, 4], make) == ["2", "9", "4"]
    assert asked[2:] == [[4]]


def test_what_was_made_before_an_error_is_kept() -> None:
    kept: LRUCache[int, str] = LRUCache(9)

    def make(missing: list[int]) -> Iterator[tuple[int, str]]:
        for key in missing:
            if key == 3:
                raise ValueError("three")
            yield key, str(key)

    with pytest.raises(ValueError, match="three"):
        kept.get([1, 2, 3, 4], make)
    assert len(kept) == 2
    assert kept.get([1, 2, 4], make) == ["1", "2", "4"]


def test_a_forked_child_does_not_wait_for_threads_it_has_not_got() -> None:
    kept: LRUCache[int, int] = LRUCache(2)
    shared: WeakCache[Value] = WeakCache()
    begun, go_on = threading.Event(), threading.Event()

    def make(missing: list[int]) -> Iterator[tuple[int, int]]:
        begun.set()
        go_on.wait(timeout=30)
        yield from ((key, key) for key in missing)

    thread = threading.Thread(target=kept.get, args=([1], make))
    thread.start()
    assert begun.wait(timeout=30)
    child = os.fork()
    if not child:
        right = kept.get([2], lambda missing: [(key, key) for key in missing]) == [2]
        shared.get("a", Value)
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

"""`Remote`: an object in a separate process; `remotes`: several."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final

from benchmarks.report import log

_SECONDS: Final = 600.0
"""How long one call may take."""
_object: Any = None


class Remote:
    """Make an object in a new process and call its methods.

    Each row of a benchmark has its own process, as a program would: a row cannot slow down another
        row.

    Args:
        make: an importable function that returns the object.
        arguments: of ``make``; must be picklable.

    Raises:
        RuntimeError: the process cannot be started, or ``make`` failed.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _exit_with_parent)
        try:
            self._call(_make, make, arguments)
        except BaseException:
            self._pool.shutdown()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object.

        Raises:
            RuntimeError: the method failed, or the process ended.
        """
        return self._call(_call_method, method, arguments)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._pool.submit(function, *arguments).result(_SECONDS)
        except BrokenProcessPool as error:
            raise RuntimeError("a process of the benchmark ended unexpectedly") from error

    def close(self) -> None:
        """Close the object and end the process."""
        try:
            self._call(_call_method, "close", ())
        finally:
            self._pool.shutdown()


@contextlib.contextmanager
def remotes(
    make: Callable[..., Any],
    arguments: Mapping[str, tuple[Any, ...]],
    missing: dict[str, str] | None = None,
) -> Iterator[dict[str, Remote]]:
    """Make a `Remote` for each title and its arguments, and close all at the end.

    Args:
        make: as of `Remote`.
        arguments: of ``make``, by title.
        missing: gets the reasons for objects that cannot be made. None: raise these errors.
    """
    made = {}
    with contextlib.ExitStack() as stack:
        for title, values in arguments.items():
            try:
                made[title] = stack.enter_context(contextlib.closing(Remote(make, *values)))
            except (OSError, RuntimeError, TypeError, ValueError) as error:
                if missing is None:
                    raise
                log(f"  {title} is left out: {error}")
                missing[title] = str(error)
        yield made


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _make(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    global _object
    _object = make(*arguments)


def _call_method(method: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_object, method)(*arguments)

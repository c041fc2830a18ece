"""Texts of exceptions of custom code, and exceptions that reach another process."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from typing import Final

from mkds_gym.errors import ComponentError

_LONGEST: Final = 10_000
"""Characters of a description or traceback; custom code can make them as long as it likes."""


_SIGNALS: Final = range(129, 193)
"""Exit codes of processes that a signal ended."""


def describe(error: BaseException) -> str:
    """Return the type and the text of an exception, also if its ``__str__`` fails."""
    try:
        text = str(error)
    except BaseException as second:
        text = f"its __str__() raised {type(second).__name__}"
    return _shortened(f"{type(error).__name__}: {text}")


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception, also if its ``__str__`` fails."""
    try:
        return _shortened("".join(traceback.format_exception(error)))
    except BaseException:
        return "".join(traceback.format_tb(error.__traceback__)) + describe(error)


def ends_process(error: BaseException) -> bool:
    """Return whether an exception is Ctrl-C or an exit by a signal, and not a fault of code."""
    by_signal = isinstance(error, SystemExit) and error.code in _SIGNALS
    return by_signal or isinstance(error, KeyboardInterrupt | GeneratorExit)


def portable(error: BaseException) -> BaseException:
    """Return an exception, or a `ComponentError` that describes it if it cannot be sent.

    Pickling must give an exception of the same type, and the type must accept one argument:
    `gymnasium.vector.AsyncVectorEnv` makes the exception again from its type. Only an `Exception`
    is an error to other processes. Ctrl-C, and an exit by a signal, stay as they are.
    """
    if ends_process(error):
        return error
    try:
        copied = pickle.loads(pickle.dumps(error))
        if type(copied) is type(error) and isinstance(error, Exception):
            type(error)(copied)
            str(copied)
            return error
    except Exception:
        pass  # it cannot be pickled
    remedy = (
        "define its class at the top level of a module, with one argument"
        if isinstance(error, Exception)
        else "raise an Exception"
    )
    return ComponentError(
        f"{describe(error)} (another process cannot receive this exception: {remedy})\n"
        f"{traceback_of(error)}"
    )


def in_worker() -> bool:
    """Return whether `multiprocessing` started this process."""
    return multiprocessing.parent_process() is not None


def _shortened(text: str) -> str:
    return (
        text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    )

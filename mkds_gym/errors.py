"""The errors that mkds_gym raises for bad input, each a `MKDSError`.

Each class also derives from the standard exception for its kind, such as `ValueError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MKDSError(Exception):
    """Base class of all errors of this package."""


def reason(error: BaseException) -> str:
    """Return why something failed, for a message that already names the file.

    A system error gives its text without the number and the file name, which may be a temporary
    one.
    """
    return str(getattr(error, "strerror", None) or error)


class CartridgeError(MKDSError, ValueError):
    """A ROM file is missing, truncated, not a Nintendo DS ROM, or another game."""


class CourseFormatError(MKDSError, ValueError):
    """A course file (KCL, NKM, NARC, LZ77) is malformed.

    Attributes:
        offset: byte offset of the fault in the file (or its address in RAM), or None.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(message if offset is None else f"{message} (at offset {offset:#x})")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the offset, which the message already contains."""
        return (_rebuild_course_format_error, (self.args[0], self.offset))


def _rebuild_course_format_error(message: str, offset: int | None) -> CourseFormatError:
    error = CourseFormatError(message)
    error.offset = offset
    return error


class StateError(MKDSError, ValueError):
    """A savestate cannot be used: missing, damaged, of another ROM, or of another build."""


class RecordingError(MKDSError, ValueError):
    """A recording cannot be used or written: missing, damaged, or of another ROM or version."""


class ConsoleError(MKDSError, RuntimeError):
    """The emulator cannot be started, or a console was used after it was closed."""


class ConcurrentCallError(ConsoleError):
    """Another thread is in a call of the same console, environment or vector environment.

    Or, of a vector environment, a callback of the call under way. The refused call changed
    nothing, and the call under way goes on.
    """


class ComponentError(MKDSError, RuntimeError):
    """A custom metric, sensor, reward, event or wrapper failed in a worker process.

    It raised an exception that cannot be pickled. The message has the exception and its traceback.
    """


class OutOfMemoryError(MKDSError, MemoryError):
    """The system refuses the address space that the obstacles of a course need."""


class NoRaceError(MKDSError, RuntimeError):
    """The console's memory contains no running race."""


class VectorEnvError(MKDSError, RuntimeError):
    """Some environments of a vector environment failed. The others are not affected.

    Attributes:
        failures: the exception of each failed environment, by index.
        results: the results of `step`, with the episodes of the failed environments truncated
            (previous observation, reward 0; if the episode had ended and the next one did not
            start, the results of its last step). None if the call was not a step.
    """

    def __init__(
        self,
        message: str,
        failures: Mapping[int, BaseException] | None = None,
        results: tuple[Any, ...] | None = None,
    ) -> None:
        super().__init__(message)
        self.failures = dict(failures or {})
        self.results = results

    @property
    def index(self) -> int | None:
        """Lowest index of a failed environment, or None."""
        return min(self.failures, default=None)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the failures and the results."""
        return (type(self), (self.args[0], self.failures, self.results))


class OverlayError(MKDSError, RuntimeError):
    """An overlay cannot be drawn: it raised an exception, or there is no camera."""


class ViewerError(MKDSError, RuntimeError):
    """The viewer cannot show anything: no shared memory, no display, or no running training run."""

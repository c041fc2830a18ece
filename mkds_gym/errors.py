"""The errors that mkds_gym raises for bad input, each a `MKDSError`.

Every message names the thing, the value that was met, and what to do about it. Each class
is also the standard exception a caller would expect (`ValueError`, `RuntimeError`), so that
``except ValueError`` keeps working.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MKDSError(Exception):
    """Base class of all errors of this package."""


def reason(error: BaseException) -> str:
    """Why something failed, for a message that names the user's own file.

    Of an error of the system: its words, without the number, and without the name of the file,
    which may be a temporary one. Of any other, what it says.
    """
    return str(getattr(error, "strerror", None) or error)


class CartridgeError(MKDSError, ValueError):
    """A ROM file is missing, truncated, not a Nintendo DS ROM, or another game."""


class CourseFormatError(MKDSError, ValueError):
    """A course file (KCL, NKM, NARC, LZ77) is malformed.

    Attributes:
        offset: byte offset in the file (or address in RAM) at which the fault was met, or
            None where no single place can be named.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        self.offset = offset
        super().__init__(message if offset is None else f"{message} (at offset {offset:#x})")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state, as the message already carries the offset."""
        return (_rebuild_course_format_error, (self.args[0], self.offset))


def _rebuild_course_format_error(message: str, offset: int | None) -> CourseFormatError:
    error = CourseFormatError(message)
    error.offset = offset
    return error


class StateError(MKDSError, ValueError):
    """A savestate cannot be used: missing, corrupt, of another ROM, or of another build."""


class RecordingError(MKDSError, ValueError):
    """A recording cannot be used or written: missing, corrupt, of another ROM, build or version."""


class ConsoleError(MKDSError, RuntimeError):
    """The emulator cannot be started, or a console was used after it was closed."""


class NoRaceError(MKDSError, RuntimeError):
    """The console's memory holds no running race."""


class VectorEnvError(MKDSError, RuntimeError):
    """Some environments of a vector environment failed; the others are as good as before.

    Attributes:
        failures: what each failed environment raised, by index.
        index: the first of them.
        results: what `step` would have returned, with the failed environments' episodes cut off
            (their observation as it was, reward 0, truncated; where the episode had ended and the
            next one did not begin, what its last step gave); None where it was no step.
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
        """See the class."""
        return min(self.failures, default=None)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with what it carries."""
        return (type(self), (self.args[0], self.failures, self.results))


class OverlayError(MKDSError, RuntimeError):
    """An overlay cannot be drawn: it raised, or there is no camera to draw it with."""


class ViewerError(MKDSError, RuntimeError):
    """Nothing can be shown: no shared memory, no display, no run that is going."""

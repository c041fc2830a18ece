"""The errors of `mkds_neat`. Each is an `mkds_gym.errors.MKDSError` and names a remedy."""

from __future__ import annotations

from pydantic import ValidationError

from mkds_gym.errors import MKDSError
from mkds_gym.utils.arguments import shortened
from mkds_gym.utils.reading import problems


class ConfigError(MKDSError, ValueError):
    """A config file or a command line option is refused."""


class StrategyError(MKDSError, RuntimeError):
    """A strategy was called in the wrong order, or its population has died out."""


class StrategyStateError(MKDSError, ValueError):
    """The state of a strategy is malformed, or of another strategy."""


class EvaluationError(MKDSError, RuntimeError):
    """An individual could not be evaluated, even after retries."""


class RunFolderError(MKDSError, OSError):
    """A run folder cannot be written, read or resumed."""


class NoRunFolderError(RunFolderError):
    """A path that was given as the folder of a run is something else, or cannot be read."""


class RunVersionError(RunFolderError):
    """A file of a run folder has the format of another version of mkds-gym.

    Args:
        name: Name of the file.
        found: Version of its format.
        expected: The version that this mkds-gym reads.
    """

    def __init__(self, name: str, found: int, expected: int) -> None:
        super().__init__(
            f"{name} has version {found}: expected {expected}; continue the run with the mkds-gym "
            "that wrote it (run.json has its version), or start a new run"
        )


class ChampionFormatError(MKDSError, ValueError):
    """A champion's file is malformed, or of another version."""


class ExportError(MKDSError, RuntimeError):
    """A network cannot be written for another program."""


def describe(error: Exception) -> str:
    """Return an error in one line; for a ValidationError, the place and reason of each problem."""
    if isinstance(error, ValidationError):
        return problems(error)
    return shortened(repr(error))

"""The errors of `mkds_neat`. Each is an `mkds_gym.errors.MKDSError` and names a remedy."""

from __future__ import annotations

from pydantic import ValidationError

from mkds_gym.errors import MKDSError


class ConfigError(MKDSError, ValueError):
    """A config file or a command line option is refused."""


class StrategyError(MKDSError, RuntimeError):
    """A strategy was called in the wrong order, or its population has died out."""


class EvaluationError(MKDSError, RuntimeError):
    """An individual could not be evaluated, even after retries."""


class RunFolderError(MKDSError, OSError):
    """A run folder cannot be written, read or resumed."""


class ChampionFormatError(MKDSError, ValueError):
    """A champion's file is malformed, or of another version."""


def describe(error: Exception) -> str:
    """Return an error in one line; for a ValidationError, the place and reason of each problem."""
    if isinstance(error, ValidationError):
        problems = error.errors()
        return "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in problems)
    return repr(error)

"""The errors of `mkds_neat`. Each is an `mkds_gym.errors.MKDSError` and names a remedy."""

from __future__ import annotations

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

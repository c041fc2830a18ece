"""The errors of `mkds_neat`, each a `mkds_gym.errors.MKDSError` with a remedy in its message."""

from __future__ import annotations

from mkds_gym.errors import MKDSError


class ConfigError(MKDSError, ValueError):
    """A config file, or a command line option, asks for something that cannot be."""


class StrategyError(MKDSError, RuntimeError):
    """A strategy was used out of turn, or has died out."""


class EvaluationError(MKDSError, RuntimeError):
    """An individual could not be evaluated, even after trying again."""


class RunFolderError(MKDSError, OSError):
    """A run folder cannot be written, read or resumed."""


class ChampionFormatError(MKDSError, ValueError):
    """A champion's file is malformed, or written by another version."""

"""The package's version."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mkds-gym")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

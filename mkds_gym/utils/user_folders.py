"""Folders of this package in the user's home, which hold imported cartridges and race starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import platformdirs

HOME_VARIABLE: Final = "MKDS_HOME"
"""Environment variable with a folder to use instead of the user's folders."""

_NAME: Final = "mkds-gym"


def data_folder() -> Path:
    """Return the folder of the user's data, which need not exist; ``MKDS_HOME`` if that is set."""
    named = os.environ.get(HOME_VARIABLE)
    return Path(named).absolute() if named else platformdirs.user_data_path(_NAME, appauthor=False)


def cache_folder() -> Path:
    """Return the folder of files that can be made again; ``MKDS_HOME/cache`` if that is set."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).absolute() / "cache"
    return platformdirs.user_cache_path(_NAME, appauthor=False)

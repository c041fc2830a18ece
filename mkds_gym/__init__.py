"""Mario Kart DS as a Gymnasium environment, with a free cartridge to drive on.

``gymnasium.make("MKDS-v0")`` is all most users need; see `MKDSEnv` for its arguments. Importing
this package registers the environment and starts nothing. The public names are loaded on first
use, so that ``import mkds_gym`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mkds_gym.errors import MKDSError
from mkds_gym.registration import ENVIRONMENT_ID, register_envs
from mkds_gym.version import __version__

if TYPE_CHECKING:
    from mkds_gym.course import Course
    from mkds_gym.emulator.cartridge import Cartridge
    from mkds_gym.emulator.console import Console, Keys
    from mkds_gym.env import MKDSEnv
    from mkds_gym.multi_agent import parallel_env
    from mkds_gym.race.state import RaceState
    from mkds_gym.recording.format import Recording
    from mkds_gym.vector.env import MKDSVectorEnv

__all__ = [
    "ENVIRONMENT_ID",
    "Cartridge",
    "Console",
    "Course",
    "Keys",
    "MKDSEnv",
    "MKDSError",
    "MKDSVectorEnv",
    "RaceState",
    "Recording",
    "__version__",
    "parallel_env",
    "register_envs",
]

_MODULES = {
    "Cartridge": "mkds_gym.emulator.cartridge",
    "Console": "mkds_gym.emulator.console",
    "Course": "mkds_gym.course",
    "Keys": "mkds_gym.emulator.console",
    "MKDSEnv": "mkds_gym.env",
    "MKDSVectorEnv": "mkds_gym.vector.env",
    "parallel_env": "mkds_gym.multi_agent",
    "RaceState": "mkds_gym.race.state",
    "Recording": "mkds_gym.recording.format",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module 'mkds_gym' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_envs()

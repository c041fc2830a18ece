"""Mario Kart DS as a Gymnasium environment, with a free cartridge to drive on.

``gymnasium.make("MKDS-v0")`` is all most users need; see `mkds_gym.env.MKDSEnv` for its
arguments. Importing this package registers the environment and starts nothing.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from mkds_gym.registration import ENVIRONMENT_ID, register_envs

try:
    __version__ = version("mkds-gym")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["ENVIRONMENT_ID", "__version__", "register_envs"]

register_envs()

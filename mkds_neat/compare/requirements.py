"""The packages that a comparison needs."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec
from typing import Final

from mkds_neat.errors import ConfigError

_PACKAGES: Final = {"scipy": "SciPy"}


def check_packages(strategies: Collection[str]) -> None:
    """Check that the packages are installed.

    Raises:
        ConfigError: A package is missing.
    """
    for module, name in _PACKAGES.items():
        if find_spec(module) is None:
            raise ConfigError(f"mkds_neat.compare needs {name}: pip install 'mkds-gym[compare]'")
    if "ppo" in strategies and find_spec("stable_baselines3") is None:
        raise ConfigError(
            "--strategies ppo needs Stable-Baselines3: pip install 'mkds-gym[compare,sb3]'"
        )

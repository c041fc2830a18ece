"""Races of several agents against each other: PettingZoo's Parallel API.

`mkds_gym.parallel_env` makes the environment. It needs PettingZoo: ``pip install
'mkds-gym[multi]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkds_gym.multi_agent.env import MKDSParallelEnv

__all__ = ["parallel_env"]


def parallel_env(agents: int = 2, **arguments: Any) -> MKDSParallelEnv:
    """Return a race of several agents against each other, with PettingZoo's Parallel API.

    Args:
        agents: number of karts that agents drive, 2 to 8.
        arguments: the other arguments of `mkds_gym.multi_agent.env.MKDSParallelEnv`.

    Raises:
        ImportError: PettingZoo is not installed.
        ValueError, TypeError: an argument is wrong.
        CartridgeError: the cartridge cannot be used.
    """
    try:
        import pettingzoo  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "mkds_gym.parallel_env needs PettingZoo: pip install 'mkds-gym[multi]'"
        ) from error
    from mkds_gym.multi_agent.env import MKDSParallelEnv

    return MKDSParallelEnv(agents, **arguments)

"""How Gymnasium finds the environment."""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

ENVIRONMENT_ID = "MKDS-v0"


def register_envs() -> None:
    """Register ``MKDS-v0``, once; called when the package is imported.

    The episode's length is bounded by the environment's own ``clock`` event, so that no
    `TimeLimit` wrapper is needed and none is added.
    """
    if ENVIRONMENT_ID not in registry:
        register(
            id=ENVIRONMENT_ID,
            entry_point="mkds_gym.env:make_env",
            vector_entry_point="mkds_gym.vector.env:MKDSVectorEnv",
        )

"""Make the environments of a vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym

from mkds_gym.env import MKDSEnv

EnvWrapper: TypeAlias = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


class EnvFactory:
    """Makes environments, always from the same arguments.

    Args:
        kwargs: arguments of `MKDSEnv` per environment.
        wrappers: applied to each environment, the innermost first.
    """

    def __init__(self, kwargs: Sequence[dict[str, Any]], wrappers: Sequence[EnvWrapper]) -> None:
        self._kwargs = kwargs
        self._wrappers = wrappers

    def make(self, index: int) -> gym.Env[Any, Any]:
        """Make one environment.

        Raises:
            TypeError: an unknown argument, or a wrapper returned something else.
            Exception: what `MKDSEnv` and the wrappers raise.
        """
        try:
            env: gym.Env[Any, Any] = MKDSEnv(**self._kwargs[index])
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise TypeError(
                f"{error}; arguments of the vector environment are num_envs, num_threads, copy, "
                "autoreset_mode, on_error, env_kwargs, env_wrappers and max_episode_steps"
            ) from None
        try:
            for wrapper in self._wrappers:
                wrapped: object = wrapper(env)
                if not isinstance(wrapped, gym.Env):
                    raise TypeError(
                        f"env_wrappers: {wrapper!r} returned {wrapped!r}, expected an environment"
                    )
                env = wrapped
        except BaseException:
            env.close()
            raise
        return env


def check_equal_spaces(envs: Sequence[gym.Env[Any, Any]]) -> None:
    """Check that all environments have the same observation and action spaces.

    Raises:
        ValueError: the spaces differ.
    """
    for index, env in enumerate(envs):
        for what, space, expected in (
            ("observation", env.observation_space, envs[0].observation_space),
            ("action", env.action_space, envs[0].action_space),
        ):
            if space != expected:
                raise ValueError(
                    f"environment {index} has the {what} space {space} and environment 0 has "
                    f"{expected}: pass env_kwargs with which all spaces are equal"
                )

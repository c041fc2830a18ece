"""Make the environments of a vector environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium as gym

from mkds_gym.components.observations import RamObservation
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.shared_console import SharedConsole
from mkds_gym.kartlab.host_drivers import hosting_refusal
from mkds_gym.utils.arguments import shown

EnvWrapper: TypeAlias = Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]


class EnvFactory:
    """Makes environments, always from the same arguments.

    Args:
        kwargs: arguments of `MKDSEnv` per environment.
        wrappers: applied to each environment, the innermost first.
        drivers_per_console: number of environments that share a console; 1: none does.
    """

    def __init__(
        self,
        kwargs: Sequence[dict[str, Any]],
        wrappers: Sequence[EnvWrapper],
        drivers_per_console: int = 1,
    ) -> None:
        self._kwargs = kwargs
        self._wrappers = wrappers
        self._drivers = drivers_per_console
        self._consoles: dict[int, SharedConsole] = {}

    def make(self, index: int) -> gym.Env[Any, Any]:
        """Make one environment.

        Raises:
            TypeError: an unknown argument, or a wrapper returned something else.
            Exception: what `MKDSEnv` and the wrappers raise.
        """
        try:
            core = MKDSEnv(**self._kwargs[index])
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise TypeError(
                f"{error}; arguments of the vector environment are num_envs, num_threads, copy, "
                "autoreset_mode, on_error, env_kwargs, env_wrappers, max_episode_steps and "
                "drivers_per_console"
            ) from None
        env: gym.Env[Any, Any] = core
        try:
            if self._drivers > 1:
                self._seat(core, index)
            for wrapper in self._wrappers:
                wrapped: object = wrapper(env)
                if not isinstance(wrapped, gym.Env):
                    raise TypeError(
                        f"env_wrappers: {shown(wrapper)} returned {shown(wrapped)}, expected an "
                        "environment"
                    )
                env = wrapped
        except BaseException:
            env.close()
            raise
        return env

    def _seat(self, env: MKDSEnv, index: int) -> None:
        """Give an environment its driver of a shared console.

        Raises:
            ValueError: the environment cannot share a console.
        """
        number, seat = divmod(index, self._drivers)
        if refusal := sharing_refusal(env):
            raise ValueError(
                f"environment {index} cannot share a console "
                f"(drivers_per_console={self._drivers}): {refusal}"
            )
        race = env.starts.config.arguments
        shared = self._consoles.get(number)
        if shared is None:
            shared = SharedConsole(env.cartridge, env.starts.config, self._drivers)
            self._consoles[number] = shared
        first = {"rom": shared.cartridge.sha1, **vars(shared.config.arguments)}
        for name, value in {"rom": env.cartridge.sha1, **vars(race)}.items():
            if value != first[name]:
                raise ValueError(
                    f"env_kwargs: environment {index} has {name}={shown(value)}, but environment "
                    f"{number * self._drivers}, whose console it shares, has "
                    f"{shown(first[name])}: give "
                    f"the same race to all environments of a console, or leave out "
                    f"drivers_per_console={self._drivers}"
                )
        env.take_seat(shared.seats[seat])


def sharing_refusal(env: MKDSEnv) -> str:
    """Return why an environment cannot share its console with others; empty if it can.

    Args:
        env: the environment, before its first reset.
    """
    config = env.starts.config
    race = config.arguments
    if refusal := hosting_refusal(env.cartridge):
        return refusal
    if not config.boots:
        return "a savestate (state=) holds a whole console"
    if race.mode != "time_trial":
        return (
            f"mode={shown(race.mode)} is a race against each other: mkds_gym.parallel_env() has "
            "several agents in one race"
        )
    if config.courses or (config.random and race.course_seed is None):
        return "all its drivers are on one course: pass a course_seed, or a course by name"
    if isinstance(env.observation_builder, RamObservation):
        return "obs_type='ram' would show the memory of all its drivers"
    return ""


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

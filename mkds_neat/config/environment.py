"""The environment that a config names: its arguments, its spaces and its cartridge."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gymnasium as gym

from mkds_gym.emulator.cartridge import BUNDLED_ROM, ROM_VARIABLE, Cartridge
from mkds_gym.env import MKDSEnv
from mkds_gym.errors import MKDSError
from mkds_gym.roms import BUNDLED_NAME, is_imported
from mkds_gym.utils.arguments import shown
from mkds_gym.vector.factory import sharing_refusal
from mkds_neat.config.settings import EnvironmentSettings, EvaluationSettings, check_keys
from mkds_neat.errors import ConfigError

_RESERVED: Final = {
    "render_mode": "workers render nothing; the run writes pictures of the champion at its end",
    "truncate_on": "use frames, stuck and wrong_way in [evaluation]",
    "info_every_step": "the run sets the argument itself",
    "info_type": "a run reads the full form by itself",
}


@dataclass(frozen=True)
class EnvironmentInfo:
    """Facts about an environment.

    Attributes:
        inputs: Components of an observation.
        outputs: Components of an action.
        labels: Names of the components of an observation; empty if the environment has no names.
        frame_skip: Frames in a step.
        cartridge: The cartridge; None for an environment of another package.
        unshareable: Why several drivers cannot share a console; empty if they can.
    """

    inputs: int
    outputs: int
    labels: tuple[str, ...]
    frame_skip: int
    cartridge: Cartridge | None
    unshareable: str


def is_mkds(env_id: str) -> bool:
    """Return whether an id names the environment of mkds_gym."""
    return env_spec(env_id).entry_point == gym.spec("MKDS-v0").entry_point


def env_spec(env_id: str) -> gym.envs.registration.EnvSpec:
    """Return the registration of an environment. ``module:id`` imports the module first.

    Raises:
        ImportError: The module cannot be imported.
        gymnasium.error.Error: The id is not registered.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        importlib.import_module(module)
    return gym.spec(name)


def environment_kwargs(
    environment: EnvironmentSettings, evaluation: EvaluationSettings
) -> dict[str, Any]:
    """Return all arguments of ``gym.make``, including those that ``[evaluation]`` implies.

    Raises:
        ConfigError: The environment or an argument is unknown, or the run sets the argument.
    """
    try:
        entry: Any = env_spec(environment.id).entry_point
    except (gym.error.Error, ImportError, ValueError) as error:
        raise ConfigError(f"[environment] id = {shown(environment.id)}: {error}") from error
    if isinstance(entry, str):
        entry = gym.envs.registration.load_env_creator(entry)
    known = [
        p.name
        for p in inspect.signature(entry).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    kwargs = environment.arguments
    check_keys("environment", kwargs, ["id", *known])
    for key, remedy in _RESERVED.items():
        if key in kwargs:
            raise ConfigError(f"[environment] {key} cannot be set here: {remedy}")
    limits = {
        "clock": evaluation.frames,
        "stuck": evaluation.stuck,
        "wrong_way": evaluation.wrong_way,
    }
    implied = {
        "truncate_on": [f"{event}:{n}" for event, n in limits.items() if n is not None],
        "info_every_step": False,
        "reward": kwargs.get("reward", "none"),
    }
    # An environment of another package takes some of them, or none.
    return {**kwargs, **{key: value for key, value in implied.items() if key in known}}


def inspect_environment(env_id: str, kwargs: Mapping[str, Any]) -> EnvironmentInfo:
    """Make the environment, which does not start an emulator, and read its spaces.

    Raises:
        ConfigError: The environment refuses an argument, or a network cannot drive it.
    """
    try:
        env = gym.make(env_id, disable_env_checker=True, **kwargs)
    except Exception as error:  # an argument of a wrong type fails in any way
        raise ConfigError(f"[environment] {_explain(error, env_id, kwargs)}") from error
    with contextlib.closing(env):
        observation, action = env.observation_space, env.action_space
        if not (isinstance(observation, gym.spaces.Box) and len(observation.shape) == 1):
            raise ConfigError(
                f"[environment] gives observations of {observation}, but a network needs a vector "
                "of numbers; use obs_type = sensors"
            )
        if not (isinstance(action, gym.spaces.Box) and len(action.shape) == 1):
            raise ConfigError(
                f"[environment] takes actions of {action}, but a network gives a vector of "
                "numbers; use action_type = threshold:2 (or up to threshold:11)"
            )
        cartridge = getattr(env.unwrapped, "cartridge", None)
        return EnvironmentInfo(
            observation.shape[0],
            action.shape[0],
            tuple(getattr(env.unwrapped, "observation_labels", ())),
            int(getattr(env.unwrapped, "frame_skip", 1)),
            cartridge if isinstance(cartridge, Cartridge) else None,
            _unshareable(env.unwrapped),
        )


def _unshareable(env: Any) -> str:
    """Return why drivers of an environment cannot share a console; empty if they can."""
    if not isinstance(env, MKDSEnv):
        return "only MKDS-v0 has consoles"
    return sharing_refusal(env)


def _explain(error: Exception, env_id: str, kwargs: Mapping[str, Any]) -> str:
    """Return what is wrong with the arguments, beginning with the faulty one if it is known."""
    # Gymnasium appends all arguments to the message.
    message = str(error).split(" was raised from the environment creator for ", 1)[0]
    if not isinstance(error, MKDSError | ValueError):
        message = f"{type(error).__name__}: {message}; see docs/reference/environment.md"
    for key in kwargs:
        if key in _RESERVED:
            continue
        # The faulty argument is the one without which the environment can be made.
        rest = {k: v for k, v in kwargs.items() if k != key}
        with contextlib.suppress(Exception):
            gym.make(env_id, disable_env_checker=True, **rest).close()
            value = shown(kwargs[key])
            return f"{key} = {value}: {message}".replace(f": {key}={value} ", " ", 1)
    return message


def absolute_paths(kwargs: Mapping[str, Any], cartridge: Cartridge) -> dict[str, str]:
    """Return the arguments that are paths and must change to be found from any folder.

    The bundled cartridge is left out, so that a run can continue with the package installed
    elsewhere. Names of imported cartridges stay names.
    """
    paths: dict[str, str] = {}
    rom = kwargs.get("rom") or os.environ.get(ROM_VARIABLE)
    if isinstance(rom, str) and is_imported(rom):
        paths["rom"] = rom
    elif rom != BUNDLED_NAME and (
        kwargs.get("rom") is not None or cartridge.path != BUNDLED_ROM.resolve()
    ):
        paths["rom"] = str(cartridge.path)
    if isinstance(kwargs.get("state"), str):
        paths["state"] = str(Path(kwargs["state"]).absolute())
    return {key: path for key, path in paths.items() if path != kwargs.get(key)}

"""Recordings as a Minari dataset, for offline learning."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from mkds_gym.components.actions import actions_for
from mkds_gym.components.rewards import REWARDS
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import RaceArguments
from mkds_gym.errors import RecordingError
from mkds_gym.recording.format import COMPONENTS, Recording, check_recording, is_object_note
from mkds_gym.registration import ENVIRONMENT_ID
from mkds_gym.replay.replay import environment
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.reading import problems

_OWN_ACTIONS: Final = ("discrete", "discrete_items", "keys")
"""Action types whose actions can be derived from keys."""
_DATASET_ID: Final = re.compile(r"([-\w]+/)*[-\w]+-v[0-9]{1,9}", re.ASCII)


class _Metadata(BaseModel):
    """The accepted keys of ``metadata``."""

    model_config = ConfigDict(strict=True)

    author: str | list[str] | set[str] | None = None
    author_email: str | list[str] | set[str] | None = None
    code_permalink: str | None = None
    algorithm_name: str | None = None
    description: str | None = None
    ref_min_score: FiniteFloat | None = None
    ref_max_score: FiniteFloat | None = None
    requirements: list[str] | None = None


_METADATA: Final = tuple(_Metadata.model_fields)


def to_minari(
    recordings: Sequence[Recording],
    dataset_id: str,
    *,
    rom: str | os.PathLike[str] | None = None,
    state: Any = None,
    action_type: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Any:
    """Drive recordings again and write a Minari dataset.

    Each recording is an episode; only one episode at a time is in memory. An episode that has not
    ended at the end of its recording is truncated. Observations, rewards, metrics and events are
    those that all recordings have in common, or the defaults. If all recordings have the same race
    arguments or the same savestate file, ``dataset.recover_environment()`` returns an environment
    of that race with these arguments. Otherwise a warning names the arguments that differ, the
    dataset has no environment, and ``recover_environment()`` raises a ValueError.

    Args:
        recordings: the recordings.
        dataset_id: id of the dataset, such as ``"mkds/laps-v0"``. It is written to Minari's
            folder (``MINARI_DATASETS_PATH``).
        rom: the cartridge; None for the one that `Cartridge.open` finds.
        state: the savestate at the start, if its file was moved.
        action_type: ``"discrete"``, ``"discrete_items"``, ``"keys"`` or ``"keymask"``. None uses
            the type of the recordings if it is one of these and has an action for all keys, and
            otherwise ``"keymask"``.
        metadata: Minari's ``author``, ``author_email``, ``code_permalink``, ``algorithm_name``
            (default: the labels of the recordings), ``description``, ``requirements``, and both
            or none of ``ref_min_score`` and ``ref_max_score``, which Minari keeps only if all
            races have the same arguments. Minari warns if one of the first three is missing.
        arguments: further arguments of `MKDSEnv` for all episodes, such as ``obs_type``,
            ``sensors``, ``reward`` and ``frame_skip``, instead of those of the recordings.

    Returns:
        A ``minari.MinariDataset``.

    Raises:
        RecordingError: Minari is not installed, there is no recording, the dataset exists, or a
            recording cannot be driven here. No dataset is left.
        ValueError: an argument or a key of ``metadata`` is wrong, the recordings were made with an
            object that is not passed again, or the action type has no action for some keys.
        TypeError: an item of ``recordings`` is not a `Recording`.
    """
    try:
        import h5py  # noqa: F401
        import minari
        from minari.data_collector import EpisodeBuffer
        from minari.storage.local import get_dataset_path
    except ImportError as error:
        raise RecordingError(
            f"Minari datasets need {error.name}: pip install 'mkds-gym[minari]'"
        ) from error
    if isinstance(recordings, Recording | str | os.PathLike):
        raise TypeError("recordings is not a list: pass [recording] for a single one")
    for recording in recordings:
        check_recording(recording)
    if not recordings:
        raise RecordingError("recordings is empty: expected at least one recording")
    if not isinstance(dataset_id, str) or not _DATASET_ID.fullmatch(dataset_id):
        raise ValueError(
            f"dataset_id={shown(dataset_id)} is malformed: expected [namespace/]name-v0, such as "
            "mkds/laps-v0"
        )
    if os.path.lexists(get_dataset_path(dataset_id)):
        raise RecordingError(
            f"the dataset '{dataset_id}' already exists; choose another name or version, or delete "
            "the dataset with minari.delete_dataset()"
        )
    details = {
        "algorithm_name": ", ".join(dict.fromkeys(each.label for each in recordings if each.label)),
        "description": f"{len(recordings)} recorded races on {recordings[0].title}",
        **(metadata or {}),
    }
    if unknown := sorted(map(str, details.keys() - set(_METADATA))):
        raise ValueError(
            f"metadata has an unknown key {shown(unknown[0])}: expected {', '.join(_METADATA)}"
        )
    if ("ref_min_score" in details) != ("ref_max_score" in details):
        raise ValueError(
            "metadata has only one of ref_min_score and ref_max_score: pass both or neither"
        )
    try:
        _Metadata.model_validate(details)
    except ValidationError as error:
        raise ValueError(f"metadata is wrong ({problems(error)})") from None
    arguments = {**_common_arguments(recordings, arguments), **arguments}
    arguments["action_type"] = action_type or _action_type(recordings)

    def episodes() -> Iterator[Any]:
        for number, recording in enumerate(recordings):
            env, actions = environment(recording, rom=rom, state=state, **arguments)
            with contextlib.closing(env):
                yield EpisodeBuffer(id=number, **_episode(env, actions))

    first, _ = environment(recordings[0], rom=rom, state=state, **arguments)
    first.close()
    folder = get_dataset_path(dataset_id)
    try:
        return minari.create_dataset_from_buffers(
            dataset_id,
            episodes(),
            env=_spec(recordings, {"rom": rom, "state": state, **arguments}),
            observation_space=first.observation_space,
            action_space=first.action_space,
            data_format="hdf5",
            **details,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _action_type(recordings: Sequence[Recording]) -> str:
    """Return the default of ``action_type``."""
    (own, *others) = {each.environment.get("action_type") for each in recordings}
    if others or own not in _OWN_ACTIONS:
        return "keymask"
    try:
        actions_for(own, np.concatenate([each.keys for each in recordings]))
    except ValueError:
        return "keymask"
    return str(own)


def _common_arguments(recordings: Sequence[Recording], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, apart from keys and frames, that all recordings note alike."""
    first, *others = (each.environment for each in recordings)
    common = {
        name: value
        for name, value in first.items()
        if name in ("reward", *COMPONENTS) and all(other.get(name) == value for other in others)
    }
    if str(common.get("reward")).partition(":")[0] not in REWARDS:  # the name of an object
        common.pop("reward", None)
    if "reward" not in common or "reward" in given:
        common.pop("metrics", None)  # a reward needs its metrics
    if "obs_type" not in common or {"obs_type", "sensors"} & given.keys():
        common.pop("obs_type", None)
        common.pop("sensors", None)
    for name, value in common.items():
        for noted in [value] if isinstance(value, str) else value or ():
            if name != "reward" and name not in given and is_object_note(noted):
                raise ValueError(
                    f"the recordings were made with {name}={shown(noted)}, an object that a "
                    f"recording cannot hold: pass {name}= again"
                )
    return common


def _spec(recordings: Sequence[Recording], arguments: Mapping[str, Any]) -> Any:
    """Return the spec of an environment of the recordings' common race, or None."""
    start = recordings[0].start
    if differing := [name for name in _differing(recordings) if name not in arguments]:
        gym.logger.warn(
            f"the races of the recordings differ in {', '.join(differing)}: the dataset has no "
            "environment, and recover_environment() will raise a ValueError; make the environment "
            "with gym.make()"
        )
        return None
    spec = copy.deepcopy(gym.spec(ENVIRONMENT_ID))
    if start.race is not None:
        defaults = vars(RaceArguments())
        spec.kwargs = {name: value for name, value in start.race.items() if value != defaults[name]}
    elif start.path is not None:
        spec.kwargs = {"state": start.path}
    else:
        return None
    for name in ("frame_skip", "laps"):
        if (noted := recordings[0].environment.get(name)) is not None:
            spec.kwargs[name] = noted
    spec.kwargs |= {name: value for name, value in arguments.items() if value is not None}
    for name in ("rom", "state"):
        if isinstance(spec.kwargs.get(name), os.PathLike):
            spec.kwargs[name] = os.fspath(spec.kwargs[name])
    return spec


def _differing(recordings: Sequence[Recording]) -> list[str]:
    """Return the race arguments in which recordings differ."""
    first, *others = (
        {
            "state": each.start.path,
            "laps": each.environment.get("laps"),
            **(each.start.race or {}),
        }
        for each in recordings
    )
    names = {name: None for each in (first, *others) for name in each}
    return [name for name in names if any(other.get(name) != first.get(name) for other in others)]


def _episode(env: MKDSEnv, actions: Any) -> dict[str, Any]:
    """Return the fields of an episode; there is one more observation than steps."""
    observation, _ = env.reset()
    observations: Any = [observation]
    rewards, terminations, truncations = [], [], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(reward)
        terminations.append(terminated)
        truncations.append(truncated)
        if terminated or truncated:
            break
    if truncations and not terminations[-1]:
        truncations[-1] = True
    if isinstance(observation, dict):
        observations = {name: [each[name] for each in observations] for name in observations[0]}
    return {
        "observations": observations,
        "actions": actions[: len(rewards)],
        "rewards": rewards,
        "terminations": terminations,
        "truncations": truncations,
    }

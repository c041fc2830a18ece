"""Recordings as data for offline learning: a Minari dataset of what their drivers saw and did."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np

from mkds_gym.components.actions import actions_for
from mkds_gym.env import MKDSEnv
from mkds_gym.episodes.race_config import RaceArguments
from mkds_gym.errors import RecordingError
from mkds_gym.recording.format import Recording, check_recording
from mkds_gym.registration import ENVIRONMENT_ID
from mkds_gym.replay.replay import environment

_OWN_ACTIONS: Final = ("discrete", "discrete_items", "keys")
"""Action types whose actions can be told from the keys."""
_METADATA: Final = (
    "author",
    "author_email",
    "code_permalink",
    "algorithm_name",
    "description",
    "ref_min_score",
    "ref_max_score",
    "requirements",
)
"""What a dataset may be told beside the data."""


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
    """Drive recordings again, and write what is seen as a Minari dataset.

    Each recording is an episode, and one episode at a time is held in memory; an episode that had
    not ended when its recording did is truncated. Where all are of the same race arguments, or the
    same savestate's file, ``dataset.recover_environment()`` makes an environment of that race.

    Args:
        recordings: whose races are driven.
        dataset_id: as Minari's, such as ``"mkds/laps-v0"``; it is written where Minari keeps its
            datasets (``MINARI_DATASETS_PATH``).
        rom: see `mkds_gym.replay.replay.Replay`.
        state: see `mkds_gym.replay.replay.Replay`.
        action_type: of the actions: ``"discrete"``, ``"discrete_items"``, ``"keys"`` or
            ``"keymask"``. None is the one that the recordings were driven with, where it is one of
            these and has an action for all their keys, and else ``"keymask"``.
        metadata: what Minari asks for beside the data: ``author``, ``author_email``,
            ``code_permalink``, ``algorithm_name`` (the recordings' labels by default),
            ``description``, ``requirements``, and the scores ``ref_min_score`` and
            ``ref_max_score``, both or none, which Minari keeps where all races are of the same
            arguments. See ``minari.create_dataset_from_buffers``, which warns where the first
            three are missing.
        arguments: others of `MKDSEnv`: ``obs_type``, ``sensors``, ``reward``, ``frame_skip`` and
            the like, the same for all.

    Returns:
        A ``minari.MinariDataset``.

    Raises:
        RecordingError: Minari is not installed, there is no recording, the dataset exists, or a
            recording cannot be driven here; there is no dataset then.
        ValueError: a wrong argument, other metadata, or an action type that lacks an action.
        TypeError: something among them is no recording.
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
        raise TypeError("to_minari takes a list of recordings; give [recording] of one")
    for recording in recordings:
        check_recording(recording)
    if not recordings:
        raise RecordingError("there is no recording to make a dataset of")
    if dataset_id in minari.list_local_datasets():
        raise RecordingError(
            f"the dataset '{dataset_id}' exists; choose another name or version, or delete it with "
            "minari.delete_dataset()"
        )
    told = {
        "algorithm_name": ", ".join(dict.fromkeys(each.label for each in recordings if each.label)),
        "description": f"{len(recordings)} recorded races on {recordings[0].title}",
        **(metadata or {}),
    }
    if unknown := sorted(map(str, told.keys() - set(_METADATA))):
        raise ValueError(
            f"metadata={unknown[0]!r} is none of Minari's; accepted: {', '.join(_METADATA)}"
        )
    if ("ref_min_score" in told) != ("ref_max_score" in told):
        raise ValueError("metadata has one of ref_min_score and ref_max_score; give both, or none")
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
            episodes(),  # goes through it once, writing each
            env=_spec(recordings, {"rom": rom, "state": state, **arguments}),
            observation_space=first.observation_space,
            action_space=first.action_space,
            data_format="hdf5",
            **told,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _action_type(recordings: Sequence[Recording]) -> str:
    """See `to_minari`."""
    (own, *others) = {each.environment.get("action_type") for each in recordings}
    if others or own not in _OWN_ACTIONS:
        return "keymask"
    try:
        actions_for(own, np.concatenate([each.keys for each in recordings]))
    except ValueError:
        return "keymask"
    return str(own)


def _spec(recordings: Sequence[Recording], arguments: Mapping[str, Any]) -> Any:
    """What makes an environment of the recordings' race again; None where they have not one."""
    start = recordings[0].start
    if any((each.start.race, each.start.path) != (start.race, start.path) for each in recordings):
        return None
    spec = copy.deepcopy(gym.spec(ENVIRONMENT_ID))
    if start.race is not None:
        defaults = vars(RaceArguments())
        spec.kwargs = {name: value for name, value in start.race.items() if value != defaults[name]}
    elif start.path is not None:
        spec.kwargs = {"state": start.path}
    else:
        return None
    frame_skip = recordings[0].environment.get("frame_skip")
    if frame_skip is not None:
        spec.kwargs["frame_skip"] = frame_skip
    spec.kwargs |= {name: value for name, value in arguments.items() if value is not None}
    for name in ("rom", "state"):
        if isinstance(spec.kwargs.get(name), os.PathLike):
            spec.kwargs[name] = os.fspath(spec.kwargs[name])
    return spec


def _episode(env: MKDSEnv, actions: Any) -> dict[str, Any]:
    """One episode: observations have one more entry than the rest."""
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

"""Recordings as data for offline learning: a Minari dataset of what their drivers saw and did."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mkds_gym.errors import RecordingError
from mkds_gym.recording import Recording
from mkds_gym.replay import environment


def to_minari(
    recordings: Sequence[Recording],
    dataset_id: str,
    *,
    rom: str | os.PathLike[str] | None = None,
    state: Any = None,
    **arguments: Any,
) -> Any:
    """Drive recordings again, and write what is seen as a Minari dataset.

    Each recording is an episode. The actions are masks of the console's keys (``action_type``
    ``"keymask"``); an episode that had not ended when its recording did is truncated.

    Args:
        recordings: whose races are driven.
        dataset_id: as Minari's, such as ``"mkds/laps-v0"``; it is written where Minari keeps its
            datasets (``MINARI_DATASETS_PATH``).
        rom: see `mkds_gym.replay.Replay`.
        state: see `mkds_gym.replay.Replay`.
        arguments: of `MKDSEnv`: ``obs_type``, ``sensors``, ``reward``, ``frame_skip`` and the
            like, the same for all.

    Returns:
        A ``minari.MinariDataset``.

    Raises:
        RecordingError: Minari is not installed, there is no recording, the dataset exists, or a
            recording cannot be driven here.
    """
    try:
        import h5py  # noqa: F401
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise RecordingError(
            f"Minari datasets need {error.name}: pip install 'mkds-gym[minari]'"
        ) from error
    if not recordings:
        raise RecordingError("there is no recording to make a dataset of")
    if dataset_id in minari.list_local_datasets():
        raise RecordingError(
            f"the dataset '{dataset_id}' exists; choose another name or version, or delete it with "
            "minari.delete_dataset()"
        )
    episodes = []
    spaces: tuple[Any, Any] | None = None
    for number, recording in enumerate(recordings):
        env, keys = environment(recording, rom=rom, state=state, **arguments)
        try:
            spaces = (env.observation_space, env.action_space)
            episodes.append(_episode(EpisodeBuffer, number, env, keys.tolist()))
        finally:
            env.close()
    assert spaces is not None
    return minari.create_dataset_from_buffers(
        dataset_id,
        episodes,
        observation_space=spaces[0],
        action_space=spaces[1],
        algorithm_name=", ".join(dict.fromkeys(each.label for each in recordings if each.label)),
        description=f"{len(recordings)} recorded races on {recordings[0].title}",
        data_format="hdf5",
    )


def _episode(buffer: Any, number: int, env: Any, keys: list[int]) -> Any:
    """One episode: observations have one more entry than the rest."""
    observation, _ = env.reset()
    observations: Any = [observation]
    actions: list[int] = []
    rewards, terminations, truncations = [], [], []
    for mask in keys:
        observation, reward, terminated, truncated, _ = env.step(mask)
        observations.append(observation)
        actions.append(mask)
        rewards.append(reward)
        terminations.append(terminated)
        truncations.append(truncated)
        if terminated or truncated:
            break
    if truncations and not terminations[-1]:
        truncations[-1] = True
    if isinstance(observation, dict):
        observations = {name: [each[name] for each in observations] for name in observations[0]}
    return buffer(
        id=number,
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
    )

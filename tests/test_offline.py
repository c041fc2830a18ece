"""A dataset for offline learning has what the driver saw, did and was paid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_replay import make, record

from mkds_gym.errors import RecordingError
from mkds_gym.movie import read_movie, write_movie
from mkds_gym.offline import to_minari
from mkds_gym.replay import environment


def test_a_dataset_has_the_very_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    import minari

    recordings = [record(20, seed=0), record(12, seed=1, mode="vs", opponents=1)]
    made = to_minari(recordings, "mkds/test-v0")
    assert (made.total_episodes, made.total_steps) == (2, 32)
    env = make()
    env.reset(seed=0)
    chance = np.random.default_rng(0)
    seen: list[Any] = []
    for _ in range(20):
        seen.append(env.step(int(chance.choice([0, 0, 0, 1, 2, 3, 4, 8]))))
    env.close()
    loaded = minari.load_dataset("mkds/test-v0")
    first, second = loaded.iterate_episodes()
    np.testing.assert_array_equal(first.observations[1:], [each[0] for each in seen])
    np.testing.assert_allclose(first.rewards, [each[1] for each in seen])
    np.testing.assert_array_equal(first.actions, recordings[0].keys[3::4])
    assert first.truncations.tolist() == [False] * 19 + [True]
    assert len(second.actions) == 12
    with pytest.raises(RecordingError, match="exists"):
        to_minari(recordings, "mkds/test-v0")
    with pytest.raises(RecordingError, match="no recording"):
        to_minari([], "mkds/none-v0")


def test_a_movie_drives_an_environment(tmp_path: Path) -> None:
    recording = record(15)
    env, keys = environment(read_movie(write_movie(recording, tmp_path / "a.dsm")[0]))
    assert keys.tolist() == recording.keys[3::4].tolist()
    env.reset()
    for mask in keys.tolist():
        info = env.step(mask)[-1]
    assert info["progress"] == recording.result["progress"]
    env.close()
    with pytest.raises(RecordingError, match="frame_skip=1"):
        environment(recording, frame_skip=5)
    with pytest.raises(RecordingError, match="no race"):
        environment(replace(recording, keys=np.ones_like(recording.keys)))

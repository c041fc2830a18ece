"""Where episodes begin: points along a course count from the race start."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.course.kcl import KCL
from mkds_gym.course.mesh import ObstacleMesh
from mkds_gym.env import MKDSEnv


def test_progress_counts_from_the_race_start_after_a_state_too() -> None:
    env = gym.make("MKDS-v0").unwrapped
    assert isinstance(env, MKDSEnv)
    fresh = env.reset(seed=0, options={"progress": 0.1})[1]["progress"]
    env.reset(options={"progress": 0.2})
    env.reset(options={"state": env.clone_state()})
    assert env.reset()[1]["progress"] == pytest.approx(0.2, abs=0.02)  # and those after it
    with pytest.raises(ValueError, match=r"progress=99"):
        env.reset(options={"progress": 99})
    assert env.reset()[1]["progress"] == pytest.approx(0.2, abs=0.02)  # refused: as before
    assert env.reset(options={"progress": 0.1})[1]["progress"] == fresh
    env.close()


def test_a_point_behind_the_start_is_refused(tmp_path: Path) -> None:
    env = gym.make("MKDS-v0").unwrapped
    assert isinstance(env, MKDSEnv)
    env.reset(seed=0, options={"progress": 0.2})
    file = tmp_path / "ahead.dst"
    env.console.save_state(file)
    env.close()
    env = gym.make("MKDS-v0", state=file).unwrapped
    assert isinstance(env, MKDSEnv)
    with pytest.raises(ValueError, match=r"progress=0\.1 lies behind the start"):
        env.reset(options={"progress": 0.1})
    assert env.reset(options={"progress": 0.25})[1]["progress"] == pytest.approx(0.25, abs=0.02)
    env.close()


def test_the_mesh_of_a_course_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resets to a state's file have it from the episode before, environments from each other."""
    made: list[int] = []
    make = ObstacleMesh.__init__

    def counted(mesh: ObstacleMesh, kcl: KCL) -> None:
        made.append(kcl.checksum)
        make(mesh, kcl)

    monkeypatch.setattr(ObstacleMesh, "__init__", counted)
    # On a course that no other test drives at the same time.
    env, other = (gym.make("MKDS-v0", course="snow_course").unwrapped for _ in range(2))
    assert isinstance(env, MKDSEnv)
    assert isinstance(other, MKDSEnv)
    env.reset(seed=0)
    file = tmp_path / "here.state"
    env.console.save_state(file)
    for _ in range(2):
        env.reset(options={"state": file})
    other.reset(seed=0, options={"state": file.read_bytes()})
    assert other.course is not env.course
    env.close()
    other.reset()
    other.close()
    assert len(made) == 1

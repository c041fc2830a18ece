"""Where episodes start: points along a course, and the meshes of courses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mkds_gym.course.kcl import KCL
from mkds_gym.course.mesh import ObstacleMesh
from mkds_gym.env import MKDSEnv


def test_progress_counts_from_the_race_start_after_a_state_option(
    make_env: Callable[..., MKDSEnv],
) -> None:
    env = make_env()
    fresh = env.reset(seed=0, options={"progress": 0.1})[1]["progress"]
    env.reset(options={"progress": 0.2})
    env.reset(options={"state": env.clone_state()})
    assert env.reset()[1]["progress"] == pytest.approx(0.2, abs=0.02)
    with pytest.raises(ValueError, match=r"progress=99"):
        env.reset(options={"progress": 99})
    assert env.reset()[1]["progress"] == pytest.approx(0.2, abs=0.02)
    assert env.reset(options={"progress": 0.1})[1]["progress"] == fresh


def test_point_behind_the_start_is_refused(
    make_env: Callable[..., MKDSEnv], tmp_path: Path
) -> None:
    env = make_env()
    env.reset(seed=0, options={"progress": 0.2})
    file = tmp_path / "ahead.dst"
    env.console.save_state(file)
    env = make_env(state=file)
    with pytest.raises(ValueError, match=r"progress=0\.1 lies behind the start"):
        env.reset(options={"progress": 0.1})
    assert env.reset(options={"progress": 0.25})[1]["progress"] == pytest.approx(0.25, abs=0.02)


def test_mesh_of_a_course_is_built_once_for_all_resets_and_environments(
    make_env: Callable[..., MKDSEnv], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = ObstacleMesh.__init__

    def counted(mesh: ObstacleMesh, kcl: KCL) -> None:
        made.append(kcl.checksum)
        make(mesh, kcl)

    monkeypatch.setattr(ObstacleMesh, "__init__", counted)
    # A course whose mesh no other environment of the tests has.
    env, other = (make_env(course="snow_course") for _ in range(2))
    env.reset(seed=0)
    file = tmp_path / "here.state"
    env.console.save_state(file)
    for _ in range(2):
        env.reset(options={"state": file})
    other.reset(seed=0, options={"state": file.read_bytes()})
    assert other.course is not env.course
    env.close()
    other.reset()
    assert len(made) == 1

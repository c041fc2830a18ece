"""`MKDSVecEnv` is SB3's `DummyVecEnv` over the same environments, and trains SB3's algorithms."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from vector_envs import SHORT, FaultyMetric

import mkds_gym
from mkds_gym.integrations.stable_baselines3 import MKDSVecEnv

OVERLAP: dict[str, Any] = {"obs_type": "dict", "sensors": ["seed6", "kinematics"]}


@pytest.fixture
def closing() -> Iterator[list[Any]]:
    """Environments that the test makes; closed at its end."""
    made: list[Any] = []
    yield made
    for env in made:
        env.close()


def run(envs: Any, steps: int) -> Iterator[Any]:
    """Yield what a reset and steps return, and the infos of resets."""
    envs.seed(7)
    yield envs.reset(), list(envs.reset_infos)
    generator = np.random.default_rng(3)
    for _ in range(steps):
        actions = np.array([generator.integers(4) for _ in range(envs.num_envs)])
        yield envs.step(actions), list(envs.reset_infos)


@pytest.mark.parametrize("arguments", [{}, OVERLAP], ids=["array", "dict"])
@pytest.mark.parametrize("drivers", [1, 2])
def test_results_are_those_of_a_dummy_vec_env(
    closing: list[Any], arguments: dict[str, Any], drivers: int
) -> None:
    arguments = {**SHORT, **arguments}
    envs = MKDSVecEnv(2, drivers_per_console=drivers, **arguments)
    dummy = DummyVecEnv([lambda: mkds_gym.MKDSEnv(**arguments) for _ in range(2)])
    closing += [envs, dummy]
    assert envs.observation_space == dummy.observation_space
    assert envs.action_space == dummy.action_space
    ended = 0
    for expected, got in zip(run(dummy, 7), run(envs, 7), strict=True):
        assert data_equivalence(_comparable(expected), _comparable(got), exact=True)
        if isinstance(got[0], tuple) and len(got[0]) == 4:
            ended += int(got[0][2].sum())
            for done, info in zip(got[0][2], got[0][3], strict=True):
                assert ("terminal_observation" in info) == info["TimeLimit.truncated"] == done
    assert ended == 4


def _comparable(results: Any) -> Any:
    """Results with dicts of one type, as DummyVecEnv returns OrderedDicts of observations."""
    if isinstance(results, dict):
        return {key: _comparable(value) for key, value in results.items()}
    if isinstance(results, list | tuple):
        return [_comparable(value) for value in results]
    return results


def test_attributes_methods_and_wrappers_of_some_environments(closing: list[Any]) -> None:
    envs = MKDSVecEnv(3, env_wrappers=[Monitor], render_mode="rgb_array", **SHORT)
    closing.append(envs)
    assert envs.env_is_wrapped(Monitor) == [True] * 3
    assert envs.env_is_wrapped(gym.wrappers.FlattenObservation, indices=1) == [False]
    envs.set_attr("frame_skip", 5, indices=[0, 2])
    assert envs.get_attr("frame_skip") == [5, 10, 5]
    assert envs.get_attr("frame_skip", indices=2) == [5]
    assert envs.has_attr("frame_skip")
    assert not envs.has_attr("frame_skips")
    envs.set_options([{"progress": 0.25}, {}, {}])
    envs.reset()
    metrics = envs.env_method("collect_metrics", indices=[1])
    assert [type(each) for each in metrics] == [dict]
    assert [info["progress"] > 0.2 for info in envs.reset_infos] == [True, False, False]
    picture = envs.render()
    assert picture is not None
    assert picture.shape == (2 * 192, 2 * 256, 3)


@pytest.mark.parametrize("wrapped", [True, False], ids=["Monitor", "VecMonitor"])
def test_episodes_are_logged_by_monitors(closing: list[Any], wrapped: bool) -> None:
    envs: Any = MKDSVecEnv(2, env_wrappers=[Monitor] if wrapped else [], **SHORT)
    envs = envs if wrapped else VecMonitor(envs)
    closing.append(envs)
    envs.reset()
    total = np.zeros(2)
    for _ in range(3):
        _, rewards, dones, infos = envs.step(np.zeros(2, np.int64))
        total += rewards
    assert dones.all()
    assert [info["episode"]["l"] for info in infos] == [3, 3]
    np.testing.assert_allclose([info["episode"]["r"] for info in infos], total, atol=1e-5)


@pytest.mark.parametrize(
    "action_type", [pytest.param("keys", marks=pytest.mark.slow), "threshold:2"]
)
def test_policies_of_other_actions_train(closing: list[Any], action_type: str) -> None:
    envs = VecMonitor(MKDSVecEnv(2, drivers_per_console=2, action_type=action_type, **SHORT))
    closing.append(envs)
    model = PPO("MlpPolicy", envs, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    model.learn(16)
    assert len(model.ep_info_buffer) == 4  # type: ignore[arg-type]


def test_seeds_differ_between_environments_and_repeat(closing: list[Any]) -> None:
    envs = MKDSVecEnv(2, course="random", **SHORT)
    closing.append(envs)
    seen = []
    for _ in range(2):
        assert envs.seed(11) == [11, 12]
        envs.reset()
        seen.append([info["course_seed"] for info in envs.reset_infos])
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[0][1]


def test_replaced_environment_ends_its_episode(closing: list[Any]) -> None:
    each = [{"metrics": [FaultyMetric(70 + index)]} for index in range(2)]
    envs = MKDSVecEnv(2, on_error="replace", env_kwargs=each, reward="none", **SHORT)
    closing.append(envs)
    envs.reset()
    FaultyMetric.frame_faults[71] = [RuntimeError("broken")]
    _, _, dones, infos = envs.step(np.zeros(2, np.int64))
    assert dones.tolist() == [False, True]
    assert "broken" in infos[1]["error"]
    assert infos[1]["terminal_observation"].shape == (6,)


@pytest.mark.parametrize("name", ["copy", "autoreset_mode"])
def test_arguments_that_sb3_determines_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}=.* cannot be chosen"):
        MKDSVecEnv(1, **{name: True})


def test_step_without_actions_is_refused(closing: list[Any]) -> None:
    closing.append(envs := MKDSVecEnv(1))
    with pytest.raises(gym.error.ResetNeeded, match="step_async"):
        envs.step_wait()


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.setitem(sys.modules, "stable_baselines3.common.env_util", None)
    monkeypatch.delitem(sys.modules, "mkds_gym.integrations.stable_baselines3")
    with pytest.raises(ImportError, match=r"pip install 'mkds-gym\[sb3\]'"):
        import mkds_gym.integrations.stable_baselines3  # noqa: F401

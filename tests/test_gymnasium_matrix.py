"""MKDS-v0 works with all of Gymnasium: wrappers, vectorization modes, specs, checker and play."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
import torch
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.play import play
from gymnasium.wrappers import vector
from windows import set_display

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.components import actions
from mkds_gym.emulator.console import Keys
from mkds_gym.play.player import KEYBOARD

SENSORS: dict[str, Any] = {"render_mode": "rgb_array"}
PIXELS: dict[str, Any] = {"obs_type": "pixels", "render_mode": "rgb_array"}
NAMED: dict[str, Any] = {"obs_type": "dict", "sensors": ["seed6", "kinematics"]}
CONTINUOUS: dict[str, Any] = {"action_type": "threshold:2"}

JAX = "converts from JAX, and MKDS-v0 gives NumPy arrays"
REASONS = {
    "AtariPreprocessing": "reads lives and screens from `env.unwrapped.ale`, of the Arcade "
    "Learning Environment; see test_pixels_become_atari_observations",
    "JaxToNumpy": JAX,
    "JaxToTorch": JAX,
    "vector.JaxToNumpy": JAX,
    "vector.JaxToTorch": JAX,
    "vector.VectorizeTransformObservation": "base class of the other vector wrappers",
    "vector.VectorizeTransformAction": "base class of the other vector wrappers",
    "vector.VectorizeTransformReward": "base class of the other vector wrappers",
}
"""Why a wrapper is not tried."""


def same(value: Any) -> Any:
    return value


XP: dict[str, Any] = {"env_xp": np, "target_xp": torch}
UNIT: dict[str, Any] = {"min_obs": np.float32(0), "max_obs": np.float32(1)}
WRAPPERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "DelayObservation": (SENSORS, lambda env: wrappers.DelayObservation(env, delay=2)),
    "DtypeObservation": (SENSORS, lambda env: wrappers.DtypeObservation(env, np.float64)),
    "DiscretizeObservation": (SENSORS, lambda env: wrappers.DiscretizeObservation(env, bins=3)),
    "FilterObservation": (NAMED, lambda env: wrappers.FilterObservation(env, ["seed6"])),
    "FlattenObservation": (NAMED, wrappers.FlattenObservation),
    "FrameStackObservation": (SENSORS, lambda env: wrappers.FrameStackObservation(env, 4)),
    "GrayscaleObservation": (PIXELS, wrappers.GrayscaleObservation),
    "TransformObservation": (
        SENSORS,
        lambda env: wrappers.TransformObservation(env, same, env.observation_space),
    ),
    "MaxAndSkipObservation": (PIXELS, wrappers.MaxAndSkipObservation),
    "NormalizeObservation": (SENSORS, wrappers.NormalizeObservation),
    "AddRenderObservation": (SENSORS, wrappers.AddRenderObservation),
    "ResizeObservation": (PIXELS, lambda env: wrappers.ResizeObservation(env, (84, 84))),
    "ReshapeObservation": (SENSORS, lambda env: wrappers.ReshapeObservation(env, (2, 3))),
    "RescaleObservation": (SENSORS, lambda env: wrappers.RescaleObservation(env, **UNIT)),
    "TimeAwareObservation": (
        SENSORS,
        lambda env: wrappers.TimeAwareObservation(wrappers.TimeLimit(env, 100)),
    ),
    "ClipAction": (CONTINUOUS, wrappers.ClipAction),
    "DiscretizeAction": (CONTINUOUS, lambda env: wrappers.DiscretizeAction(env, bins=3)),
    "TransformAction": (
        CONTINUOUS,
        lambda env: wrappers.TransformAction(env, same, env.action_space),
    ),
    "RescaleAction": (
        CONTINUOUS,
        lambda env: wrappers.RescaleAction(env, np.float32(0), np.float32(1)),
    ),
    "StickyAction": (SENSORS, lambda env: wrappers.StickyAction(env, 0.25)),
    "RepeatAction": (SENSORS, lambda env: wrappers.RepeatAction(env, 2)),
    "ClipReward": (SENSORS, lambda env: wrappers.ClipReward(env, -1, 1)),
    "TransformReward": (SENSORS, lambda env: wrappers.TransformReward(env, same)),
    "NormalizeReward": (SENSORS, wrappers.NormalizeReward),
    "TimeLimit": (SENSORS, lambda env: wrappers.TimeLimit(env, 3)),
    "Autoreset": (SENSORS, wrappers.Autoreset),
    "PassiveEnvChecker": (SENSORS, wrappers.PassiveEnvChecker),
    "OrderEnforcing": (SENSORS, wrappers.OrderEnforcing),
    "RecordEpisodeStatistics": (SENSORS, wrappers.RecordEpisodeStatistics),
    "AddWhiteNoise": (SENSORS, lambda env: wrappers.AddWhiteNoise(env, 0.5)),
    "ObstructView": (
        SENSORS,
        lambda env: wrappers.ObstructView(env, obstructed_pixels_ratio=0.2, obstruction_width=5),
    ),
    "RenderCollection": (SENSORS, wrappers.RenderCollection),
    "RecordVideo": (
        SENSORS,
        lambda env: wrappers.RecordVideo(env, "videos", video_length=3, name_prefix="one"),
    ),
    "HumanRendering": (SENSORS, wrappers.HumanRendering),
    "ArrayConversion": (SENSORS, lambda env: wrappers.ArrayConversion(env, **XP)),
    "NumpyToTorch": (SENSORS, lambda env: wrappers.NumpyToTorch(env)),
}
VECTOR_WRAPPERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "DictInfoToList": (SENSORS, vector.DictInfoToList),
    "TransformObservation": (SENSORS, lambda envs: vector.TransformObservation(envs, same)),
    "FilterObservation": (NAMED, lambda envs: vector.FilterObservation(envs, ["seed6"])),
    "FlattenObservation": (NAMED, vector.FlattenObservation),
    "GrayscaleObservation": (PIXELS, vector.GrayscaleObservation),
    "ResizeObservation": (PIXELS, lambda envs: vector.ResizeObservation(envs, (84, 84))),
    "ReshapeObservation": (SENSORS, lambda envs: vector.ReshapeObservation(envs, (2, 3))),
    "RescaleObservation": (SENSORS, lambda envs: vector.RescaleObservation(envs, **UNIT)),
    "DtypeObservation": (SENSORS, lambda envs: vector.DtypeObservation(envs, np.float64)),
    "NormalizeObservation": (SENSORS, vector.NormalizeObservation),
    "TransformAction": (CONTINUOUS, lambda envs: vector.TransformAction(envs, same)),
    "ClipAction": (CONTINUOUS, vector.ClipAction),
    "RescaleAction": (
        CONTINUOUS,
        lambda envs: vector.RescaleAction(envs, np.float32(0), np.float32(1)),
    ),
    "TransformReward": (SENSORS, lambda envs: vector.TransformReward(envs, same)),
    "ClipReward": (SENSORS, lambda envs: vector.ClipReward(envs, -1, 1)),
    "NormalizeReward": (SENSORS, vector.NormalizeReward),
    "RecordEpisodeStatistics": (SENSORS, vector.RecordEpisodeStatistics),
    "RecordVideo": (
        SENSORS,
        lambda envs: vector.RecordVideo(envs, "videos", video_length=3, name_prefix="two"),
    ),
    "HumanRendering": (SENSORS, vector.HumanRendering),
    "ArrayConversion": (SENSORS, lambda envs: vector.ArrayConversion(envs, **XP)),
    "NumpyToTorch": (SENSORS, lambda envs: vector.NumpyToTorch(envs)),
}


@pytest.fixture(scope="module")
def shared(default_start: None) -> Iterator[Callable[[dict[str, Any], int], Any]]:  # noqa: ARG001
    """A function that returns the environment of some arguments, the same for all wrappers."""
    made: dict[str, Any] = {}

    def get(arguments: dict[str, Any], count: int) -> Any:
        key = f"{count} {sorted(arguments)}"
        if key not in made:
            made[key] = (
                gym.make_vec("MKDS-v0", num_envs=count, **arguments)
                if count
                else gym.make("MKDS-v0", **arguments)
            )
        return made[key]

    yield get
    for each in made.values():
        each.close()


def drive(env: Any, steps: int = 5) -> tuple[Any, Any]:
    """Reset, take some steps with sampled actions, and return the last observation and info."""
    env.action_space.seed(0)
    observation, info = env.reset(seed=0)
    for _ in range(steps):
        action = env.action_space.sample()
        if isinstance(observation, torch.Tensor):
            action = torch.as_tensor(action)
        observation, _, terminated, truncated, info = env.step(action)
        if np.ndim(terminated) == 0 and (terminated or truncated):
            observation, info = env.reset()
    return observation, info


def test_every_wrapper_of_gymnasium_is_tried_or_has_a_reason() -> None:
    names = {name for name in wrappers.__all__ if name != "vector"}
    names |= {f"vector.{name}" for name in vector.__all__}
    tried = {*WRAPPERS, *(f"vector.{name}" for name in VECTOR_WRAPPERS)}
    assert names == tried | set(REASONS)
    assert not tried & set(REASONS)


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapper(
    name: str, shared: Any, display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_display(monkeypatch, display)
    monkeypatch.chdir(tmp_path)
    arguments, wrap = WRAPPERS[name]
    env = wrap(shared(arguments, 0))
    observation, info = drive(env)
    assert "progress" in info
    if name not in ("ArrayConversion", "NumpyToTorch"):
        assert observation in env.observation_space
    if name == "RecordVideo":
        assert next((tmp_path / "videos").glob("*.mp4")).stat().st_size > 1000
    if name == "HumanRendering":
        assert env.screen_size == (256, 192)
    if arguments.get("render_mode") and name not in ("HumanRendering", "RenderCollection"):
        assert np.asarray(env.render()).shape == (192, 256, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", VECTOR_WRAPPERS)
def test_vector_wrapper(
    name: str, shared: Any, display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_display(monkeypatch, display)
    monkeypatch.chdir(tmp_path)
    arguments, wrap = VECTOR_WRAPPERS[name]
    envs = wrap(shared(arguments, 2))
    observation, info = drive(envs)
    if name == "DictInfoToList":
        assert "progress" in info[1]
    else:
        assert len(info["progress"]) == 2
    if name not in ("ArrayConversion", "NumpyToTorch"):
        assert observation in envs.observation_space
    if name == "RecordVideo":
        assert next((tmp_path / "videos").glob("*.mp4")).stat().st_size > 1000


def test_pixels_become_atari_observations(shared: Any) -> None:
    env = wrappers.MaxAndSkipObservation(shared(PIXELS, 0), skip=4)
    env = wrappers.ResizeObservation(wrappers.GrayscaleObservation(env), (84, 84))
    env = wrappers.FrameStackObservation(env, 4)
    observation, _ = drive(env)
    assert env.observation_space == Box(0, 255, (4, 84, 84), np.uint8)
    assert observation in env.observation_space
    assert observation.std() > 10


@pytest.mark.parametrize("mode", [None, *gym.VectorizeMode])
def test_vectorization_modes_agree(mode: Any, shared: Any) -> None:
    expected, _ = drive(shared(SENSORS, 2), 10)
    envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode=mode)
    assert drive(envs, 10)[0] == pytest.approx(expected, abs=0)
    envs.close()


@pytest.mark.parametrize("arguments", [SENSORS, PIXELS, NAMED, CONTINUOUS], ids=str)
def test_spec_returns_from_json_and_pickle(arguments: dict[str, Any], shared: Any) -> None:
    env = shared(arguments, 0)
    expected, _ = drive(env, 3)
    for spec in (
        EnvSpec.from_json(env.spec.to_json()),
        pickle.loads(pickle.dumps(env.spec)),
    ):
        assert spec == env.spec
    assert json.loads(env.spec.to_json())["kwargs"].keys() == arguments.keys()
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    observation, _ = drive(again, 3)
    again.close()
    for one, other in zip(
        gym.spaces.flatten(env.observation_space, expected),
        gym.spaces.flatten(env.observation_space, observation),
        strict=True,
    ):
        assert one == other


@pytest.mark.parametrize("arguments", [SENSORS, PIXELS, NAMED, CONTINUOUS], ids=str)
def test_env_checker_is_content(arguments: dict[str, Any], shared: Any) -> None:
    check_env(shared(arguments, 0).unwrapped, skip_render_check=True, skip_close_check=True)


@pytest.mark.parametrize(
    ("action_type", "noop"),
    [("discrete", 5), ("keys", np.zeros(11, np.int8))],
)
def test_play_drives_in_a_window(
    action_type: str, noop: Any, display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_display(monkeypatch, display)
    held: list[Any] = []

    def callback(*step: Any) -> None:
        held.append(step[2])
        if len(held) == 3:
            for key in (pygame.K_LEFT, pygame.K_w, pygame.K_x):
                pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=""))
        if len(held) == 6:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    kind = actions.ACTION_TYPES.make(action_type)
    # play() closes the window, not the environment.
    with gym.make("MKDS-v0", **{**SENSORS, "action_type": action_type}) as env:
        play(env, noop=noop, callback=callback)
    drifting = Keys.A | Keys.R | Keys.LEFT
    assert [kind.keys(action) for action in held] == [0] * 3 + [drifting] * 3


def test_keys_for_play_are_those_of_the_player() -> None:
    codes = {getattr(pygame, f"K_{name}"): key for name, key, _ in KEYBOARD}
    assert codes == {code: key for key, code in actions.KEYBOARD.items()}


@pytest.mark.parametrize("action_type", actions.ACTION_TYPES)
def test_held_keys_are_pressed(action_type: str) -> None:
    kind = actions.ACTION_TYPES.make(action_type)
    table = actions.keys_to_action(kind)
    assert table
    for codes, action in table.items():
        pressed = Keys(0)
        for key, code in actions.KEYBOARD.items():
            pressed |= key if code in codes else Keys(0)
        assert kind.space.contains(action)
        assert kind.keys(action) == pressed

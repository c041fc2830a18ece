"""`mkds_gym.parallel_env`: several agents in one race, with PettingZoo's Parallel API."""

from __future__ import annotations

import itertools
import math
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cartridge_under_test import ROM, needs_checkpoint_fields
from gymnasium.utils.env_checker import data_equivalence
from kartlab_race import KartlabRace
from multi_agent_races import digest_of_race, drive
from programs import run, run_file

import mkds_gym
from mkds_gym.components.agent import Agent
from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.components.sensors import make_sensors
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.errors import ConsoleError, NoRaceError
from mkds_gym.multi_agent import env as multi_agent
from mkds_gym.race.lengths import POSITION_UNIT
from mkds_gym.race.reader import RaceReader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing PettingZoo's tests warns of its own old API
    from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
    from pettingzoo.utils import parallel_to_aec

ACCELERATE, COAST, BRAKE = 0, 5, 8
SENSORS = ["seed6", "kinematics", "opponents:3"]


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """A function that makes environments, which are closed at the end of the test."""
    made: list[Any] = []

    def make(agents: int = 2, **arguments: Any) -> Any:
        made.append(mkds_gym.parallel_env(agents, **arguments))
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """A race of three agents and two CPU karts; tests reset it."""
    env = mkds_gym.parallel_env(3, opponents=2, laps=1, sensors=SENSORS, items=True, frame_skip=4)
    yield env
    env.close()


# PettingZoo's tests -------------------------------------------------------------------------------


def test_api_test_of_pettingzoo_passes(make: Callable[..., Any]) -> None:
    env = make(laps=1, truncate_on={"kart_0": "clock:300", "kart_1": "clock:400"}, frame_skip=8)
    with pytest.warns(UserWarning, match="option 'options' of reset") as caught:
        parallel_api_test(env, num_cycles=100)
    assert len(caught) == 1
    assert str(env) == "mkds_v0"


@pytest.mark.filterwarnings("ignore:option 'options'")
def test_agents_may_also_take_turns_through_pettingzoos_wrapper(make: Callable[..., Any]) -> None:
    ends = {"kart_0": "clock:50", "kart_1": "clock:150", "kart_2": "clock:100"}
    env = parallel_to_aec(make(3, frame_skip=10, truncate_on=ends))
    env.reset(seed=0)
    ended = []
    for agent in env.agent_iter():
        _, _, terminated, truncated, _ = env.last()
        ended += [agent] if truncated else []
        env.step(None if terminated or truncated else ACCELERATE)
    assert ended == ["kart_0", "kart_2", "kart_1"]
    api_test(env, num_cycles=20)


def test_eight_agents_race(make: Callable[..., Any]) -> None:
    env = make(8)
    _, infos = env.reset(seed=0)
    assert [info["place"] for info in infos.values()] == list(range(1, 9))
    env.step({f"kart_{number}": ACCELERATE if number % 2 else BRAKE for number in range(8)})
    infos = drive(env, 3)[-1][4]
    assert [info["drivers"] for info in infos.values()] == [8] * 8
    assert len(env.race("kart_7").opponents) == 7


def test_seed_test_of_pettingzoo_passes() -> None:
    parallel_seed_test(
        lambda: mkds_gym.parallel_env(
            opponents=3, items=True, random_grid=True, action_type="discrete_items", frame_skip=6
        ),
        num_cycles=40,
    )


# Exactness ----------------------------------------------------------------------------------------


RACES = [
    {"course": course, "engine_class": engine_class, "mirror": mirror, "opponents": opponents}
    for course, (engine_class, mirror, opponents) in zip(
        Cartridge.open(ROM).course_names(),
        itertools.cycle([(50, True, 7), (100, False, 1), (150, True, 4), (150, False, 0)]),
        strict=False,
    )
]


@pytest.mark.parametrize(
    "race",
    [{"opponents": 3, "items": True}, *(pytest.param(r, marks=pytest.mark.slow) for r in RACES)],
    ids=lambda race: race.get("course", "default"),
)
def test_one_agent_races_exactly_as_in_the_vs_mode_of_one_driver(
    race: dict[str, Any], monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]
) -> None:
    monkeypatch.setattr(multi_agent, "MIN_AGENTS", 1)
    common: dict[str, Any] = {
        "items": True,
        "laps": 1,
        "sensors": SENSORS,
        "action_type": "discrete_items",
        "reward": "racing",
        "metrics": (*DEFAULT_METRICS, "place"),
        **race,
    }
    alone = gym.make("MKDS-v0", mode="vs", **common).unwrapped
    env = make(1, **common)
    generator = np.random.default_rng(0)
    for seed in (3, None):
        expected, expected_info = alone.reset(seed=seed)
        observations, infos = env.reset(seed=seed)
        for step in range(70):
            assert observations["kart_0"].tobytes() == expected.tobytes()
            assert data_equivalence(infos["kart_0"], expected_info, exact=True)
            assert env.reader.copy() == alone.reader.copy()
            assert env.reader.read_objects() == alone.reader.read_objects()
            action = int(generator.integers(14)) if step % 3 else ACCELERATE
            expected, expected_reward, terminated, truncated, expected_info = alone.step(action)
            observations, rewards, terminations, truncations, infos = env.step({"kart_0": action})
            assert rewards["kart_0"] == expected_reward
            assert (terminations["kart_0"], truncations["kart_0"]) == (terminated, truncated)
            if terminated or truncated:
                break
    alone.close()


def test_each_agent_sees_and_earns_what_its_driver_does_in_memory(shared: Any) -> None:
    shared.reset(seed=1)
    reader = shared.reader
    course = shared.course
    agents = {
        name: Agent(SENSORS, None, "top", "discrete", "racing", (*DEFAULT_METRICS, "place"), (), ())
        for name in shared.possible_agents
    }
    readers = {
        name: race_reader(shared.console.ram, reader.layout, driver=number)
        for number, name in enumerate(shared.possible_agents)
    }
    for name, agent in agents.items():
        agent.begin(readers[name].read(), course)
    frames: dict[str, list[Any]] = {}
    run_frames = shared.console.run_and_copy

    def watched(
        keys: int, count: int, copies: FrameCopies, drawn: int = -1
    ) -> tuple[int, list[bytes]]:
        found: list[bytes] = []
        for frame in range(count):
            found += run_frames(keys, 1, copies, 0 if frame == drawn else -1)[1]
            for name, each in readers.items():
                frames[name].append(each.read())
        return count, found

    shared.console.run_and_copy = watched
    try:
        for _ in range(40):
            frames = {name: [] for name in readers}
            ((observations, rewards, _, _, infos),) = drive(shared, 1)
            for name, agent in agents.items():
                agent.advance(frames[name], course)
                state = readers[name].read()
                expected = [sensor.read(state, course) for sensor in make_sensors(SENSORS)]
                assert observations[name].tobytes() == np.concatenate(expected).tobytes()
                assert rewards[name] == agent.last_reward
                assert agent.last_metrics[1] == metrics_of(infos[name])
                assert infos[name]["place"] == state.place + 1
                assert len(state.opponents) == 4
                assert shared.race(name) == state
    finally:
        del shared.console.run_and_copy
    places = {info["place"] for info in infos.values()}
    assert len(places) == 3


def test_same_seed_gives_the_same_race_in_every_process() -> None:
    here = digest_of_race()
    assert digest_of_race() == here
    there = run_file("race_of_agents.py")
    assert there.returncode == 0, there.stderr
    assert there.stdout.strip() == here


def test_frame_skip_only_groups_the_frames(make: Callable[..., Any]) -> None:
    ends, totals = [], []
    for frame_skip in (1, 6):
        env = make(opponents=1, frame_skip=frame_skip)
        env.reset(seed=4)
        total = dict.fromkeys(env.agents, 0.0)
        for frame in range(0, 120, frame_skip):
            action = frame // 30
            _, rewards, _, _, infos = env.step({"kart_0": action, "kart_1": 4 - action})
            total = {name: total[name] + rewards[name] for name in total}
        ends.append(env.reader.copy())
        totals.append({**total, **metrics_of(infos["kart_1"])})
    assert ends[0] == ends[1]
    assert totals[0] == pytest.approx(totals[1])


def metrics_of(info: Mapping[str, Any]) -> dict[str, float]:
    names = [key for key in info if key.startswith("metric_")]
    return {name.removeprefix("metric_"): info[name] for name in names}


# Agents -------------------------------------------------------------------------------------------


def test_agents_end_one_by_one_and_their_karts_coast(make: Callable[..., Any]) -> None:
    ends = {"kart_0": "clock:80", "kart_1": "clock:200", "kart_2": "clock:120"}
    env = make(3, truncate_on=ends, terminate_on=())
    env.reset(seed=0)
    order, last = [], {}
    while env.agents:
        before = list(env.agents)
        results = env.step(dict.fromkeys(env.agents, ACCELERATE))
        for result in results:
            assert list(result) == before
        for name in set(before) - set(env.agents):
            assert results[3] == {other: other == name for other in before}
            assert not any(results[2].values())
            assert env.event_names(name) == ("clock",)
            assert results[4][name]["events"].tolist() == [True]
            order.append(name)
            last[name] = env.race(name)
        if env.agents == ["kart_1"]:
            with pytest.raises(ValueError, match="'kart_0', but its episode has ended"):
                env.step({"kart_0": 0, "kart_1": 0})
    assert order == ["kart_0", "kart_2", "kart_1"]
    reader = RaceReader(env.console.ram, env.reader.layout, driver=0)
    assert last["kart_0"].speed > 2
    assert reader.read().speed < 0.5 * last["kart_0"].speed, "the kart coasts"
    assert last["kart_1"].speed > 2
    assert env.step({}) == ({}, {}, {}, {}, {})
    with pytest.raises(gym.error.ResetNeeded, match=r"call env\.reset\(\)"):
        env.step({"kart_1": 0})
    env.reset()
    assert env.agents == env.possible_agents == ["kart_0", "kart_1", "kart_2"]


@needs_checkpoint_fields
@pytest.mark.parametrize("first", [0, 1])
def test_an_agent_that_finishes_leaves_the_clock_to_the_others(
    first: int, make: Callable[..., Any]
) -> None:
    env = make(2, laps=1, truncate_on="clock:600")
    env.reset(seed=0)
    race = KartlabRace(env.console)
    winner, other = f"kart_{first}", f"kart_{1 - first}"
    key = race.status["drivers"][first]
    env.step({winner: COAST, other: COAST})
    key["lap"] = key["highest_lap"] = 1
    key["last_key_checkpoint"] = race.status["drivers"][first]["last_key_checkpoint"]
    race.put_on_road(first, -30.0, speed=4.0)
    for _ in range(40):
        _, _, terminations, _, infos = env.step(dict.fromkeys(env.agents, ACCELERATE))
        if winner not in env.agents:
            break
    assert terminations == {winner: True, other: False}
    assert infos[winner]["is_success"]
    assert infos[winner]["place"] == 1
    assert infos[winner]["total_time"] > 0
    frame, time = env.race(other).frame, env.race(other).total_time
    env.step({other: ACCELERATE})
    assert env.race(other).frame == frame + 4
    assert env.race(other).total_time == pytest.approx(time + 4 * 0.016715, abs=0.002)
    while env.agents:
        _, _, _, truncations, infos = env.step({other: COAST})
    assert truncations == {other: True}
    assert infos[other]["place"] == 2


def test_agents_take_different_arguments(make: Callable[..., Any]) -> None:
    env = make(
        sensors={"kart_0": ["rays:5"], "kart_1": SENSORS},
        action_type={"kart_0": "keys", "kart_1": "threshold:2"},
        reward={"kart_0": "progress", "kart_1": lambda metrics: 10.0 - metrics["place"]},
        metrics={"kart_0": None, "kart_1": ["place"]},
    )
    observations, _ = env.reset(seed=0)
    assert env.observation_space("kart_0").shape == (5,)
    assert env.action_space("kart_1").shape == (2,)
    for name, observation in observations.items():
        assert observation in env.observation_space(name)
        assert env.observation_space(name) is env.observation_space(name)
        assert env.action_space(name) is env.action_space(name)
    keys = np.zeros(11, np.int8)
    keys[5] = 1  # A
    for _ in range(10):
        _, rewards, _, _, infos = env.step({"kart_0": keys, "kart_1": np.zeros(2, np.float32)})
    assert rewards["kart_0"] > 0.01
    assert list(metrics_of(infos["kart_1"])) == ["place"]
    assert env.race("kart_0").speed > 1
    assert env.race("kart_1").speed < 0.5


def test_state_has_all_karts(shared: Any) -> None:
    shared.reset(seed=2)
    drive(shared, 5)
    state = shared.state()
    assert state in shared.state_space
    rows = state.reshape(5, 13)
    for name, row in zip(shared.possible_agents, rows, strict=False):
        race = shared.race(name)
        assert row[:3] * POSITION_UNIT == pytest.approx(race.position, abs=1e-2)
        assert row[3:6] == pytest.approx(race.velocity, abs=1e-5)
        assert row[11] == race.place + 1
    cpu = shared.race("kart_0").opponents[3]
    assert cpu.driver == 4
    assert rows[4][:3] * POSITION_UNIT == pytest.approx(cpu.position, abs=1e-2)
    assert sorted(rows[:, 11]) == [1, 2, 3, 4, 5]


# The race -----------------------------------------------------------------------------------------


def test_karts_of_agents_hit_each_other(shared: Any) -> None:
    shared.reset(seed=0)
    race = KartlabRace(shared.console)
    drive(shared, 15)
    race.put_on_road(0, 300, speed=3.9)
    race.put_on_road(2, 316, speed=0.5)
    fastest = 0.0
    for _ in range(4):
        shared.step({"kart_0": ACCELERATE, "kart_1": COAST, "kart_2": COAST})
        fastest = max(fastest, shared.race("kart_2").speed)
    assert fastest > 1.5, "kart_0 pushes kart_2"
    assert shared.race("kart_0").speed < 3.5


def test_overtaking_changes_places_and_pays(shared: Any) -> None:
    shared.reset(seed=0)
    race = KartlabRace(shared.console)
    everyone = dict.fromkeys(shared.agents, COAST)
    _, _, _, _, infos = shared.step(everyone)
    assert [info["place"] for info in infos.values()] == [3, 4, 5]
    first = shared.race("kart_0")
    x, _, z = first.position
    at = shared.course.track.progress(first.checkpoint, x, z)
    race.put_on_road(2, at + 12)
    _, rewards, _, _, infos = shared.step(everyone)
    assert [info["place"] for info in infos.values()] == [4, 5, 3]
    assert rewards["kart_0"] == pytest.approx(-1, abs=0.1)
    assert rewards["kart_1"] == pytest.approx(-1, abs=0.1)
    assert rewards["kart_2"] > 2, "two places, and progress"


def test_each_agent_takes_and_uses_its_own_item(make: Callable[..., Any]) -> None:
    env = make(2, items=True, action_type="discrete_items", truncate_on=(), frame_skip=1)
    env.reset(seed=0)
    race = KartlabRace(env.console)
    x, y, z = race.objects("map_object")[0].position
    race.put(x, z, y=y - 8.0, index=1)
    touched = set()
    for _ in range(100):
        env.step({"kart_0": COAST, "kart_1": COAST})
        touched |= {name for name in env.agents if env.race(name).touching_object}
    assert touched == {"kart_1"}
    use = 11
    env.step({"kart_0": use, "kart_1": COAST})
    assert not env.race("kart_0").boosting, "kart_0 has no item"
    assert not race.objects("item")
    env.step({"kart_0": COAST, "kart_1": use})
    things = race.objects("item")
    assert env.race("kart_1").boosting or things
    for thing in things:
        assert math.dist(thing.position, env.race("kart_1").position) < 60


def test_random_grid_draws_who_starts_in_front(make: Callable[..., Any]) -> None:
    env = make(opponents=1, random_grid=True)
    seen = set()
    for seed in range(8):
        _, infos = env.reset(seed=seed)
        places = tuple(infos[name]["place"] for name in env.possible_agents)
        assert sorted(places) == [2, 3], "agents start behind the CPU karts"
        assert env.drivers["kart_0"] == places[0] - 2
        seen.add(places)
    assert len(seen) == 2


def test_course_set_gives_each_episode_another_course(make: Callable[..., Any]) -> None:
    env = make(course_set="test", difficulty=0.2)
    seeds = []
    for seed in (3, None, 3):
        _, infos = env.reset(seed=seed)
        assert infos["kart_0"]["course_seed"] >= 0
        seeds.append(infos["kart_1"]["course_seed"])
    assert seeds[0] == seeds[2] != seeds[1]
    _, infos = env.reset(options={"course_seed": 7})
    assert infos["kart_0"]["course_seed"] == 7


def test_view_shows_each_agents_kart_and_changes_nothing(make: Callable[..., Any]) -> None:
    pictures, races = [], []
    for view in (None, "kart_0", "kart_1"):
        mode = None if view is None else "rgb_array"
        env = make(opponents=1, render_mode=mode, view=view, screens="both")
        env.reset(seed=0)
        drive(env, 20)
        races.append(env.reader.copy())
        if mode:
            assert env.metadata["render_fps"] == 15
            pictures.append(env.render())
            assert pictures[-1].shape == (384, 256, 3)
    assert races[0] == races[1] == races[2]
    assert (pictures[0] != pictures[1]).mean() > 0.05
    env.view = "kart_0"
    drive(env, 2)
    assert (env.render() != pictures[1]).mean() > 0.05


def test_overlays_are_those_of_the_agent_in_view(make: Callable[..., Any]) -> None:
    scenes: list[Any] = []

    class Kept:
        name = "kept"

        def draw(self, canvas: Any, scene: Any, course: Any) -> None:
            scenes.append(scene)

    env = make(sensors="rays:5", render_mode="rgb_array", overlays=["rays", Kept()], view="kart_1")
    env.reset(seed=0)
    drive(env, 10)
    plain = env.console.screen("top")
    assert (env.render() != plain).any()
    for view in ("kart_1", "kart_0"):
        env.view = view
        ((_, rewards, _, _, _),) = drive(env, 1)
        env.render()
        scene = scenes[-1]
        assert scene.reward == rewards[view]
        assert scene.terms.keys() >= {"progress", "place"}
        assert len(scene.ray_angles) == 5
        assert math.dist(scene.race.position, env.race(view).position) < 12
        assert math.dist(scene.camera.position, scene.race.position) < 60


def test_overlays_belong_to_the_kart_in_the_picture(make: Callable[..., Any]) -> None:
    scenes: list[Any] = []

    class Kept:
        name = "kept"

        def draw(self, canvas: Any, scene: Any, course: Any) -> None:
            scenes.append(scene)

    env = make(
        render_mode="rgb_array",
        overlays=Kept(),
        frame_skip=1,
        truncate_on={"kart_0": "clock:40", "kart_1": ()},
    )
    env.reset(seed=0)
    drive(env, 10)
    seen = []
    for step in range(5):
        env.view = "kart_1"
        if step:
            ((_, rewards, _, _, _),) = drive(env, 1)
        env.render()
        seen.append(scenes[-1].race.driver)
        trail, kart = scenes[-1].trail, scenes[-1].race.position
        assert math.dist(scenes[-1].camera.position, kart) < 60
        assert tuple(trail[-1][:3]) == pytest.approx(kart)
    assert seen == [0, 0, 0, 1, 1], "a picture is on the screen two frames after it was drawn"
    assert scenes[-1].reward == rewards["kart_1"]
    assert len(trail) < 3
    env.view = "kart_0"
    while "kart_0" in env.agents:
        drive(env, 1)
    env.render()
    assert scenes[-1].reward is not None
    drive(env, 1)
    env.render()
    assert scenes[-1].reward is None, "the agent's episode has ended"


def test_window_shows_every_frame(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    drawn = []

    class Counts:
        name = "counts"

        def draw(self, canvas: Any, scene: Any, course: Any) -> None:
            drawn.append(scene.race.frame)

    env = make(2, render_mode="human", window_scale=1, overlays=Counts())
    env.reset(seed=0)
    drive(env, 2)
    assert drawn[1:] == list(range(drawn[1], drawn[1] + 8)), "one picture of each frame"
    assert env.render() is None


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agents": 1}, "agents=1 is out of range: expected an integer from 2 to 8"),
        ({"agents": 9}, "agents=9 is out of range"),
        ({"agents": 2.5}, "agents=2.5 is not an integer"),
        ({"agents": "kart_0"}, "agents='kart_0' is not an integer"),
        ({"agents": 6, "opponents": 4}, "agents=6 and opponents=4 are 10 karts"),
        ({"opponents": -1}, "opponents=-1 is out of range"),
        ({"opponents": None}, "opponents=None is not an integer"),
        ({"obs_type": "pixels"}, "obs_type='pixels' is not available for several agents"),
        ({"obs_type": "ram"}, "obs_type='ram' is not available"),
        ({"view": "kart_2"}, "(did you mean 'kart_1'?): expected one of 'kart_0', 'kart_1'"),
        ({"reward": {"kart_0": "racing"}}, "reward has values for 'kart_0': expected kart_0, kart"),
        ({"reward": {}}, "reward has values for no agent: expected kart_0, kart_1"),
        ({"reward": {"kart_0": "racing", 1: "racing"}}, "reward has values for 'kart_0', 1: expec"),
        ({"reward": {"kart_0": "racing", "kart_1": "x"}}, "unknown reward 'x'"),
        ({"metrics": ["progress"]}, "reward='racing' needs the metric"),
        ({"frame_skip": 0}, "frame_skip=0 is out of range"),
        ({"random_grid": 1}, "random_grid=1 is not a boolean"),
        ({"overlays": "rays"}, "overlays='rays' are drawn by render(): pass a render_mode too"),
        ({"render_mode": "ansi"}, "render_mode='ansi' is unknown"),
        ({"course": "nowhere"}, "course='nowhere' is not on the cartridge"),
        ({"laps": 10}, "laps=10 is out of range"),
        ({"mode": "vs"}, "unexpected keyword argument 'mode'"),
    ],
)
def test_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        mkds_gym.parallel_env(**arguments)


@pytest.mark.parametrize(
    ("actions", "kind", "message"),
    [
        ({"kart_0": 0, "kart_1": 0}, ValueError, "no action for 'kart_2'"),
        ({"kart_0": 0, "kart_1": 0, "kart_2": 0, "kart_3": 0}, ValueError, "'kart_3', but there"),
        ({"kart_0": 0, "kart_1": 11, "kart_2": 0}, ValueError, "kart_1: action=11 is out of range"),
        ({}, ValueError, "no action for 'kart_0'"),
        ([0, 0, 0], TypeError, "is not a dict"),
    ],
)
def test_wrong_actions_are_refused_before_a_frame(
    shared: Any, actions: Any, kind: type[Exception], message: str
) -> None:
    shared.reset(seed=0)
    before = shared.console.frame_count
    with pytest.raises(kind, match=message):
        shared.step(actions)
    assert shared.console.frame_count == before
    shared.step(dict.fromkeys(shared.agents, 0))


def test_wrong_options_and_seeds_end_no_episode(shared: Any) -> None:
    shared.reset(seed=0)
    with pytest.raises(ValueError, match="applies to random courses only"):
        shared.reset(options={"course_seed": 3})
    with pytest.raises(ValueError, match="seed=-1 is out of range"):
        shared.reset(seed=-1)
    with pytest.raises(TypeError, match="options=3 is not a dict"):
        shared.reset(options=3)
    with pytest.warns(UserWarning, match="option 'progress' of reset"):
        shared.reset(options={"progress": 0.5})
    shared.step(dict.fromkeys(shared.agents, 0))


def test_calls_out_of_order_say_what_to_do(make: Callable[..., Any]) -> None:
    env = make()
    for call in (lambda: env.console, lambda: env.step({"kart_0": 0, "kart_1": 0})):
        with pytest.raises((ConsoleError, gym.error.ResetNeeded), match=r"call env\.reset\(\)"):
            call()
    for look in (env.state, lambda: env.race("kart_0"), lambda: env.course, lambda: env.reader):
        with pytest.raises(NoRaceError, match=r"call env\.reset\(\)"):
            look()
    env.close()
    env.close()
    for closed in (env.reset, lambda: env.step({})):
        with pytest.raises(gym.error.ClosedEnvironmentError, match="make a new one"):
            closed()


def test_step_that_fails_needs_a_reset(make: Callable[..., Any]) -> None:
    class Fails:
        name = "fails"

        def reset(self) -> None: ...

        def update(self, state: Any, course: Any) -> bool:
            raise RuntimeError("broken event")

    env = make(truncate_on={"kart_0": (), "kart_1": Fails()})
    env.reset(seed=0)
    with pytest.raises(RuntimeError, match="broken event"):
        env.step({"kart_0": 0, "kart_1": 0})
    assert env.episode_over
    for actions in ({}, {"kart_0": 0, "kart_1": 0}):
        with pytest.raises(gym.error.ResetNeeded):
            env.step(actions)
    env.reset()
    assert env.agents == ["kart_0", "kart_1"]


def test_reset_that_fails_begins_no_episode(make: Callable[..., Any]) -> None:
    class Fails:
        name = "fails"

        def reset(self) -> None:
            if broken:
                raise RuntimeError("broken event")

        def update(self, state: Any, course: Any) -> bool:
            return False

    broken = False
    env = make(truncate_on={"kart_0": (), "kart_1": Fails()})
    env.reset(seed=0)
    broken = True
    with pytest.raises(RuntimeError, match="broken event"):
        env.reset()
    assert env.agents == []
    for actions in ({}, {"kart_0": 0, "kart_1": 0}):
        with pytest.raises(gym.error.ResetNeeded):
            env.step(actions)


def test_races_in_two_threads_are_those_of_one_thread() -> None:
    with ThreadPoolExecutor(2) as threads:
        digests = [threads.submit(digest_of_race) for _ in range(2)]
    assert {digest.result() for digest in digests} == {digest_of_race()}


def test_environments_are_pickled_by_their_arguments(make: Callable[..., Any]) -> None:
    env = make(3, opponents=1, items=True)
    other = pickle.loads(pickle.dumps(env))
    assert other.possible_agents == env.possible_agents
    first, second = (each.reset(seed=9)[0] for each in (env, other))
    other.close()
    for name, observation in first.items():
        assert (observation == second[name]).all()


def test_package_without_pettingzoo_works_and_says_how_to_install_it() -> None:
    done = run(
        """
        import sys
        import mkds_gym
        from mkds_gym import *
        assert not any(name.startswith("pettingzoo") for name in sys.modules)
        sys.modules["pettingzoo"] = None
        try:
            mkds_gym.parallel_env()
        except ImportError as error:
            print(error)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (
        "mkds_gym.parallel_env needs PettingZoo: pip install 'mkds-gym[multi]'"
    )


def test_other_cartridge_is_refused(tmp_path: Any) -> None:
    image = bytearray(ROM.read_bytes())
    image[12:16] = b"AMCE"
    rom = tmp_path / "other.nds"
    rom.write_bytes(image)
    with pytest.raises(ValueError, match="races of several agents need Kartlab"):
        mkds_gym.parallel_env(rom=rom)


@pytest.mark.parametrize("make", [mkds_gym.parallel_env, mkds_gym.MKDSEnv])
def test_error_after_close_says_to_make_a_new_environment(make: Callable[[], Any]) -> None:
    env = make()
    env.close()
    for name, error in (("console", ConsoleError), ("reader", NoRaceError)):
        with pytest.raises(error, match="make a new environment"):
            getattr(env, name)

"""A race on Kartlab: clock, laps, checkpoints, respawns, and how a kart moves."""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from kartlab_race import LAYOUT, KartlabRace

from mkds_gym.course import read_course_archive
from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.kartlab.physics import CLASS_SPEEDS, KART_CENTRE, KART_RADIUS
from mkds_gym.race.state import RaceState


class Race(KartlabRace):
    """A race with the checkpoints of its course."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.player = PurePursuit(drifts=False)

    @functools.cached_property
    def checkpoints(self) -> list[tuple[float, float, float, float, int]]:
        return [
            (*(float(line[name]) / 4096 for name in ("x1", "z1", "x2", "z2")), int(line["key"]))
            for line in self.course.nkm.checkpoints
        ]

    def middle(self, i: int) -> tuple[float, float]:
        x1, z1, x2, z2, _ = self.checkpoints[i % len(self.checkpoints)]
        return (x1 + x2) / 2, (z1 + z2) / 2

    def heading(self, i: int) -> float:
        """Return the heading from a checkpoint to the next."""
        (x, z), (ahead_x, ahead_z) = self.middle(i), self.middle(i + 1)
        return math.atan2(ahead_x - x, ahead_z - z)


@pytest.fixture(scope="module")
def started() -> Iterator[Race]:
    race = Race.boot(laps=2)
    yield race
    race.close()


@pytest.fixture
def race(started: Race) -> Race:
    return started.restart()


def lap(race: Race, frames: int = 6000) -> Iterator[RaceState]:
    """Drive round the course and yield the state of every frame."""
    for _ in range(frames):
        state = race.step(race.pursuit())
        yield state
        if state.finished:
            return


def after(race: Race, frames: int) -> RaceState:
    """Drive and return the state after this many frames, or at the finish."""
    return list(lap(race, frames))[-1]


def test_laps_of_a_race_are_counted_and_timed(race: Race) -> None:
    laps, before = [race.state.lap], race.state
    for state in lap(race):
        if state.lap != laps[-1]:
            laps.append(state.lap)
        assert state.frame == before.frame + 1
        assert state.clock_running != state.finished
        before = state
    assert state.finished
    assert laps == [0, 1, 2], "the lap stays at the number of laps"
    assert len(state.lap_times) == 2
    assert sum(state.lap_times) == pytest.approx(state.total_time, abs=0.003)
    assert state.total_time == pytest.approx(state.frame * 0.016715, abs=0.002)
    assert min(state.lap_times) > 18
    assert max(state.lap_times) < 45
    # After the finish the clock stands still, and the kart coasts to a halt whatever is pressed.
    end = race.step(Keys.A | Keys.LEFT, 400)
    assert end.frame == state.frame
    assert end.total_time == state.total_time
    assert end.speed == pytest.approx(0, abs=0.01)
    assert end.lap == 2


def test_structures_of_the_memory_map_describe_the_race(race: Race) -> None:
    timers = race.word(LAYOUT.race_state_pointer)
    for _ in range(20):
        state = race.step(Keys.A)
        assert race.word(timers + 4) - race.word(timers + 8) == 1
        assert race.word(timers + 12) == race.word(timers + 8) & 7
        assert state.race_on
        assert state.driver_count == 1
    assert race.word(timers, "<h") == 1
    config = race.word(LAYOUT.race_config_pointer)
    assert config == 0x023CDCD8
    assert race.word(config) == 25
    assert race.word(config + 8) == 1, "time trial"
    assert race.word(config + 0x10) == 1, "100cc"
    table, driver = LAYOUT.object_table, race.word(LAYOUT.drivers_pointer)
    assert race.word(table + 8, "<H") == 2, "a driver has two entries"
    entry = race.word(table + 0x10)
    assert race.word(entry + 0x0C) == driver + 0x80
    assert race.word(entry + 0x14, "<H") == 0x8000
    assert race.word(entry + 0x18) == driver


def test_driver_fields_agree_with_each_other_over_most_of_a_lap(race: Race) -> None:
    before = race.driver.copy()
    for count, _ in enumerate(lap(race, 1500)):
        driver = race.driver.copy()
        position = driver["position"] / 4096
        matrix = driver["matrix"] / 4096
        up, forward = driver["up"] / 4096, driver["forward"] / 4096
        assert (driver["previous_position"] == before["position"]).all()
        assert (driver["delta"] == driver["position"] - before["position"]).all()
        assert driver["delta_length"] / 4096 == pytest.approx(
            np.linalg.norm(driver["delta"] / 4096), abs=0.001
        )
        if count % 10 == 0:
            assert np.linalg.det(matrix[:3]) == pytest.approx(1, abs=0.005)
            assert matrix[1] == pytest.approx(up)
            assert matrix[2] == pytest.approx(forward)
            assert matrix[3] == pytest.approx(position)
            assert matrix[:3] @ matrix[:3].T == pytest.approx(np.eye(3), abs=0.004)
            x, y, z, w = driver["rotation"] / 4096
            turned = np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
                    [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
                    [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
                ]
            )
            assert turned == pytest.approx(matrix[:3], abs=0.01)
            heading = int(driver["heading"]) / 65536 * math.tau
            assert math.remainder(math.atan2(forward[0], forward[2]) - heading, math.tau) == (
                pytest.approx(0, abs=0.01)
            )
            assert math.asin(forward[1]) == pytest.approx(
                driver["pitch"] / 65536 * math.tau, abs=0.005
            )
            centre = driver["sphere_centre"] / 4096
            radius = driver["sphere_radius"] / 4096
            assert radius == KART_RADIUS
            assert centre == pytest.approx(position + up * KART_CENTRE, abs=0.002)
            velocity = driver["velocity"] / 4096
            assert driver["speed"] / 4096 == pytest.approx(velocity @ forward, abs=0.002)
        before = driver
    assert race.state.checkpoint > 15


def test_course_files_in_memory_equal_the_cartridge_s(race: Race) -> None:
    cartridge = Cartridge.open()
    files = read_course_archive(cartridge, "mario_course")
    kcl, nkm = files["course_collision.kcl"], files["course_map.nkm"]
    header = struct.unpack_from("<4I", kcl, 0)
    pointers = struct.unpack_from("<4I", race.ram, LAYOUT.collision_header & 0x3FFFFF)
    bases = {pointer - offset for pointer, offset in zip(pointers, header, strict=True)}
    assert len(bases) == 1
    base = bases.pop() & 0x3FFFFF
    assert race.ram[base : base + len(kcl)].tobytes() == kcl
    assert race.ram[LAYOUT.collision_header - 0x02000000 :][16:0x3C].tobytes() == kcl[16:0x3C]
    map_data = race.word(LAYOUT.map_data_pointer)
    lines = race.word(map_data + 0x44) & 0x3FFFFF
    length = 0x24 * race.word(map_data + 0x48, "<H")
    assert race.ram[lines - 8 : lines - 4].tobytes() == b"CPOI"
    assert race.ram[lines : lines + length].tobytes() in nkm
    middles = [race.middle(i) for i in range(len(race.checkpoints) + 1)]
    around = sum(math.dist(a, b) for a, b in itertools.pairwise(middles))
    assert race.word(map_data + 0x104) / 4096 == pytest.approx(around, abs=1)
    keys = {key for *_, key in race.checkpoints if key >= 0}
    assert race.word(map_data + 0x98, "<H") == len(keys)


def test_countdown_holds_the_kart_and_the_clock() -> None:
    race = Race.boot(skip_countdown=False)
    state = race.step(Keys.A, 30)
    place = state.position
    assert not state.controllable
    assert not state.clock_running
    assert state.frame == 0
    frames = 0
    while not state.controllable:
        before = int(race.status["not_controllable"])
        state = race.step(Keys.A)
        assert int(race.status["not_controllable"]) == before - 1
        assert state.position == place
        frames += 1
        assert frames < 300
    assert state.clock_running
    state = race.step(Keys.A, 60)
    assert state.frame == 60
    assert math.dist(state.position, place) > 30
    race.close()


def test_same_keys_after_restore_give_the_same_memory(race: Race) -> None:
    def run() -> bytes:
        race.restart()
        rng = np.random.default_rng(3)
        for keys in rng.integers(0, 1 << 12, 60):
            race.step(int(keys), 6)
        return race.ram.tobytes()

    assert run() == run()


def test_top_speed_depends_on_the_class() -> None:
    speeds = []
    for engine_class in (50, 100, 150):
        race = Race.boot(engine_class=engine_class)
        state = race.step(Keys.A, 200)
        speeds.append(state.speed)
        assert race.config["engine_class"] == len(speeds) - 1
        race.close()
    assert speeds == pytest.approx(CLASS_SPEEDS, abs=0.25)


def test_acceleration_falls_with_speed_and_the_brake_reverses(race: Race) -> None:
    speeds = [race.step(Keys.A).speed for _ in range(150)]
    gains = np.diff(speeds)
    assert gains[:20].mean() > 2 * gains[60:80].mean() > 0
    braking = race.step(Keys.B, 10).speed
    assert braking < speeds[-1] - 1.1
    state = race.step(Keys.B, 90)
    assert -2.3 < state.speed < -1.3
    assert state.going_backwards
    assert race.step(Keys.A, 60).speed > 0.8


def test_kart_keeps_its_height_on_flat_ground(race: Race) -> None:
    rest = race.step(0, 30)
    assert race.step(0, 60).position == rest.position
    heights = {race.step(Keys.A).position[1] for _ in range(60)}
    assert len(heights) == 1, "no jitter on flat ground"


def test_steering_turns_the_nose_before_the_way(race: Race) -> None:
    for keys, sign in ((Keys.LEFT, 1), (Keys.RIGHT, -1)):
        race.put(-125, 950, math.pi / 2, 6.2)
        before = race.step(Keys.A, 5)
        state = race.step(Keys.A | keys, 25)
        turn = math.remainder(state.heading - before.heading, math.tau)
        assert sign * turn > 0.25
        # The kart still moves more along its old heading.
        vx, _, vz = state.velocity
        slide = math.remainder(state.heading - math.atan2(vx, vz), math.tau)
        assert 0.03 < sign * slide < 0.5


def test_steering_is_tighter_at_low_speed(race: Race) -> None:
    def rate(speed: float) -> float:
        race.put(-125, 950, math.pi / 2, speed)
        race.driver["turning"] = 4096
        before = race.step(Keys.LEFT).heading
        return math.remainder(race.step(Keys.LEFT).heading - before, math.tau)

    assert rate(2.1) > 1.15 * rate(6.5)
    assert rate(0.3) < 0.5 * rate(2.1)


def test_top_speed_off_the_road_depends_on_the_surface(race: Race) -> None:
    top: dict[int, float] = {}
    places = [(-125.0, 637.5, math.pi / 2)]  # the meadow on the inside of the first straight
    for i in range(4, len(race.checkpoints), 3):
        x1, z1, x2, z2, _ = race.checkpoints[i]
        places += [(x1 + (x2 - x1) * t, z1 + (z2 - z1) * t, race.heading(i)) for t in (0.02, 0.98)]
    for x, z, heading in places:
        race.put(x, z, heading, 5.0)
        race.driver["position"][1] += 6 * 4096
        race.step(Keys.A, 35)
        states = [race.step(Keys.A) for _ in range(20)]
        kinds = {state.surface for state in states}
        if len(kinds) == 1 and not any(s.touching_wall or s.respawning for s in states):
            kind = kinds.pop()
            top[kind] = max(top.get(kind, 0.0), states[-1].speed)
            multiplier = race.driver["speed_multiplier"] / 4096
            assert multiplier == pytest.approx({0: 1, 2: 0.75, 3: 0.5, 5: 0.3}[kind], abs=0.01)
    assert {2, 3} <= set(top), f"surfaces driven on: {top}"
    assert top[2] == pytest.approx(0.75 * CLASS_SPEEDS[1], abs=0.4)
    assert top[3] == pytest.approx(0.5 * CLASS_SPEEDS[1], abs=0.6)


def fence(race: Race) -> tuple[float, float, float]:
    """Return a place on the first straight, and the z of the fence to its right."""
    race.put(0, 950, 0.0, 5.0)
    for _ in range(200):
        state = race.step(Keys.A)
        if state.touching_wall:
            return 0.0, 950.0, state.position[2]
    pytest.fail("the straight has no wall")


@pytest.mark.parametrize("degrees", [10, 30, 60, 90])
def test_wall_deflects_the_kart_and_costs_speed(race: Race, degrees: int) -> None:
    x, _, wall = fence(race)
    race.put(x, wall - 20, math.pi / 2 - math.radians(degrees), 5.7)
    before = race.state
    for _ in range(160):
        state = race.step(Keys.A)
        if state.touching_wall:
            break
        before = state
    else:
        pytest.fail("the kart did not reach the wall")
    lost = before.speed - state.speed
    assert lost > 0.03 * before.speed
    if degrees >= 60:
        assert lost > 0.5 * before.speed
    deepest = state.position[2]
    for _ in range(200):
        state = race.step(Keys.A)
        if state.position[0] < 375:  # then the fence ends
            deepest = max(deepest, state.position[2])
    assert deepest < wall + 1.5, "the kart stays inside the wall"
    assert state.speed > 1.6, "full throttle frees the kart from the wall"


def test_kart_below_the_course_respawns_at_its_checkpoint(race: Race) -> None:
    state = after(race, 300)
    checkpoint = state.checkpoint
    race.driver["position"][1] -= 500 * 4096  # below everything
    race.driver["velocity"] = 0
    frames = 0
    while not race.step(Keys.A).respawning:
        frames += 1
        assert frames < 300
    pause = 0
    while (state := race.step(0)).respawning:
        pause += 1
        assert pause < 90
    assert 50 <= pause <= 70
    assert state.speed == pytest.approx(0, abs=0.2)
    assert state.on_floor
    assert 0 <= checkpoint - state.checkpoint <= 2
    assert math.cos(state.heading - race.heading(state.checkpoint)) > 0.5
    x1, z1, x2, z2, _ = race.checkpoints[state.checkpoint]
    x, _, z = state.position
    assert (z2 - z1) * (x - x1) - (x2 - x1) * (z - z1) >= 0, "in front of the current checkpoint"
    near = min(
        math.dist((state.position[0], state.position[2]), race.middle(checkpoint + k))
        for k in (-2, -1, 0, 1)
    )
    assert near < 200


def test_kart_that_falls_off_an_open_edge_respawns(race: Race) -> None:
    respawns = 0
    for i in range(0, len(race.checkpoints), 5):
        for side in (1, -1):
            race.put(*race.middle(i), race.heading(i) + side * math.pi / 2, 5.7)
            race.driver["position"][1] += 8 * 4096
            for _ in range(80):
                if race.step(Keys.A, 4).respawning:
                    respawns += 1
                    while race.step(0, 4).respawning:
                        pass
                    break
    assert respawns >= 3


def test_wrong_way_flag_is_set_and_cleared(race: Race) -> None:
    race.put(250, 950, -math.pi / 2, 3.3)
    assert not race.step(Keys.A, 5).wrong_way
    assert race.step(Keys.A, 40).wrong_way
    x, _, z = race.state.position
    race.put(x, z, math.pi / 2, 3.3)
    assert not race.step(Keys.A, 20).wrong_way


def test_start_line_crossed_backwards_takes_the_lap_away(race: Race) -> None:
    line = race.middle(0)[0]
    race.put(line - 16, 950, math.pi / 2, 5.0)
    assert race.step(Keys.A, 8).lap == 1
    for _ in range(3):  # crossing back and forth gives no lap
        race.put(line + 10, 950, -math.pi / 2, 5.0)
        assert race.step(Keys.A, 8).lap == 0
        race.put(line - 10, 950, math.pi / 2, 5.0)
        state = race.step(Keys.A, 8)
        assert state.lap == 1
        assert state.highest_lap == 1


def test_short_cut_past_the_checkpoints_counts_no_lap(race: Race) -> None:
    state = after(race, 380)
    assert state.lap == 1
    assert 3 <= state.checkpoint <= 12
    checkpoint = state.checkpoint
    race.put(*race.middle(-2), math.pi / 2, 5.7)
    for _ in range(200):
        state = race.step(Keys.A)
    assert state.position[0] > race.middle(0)[0] + 20, "over the line"
    assert state.lap == 1
    assert state.checkpoint <= checkpoint
    assert not state.finished


def test_missed_key_checkpoint_holds_the_progress(race: Race) -> None:
    key = next(i for i, row in enumerate(race.checkpoints) if row[4] == 2)
    carried = False
    for _ in range(3000):
        state = race.step(race.pursuit())
        if state.checkpoint == key - 1 and not carried:
            race.put(*race.middle(key + 1), race.heading(key + 1), 5.0)
            carried = True
        if carried:
            break
    for _ in range(100):
        state = race.step(Keys.A)
    assert state.checkpoint == key - 1, "the race waits for the key checkpoint"
    assert state.last_key_checkpoint == 1


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({}, 1),
        ({"course": 0xFFFFFFFF, "laps": 9, "engine_class": 2}, 1),
        ({"course": 52}, 2),
        ({"course": 999}, 2),
        ({"laps": 10}, 3),
        ({"engine_class": 3}, 4),
        ({"version": 1}, 5),
        ({"size": 0x20}, 5),
        ({"mode": 2}, 6),
        ({"drivers": 0}, 7),
        ({"drivers": 2}, 7),
        ({"mode": 3, "drivers": 9}, 7),
        ({"mode": 3, "strength": 3}, 7),
        ({"mode": 3, "drivers": 3, "hosted": 3}, 1),
        ({"mode": 3, "drivers": 3, "hosted": 4}, 9),
        ({"hosted": 1}, 9),
        ({"flags": 0x11, "hosted": 8}, 1),
        ({"flags": 0x11, "hosted": 0}, 9),
        ({"flags": 0x11, "hosted": 9}, 9),
        ({"flags": 0x11, "hosted": 2, "mode": 3, "drivers": 2}, 9),
        ({"course_data": 0x02200000, "course_size": 1000}, 8),
        ({"course_data": 0x02340002, "course_size": 1000}, 8),
        ({"course_data": 0x02340000, "course_size": 0x80001}, 8),
    ],
)
def test_boot_block_gets_its_answer(changed: dict[str, int], answer: int) -> None:
    values = {"version": 3, "size": 0x40, "course": 25, "laps": 3, "engine_class": 1, "flags": 1}
    values |= {"answer": 0, "mode": 1, "drivers": 1, "strength": 1, "seed": 1, "grid": 0}
    values |= {"course_data": 0, "course_size": 0, "hosted": 0, "reserved": 0, **changed}
    with Console() as console:
        block = struct.pack("<4sHH14I", b"KLBP", *values.values())
        console.ram[0x3FE000 : 0x3FE000 + len(block)] = np.frombuffer(block, np.uint8)
        race = Race(console)
        race.wait_for_race()  # a race runs after every answer
        assert race.word(0x023FE018) == answer
        assert race.word(0x023FE000) == 0, "the magic is cleared"
        assert race.config["course_id"] == 25
        assert race.config["engine_class"] == (values["engine_class"] if answer == 1 else 1)


def test_frame_takes_less_than_a_frame_of_the_machine(race: Race) -> None:
    """A frame has 560,190 bus cycles. The program measures its own."""
    race.ram[0x3FE040:0x3FE044] = np.frombuffer(b"KLPR", np.uint8)
    after(race, 400)
    race_cycles, worst = race.word(0x023FE044), race.word(0x023FE054)
    assert 0 < race_cycles < 30_000
    assert race_cycles < worst < 560_190

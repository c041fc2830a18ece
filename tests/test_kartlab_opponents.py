"""Opponents on Kartlab: their structures, how they drive, places, random numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from kartlab_race import LAYOUT, KartlabRace

from mkds_gym.emulator.console import Keys
from mkds_gym.emulator.hardware import RAM_START
from mkds_gym.kartlab.physics import KART_RADIUS
from mkds_gym.race.memory import WORD, read_pointer, read_struct
from mkds_gym.race.names import course_id


@pytest.fixture(scope="module")
def started() -> Iterator[KartlabRace]:
    field = KartlabRace.boot_vs(laps=1)
    yield field
    field.close()


@pytest.fixture
def field(started: KartlabRace) -> KartlabRace:
    return started.restart()


def laps_driven(field: KartlabRace) -> list[float]:
    """Return the laps of every driver, computed from positions and checkpoints."""
    return [field.course.track.laps(state) for state in field.states()]


def test_structures_describe_every_driver(field: KartlabRace) -> None:
    assert field.state.driver_count == 8
    assert field.config["driver_count"] == 8
    assert field.config["mode"] == 3
    assert [int(kind) for kind in field.config["drivers"]["type"]] == [0] + [1] * 7
    assert len(set(field.config["drivers"]["character"].tolist())) == 8
    assert field.kinds() == ["player"] + ["CPU"] * 7
    assert [int(number) for number in field.drivers["driver_id"]] == list(range(8))
    field.step(Keys.A, 100)
    shown = field.objects("driver")
    assert len(shown) == 8
    assert [thing.position for thing in shown] == [state.position for state in field.states()]
    flags = field.status["drivers"]["flags"]
    assert [int(flag) & 1 for flag in flags] == [1] + [0] * 7
    for state in field.states():
        assert state.speed > 3
        assert state.checkpoint_progress <= 1
        assert state.lap_frames == 100


@pytest.mark.parametrize(("drivers", "grid", "place"), [(8, None, 7), (8, 0, 0), (5, 2, 2)])
def test_drivers_stand_on_the_grid_until_go(drivers: int, grid: int | None, place: int) -> None:
    field = KartlabRace.boot_vs(drivers=drivers, grid=grid, skip_countdown=False)
    order = field.order()
    assert order[place] == 0, "the player starts on the requested place"
    assert sorted(order[:drivers]) == list(range(drivers))
    assert order[drivers:] == [-1] * (8 - drivers)
    before = field.positions()
    along = [lap * field.course.track.length for lap in laps_driven(field)]
    in_order = [along[index] for index in order[:drivers]]
    assert in_order == sorted(in_order, reverse=True)
    assert all(-400 < s < -40 for s in in_order)
    gaps = [math.dist(a, b) for i, a in enumerate(before) for b in before[i + 1 :]]
    assert min(gaps) > 3 * KART_RADIUS
    assert all(state.on_floor and state.surface == 0 for state in field.states())
    # No kart moves before GO, whatever the player presses.
    field.step(Keys.A | Keys.LEFT, 239)
    assert np.abs(field.positions() - before)[:, [0, 2]].max() < 0.8, "karts settle on the road"
    field.step(Keys.A, 90)
    assert np.linalg.norm(field.positions() - before, axis=1).min() > 30
    field.close()


def test_places_follow_progress_until_all_drivers_finish(field: KartlabRace) -> None:
    length = field.course.track.length
    changes, before = 0, field.order()
    for _ in range(3600):
        field.step(field.pursuit())
        states, order = field.states(), field.order()
        if all(state.finished for state in states[1:]):
            break
        assert sorted(order) == list(range(8))
        for place, index in enumerate(order):
            assert states[index].place == field.drivers[index]["place"] == place
        if not any(state.finished for state in states):
            driven = [field.course.track.laps(state) for state in states]
            for ahead, behind in itertools.pairwise(order):
                assert (driven[ahead] - driven[behind]) * length > -1.5
        changes += order != before
        before = order
    else:
        pytest.fail("not all drivers finished")
    assert changes >= 5, "drivers overtake each other"
    times = [states[index].total_time for index in field.order() if states[index].finished]
    assert times == sorted(times)
    assert len(times) >= 7
    for state in states:
        if state.finished:
            assert state.lap_times == (pytest.approx(state.total_time, abs=0.002),)
            assert state.race_progress == 1
            assert state.lap == 1
            assert 24 < state.total_time < 45
    # Drivers go on after the finish. Their times and places stay.
    ranking, positions = field.order(), field.positions()
    done = [index for index in ranking if states[index].finished]
    field.step(0, 60)
    assert field.order()[: len(done)] == done
    assert [field.states()[index].total_time for index in done] == times
    assert np.linalg.norm(field.positions() - positions, axis=1)[1:].min() > 30


def test_race_goes_on_after_the_player_has_finished() -> None:
    field = KartlabRace.boot_vs(laps=1, drivers=3, strength="easy", grid=0)
    for _ in range(2400):
        field.step(field.pursuit())
        if field.state.finished:
            break
    frame = field.state.frame
    assert field.order()[0] == 0, "easy opponents are behind"
    assert not field.state.clock_running
    before = [state.total_time for state in field.states()]
    field.step(0, 50)
    assert field.state.frame == frame, "the clock shows the player's time"
    assert field.state.total_time == before[0]
    for state, earlier in list(zip(field.states(), before, strict=True))[1:]:
        assert state.finished or state.total_time == pytest.approx(
            earlier + 50 * 0.016715, abs=0.003
        )
    field.step(0, 600)
    times = [field.states()[index].total_time for index in field.order()[:3]]
    assert all(state.finished for state in field.states())
    assert times == sorted(times)
    field.close()


def lap_times(strength: str) -> list[float]:
    field = KartlabRace.boot_vs(laps=1, strength=strength, drivers=5)
    for _ in range(90):
        field.step(0, 40)
        if all(state.finished for state in field.states()[1:]):
            break
    times = [state.total_time for state in field.states()[1:]]
    assert all(state.finished for state in field.states()[1:])
    field.close()
    return times


@pytest.mark.slow
def test_stronger_opponents_have_shorter_lap_times() -> None:
    easy, normal, hard = (lap_times(strength) for strength in ("easy", "normal", "hard"))
    for slower, faster in ((easy, normal), (normal, hard)):
        assert np.mean(slower) > np.mean(faster) * 1.04
        assert min(slower) > min(faster)
    # A driver that follows the road with full throttle takes about 30 s.
    assert min(hard) < 28
    assert max(easy) < 40


def test_same_seed_gives_the_same_race() -> None:
    ends = []
    for seed in (7, 7, 8):
        field = KartlabRace.boot_vs(seed=seed, items=True)
        assert field.config["rng_seed"] == seed
        field.step(Keys.A, 300)
        ends.append(field.ram.tobytes())
        field.close()
    assert ends[0] == ends[1]
    assert ends[0] != ends[2]


def test_seed_written_to_memory_changes_the_race(field: KartlabRace) -> None:
    ends = []
    for seed in (1, 2, 1):
        field.restart()
        field.config["rng_seed"] = seed
        field.step(0, 500)
        ends.append(field.positions()[1:].copy())
    assert (ends[0] == ends[2]).all()
    assert np.linalg.norm(ends[0] - ends[1], axis=1).max() > 10


def test_restored_race_goes_on_in_the_same_way(field: KartlabRace) -> None:
    field.step(Keys.A, 250)
    middle = field.console.snapshot()
    field.step(Keys.A | Keys.LEFT, 200)
    expected = field.ram.copy()
    field.console.restore(middle)
    field.step(Keys.A | Keys.LEFT, 200)
    assert (field.ram == expected).all()


def test_opponents_drive_on_different_lines(field: KartlabRace) -> None:
    aside: dict[int, list[float]] = {index: [] for index in range(1, 8)}
    for _ in range(60):
        field.step(0, 10)
        for index, offsets in aside.items():
            state = field.readers[index].read()
            x, _, z = state.position
            offsets.append(field.course.track.project(x, z, state.checkpoint).lateral)
    means = sorted(float(np.mean(offsets[20:])) for offsets in aside.values())
    assert means[-1] - means[0] > 35


def test_opponents_drive_around_a_kart_at_rest(field: KartlabRace) -> None:
    field.step(0, 220)  # the opponents have left the grid
    field.put_on_road(0, 1300)
    field.step(0, 1)
    touched, x = 0, field.positions()[0]
    for _ in range(500):
        field.step(0, 1)
        touched += field.state.touching_driver
        field.put_on_road(0, 1300)
    assert all(laps * field.course.track.length > 1500 for laps in laps_driven(field)[1:])
    assert touched < 60
    assert math.dist(field.positions()[0], x) < 20


def test_kart_hit_from_behind_gains_the_speed_that_the_other_loses(field: KartlabRace) -> None:
    field.step(Keys.A, 60)
    field.put_on_road(0, 750, speed=6.4)
    field.put_on_road(3, 774, speed=0.8)
    seen = False
    for _ in range(12):
        slow = float(field.drivers[3]["speed"] / 4096)
        field.step(Keys.A)
        states = field.states()
        if states[0].touching_driver:
            seen = True
            assert states[3].touching_driver
            assert states[3].speed > slow + 0.5
            assert states[0].speed < 5.8
            break
    assert seen


@pytest.mark.parametrize("turned", [math.pi / 2, -math.pi / 2, math.pi])
def test_opponent_turned_to_the_wall_finds_its_way(field: KartlabRace, turned: float) -> None:
    field.step(0, 150)
    field.put_on_road(4, 2500, left=math.copysign(130, turned), turned=turned)
    field.step(0, 500)
    state = field.readers[4].read()
    x, _, z = state.position
    track = field.course.track
    assert track.gap(2500, track.progress(state.checkpoint, x, z)) > 250 or state.lap == 1


def test_opponent_below_the_course_respawns_and_drives_on(field: KartlabRace) -> None:
    field.step(0, 400)
    field.drivers[2]["position"][1] -= 1000 * 4096
    respawned = False
    for _ in range(400):
        field.step(0)
        respawned |= field.readers[2].read().respawning
    state = field.readers[2].read()
    assert respawned
    assert not state.respawning
    assert state.speed > 3
    assert not field.state.respawning


@pytest.mark.slow
def test_opponents_take_both_ways_of_a_fork_and_the_ranking_stays_steady() -> None:
    field = KartlabRace.boot_vs(course=course_id("desert_course"), laps=1, strength="hard", seed=3)
    sections: set[int] = set()
    for _ in range(2300):
        field.step(0)
        states = field.states()
        sections |= {state.section for state in states}
        driven = laps_driven(field)
        order = field.order()
        for ahead, behind in itertools.pairwise(order):
            if not (states[ahead].finished or states[behind].finished):
                assert (driven[ahead] - driven[behind]) * field.course.track.length > -30
        if all(state.finished for state in states[1:]):
            break
    assert all(state.finished for state in states[1:])
    assert len(sections) == len(field.course.nkm.checkpoint_paths) > 1, "both ways"
    field.close()


def test_status_of_absent_drivers_is_empty() -> None:
    field = KartlabRace.boot_vs(drivers=3)
    field.step(0, 30)
    assert field.order() == [*field.order()[:3], -1, -1, -1, -1, -1]
    status = read_pointer(field.ram, LAYOUT.race_status_pointer, 0x528, "the race status")
    first = status - RAM_START + 0x14 + 3 * 0x8C
    assert not field.ram[first : first + 5 * 0x8C].any()
    assert len(field.objects("driver")) == 3
    assert read_struct(field.ram, LAYOUT.driver_count, WORD)["value"] == 3
    field.close()

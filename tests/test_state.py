import itertools
import logging
import math
import pickle

import numpy as np
import pytest
from race_memory import RaceMemory, drive, fx

from mkds_gym.errors import NoRaceError
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import WORD, struct_view
from mkds_gym.race.reader import RaceReader


def test_state_converts_values_to_their_units():
    race = RaceMemory()
    driver, status = race.driver, race.status
    driver["position"], driver["previous_position"] = fx((1.5, -2.25, 3)), fx((1, -2, 3))
    driver["delta"], driver["velocity"] = fx((0.5, -0.25, 0)), fx((0.25, 0.125, -1))
    driver["speed"], driver["max_speed"] = fx(-1.5), fx(4)
    driver["speed_multiplier"] = fx(0.75)
    driver["drift_direction"], driver["drift_angle"] = -5, -0x2000
    driver["heading_speed"] = 0x4000
    driver["floor_type"], driver["floor_variant"] = 5, 3
    driver["air_frames"], driver["boost_timer"] = 12, 34
    status["checkpoint_progress"], status["lap_progress"] = 2048, 1024
    state = race.frame(
        600, lap=2, checkpoint=7, section=3, key_checkpoint=2, last_key_checkpoint=1, highest_lap=2
    )
    assert state.position == (1.5, -2.25, 3.0)
    assert state.previous_position == (1.0, -2.0, 3.0)
    assert state.delta == (0.5, -0.25, 0.0)
    assert state.velocity == (0.25, 0.125, -1.0)
    assert (state.speed, state.max_speed, state.surface_multiplier) == (-1.5, 4.0, 0.75)
    assert state.drift_direction == -1
    assert state.drift_angle == pytest.approx(-math.pi / 4)
    assert state.heading_speed == pytest.approx(math.pi / 2)
    assert (state.surface, state.variant, state.air_frames, state.boost_frames) == (5, 3, 12, 34)
    assert (state.lap, state.checkpoint, state.section, state.highest_lap) == (2, 7, 3, 2)
    assert (state.key_checkpoint, state.last_key_checkpoint) == (2, 1)
    assert (state.checkpoint_progress, state.lap_progress) == (0.5, 0.25)
    assert (state.frame, state.lap_frames) == (600, 600)
    assert state.race_time == pytest.approx(1002.906, abs=1e-3)
    assert (state.course_id, state.course_name, state.driver_count) == (25, "mario_course", 1)


@pytest.mark.parametrize(
    ("structure", "field", "bit", "name"),
    [
        ("driver", "state_bits", 3, "drifting"),
        ("driver", "state_bits", 4, "on_floor"),
        ("driver", "state_bits", 5, "touching_driver"),
        ("driver", "state_bits", 6, "touching_object"),
        ("driver", "state_bits", 7, "touching_wall"),
        ("driver", "state_bits", 8, "going_backwards"),
        ("driver", "flags", 5, "boosting"),
        ("driver", "flags", 6, "respawning"),
        ("driver", "flags2", 5, "spinning_out"),
        ("status", "flags", 2, "wrong_way"),
        ("status", "flags", 6, "finished"),
        ("race", "clock_running", 0, "clock_running"),
    ],
)
def test_each_bit_sets_one_property(structure, field, bit, name):
    race = RaceMemory()
    names = [
        "drifting",
        "on_floor",
        "touching_driver",
        "touching_object",
        "touching_wall",
        "going_backwards",
        "boosting",
        "respawning",
        "spinning_out",
        "wrong_way",
        "finished",
        "clock_running",
    ]
    race.driver["state_bits"] = race.race["clock_running"] = 0
    assert [n for n in names if getattr(race.frame(), n)] == []
    getattr(race, structure)[field] = 1 << bit
    assert [n for n in names if getattr(race.frame(), n)] == [name]


def test_heading_grows_to_the_left():
    race = RaceMemory()
    # Along +z with y up the left side is +x, in a right-handed world.
    state = race.frame(heading=0.0)
    assert state.right == (-1.0, 0.0, 0.0)
    assert state.heading == 0.0
    assert race.frame(heading=0.5).heading == pytest.approx(0.5, abs=1e-3)
    assert race.frame(heading=-3.0).heading == pytest.approx(-3.0, abs=1e-3)
    forward, right = race.frame(heading=1.0).forward, race.frame().right
    assert np.cross(forward, (0, 1, 0)) == pytest.approx(right)


def test_state_does_not_follow_memory_and_pickles():
    race = RaceMemory()
    before = race.frame(position=(1, 2, 3), checkpoint=4)
    copy = pickle.loads(pickle.dumps(before))
    race.frame(position=(5, 6, 7), checkpoint=5)
    race.ram[:] = 0
    assert before.position == (1.0, 2.0, 3.0)
    assert before.checkpoint == 4
    assert copy == before
    assert hash(copy) == hash(before)
    assert "checkpoint 4" in repr(before)


def test_states_of_the_same_race_are_equal():
    race = RaceMemory()
    assert race.frame() == race.reader.read()
    assert race.reader.read() != race.frame()


def test_lap_times_cover_finished_laps_only():
    race = RaceMemory()
    for lap, (minutes, seconds, milliseconds) in enumerate([(0, 31, 858), (1, 2, 3), (0, 0, 0)]):
        time = race.status["lap_times"][lap]
        time["minutes"], time["seconds"], time["milliseconds"] = minutes, seconds, milliseconds
    assert race.frame(lap=0).lap_times == ()
    assert race.frame(lap=1).lap_times == ()
    assert race.frame(lap=3).lap_times == pytest.approx((31.858, 62.003))
    assert len(race.frame(lap=3, finished=True).lap_times) == 3
    assert len(race.frame(lap=9).lap_times) == 5
    race.status["total_milliseconds"] = 93861
    assert race.frame().total_time == 93.861


@pytest.mark.parametrize(
    ("pointer", "name"),
    [
        ("race_status_pointer", "race status"),
        ("race_config_pointer", "race config"),
        ("scene_pointer", "scene state"),
        ("drivers_pointer", "drivers"),
    ],
)
@pytest.mark.parametrize("value", [0, 0x04000000, 0x023FFFFF])
def test_read_with_pointer_outside_ram_raises_until_repaired(pointer, name, value):
    race = RaceMemory()
    assert race.reader.race_on
    race.word(getattr(race.layout, pointer), value)
    with pytest.raises(NoRaceError, match=f"{name} is {value:#010x}"):
        race.reader.read()
    assert not race.reader.race_on
    # The reader recovers.
    race.word(getattr(race.layout, pointer), 0x02300000)
    race.reader.read()


@pytest.mark.parametrize("count", [0, -1, 9, 0x7FFFFFFF])
def test_read_with_bad_driver_count_raises(count):
    race = RaceMemory()
    race.word(race.layout.driver_count, count & 0xFFFFFFFF)
    with pytest.raises(NoRaceError, match=f"{count} drivers"):
        race.reader.read()


@pytest.mark.parametrize(
    ("scene", "on"), [(0, False), (1, False), (2, True), (3, True), (4, False)]
)
def test_race_is_on_in_race_scenes_only(scene, on):
    race = RaceMemory()
    race.scene["state"] = scene
    assert race.reader.race_on is on
    assert race.reader.read().race_on is on


def test_reader_follows_changed_pointers():
    race = RaceMemory()
    race.frame(position=(1, 1, 1))
    other = struct_view(race.ram, 0x02300000, memory_layout.DRIVER)[0]
    other["position"] = fx((9, 9, 9))
    race.word(race.layout.drivers_pointer, 0x02300000)
    assert race.reader.read().position == (9.0, 9.0, 9.0)


def test_reader_detects_shifted_regions():
    race = RaceMemory(shift=-0x1A4)
    assert race.frame(position=(1, 2, 3)).position == (1.0, 2.0, 3.0)
    assert race.reader.layout.shift == -0x1A4


def test_korea_logs_one_warning(caplog):
    race = RaceMemory()
    reader = RaceReader(race.ram, memory_layout.MemoryLayout.shifted(0, "Korea"))
    with caplog.at_level(logging.WARNING, "mkds_gym"):
        reader.read()
        reader.resolve()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "checkpoint" in caplog.text


def test_reader_of_another_driver_uses_its_status():
    race = RaceMemory(drivers=3)
    race.drivers["position"] = fx([(i, 0, 0) for i in range(3)])
    for index in range(3):
        race.race["drivers"][index]["checkpoint"] = 10 + index
    race.race["frame"] = 5
    state = RaceReader(race.ram, driver=2).read()
    assert (state.position[0], state.checkpoint, state.frame) == (2.0, 12, 5)
    assert race.reader.read_driver(1)["position"][0] == memory_layout.FX32_ONE
    with pytest.raises(IndexError):
        race.reader.read_driver(3)
    with pytest.raises(NoRaceError, match="driver 3"):
        RaceReader(race.ram, driver=3).read()
    with pytest.raises(ValueError, match="from 0 to 7"):
        RaceReader(race.ram, driver=8)
    with pytest.raises(ValueError, match="uint8"):
        RaceReader(race.ram[:8])


def test_camera_position_includes_elevation():
    race = RaceMemory()
    race.camera["position"], race.camera["elevation"] = fx((1, 2, 3)), fx(10)
    race.camera["fov"], race.camera["aspect"] = 0x2000, fx(1.25)
    camera = race.reader.read_camera()
    assert camera.position == (1.0, 12.0, 3.0)
    assert camera.half_fov == pytest.approx(math.pi / 4)
    assert camera.aspect == 1.25
    race.word(race.layout.camera_pointer, 0)
    with pytest.raises(NoRaceError, match="camera"):
        race.reader.read_camera()


def test_read_objects_skips_unreadable_entries():
    race = RaceMemory()
    assert race.reader.read_objects() == []
    table = struct_view(race.ram, race.layout.object_table, memory_layout.OBJECT_TABLE)[0]
    table["count"], table["entries"] = 3, 0x02250000
    entries = struct_view(race.ram, 0x02250000, memory_layout.OBJECT_ENTRY, 8)
    struct_view(race.ram, 0x02260000, WORD, 3)["value"] = fx((7, 8, 9))
    struct_view(race.ram, 0x02261000, WORD)["value"] = 101
    for index, flags in ((1, 0x2000), (3, 0x8000), (4, 0x4200)):
        entries[index]["object"], entries[index]["position"] = 0x02261000, 0x02260000
        entries[index]["flags"], entries[index]["radius"] = flags, fx(2)
    entries[2]["object"], entries[2]["position"] = 0x02261000, 0x09000000
    found = race.reader.read_objects()
    assert [(o.index, o.kind, o.type_id, o.active) for o in found] == [
        (1, "map_object", 101, True),
        (3, "driver", None, True),
        (4, "item", None, False),
    ]
    assert {o.position for o in found} == {(7.0, 8.0, 9.0)}
    assert {o.radius for o in found} == {2.0}
    table["entries"] = 0
    with pytest.raises(NoRaceError):
        race.reader.read_objects()


def test_states_of_a_driven_lap_are_consistent():
    lap = drive()
    states = lap.states
    assert all(state.race_on for state in states)
    first, last = states[0], states[-1]
    assert (first.lap, first.finished) == (0, False)
    assert first.frame <= 5
    assert (last.lap, last.finished) == (1, True)
    assert last.course_name == "mario_course"
    assert last.lap_times == (last.total_time,)
    assert last.total_time == pytest.approx(last.race_time / 100, abs=0.005)
    checkpoints = {state.checkpoint for state in states}
    assert checkpoints == set(range(len(lap.course.track)))
    for before, now in itertools.pairwise(states):
        assert now.frame in (before.frame, before.frame + 1)
        # Only a respawn moves the kart without driving.
        assert now.previous_position == before.position or before.respawning
        assert math.hypot(*now.forward) == pytest.approx(1.0, abs=0.01)
        assert math.hypot(*now.up) == pytest.approx(1.0, abs=0.01)
    assert max(state.speed for state in states) > 3.0


def test_state_agrees_with_the_dtypes():
    lap = drive()
    for frame, (driver, status) in lap.records.items():
        state = lap.states[frame]
        one = memory_layout.FX32_ONE
        assert state.position == tuple(driver["position"] / one)
        assert state.forward == tuple(driver["forward"] / one)
        assert state.up == tuple(driver["up"] / one)
        assert state.velocity == tuple(driver["velocity"] / one)
        assert state.speed == driver["speed"] / one
        assert state.max_speed == driver["max_speed"] / one
        assert state.surface == driver["floor_type"]
        assert state.flags == driver["flags"]
        own = status["drivers"][0]
        assert state.checkpoint == own["checkpoint"]
        assert state.lap == own["lap"]
        assert state.frame == status["frame"]
        assert state.controllable == (status["not_controllable"] == 0)
        assert state.place == own["place_and_driver"] & 15


def test_kartlab_camera_looks_at_the_kart():
    lap = drive()
    camera, kart = lap.camera, np.array(lap.states[-1].position)
    to_kart = kart - camera.position
    ahead = np.array(camera.target) - camera.position
    cosine = to_kart @ ahead / np.linalg.norm(to_kart) / np.linalg.norm(ahead)
    assert cosine > math.cos(camera.half_fov)
    assert camera.near < np.linalg.norm(to_kart) < camera.far
    # In view coordinates the eye is the origin, and the kart is in front (negative z).
    rows, move = camera.matrix[:3], camera.matrix[3]
    assert np.array(camera.position) @ rows + move == pytest.approx(np.zeros(3), abs=1.0)
    assert (kart @ rows + move)[2] < 0


def test_kartlab_object_table_has_the_kart():
    lap = drive()
    (kart,) = lap.objects
    assert kart.kind == "driver"
    assert kart.active
    assert kart.position == lap.states[-1].position
    assert kart.radius == 8.0


def test_opponents_are_the_other_karts_without_ghosts() -> None:
    race = RaceMemory(drivers=4)
    for index in range(1, 4):
        race.drivers[index]["position"] = fx((10.0 * index, 0.0, -1.5))
        race.drivers[index]["velocity"] = fx((0.0, 0.0, 0.25 * index))
        race.race["drivers"][index]["place_and_driver"] = index - 1 | index << 4
        race.race["drivers"][index]["lap"] = index
        race.race["drivers"][index]["race_progress"] = 1024 * index
    race.drivers[2]["kind"] = memory_layout.KIND_GHOST
    race.race["drivers"][3]["flags"] = memory_layout.STATUS_FLAG_FINISHED
    state = race.frame()
    race.drivers["position"] = 0
    race.race["drivers"]["lap"] = 0
    one, three = state.opponents
    assert (one.driver, three.driver) == (1, 3)
    assert one.position == (10.0, 0.0, -1.5)
    assert three.velocity == (0.0, 0.0, 0.75)
    assert (three.place, three.lap, three.race_progress, three.finished) == (2, 3, 0.75, True)
    assert not one.finished
    others = RaceReader(race.ram, driver=3).read().opponents
    assert [kart.driver for kart in others] == [0, 1]
    race.drivers[1]["kind"] = 0x08000015  # with other bits, as in the original
    assert [kart.driver for kart in race.frame().opponents] == [3]
    assert RaceMemory().frame().opponents == ()

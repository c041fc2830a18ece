import itertools
import math
import pickle
import sys

import numpy as np
import pytest
from gymnasium.spaces import Box
from race_memory import FORK_MIDDLES, RaceMemory, drive, fork, fx, meadow

from mkds_gym.components.observations import make_observation_builder
from mkds_gym.components.sensors import SENSORS, Checkpoints, Rays, Seed6, Sensor, make_sensors
from mkds_gym.race.lengths import (
    BEND_RADIUS,
    CHECKPOINT_DISTANCE,
    OBSTACLE_DISTANCE,
    OPPONENT_DISTANCE,
    RAY_HEIGHT,
    SPEED_DIFFERENCE,
)
from mkds_gym.race.memory_layout import FX32_ONE, KIND_GHOST

ALL = [*SENSORS.names(), "rays:1", "rays:36", "checkpoints:1", "checkpoints:7", "curvature:1"]


@pytest.mark.parametrize("spec", ALL)
def test_values_stay_in_the_declared_box_for_a_whole_lap(spec):
    lap, sensor = drive(), SENSORS.make(spec)
    assert isinstance(sensor, Sensor)
    assert sensor.space.dtype == np.float32
    assert (len(sensor.labels),) == sensor.space.shape
    assert len(set(sensor.labels)) == len(sensor.labels)
    seen = np.array([sensor.read(state, lap.course) for state in lap.states[::7]])
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    assert all(row in sensor.space for row in seen)
    # No sensor is dead: something in it moves over a lap. (It is driven alone, without drifts.)
    assert sensor.name in ("drift", "opponents") or seen.std(axis=0).max() > 0.01


@pytest.mark.parametrize("spec", ALL)
def test_a_reading_is_new_and_the_same_for_the_same_state(spec):
    lap, sensor = drive(), SENSORS.make(spec)
    one = sensor.read(lap.states[200], lap.course)
    kept = one.copy()
    sensor.read(lap.states[900], lap.course)
    assert (one == kept).all()
    again = pickle.loads(pickle.dumps(sensor)).read(lap.states[200], lap.course)
    assert again.tobytes() == kept.tobytes()


@pytest.mark.parametrize("spec", ALL)
def test_values_stay_in_the_box_for_senseless_states(spec):
    sensor = SENSORS.make(spec)
    generator = np.random.default_rng(7)
    for _ in range(200):
        race = RaceMemory()
        race.driver["forward"] = generator.integers(-FX32_ONE, FX32_ONE, 3)
        race.driver["up"] = generator.integers(-FX32_ONE, FX32_ONE, 3)
        race.driver["delta"] = generator.integers(-(2**31), 2**31, 3)
        for field in ("speed", "max_speed", "speed_multiplier", "heading_speed", "drift_direction"):
            race.driver[field] = generator.integers(-(2**31), 2**31)
        race.driver["drift_angle"] = generator.integers(-(2**15), 2**15)
        race.driver["air_frames"] = generator.integers(0, 2**32)
        race.driver["floor_type"] = generator.integers(0, 40)
        position = generator.uniform(-5000, 5000, 3)
        checkpoint = int(generator.integers(0, len(meadow().track)))
        values = sensor.read(race.frame(position=position, checkpoint=checkpoint), meadow())
        assert values in sensor.space, values


# seed6


def mapped(distance):
    return math.tanh(1 - distance / OBSTACLE_DISTANCE)


def test_obstacles_of_seed6_are_the_nearest_of_each_fan():
    """Against the triangles themselves, every ray and every triangle."""
    lap = drive()
    seed6 = Seed6()
    walls = lap.course.mesh.walls.astype(float)
    both = np.concatenate([walls, lap.course.mesh.curtains.astype(float)])
    checked = 0
    for state in lap.states[100::400]:
        triangles = walls if state.surface in (2, 3, 5) else both
        origin = np.array(state.position) + RAY_HEIGHT * np.array(state.up)
        values = seed6.read(state, lap.course)
        for value, middle in zip(values, (0, 90, -90), strict=False):
            nearest = math.inf
            for degrees in (-18, -9, 0, 9, 18):
                angle = math.radians(middle + degrees)
                ray = math.cos(angle) * np.array(state.forward) - math.sin(angle) * np.array(
                    state.right
                )
                nearest = min(nearest, hit(origin, ray, triangles))
            assert value == pytest.approx(mapped(nearest), abs=2e-3)
            checked += nearest < math.inf
    assert checked > 5


def hit(origin, ray, triangles):
    """Distance along the ray to the nearest triangle (Cramer's rule on each)."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    across = np.cross(ray, b)
    volume = (a * across).sum(1)
    with np.errstate(all="ignore"):
        to = origin - triangles[:, 0]
        u = (to * across).sum(1) / volume
        q = np.cross(to, a)
        v = (q @ ray) / volume
        t = (b * q).sum(1) / volume
        good = (np.abs(volume) > 1e-9) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return float(t[good].min()) if good.any() else math.inf


def road_state(place, lateral=0.0, turn=0.0):
    """A kart on the meadow course, beside the centre line and turned off its heading."""
    track = meadow().track
    x, y, z = track.point_at(place)
    heading = track.heading_at(place)
    x, z = x + lateral * math.cos(heading), z - lateral * math.sin(heading)
    checkpoint = max(
        (i for i in range(len(track)) if track.start_of(i) <= place), key=track.start_of
    )
    race = RaceMemory()
    return race.frame(position=(x, y, z), heading=heading + turn, checkpoint=checkpoint, lap=1)


def test_the_edge_to_the_left_comes_nearer_when_going_left():
    sensor, course = Seed6(), meadow()
    lefts, rights = [], []
    for lateral in (-50, -25, 0, 25, 50):
        _, left, right, *_ = sensor.read(road_state(150, lateral), course)
        lefts.append(left)
        rights.append(right)
    assert all(a < b for a, b in itertools.pairwise(lefts))
    assert all(a > b for a, b in itertools.pairwise(rights))


def test_no_hit_is_minus_one():
    state = RaceMemory().frame(position=(0, 5000, 0), checkpoint=0)
    assert Seed6().read(state, meadow())[:3].tolist() == [-1, -1, -1]
    assert Rays(3).read(state, meadow()).tolist() == [-1, -1, -1]


def test_leaving_off_road_ground_is_no_obstacle():
    lap, sensor = drive(), Rays(9)
    race = RaceMemory()
    track = lap.course.track
    x, y, z = track.point_at(150)
    there = {"position": (x, y, z), "heading": track.heading_at(150), "checkpoint": 0}
    on_road = sensor.read(race.frame(surface=0, **there), lap.course)
    off_road = sensor.read(race.frame(surface=3, **there), lap.course)
    assert (off_road <= on_road).all()
    assert (off_road < on_road).any()


@pytest.mark.parametrize("degrees", [-170, -90, -45, 0, 30, 90, 135])
def test_the_bearing_is_true_and_positive_to_the_left(degrees):
    theta = math.radians(degrees)
    # From (0, 0) the midpoint of checkpoint 1 lies along +z: heading -theta sees it at theta.
    state = RaceMemory().frame(position=(0, 0, 0), heading=-theta, checkpoint=0)
    cosine, sine, minus = Seed6().read(state, fork())[3:]
    assert cosine == pytest.approx(math.cos(theta), abs=1e-3)
    assert sine == pytest.approx(math.sin(theta), abs=1e-3)
    assert minus == -sine
    # positive sine: the target is on the left, which is +x when driving along +z
    state = RaceMemory().frame(position=(-50, 0, 100), heading=0.0, checkpoint=0)
    assert Seed6().read(state, fork())[4] == pytest.approx(1.0)


def test_on_a_midpoint_the_bearing_is_straight_ahead():
    state = RaceMemory().frame(position=(0, 0, 100), heading=1.0, checkpoint=0)
    assert Seed6().read(state, fork())[3:].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(("heading", "target"), [(0.6, 2), (-0.6, 4)])
def test_on_a_branch_the_target_is_what_the_kart_heads_for(heading, target):
    state = RaceMemory().frame(position=(0, 0, 110), heading=heading, checkpoint=1)
    cosine, sine = Seed6().read(state, fork())[3:5]
    x, z = FORK_MIDDLES[target]
    bearing = math.atan2(x, z - 110) - heading
    assert (cosine, sine) == pytest.approx((math.cos(bearing), math.sin(bearing)), abs=1e-3)


def test_a_checkpoint_that_does_not_exist_is_straight_ahead():
    state = RaceMemory().frame(checkpoint=999)
    assert Seed6().read(state, fork())[3:].tolist() == [1.0, 0.0, 0.0]


# the others


def test_rays_sweep_from_left_to_right():
    assert Rays(5).ray_angles == (90, 45, 0, -45, -90)
    assert Rays(1).ray_angles == (0,)
    values = Rays(5).read(road_state(150, lateral=60), meadow())
    assert values[0] > values[4], "60 to the left of the middle the left edge is nearer"
    fan = Rays(21).read(road_state(750), meadow())
    seed6 = Seed6().read(road_state(750), meadow())
    # 21 rays are 9 degrees apart: the fan ahead is the middle five of them
    assert seed6[0] == pytest.approx(fan[8:13].max())


def test_checkpoints_show_distance_and_bearing_of_the_next_ones():
    state = RaceMemory().frame(position=(0, 0, 10), heading=0.0, checkpoint=0)
    values = Checkpoints(2).read(state, fork())
    assert values[:3] == pytest.approx((90 / (90 + CHECKPOINT_DISTANCE), 1, 0), abs=1e-3)
    # the next but one: on the left branch or the right, the one nearest in bearing
    x, z = FORK_MIDDLES[4]
    distance = math.hypot(x, z - 10)
    assert values[3:] == pytest.approx(
        (distance / (distance + CHECKPOINT_DISTANCE), (z - 10) / distance, x / distance), abs=1e-3
    )


def test_checkpoint_distances_are_level_on_a_slope():
    race = RaceMemory()
    race.driver["forward"] = [0, FX32_ONE * 6 // 10, FX32_ONE * 8 // 10]
    state = race.frame(position=(0, 0, 10), checkpoint=0)
    assert Checkpoints(1).read(state, fork())[0] == pytest.approx(
        90 / (90 + CHECKPOINT_DISTANCE), abs=1e-3
    )


def test_kinematics_are_signed_to_the_left():
    race = RaceMemory()
    race.driver["max_speed"] = 4 * FX32_ONE
    race.driver["speed"] = 3 * FX32_ONE
    race.driver["delta"] = [FX32_ONE, 0, 3 * FX32_ONE]  # along +z, and to its left, +x
    sensor = SENSORS.make("kinematics")
    values = dict(zip(sensor.labels, sensor.read(race.frame(), fork()), strict=True))
    assert values["speed"] == pytest.approx(0.75)
    assert values["slip"] == pytest.approx(0.25)
    assert (values["on_floor"], values["air"], values["boost"]) == (1, 0, 0)
    race.driver["air_frames"] = 30
    values = dict(zip(sensor.labels, sensor.read(race.frame(on_floor=False), fork()), strict=True))
    assert (values["on_floor"], values["air"]) == (0, 0.5)


def test_the_real_yaw_rate_turns_the_way_the_heading_does():
    lap, sensor = drive(), SENSORS.make("kinematics")
    agree = []
    for before, now in itertools.pairwise(lap.states):
        turned = (now.heading - before.heading + math.pi) % (2 * math.pi) - math.pi
        rate = sensor.read(now, lap.course)[2]
        if now.on_floor and abs(turned) > 0.005 and abs(turned) < 0.2:
            agree.append(np.sign(rate) == np.sign(turned))
    assert len(agree) > 50
    assert np.mean(agree) > 0.95


def test_curvature_is_positive_before_a_left_bend():
    course, track = meadow(), meadow().track
    sensor = SENSORS.make("curvature")
    for place in np.arange(50, track.length - 1250, 425):
        values = sensor.read(road_state(float(place)), course)
        for value, ahead in zip(values, (200, 400, 600, 800, 1000), strict=True):
            assert value == pytest.approx(
                math.tanh(BEND_RADIUS * track.curvature_at(place + ahead)), abs=0.05
            )
    bends = [sensor.read(road_state(float(p)), course)[0] for p in np.arange(50, 10000, 125)]
    assert max(bends) > 0.3
    assert min(bends) < -0.3


@pytest.mark.parametrize("turn", [0.0, 0.4, -0.4])
def test_the_line_is_to_the_left_of_a_kart_that_heads_to_its_right(turn):
    place = 0.3 * meadow().track.length
    values = SENSORS.make("line").read(road_state(place, 0, turn), meadow())
    ahead, straight = (
        [meadow().track.heading_at(place + d) for d in (100, 200, 400, 800)],
        meadow().track.heading_at(place),
    )
    assert values.shape == (4,)
    assert values[0] * math.pi / 2 == pytest.approx((ahead[0] - straight) / 2 - turn, abs=0.1)


def test_the_drift_shows_its_side_and_its_charge():
    race, sensor = RaceMemory(), SENSORS.make("drift")
    assert sensor.read(race.frame(), fork()).tolist() == [0, 0, 0, 0]
    race.driver["drift_left_count"], race.driver["drift_right_count"] = 3, 1
    assert sensor.read(race.frame(), fork()).tolist() == [0, 0.5, 0.5, 1]


def test_the_surface_is_one_hot_with_its_multiplier():
    race = RaceMemory()
    race.driver["speed_multiplier"] = FX32_ONE // 2
    sensor = SENSORS.make("surface")
    for surface, label in (
        (0, "road"),
        (1, "slippery"),
        (2, "weak_offroad"),
        (3, "offroad"),
        (5, "heavy_offroad"),
        (7, "boost"),
        (10, "other"),
        (99, "other"),
    ):
        values = sensor.read(race.frame(surface=surface), fork())
        assert [name for name, v in zip(sensor.labels[:7], values, strict=False) if v] == [label]
        assert values[7] == 0.5


@pytest.mark.parametrize(("lateral", "turn"), [(0, 0), (20, 0.3), (-15, -0.5)])
def test_progress_shows_place_offset_and_heading_error(lateral, turn):
    track = meadow().track
    place = 0.3 * track.length
    values = SENSORS.make("progress").read(road_state(place, lateral, turn), meadow())
    assert values[2] == pytest.approx(0.3, abs=0.01)
    angle = 2 * math.pi * values[2]
    assert values[:2] == pytest.approx((math.sin(angle), math.cos(angle)), abs=1e-4)
    assert values[3] == pytest.approx(lateral / (track.width_at(place) / 2), abs=0.05)
    assert values[4] == pytest.approx(turn / math.pi, abs=0.03)


# asking for them


def test_sensors_are_made_from_names_and_objects():
    mine = Seed6()
    made = make_sensors(["kinematics", mine, "rays:15"])
    assert [sensor.name for sensor in made] == ["kinematics", "seed6", "rays"]
    assert made[1] is mine
    assert make_sensors("seed6")[0].name == "seed6"
    assert make_sensors(mine) == [mine]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sede6", r"'sede6'.*did you mean 'seed6'"),
        ("rays:0", "integer from 1"),
        ("rays:2.5", "integer from 1"),
        ("rays:nan", "integer from 1"),
        ("checkpoints:1000", "integer from 1"),
        ("curvature:-1", "integer from 1"),
        ("line:9", "1 to 8"),
        ("rays:many", "not a number"),
        ("seed6:3", "takes no number"),
    ],
)
def test_misspelt_sensors_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_sensors([spec])


def test_value_that_is_not_a_sensor_is_refused():
    with pytest.raises(TypeError, match="seed6"):
        make_sensors([3])
    with pytest.raises(TypeError, match="seed6"):
        make_sensors([Seed6])
    with pytest.raises(ValueError, match="twice"):
        make_sensors(["rays:3", "rays:5"])


def test_opponents_are_seen_nearest_first() -> None:
    race = RaceMemory(drivers=4)
    # Heading along +z, left is +x.
    race.drivers[1]["position"] = fx((0.0, 0.0, 3 * OPPONENT_DISTANCE))
    race.drivers[1]["velocity"] = fx((0.0, 0.0, SPEED_DIFFERENCE / 2))
    race.drivers[2]["position"] = fx((OPPONENT_DISTANCE, 50.0, 0.0))
    race.drivers[2]["velocity"] = fx((-SPEED_DIFFERENCE / 4, 0.0, 2 * SPEED_DIFFERENCE))
    race.drivers[3]["kind"] = KIND_GHOST
    state = race.frame(position=(0.0, 0.0, 0.0), heading=0.0)
    sensor = SENSORS.make("opponents:3")
    values = sensor.read(state, meadow())
    assert sensor.space.contains(values)
    assert values == pytest.approx([0.5, 0, 1, 1, -0.25, 0.25, 1, 0, 0.5, 0] + 5 * [0], abs=1e-3)
    assert sensor.labels[5] == "opponent_2_near"
    one = SENSORS.make("opponents:1").read(state, meadow())
    assert one == pytest.approx(values[:5])
    # Turned to the left by a right angle, the kart at the left is ahead.
    turned = sensor.read(race.frame(heading=np.pi / 2), meadow())
    assert turned[1:3] == pytest.approx([1, 0], abs=1e-3)
    assert turned[6:8] == pytest.approx([0, -1], abs=1e-3)
    # Alone, and on one spot with another.
    assert not SENSORS.make("opponents").read(RaceMemory().frame(), meadow()).any()
    race.drivers[2]["position"] = fx((0.0, 0.0, 0.0))
    assert sensor.space.contains(sensor.read(race.frame(), meadow()))


def test_environments_copy_sensor_objects():
    """A sensor with memory would mix up the environments of a vector environment."""
    from mkds_gym.components.observations import make_observation_builder

    for obs_type in ("sensors", "dict"):
        sensor = Seed6()
        builders = [make_observation_builder(obs_type, [sensor], "top") for _ in range(2)]
        sensors = [builder.sensors[0] for builder in builders]
        assert sensors[0] is not sensors[1]
        assert sensor not in sensors


class WrongSensor:
    name = "wrong"
    space = Box(-1.0, 1.0, (1,), np.float32)
    labels = ("wrong",)

    def __init__(self, values):
        self.values = values

    def read(self, state, course):
        return self.values


@pytest.mark.parametrize("obs_type", ["sensors", "dict"])
@pytest.mark.parametrize("others", [[], ["surface"]])
@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (np.zeros(2, np.float32), ValueError, r"returned float32 of shape \(2,\): expected"),
        (np.zeros(1), ValueError, "returned float64 of shape"),
        ([0.0], TypeError, "returned a list: expected an array"),
    ],
)
def test_sensor_that_breaks_its_space_is_named(obs_type, others, values, kind, message):
    from mkds_gym.env import MKDSEnv

    env = MKDSEnv(obs_type=obs_type, sensors=[WrongSensor(values), *others])
    with pytest.raises(kind, match=f"sensor 'wrong' {message}"):
        env.reset()
    env.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
@pytest.mark.parametrize("obs_type", ["sensors", "dict"])
def test_sensor_that_raises_is_named(obs_type):
    builder = make_observation_builder(obs_type, ["surface", WrongSensor(None)], "top")
    builder.sensors[1].read = lambda state, course: 1 // 0
    with pytest.raises(ZeroDivisionError) as raised:
        builder.observe(None, RaceMemory().frame(), fork())
    assert raised.value.__notes__ == ["raised by sensor 'wrong'"]

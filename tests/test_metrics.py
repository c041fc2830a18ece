import copy
import itertools
import math
import pickle

import pytest
from race_memory import FORK_MIDDLES, RaceMemory, drive, fork, meadow

from mkds_gym.components.metrics import (
    DEFAULT_METRICS,
    METRICS,
    AirTime,
    CheckpointRecords,
    Distance,
    LapTimes,
    MiniTurbos,
    OffroadDistance,
    OffroadPath,
    OffroadShare,
    Progress,
    Respawns,
    Speed,
    WallHits,
    WrongWayTime,
    collect_all,
    make_metrics,
    reset_all,
)
from mkds_gym.components.scorers import OFFROAD_COST, SCORERS, default_fitness_scorer
from mkds_gym.course.checkpoint_distance import shortest_distance
from mkds_gym.race.lengths import WALL_HIT_COST
from mkds_gym.race.memory_layout import CENTISECONDS_PER_FRAME
from mkds_gym.race.names import OFFROAD_SURFACES


def between(a, b):
    return math.dist(FORK_MIDDLES[a], FORK_MIDDLES[b])


def distance_over(*checkpoints):
    race, metric = RaceMemory(), Distance()
    for checkpoint in checkpoints:
        metric.update(race.frame(checkpoint=checkpoint), fork())
        metric.update(race.frame(), fork())
    return metric.collect()["distance"]


# distance


def test_distance_is_zero_until_a_checkpoint_is_left():
    assert Distance().collect() == {"distance": 0.0}
    assert distance_over(3) == 0.0


def test_forward_adds_and_backward_subtracts_the_way_between_midpoints():
    assert distance_over(0, 1) == pytest.approx(100)
    assert distance_over(1, 0) == pytest.approx(-100)
    assert distance_over(0, 1, 0, 1) == pytest.approx(100)
    assert distance_over(5, 6, 0) == pytest.approx(between(5, 6) + between(6, 0))


@pytest.mark.parametrize("way", [(1, 2, 3, 5), (1, 4, 5)])
def test_both_ways_of_a_branch_count_with_their_own_length(way):
    length = sum(between(a, b) for a, b in itertools.pairwise(way))
    assert distance_over(*way) == pytest.approx(length)
    assert distance_over(*reversed(way)) == pytest.approx(-length)


def test_a_skipped_checkpoint_counts_the_way_past_it():
    assert distance_over(2, 5) == pytest.approx(between(2, 3) + between(3, 5))
    # from before the fork to behind it: the shorter branch
    short = min(between(1, 2) + between(2, 3) + between(3, 5), between(1, 4) + between(4, 5))
    assert distance_over(1, 5) == pytest.approx(short)


def test_a_respawn_further_back_counts_backward():
    assert distance_over(3, 1) == pytest.approx(-(between(1, 2) + between(2, 3)))


def test_a_jump_to_the_other_branch_is_the_shorter_of_both_ways():
    # 3 -> 4: on round the lap, or back over 2 and 1? Neither: signed by the shorter one.
    forward = between(3, 5) + between(5, 6) + between(6, 0) + between(0, 1) + between(1, 4)
    backward = between(4, 5) + between(5, 6) + between(6, 0) + between(0, 1)
    backward += between(1, 2) + between(2, 3)
    expected = forward if forward <= backward else -backward
    assert shortest_distance(fork().track, 3, 4) == pytest.approx(expected)
    assert distance_over(3, 4) == pytest.approx(expected)


def test_laps_go_on_counting():
    lap = [0, 1, 2, 3, 5, 6]
    once = distance_over(*lap, 0)
    assert distance_over(*lap, *lap, 0) == pytest.approx(2 * once)
    assert distance_over(0, *reversed(lap)) == pytest.approx(-once)


def test_shortest_distance_is_antisymmetric_but_for_ties():
    track = fork().track
    for a, b in itertools.combinations(range(7), 2):
        assert abs(shortest_distance(track, a, b)) == pytest.approx(
            abs(shortest_distance(track, b, a))
        )
    assert shortest_distance(track, 2, 2) == 0.0


def test_checkpoints_that_do_not_exist_are_waited_out():
    assert distance_over(0, 200, 0xFFFF, 1) == pytest.approx(100)
    race = RaceMemory()
    state = race.frame(checkpoint=0xFFFF)
    for metric in make_metrics(DEFAULT_METRICS):
        metric.update(state, fork())
        metric.collect()


# speed


def test_speed_is_distance_over_centiseconds_since_the_first_update():
    race, distance = RaceMemory(), Distance()
    speed = Speed(distance)
    assert speed.collect() == {"speed": 0.0}
    race.frame(500)
    for frames, checkpoint in ((0, 0), (30, 0), (30, 1)):
        state = race.frame(frames, checkpoint=checkpoint)
        distance.update(state, fork())
        speed.update(state, fork())
    assert speed.collect()["speed"] == pytest.approx(100 / (60 * 100 / 59.8261), rel=1e-5)


def test_the_clock_of_speed_waits_for_a_checkpoint_of_the_course():
    race, distance = RaceMemory(), Distance()
    speed = Speed(distance)
    for frames, checkpoint in ((100, 0xFFFF), (100, 0), (60, 1)):
        state = race.frame(frames, checkpoint=checkpoint)
        distance.update(state, fork())
        speed.update(state, fork())
    assert speed.collect()["speed"] == pytest.approx(100 / (60 * 100 / 59.8261), rel=1e-5)


def test_speed_forgets_at_reset_and_stands_still_with_the_clock():
    race = RaceMemory()
    both = make_metrics(["distance", "speed"])
    for checkpoint in (0, 1):
        for metric in both:
            metric.update(race.frame(10, checkpoint=checkpoint), fork())
    assert collect_all(both)["speed"] > 0
    reset_all(both)
    assert collect_all(both) == {"distance": 0.0, "speed": 0.0}
    for checkpoint in (0, 1):
        for metric in both:
            metric.update(race.frame(0, checkpoint=checkpoint), fork())
    assert collect_all(both) == {"distance": pytest.approx(100), "speed": 0.0}


def test_speed_wants_a_distance_metric():
    with pytest.raises(TypeError, match="Distance"):
        Speed(Progress())


def test_distance_is_counted_once_for_both():
    distance, speed = make_metrics(["distance", "speed"])
    assert speed.distance is distance
    speed, distance = make_metrics(["speed", "distance"])
    assert speed.distance is distance
    assert [metric.name for metric in make_metrics(["speed"])] == ["distance", "speed"]
    lone = Speed(Distance())
    assert make_metrics([lone]) == [lone.distance, lone]
    with pytest.raises(ValueError, match="twice"):
        make_metrics([Speed(Distance()), Distance()])
    kept = copy.deepcopy(make_metrics(["distance", "speed"]))
    assert kept[1].distance is kept[0]
    kept = pickle.loads(pickle.dumps(kept))
    assert kept[1].distance is kept[0]


# off-road


def offroad(*frames, course=None):
    """Both measures after frames of (surface, position[, respawning])."""
    race = RaceMemory()
    both = [OffroadDistance(), OffroadPath()]
    seen = []
    for surface, position, *respawning in frames:
        state = race.frame(surface=surface, position=position, respawning=bool(respawning))
        for metric in both:
            metric.update(state, course or fork())
        seen.append(tuple(collect_all(both).values()))
    return seen


def test_offroad_counts_from_leaving_the_road_to_reaching_it():
    path = [(0, (0, 0, 0)), (3, (3, 0, 0)), (3, (3, 0, 4)), (0, (0, 0, 4)), (0, (50, 0, 50))]
    assert offroad(*path) == [(0, 0), (0, 0), (4, 4), (5, 7), (5, 7)]


def test_offroad_adds_up_over_stretches_and_knows_all_its_surfaces():
    for surface in (2, 3, 5):
        path = [
            (surface, (0, 0, 0)),
            (0, (3, 4, 0)),
            (0, (100, 0, 0)),
            (surface, (100, 0, 0)),
            (0, (100, 0, 12)),
        ]
        assert offroad(*path)[-1] == pytest.approx((17, 17))
    for surface in (0, 1, 4, 6, 7, 12, 20):
        assert offroad((surface, (0, 0, 0)), (0, (3, 4, 0)))[-1] == (0, 0)


def test_an_episode_that_ends_off_the_road_counts_what_was_driven_there():
    assert offroad((3, (0, 0, 0)), (3, (3, 4, 0)), (3, (3, 0, 0)))[-1] == pytest.approx((3, 9))


def test_respawn_adds_no_offroad_distance():
    path = [
        (3, (0, 0, 0)),
        (3, (3, 4, 0)),
        (3, (500, 0, 0), "respawning"),
        (0, (500, 0, 0), "respawning"),
        (0, (500, 0, 0)),
    ]
    assert offroad(*path)[-1] == pytest.approx((5, 5))
    # also where the surface changes in the same frame
    path = [(3, (0, 0, 0)), (3, (3, 4, 0)), (0, (500, 0, 0), "respawning")]
    assert offroad(*path)[-1] == pytest.approx((5, 5))


# progress


def test_progress_measures_from_the_start_and_both_ways():
    race, metric = RaceMemory(), Progress()
    for z in (10, 40, 90):
        metric.update(race.frame(checkpoint=0, position=(0, 0, z)), fork())
    assert metric.collect()["progress"] == pytest.approx(80, abs=0.01)
    metric.update(race.frame(checkpoint=0, position=(0, 0, 5)), fork())
    assert metric.collect()["progress"] == pytest.approx(-5, abs=0.01)


def test_progress_runs_on_across_the_line_and_its_laps_add_up():
    course = meadow()
    track = course.track
    race, metric = RaceMemory(), Progress()
    metric.update(race.frame(checkpoint=track.start, position=track.point_at(0.0)), course)
    steps = 200
    for sign, expected in ((1, 2.5), (-1, -0.5)):
        for step in range(1, int(steps * (2.5 if sign > 0 else 3.0)) + 1):
            place = track.length * (step / steps if sign > 0 else 2.5 - step / steps)
            lap_place = place % track.length
            checkpoint = max(
                (i for i in range(len(track)) if track.start_of(i) <= lap_place + 1e-6),
                key=track.start_of,
            )
            state = race.frame(checkpoint=checkpoint, position=track.point_at(place))
            metric.update(state, course)
        assert metric.collect()["progress_laps"] == pytest.approx(expected, abs=0.005)
        assert metric.collect()["progress"] == pytest.approx(expected * track.length, abs=50)


def test_progress_does_not_depend_on_when_it_is_collected():
    lap = drive()
    lazy, eager = Progress(), Progress()
    for state in lap.states:
        lazy.update(state, lap.course)
        eager.update(state, lap.course)
        eager.collect()
    assert lazy.collect() == pytest.approx(eager.collect())


def test_progress_goes_through_pickle_in_the_middle_of_an_episode():
    lap = drive()
    whole, parts = Progress(), Progress()
    for index, state in enumerate(lap.states):
        whole.update(state, lap.course)
        parts.update(state, lap.course)
        if index % 500 == 250:
            parts = pickle.loads(pickle.dumps(parts))
    assert parts.collect() == pytest.approx(whole.collect())
    assert len(pickle.dumps(whole)) < 1000


# laps


def test_laps_are_timed_to_the_frame():
    race, metric = RaceMemory(), LapTimes()
    assert metric.collect() == {"laps": 0, "best_lap": 0, "last_lap": 0, "race_time": 0}
    for frames, changes in (
        (0, {"lap": 0}),
        (50, {"lap": 1}),  # over the line: the first lap's time runs since GO
        (950, {"lap": 2}),
        (800, {"lap": 3}),
    ):
        metric.update(race.frame(frames, **changes), fork())
    frame = CENTISECONDS_PER_FRAME
    assert metric.times == pytest.approx([1000 * frame, 800 * frame])
    assert metric.collect() == pytest.approx(
        {"laps": 2, "best_lap": 800 * frame, "last_lap": 800 * frame, "race_time": 0}
    )
    metric.update(race.frame(900, finished=True), fork())
    metric.update(race.frame(100), fork())
    assert metric.collect() == pytest.approx(
        {
            "laps": 3,
            "best_lap": 800 * frame,
            "last_lap": 900 * frame,
            "race_time": 2700 * frame,
        }
    )
    assert sum(metric.times) == pytest.approx(metric.collect()["race_time"])


def test_a_lap_taken_back_does_not_count_twice():
    race, metric = RaceMemory(), LapTimes()
    for lap in (1, 2, 1, 2, 1, 2, 3):
        metric.update(race.frame(100, lap=lap), fork())
    assert metric.collect()["laps"] == 2
    assert metric.times == pytest.approx(
        [200 * CENTISECONDS_PER_FRAME, 500 * CENTISECONDS_PER_FRAME]
    )


def test_an_episode_that_starts_in_a_lap_takes_over_its_clock():
    race, metric = RaceMemory(), LapTimes()
    race.race["frame"] = 3000
    metric.update(race.frame(0, lap=2, lap_frames=400), fork())
    metric.update(race.frame(100, lap=3), fork())
    assert metric.times == pytest.approx([500 * CENTISECONDS_PER_FRAME])


def test_a_race_that_was_over_before_has_no_laps():
    race, metric = RaceMemory(), LapTimes()
    for _ in range(3):
        metric.update(race.frame(lap=3, finished=True), fork())
    assert metric.collect()["laps"] == 0


# checkpoint records


def test_a_record_for_each_checkpoint_left():
    race, metric = RaceMemory(), CheckpointRecords()
    metric.update(race.frame(0, checkpoint=0, lap=1, position=(0, 0, 10)), fork())
    metric.update(race.frame(20, position=(0, 0, 60)), fork())
    metric.update(race.frame(10, checkpoint=1, position=(30, 0, 101)), fork())
    metric.update(race.frame(40, checkpoint=4, position=(-100, 0, 251), lap=2), fork())
    first, second = metric.records
    assert (first.checkpoint, first.lap) == (0, 1)
    assert first.time == pytest.approx(30 * CENTISECONDS_PER_FRAME)
    assert first.distance == pytest.approx(101, abs=0.01)
    assert (second.checkpoint, second.lap) == (1, 1)
    assert second.time == pytest.approx(40 * CENTISECONDS_PER_FRAME)
    # the line ends at x = -40: the true distance is to its end
    assert second.distance == pytest.approx(math.hypot(60, 151), abs=0.01)
    assert metric.collect() == pytest.approx(
        {"checkpoints": 2, "checkpoint_distance": 101 + math.hypot(60, 151)}, abs=0.02
    )
    assert (
        SCORERS.make("checkpoint_distance")(metric.collect())
        == metric.collect()["checkpoint_distance"]
    )


def test_records_append_lap_after_lap():
    race, metric = RaceMemory(), CheckpointRecords()
    for checkpoint in [0, 1, 4, 5, 6] * 3:
        metric.update(race.frame(checkpoint=checkpoint), fork())
    assert [record.checkpoint for record in metric.records] == ([0, 1, 4, 5, 6] * 3)[:-1]
    metric.reset()
    assert metric.collect() == {"checkpoints": 0.0, "checkpoint_distance": 0.0}


# what happens to the kart


def count(metric, key, field, values):
    race = RaceMemory()
    for value in values:
        metric.update(race.frame(**{field: bool(value)}), fork())
    return metric.collect()[key]


def test_wall_hits_are_counted_when_they_begin():
    assert count(WallHits(), "wall_hits", "touching_wall", [0, 1, 1, 1, 0, 0, 1, 0]) == 2
    assert count(WallHits(), "wall_hits", "touching_wall", [1, 1, 0, 1]) == 1


def test_respawns_are_counted_when_they_begin():
    assert count(Respawns(), "respawns", "respawning", [0, 1, 1, 0, 1]) == 2
    assert count(Respawns(), "respawns", "respawning", [1, 0]) == 0


def test_mini_turbos_are_counted_when_they_begin():
    assert count(MiniTurbos(), "mini_turbos", "drift_boost", [0, 1, 1, 0, 1]) == 2


def test_offroad_share_leaves_out_respawns():
    race, metric = RaceMemory(), OffroadShare()
    assert metric.collect() == {"offroad_share": 0.0}
    grass = min(OFFROAD_SURFACES)
    for surface, respawning in ((0, False), (grass, False), (grass, True), (0, False)):
        metric.update(race.frame(surface=surface, respawning=respawning), fork())
    assert metric.collect() == {"offroad_share": 0.25}


def test_times_count_the_frames_after_the_start():
    cs = CENTISECONDS_PER_FRAME
    assert count(AirTime(), "air_time", "on_floor", [0, 0, 0, 1, 1]) == pytest.approx(3 * cs)
    assert count(AirTime(), "air_time", "on_floor", [0]) == 0
    assert count(WrongWayTime(), "wrong_way_time", "wrong_way", [0, 1, 1, 0]) == pytest.approx(
        2 * cs
    )


def test_respawn_adds_no_air_time():
    race, metric = RaceMemory(), AirTime()
    for respawning in (False, True, True, False):
        metric.update(race.frame(on_floor=False, respawning=respawning), fork())
    assert metric.collect()["air_time"] == pytest.approx(CENTISECONDS_PER_FRAME)


# all of them


def test_every_default_metric_collects_at_any_time_and_forgets_at_reset():
    lap = drive()
    kept = make_metrics(DEFAULT_METRICS)
    empty = collect_all(kept)
    assert all(type(value) is float and value == 0.0 for value in empty.values())
    for state in lap.states[:600]:
        for metric in kept:
            metric.update(state, lap.course)
    first = collect_all(kept)
    assert first == collect_all(kept)
    assert all(type(value) is float for value in first.values())
    assert first["distance"] > 500
    reset_all(kept)
    assert collect_all(kept) == empty
    for state in lap.states[:600]:
        for metric in kept:
            metric.update(state, lap.course)
    assert collect_all(kept) == first


@pytest.mark.parametrize("name", METRICS.names())
def test_every_metric_is_small_and_pickles(name):
    lap = drive()
    for metric in make_metrics(name):
        for state in lap.states[:100]:
            metric.update(state, lap.course)
        data = pickle.dumps(metric)
        assert len(data) < 2000
        assert pickle.loads(data).collect() == metric.collect()


def test_a_real_lap():
    lap = drive()
    kept = make_metrics(DEFAULT_METRICS)
    for state in lap.states:
        for metric in kept:
            metric.update(state, lap.course)
    measured = collect_all(kept)
    length, last = lap.course.track.length, lap.states[-1]
    assert measured["laps"] == 1
    assert measured["race_time"] == pytest.approx(last.frame * CENTISECONDS_PER_FRAME)
    assert measured["best_lap"] == measured["last_lap"] == measured["race_time"]
    assert measured["last_lap"] / 100 == pytest.approx(last.lap_times[0], abs=0.005)
    # It starts some 125 behind the line and has just crossed it again.
    assert length < measured["progress"] < length + 180
    assert measured["progress_laps"] == pytest.approx(measured["progress"] / length)
    assert measured["distance"] == pytest.approx(measured["progress"], rel=0.05)
    driven = (last.frame - lap.states[0].frame) * CENTISECONDS_PER_FRAME
    assert measured["speed"] == pytest.approx(measured["distance"] / driven)
    assert measured["offroad_path"] >= measured["offroad_dist"] >= 0
    jumps = sum(a.checkpoint != b.checkpoint for a, b in itertools.pairwise(lap.states))
    assert measured["checkpoints"] == jumps
    assert measured["respawns"] == sum(
        b.respawning and not a.respawning for a, b in itertools.pairwise(lap.states)
    )
    # The way really driven is no shorter than the progress made (respawns aside).
    driven = sum(
        math.dist(a.position, b.position)
        for a, b in itertools.pairwise(lap.states)
        if not b.respawning
    )
    assert driven > 0.9 * measured["progress"]


class Twice:
    name = "twice"

    def reset(self):
        pass

    def update(self, state, course):
        pass

    def collect(self):
        return {"other": 1.0, "distance": 1.0}


def test_a_measure_under_a_taken_name_is_refused():
    with pytest.raises(ValueError, match=r"'distance' and 'twice' both collect 'distance'"):
        collect_all([Distance(), Twice()])
    with pytest.raises(ValueError, match="twice"):
        collect_all([Twice(), Twice()])
    assert collect_all([Twice(), WallHits()]) == {"other": 1.0, "distance": 1.0, "wall_hits": 0.0}
    assert collect_all([]) == {}


@pytest.mark.parametrize("bad", [3, None, Distance, object()])
def test_value_that_is_not_a_metric_is_refused(bad):
    with pytest.raises(TypeError, match=r"(not a metric|metrics=).*"):
        make_metrics([bad])


def test_misspelt_metrics_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"'distanse'.*did you mean 'distance'"):
        make_metrics(["distanse"])
    with pytest.raises(ValueError, match="twice"):
        make_metrics(["progress", "progress"])
    with pytest.raises(ValueError, match="takes no number"):
        make_metrics(["progress:3"])


# scores


def test_the_default_fitness_is_the_distance():
    assert default_fitness_scorer({"distance": 12.5, "progress": 3.0}) == 12.5
    with pytest.raises(KeyError, match="distance"):
        default_fitness_scorer({"progress": 3.0})
    assert SCORERS.make("distance") is default_fitness_scorer


@pytest.mark.parametrize("name", SCORERS.names())
def test_every_scorer_scores_an_empty_episode_and_refuses_missing_metrics(name):
    scorer = SCORERS.make(name)
    assert scorer(collect_all(make_metrics(METRICS.names()))) == 0.0
    with pytest.raises(KeyError):
        scorer({})
    assert pickle.loads(pickle.dumps(scorer)) is scorer


def test_the_driving_score_charges_for_grass_and_walls():
    score = SCORERS.make("driving")
    clean = {"progress": 500.0, "offroad_path": 0.0, "wall_hits": 0.0}
    assert score(clean) == 500.0
    assert score({**clean, "offroad_path": 100.0}) == 500 - 100 * OFFROAD_COST
    assert score({**clean, "wall_hits": 2.0}) == 500 - 2 * WALL_HIT_COST

import math
import time
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from course_builder import (
    FLOOR_BIT,
    across,
    circle,
    course_map,
    forked_map,
    quad,
    write_kcl,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mkds_gym.course import KCL, NKM, Course, Track
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import CourseFormatError
from mkds_gym.race.names import Surface

TAU = 2 * math.pi
RADIUS = 500.0
CIRCLE = Track(course_map(circle(24)))
FORKED = Track(forked_map())


def on_circle(angle, radius=RADIUS):
    return -radius * math.cos(angle), radius * math.sin(angle)


def drive(track, points, checkpoint, way=()):
    """Return progress and checkpoint at each point; crossing a line changes the checkpoint.

    `way` decides the checkpoint when the points go backwards through a join.
    """
    progress, checkpoints = [], []
    before = points[0]
    for point in points:
        for other in track.next(checkpoint):
            if crosses(track, other, before, point) > 0:
                checkpoint = other
                break
        else:
            if crosses(track, checkpoint, before, point) < 0:
                ways = track.previous(checkpoint)
                checkpoint = next((other for other in ways if other in way), ways[0])
        progress.append(track.progress(checkpoint, *point))
        checkpoints.append(checkpoint)
        before = point
    return progress, checkpoints


def crosses(track, checkpoint, before, after):
    """Return 1 if a step crosses the checkpoint line forwards, -1 backwards, 0 otherwise."""
    left, right = track.left[checkpoint], track.right[checkpoint]

    def side(one, other, point):
        return (other[0] - one[0]) * (point[1] - one[1]) - (other[1] - one[1]) * (point[0] - one[0])

    a, b = side(left, right, before), side(left, right, after)
    if (a <= 0) == (b <= 0) or (side(before, after, left) * side(before, after, right) > 0):
        return 0
    ahead = (after[0] - before[0]) * track.forward[checkpoint][0] + (
        after[1] - before[1]
    ) * track.forward[checkpoint][1]
    return 1 if ahead > 0 else -1


def steps(track, progress):
    return [track.gap(a, b) for a, b in pairwise(progress)]


def test_track_of_a_circle_has_length_and_graph():
    track = CIRCLE
    assert len(track) == 24
    assert track.length == pytest.approx(24 * 2 * RADIUS * math.sin(math.pi / 24))
    assert track.start == 0
    assert track.main == list(range(24))
    assert track.next(5) == (6,)
    assert track.next(23) == (0,)
    assert track.previous(0) == (23,)
    assert track.section(7) == 0
    assert track.is_key(0)
    assert not track.is_key(1)
    assert track.start_of(0) == 0.0
    assert track.start_of(1) == pytest.approx(track.length / 24)


@pytest.mark.parametrize("offset", [-55.0, 0.0, 40.0])
@pytest.mark.parametrize("direction", [1, -1])
def test_progress_grows_evenly_along_a_circle(offset, direction):
    track = CIRCLE
    angles = np.linspace(0.01, 0.01 + 2 * TAU, 8000)[::direction]
    progress, checkpoints = drive(track, [on_circle(a, RADIUS + offset) for a in angles], 0)
    moved = np.array(steps(track, progress)) * direction
    fair = 2 * track.length / 8000
    assert moved.min() > 0.5 * fair
    assert moved.max() < 1.6 * fair
    assert moved.sum() == pytest.approx(2 * track.length, rel=1e-3)
    assert all(0 <= value < track.length for value in progress)
    assert set(checkpoints) == set(range(24))


def test_progress_is_continuous_at_the_lines():
    track = CIRCLE
    for index in range(24):
        following = track.next(index)[0]
        for share in (0.02, 0.3, 0.5, 0.98):
            x, z = track.left[following] * (1 - share) + track.right[following] * share
            before = track.progress(index, x, z)
            after = track.progress(following, x, z)
            assert abs(track.gap(before, after)) < 1e-6


def test_progress_outside_two_lines_keeps_the_line_s_value():
    track = CIRCLE
    assert track.progress(3, *on_circle(TAU * 2.5 / 24)) == track.start_of(3)
    assert track.progress(3, *on_circle(TAU * 4.2 / 24)) == track.start_of(4)
    end = track.progress(23, *on_circle(TAU * 0.2 / 24))
    assert track.length - 1e-6 < end < track.length


def test_progress_beyond_crossing_lines_stays_in_range():
    """Beyond the circle's centre, both lines have the point on the wrong side."""
    track = CIRCLE
    for x, z in np.random.default_rng(1).uniform(-2000, 2000, (500, 2)).tolist():
        for checkpoint in (0, 7, 23):
            value = track.progress(checkpoint, x, z)
            assert track.start_of(checkpoint) <= value <= track.start_of(checkpoint) + 131


def test_distance_to_equals_brute_force():
    track = Track(course_map(circle(8)))
    for index in range(8):
        shares = np.linspace(0, 1, 20001)[:, None]
        along = track.left[index] * (1 - shares) + track.right[index] * shares
        for x, z in np.random.default_rng(index).uniform(-700, 700, (20, 2)):
            expected = np.hypot(along[:, 0] - x, along[:, 1] - z).min()
            assert track.distance_to(index, x, z) == pytest.approx(expected, abs=0.01)


def test_centre_line_of_a_circle_is_the_circle():
    track = CIRCLE
    for s in np.linspace(0, track.length, 77):
        angle = TAU * s / track.length
        x, y, z = track.point_at(s)
        assert (x, z) == pytest.approx(on_circle(angle), abs=1.5)
        assert y == 0.0
        off = (track.heading_at(s) - angle + math.pi) % TAU - math.pi
        assert abs(off) < 0.02
        assert track.curvature_at(s) == pytest.approx(1 / RADIUS, rel=0.05)  # to the left
        assert track.width_at(s) == pytest.approx(120, abs=1e-2)
    assert track.point_at(track.length + 10) == pytest.approx(track.point_at(10))
    assert track.point_at(-10) == pytest.approx(track.point_at(track.length - 10))
    assert track.centre_line.shape[1] == 3


def test_curvature_of_a_right_bend_is_negative():
    lines = [(-lx, lz, -rx, rz) for lx, lz, rx, rz in circle(24)]
    # Mirrored: what was the left end is now the right one of the same driving direction.
    lines = [(rx, rz, lx, lz) for lx, lz, rx, rz in lines]
    track = Track(course_map(lines))
    assert track.curvature_at(300) == pytest.approx(-1 / RADIUS, rel=0.05)


@pytest.mark.parametrize("offset", [-40.0, 0.0, 25.0])
def test_project_returns_lateral_heading_and_progress(offset):
    track = CIRCLE
    for index in range(24):
        angle = TAU * (index + 0.4) / 24
        # The circle is driven to the left: outside is to the right.
        x, z = on_circle(angle, RADIUS + offset)
        projection = track.project(x, z, index)
        assert projection.lateral == pytest.approx(-offset, abs=1.5)
        assert abs((projection.heading - angle + math.pi) % TAU - math.pi) < 0.05
        assert projection.s == track.progress(index, x, z)


def test_left_end_is_at_positive_x_when_driving_to_positive_z():
    """Driving towards +z, left is +x (up x forward, right-handed)."""
    lines = [across(0, z, 0.0) for z in (0, 100, 200, 300)]
    lines += [across(400, z, math.pi) for z in (300, 200, 100, 0)]
    track = Track(course_map(lines))
    assert track.left[1].tolist() == [60.0, 100.0]
    assert track.forward[1] == pytest.approx([0, 1], abs=1e-3)
    assert track.project(10.0, 150.0, 1).lateral > 0
    assert track.project(-10.0, 150.0, 1).lateral < 0


def test_fork_and_join_have_equal_progress_on_both_ways():
    track = FORKED
    assert track.next(2) == (3, 6)
    assert track.next(5) == track.next(10) == (11,)
    assert track.previous(11) == (5, 10)
    assert track.main == [0, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    assert track.start_of(3) == track.start_of(6)
    values = [track.start_of(index) for index in (6, 7, 8, 9, 10, 11)]
    assert values == sorted(set(values))
    assert track.section(8) == 2


@pytest.mark.parametrize("way", [(3, 4, 5), (6, 7, 8, 9, 10)])
@pytest.mark.parametrize("direction", [1, -1])
def test_progress_grows_evenly_on_both_ways(way, direction):
    track = FORKED
    stops = [track.mid[index] for index in (0, 1, 2, *way, 11, 12, 13, 14, 15, 0, 1)]
    points = []
    for a, b in pairwise(stops):
        points += [tuple(a + (b - a) * share) for share in np.linspace(0, 1, 200, endpoint=False)]
    points = points[3::direction] if direction > 0 else points[:2:-1]
    progress, checkpoints = drive(track, points, 0, way)
    assert set(way) <= set(checkpoints)
    moved = np.array(steps(track, progress)) * direction
    assert moved.min() > -1e-6
    assert moved.max() < 8  # the points are at most 4 apart, the ways' lengths 3 : 4
    assert moved.sum() == pytest.approx(track.length + track.start_of(1), rel=0.01)


def test_progress_at_a_fork_is_continuous_between_the_next_lines():
    lines = [
        across(0, 0, 0.0),
        across(0, 100, 0.0),
        across(150, 250, 1.2),
        across(-150, 250, -0.3),
        across(0, 500, 0.0),
        across(600, 200, math.pi),
    ]
    sections = [(0, 2, [1, 2]), (2, 1, [3]), (3, 1, [3]), (4, 2, [0])]
    track = Track(course_map(lines, sections))
    assert track.next(1) == (2, 3)
    path = [(x, 170.0) for x in np.linspace(-80, 80, 4000)]
    nearest = {min(track.next(1), key=lambda i: track.distance_to(i, *point)) for point in path}
    assert nearest == {2, 3}
    moved = np.diff([track.progress(1, *point) for point in path])
    assert np.abs(moved).max() < 0.1


def test_centre_line_exists_for_both_ways():
    track = FORKED
    for index in (4, 7, 8, 9):
        x, z = track.mid[index]
        projection = track.project(x, z, index)
        assert abs(projection.lateral) < 2.5
        assert track.point_at(projection.s, index)[::2] == pytest.approx((x, z), abs=3)
    # On the long way the main line is far off.
    assert math.dist(track.point_at(track.start_of(8))[::2], track.mid[8]) > 300


def test_nested_forks_have_growing_progress():
    """0 forks into 1, 2 and 3; 2 forks again into 4 and 5; all join in 6."""
    lines = [
        *[across(0, z, 0) for z in (0, 100)],
        *[across(-300, z, 0) for z in (200, 400, 600)],
        *[across(0, z, 0) for z in (200, 300)],
        *[across(300, z, 0) for z in (200, 600)],
        *[across(-80, z, 0) for z in (400, 500)],
        *[across(80, z, 0) for z in (400, 500, 600)],
        *[across(0, 800, 0), across(900, 400, math.pi)],
    ]
    sections = [
        (0, 2, [1, 2, 3]),
        (2, 3, [6]),
        (5, 2, [4, 5]),
        (7, 2, [6]),
        (9, 2, [6]),
        (11, 3, [6]),
        (14, 2, [0]),
    ]
    track = Track(course_map(lines, sections))
    assert track.next(1) == (2, 5, 7)
    start = [track.start_of(index) for index in range(len(track))]
    for index in range(len(track)):
        for other in track.next(index):
            if other != 0:
                assert start[other] > start[index]
    assert len({start[2], start[5], start[7]}) == 1
    assert start[9] == start[11]
    assert start[5] < start[6] < start[9] < start[10] < start[14]


def test_start_line_inside_a_section_has_progress_zero():
    track = Track(course_map(circle(24), keys={9: 0, 15: 1}))
    assert track.start == 9
    assert track.start_of(9) == 0.0
    assert track.start_of(8) == pytest.approx(track.length * 23 / 24)
    assert track.progress(8, *on_circle(TAU * 8.5 / 24)) == pytest.approx(
        track.length * 23.5 / 24, rel=1e-3
    )
    assert [track.key(index) for index in (9, 15, 0)] == [0, 1, -1]


def test_map_without_keys_and_sections_is_a_ring():
    base = course_map(circle(12), keys={})
    track = Track(NKM(checkpoints=base.checkpoints))
    assert track.start == 0
    assert track.next(11) == (0,)


def test_section_without_next_leads_to_the_start():
    track = Track(course_map(circle(12), [(0, 12, [])]))
    assert track.next(11) == (0,)
    assert track.length == pytest.approx(Track(course_map(circle(12))).length)


def test_ring_of_sections_in_any_order():
    track = Track(course_map(circle(12), [(6, 6, [1]), (0, 6, [0])]))
    assert track.next(11) == (0,)
    assert track.next(5) == (6,)
    assert track.section(3) == 1
    assert track.start_of(6) == pytest.approx(track.length / 2)


def test_swapped_ends_are_corrected_with_a_warning(caplog):
    swapped = [(rx, rz, lx, lz) for lx, lz, rx, rz in circle(24)]
    track = Track(course_map(swapped))
    right = CIRCLE
    assert "backwards" in caplog.text
    assert (track.left == right.left).all()
    assert track.forward == pytest.approx(right.forward)


def test_checkpoints_without_width_have_growing_progress():
    lines = circle(24)
    for index in (3, 10, 11):
        lines[index] = (*on_circle(TAU * index / 24), *on_circle(TAU * index / 24))
    track = Track(course_map(lines))
    values = []
    for angle in np.linspace(0.001, TAU - 0.001, 3000):
        values.append(track.progress(int(angle / TAU * 24), *on_circle(angle)))
    assert np.diff(values).min() > -1e-2
    assert values[-1] > track.length * 0.99
    assert track.distance_to(10, *on_circle(TAU * 10 / 24)) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    "lines",
    [
        circle(1),
        circle(2),
        circle(3),
        [circle(1)[0]] * 5,
        [(0.0, 0.0, 0.0, 0.0)] * 3,
        [across(0, 0, 0.0), across(0, 100, 0.0)],
    ],
    ids=["one", "two", "three", "same", "null", "there and back"],
)
def test_degenerate_map_has_finite_values(lines):
    track = Track(course_map(lines))
    assert track.length >= 1.0
    for index in range(len(track)):
        value = track.progress(index, 3.0, 4.0)
        assert 0 <= value < track.length
        assert all(math.isfinite(number) for number in track.point_at(value))
        assert math.isfinite(track.curvature_at(value))
        assert all(math.isfinite(number) for number in track.project(1.0, 2.0, index))


def test_unreachable_sections_have_progress_in_range():
    """A section that nothing leads to, and one that leads back to itself and to the island."""
    lines = [*circle(12), across(0, 0, 0.0), across(0, 50, 0.0), across(10, 10, 0.0)]
    track = Track(course_map(lines, [(0, 12, [0]), (12, 2, [0]), (14, 1, [2, 1])]))
    for index in (12, 13, 14):
        assert 0 <= track.progress(index, 0.0, 20.0) < track.length
        assert 0 <= track.start_of(index) < track.length
    assert track.start_of(12) == track.start_of(14)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([(0, 13, [0])], "section 0 has checkpoints 0 to 12: the course has 12"),
        ([(0, 0, [0])], "section 0"),
        ([(0, 12, [1])], "leads to section 1 of only 1"),
        ([(0, 8, [1]), (7, 5, [0])], "checkpoint 7 is in the sections 0 and 1"),
    ],
)
def test_sections_that_do_not_fit_raise(sections, message):
    with pytest.raises(CourseFormatError, match=message):
        Track(course_map(circle(12), sections))


def test_map_without_checkpoints_raises():
    with pytest.raises(CourseFormatError, match="no checkpoints"):
        Track(NKM())


def test_progress_with_unknown_checkpoint_raises():
    with pytest.raises(ValueError, match="checkpoint=24 is out of range: expected 0 to 23"):
        CIRCLE.progress(24, 0.0, 0.0)


def race(checkpoint, angle, lap, finished=False):
    x, z = on_circle(angle)
    return SimpleNamespace(position=(x, 0.0, z), checkpoint=checkpoint, lap=lap, finished=finished)


def test_laps_count_from_the_start_line():
    track = CIRCLE
    assert track.laps(race(23, -0.1, 0)) == pytest.approx(-0.1 / TAU, abs=1e-3)
    assert track.laps(race(0, -0.1, 0)) == 0.0
    assert track.laps(race(6, TAU / 4 + 0.01, 0)) == pytest.approx(-0.75, abs=1e-2)
    assert track.laps(race(23, -0.1, -1)) == pytest.approx(-1 - 0.1 / TAU, abs=1e-3)
    assert track.laps(race(0, 0.1, 1)) == pytest.approx(0.1 / TAU, abs=1e-3)
    assert track.laps(race(12, math.pi + 0.01, 2)) == pytest.approx(1.5, abs=1e-2)
    assert track.laps(race(0, 0.1, 3, True)) == pytest.approx(3 + 0.1 / TAU, abs=1e-3)
    assert track.laps(race(23, -0.01, 3, True)) == 3


def test_centre_line_heights_follow_the_road_under_a_bridge():
    ground = quad((-600, 0, -600), (-600, 0, 600), (600, 0, 600), (600, 0, -600))
    bridge = quad((-600, 90, -100), (-600, 90, 100), (600, 90, 100), (600, 90, -100))
    kcl = KCL.from_bytes(write_kcl(ground + bridge, [FLOOR_BIT] * 4))
    base = course_map(circle(24))
    track = Track(base, kcl)
    # Without a start the first sample, on the bridge, decides; the road ends, the ground goes on.
    assert track.point_at(0)[1] == pytest.approx(90, abs=0.1)
    assert track.point_at(track.length / 4)[1] == pytest.approx(0, abs=0.1)
    starts = np.zeros(1, dtype=base.starts.dtype)
    below = Track(
        NKM(checkpoints=base.checkpoints, checkpoint_paths=base.checkpoint_paths, starts=starts),
        kcl,
    )
    assert np.abs(below.centre_line[:, 1]).max() < 0.1


def test_progress_is_quick():
    track = Track(course_map(circle(40)))
    x, z = on_circle(0.3)

    def once():
        start = time.process_time()
        for _ in range(2000):
            track.progress(2, x, z)
        return (time.process_time() - start) / 2000

    # 0.4 microseconds here; the limit leaves room for a busy machine.
    assert min(once() for _ in range(5)) < 4e-6


@st.composite
def graphs(draw):
    """Sections of random lengths that lead to one another at random, on random ground."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=8))
    number = st.integers(0, len(sizes) - 1)
    first, sections = 0, []
    for size in sizes:
        sections.append((first, size, draw(st.lists(number, max_size=3))))
        first += size
    coordinate = st.floats(-5000, 5000) | st.sampled_from([0.0, 100.0])
    line = st.tuples(coordinate, coordinate, coordinate, coordinate)
    lines = draw(st.lists(line, min_size=first, max_size=first))
    keys = draw(st.sampled_from([{}, {0: 0}, {first - 1: 0}]))
    return course_map(lines, sections, keys)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.floats(-6000, 6000), st.floats(-6000, 6000))
def test_any_graph_has_progress_in_range(nkm, x, z):
    track = Track(nkm)
    assert math.isfinite(track.length)
    for index in range(len(track)):
        assert 0 <= track.start_of(index) < track.length
        value = track.progress(index, x, z)
        assert track.start_of(index) <= value < track.length
        assert len({track.start_of(other) for other in track.next(index)}) == 1
        for other in track.next(index):
            assert index in track.previous(other)
        assert all(math.isfinite(number) for number in track.project(x, z, index))
        assert math.isfinite(track.curvature_at(value, index))
    for index in track.main[1:]:
        assert index in track.next(track.main[track.main.index(index) - 1])


@pytest.fixture(scope="module")
def kartlab():
    return Course.from_cartridge(Cartridge.open(), "mario_course")


# What a kart drives on: the road, and what lies on it.
DRIVEN_ON = (
    Surface.ROAD,
    Surface.SLIPPERY_ROAD,
    Surface.SLIPPERY_ROAD_2,
    Surface.BOOST_PAD,
    Surface.JUMP_PAD,
)
# Stretches without road that a kart flies over, from the ramp to where it lands.
GAPS = {"airship_course": 2}


@pytest.mark.parametrize("name", Cartridge.open().course_names())
def test_kartlab_centre_line_is_on_the_road(name):
    course = Course.from_cartridge(Cartridge.open(), name)
    track, kcl = course.track, course.kcl
    road = kcl.triangles[np.isin(kcl.types, DRIVEN_ON) & kcl.is_floor][:, :, (0, 2)]
    a, b, c = road.transpose(1, 0, 2)

    def left_of(p, q, point):
        """Distance of the point to the left of each line p q, world units."""
        cross = (q[:, 0] - p[:, 0]) * (point[1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (
            point[0] - p[:, 0]
        )
        return cross / np.linalg.norm(q - p, axis=1)

    # Corners come from rounded normals: two triangles may part by some tenths of a unit.
    seam = 0.15

    def on_road(point):
        sides = np.stack([left_of(a, b, point), left_of(b, c, point), left_of(c, a, point)])
        return ((sides >= -seam).all(axis=0) | (sides <= seam).all(axis=0)).any()

    line = np.array([on_road((x, z)) for x, _, z in track.centre_line])
    assert line[0]
    starts = np.flatnonzero(line[:-1] & ~line[1:]) + 1
    ends = np.flatnonzero(~line[:-1] & line[1:]) + 1
    assert len(starts) == len(ends) == GAPS.get(name, 0)
    # The longest jump of a kart at full speed.
    spacing = track.length / len(line)
    assert all(50 < count * spacing < 450 for count in ends - starts)
    # The other ways round, where the course forks.
    for index in set(range(len(track))) - set(track.main):
        s, to = track.start_of(index), track.start_of(track.next(index)[0])
        for along in np.linspace(s, to, 12, endpoint=False):
            x, _, z = track.point_at(along, index)
            assert on_road((x, z)), (index, along)


def test_kartlab_centre_line_turns_by_a_full_circle(kartlab):
    """A closed line that does not cross itself turns by a full circle, to one side."""
    track = kartlab.track
    headings = [track.heading_at(s) for s in np.linspace(0, track.length, 3000)]
    turns = [(b - a + math.pi) % TAU - math.pi for a, b in pairwise(headings)]
    assert abs(sum(turns)) == pytest.approx(TAU, abs=0.02)
    spacing = track.length / 3000
    bent = sum(track.curvature_at(s) for s in np.linspace(0, track.length, 3000)) * spacing
    # The line is a few percent longer than the chords its curvature is summed over.
    assert bent == pytest.approx(sum(turns), rel=0.15)


@pytest.mark.parametrize("lateral", [-110, 0, 110])
def test_kartlab_progress_grows_along_the_centre_line(kartlab, lateral):
    track = kartlab.track
    points = []
    for s in np.linspace(1, 2 * track.length, 4000):
        x, _, z = track.point_at(s)
        dx, dz = track.direction_at(s)
        points.append((x + lateral * dz, z - lateral * dx))
    progress, checkpoints = drive(track, points, 0)
    moved = np.array(steps(track, progress))
    assert moved.min() >= 0
    assert moved.max() < 8 * track.length * 2 / 4000
    assert moved.sum() == pytest.approx(2 * track.length, abs=50)
    assert set(checkpoints) == set(range(len(track)))

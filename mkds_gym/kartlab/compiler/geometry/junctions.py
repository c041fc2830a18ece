"""Joining branches to the main path."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import Branch, CourseDescription, Point
from mkds_gym.kartlab.compiler.geometry.centre_line import CentreLine
from mkds_gym.kartlab.compiler.geometry.planar import Region, quads_overlap
from mkds_gym.kartlab.compiler.geometry.ribbon import Ribbon, ground
from mkds_gym.kartlab.compiler.geometry.stations import build_ribbon

Floats = NDArray[np.float64]

JOINT_WINDOW = 1250.0
"""Longest reach of a joint along the main path, in world units."""

JOINT_LEVEL = 1.9
"""Largest difference in height within a joint, in world units."""

JOINT_ANGLE = math.radians(70)
"""Sharpest angle at which a branch may leave the main path."""


@dataclass(frozen=True)
class Cut:
    """Regions that a segment leaves out, because the other path of a joint covers them.

    Attributes:
        road: left out of the segment's road.
        shoulder: left out of its shoulders.
        outer: left out of everything beyond: walls, out-of-bounds strips, land.
    """

    road: Region
    shoulder: Region
    outer: Region


@dataclass(frozen=True)
class BranchSpan:
    """Where a branch leaves and joins the main path.

    Attributes:
        start, end: distances along the main path.
        clear: (2,) distances along the branch between which it is apart from the main path.
        main_clear: (2,) distances along the main path between which it is apart from the branch.
    """

    start: float
    end: float
    clear: tuple[float, float]
    main_clear: tuple[float, float]


@dataclass(frozen=True)
class Joint:
    """Segments of a branch and of the main path that overlap at one end of the branch.

    Attributes:
        segments: of the branch, in the direction of driving.
        main_segments: of the main path, in the direction of driving.
    """

    segments: list[int]
    main_segments: list[int]

    def cuts(self, main: Ribbon, ribbon: Ribbon) -> tuple[Cut, Cut]:
        """Return the cut of the branch's segments and the cut of the main path's."""

        def region(ribbon: Ribbon, segments: list[int], floor: bool) -> Region:
            left, right = (ribbon.reach(side) if floor else ribbon.half_width for side in (0, 1))
            return Region(ribbon.strip(left, -right)[segments][:, :, [0, 2]])

        main_floor = region(main, self.main_segments, True)
        floor = region(ribbon, self.segments, True)
        return (
            Cut(region(main, self.main_segments, False), main_floor, main_floor),
            Cut(Region([]), region(ribbon, self.segments, False), floor),
        )


def join_branch(
    description: CourseDescription, line: CentreLine, main: Ribbon, branch: Branch, number: int
) -> tuple[Ribbon, BranchSpan, tuple[Joint, Joint]]:
    """Lay a branch from one place of the main path to another.

    Args:
        description: the course.
        line: centre line of the main path.
        main: the main path.
        branch: the branch.
        number: of its path.

    Returns:
        Its ribbon, where it leaves and joins, and its two joints.

    Raises:
        CourseDescriptionError: the branch does not fit.
    """
    own, start, end = _branch_line(description, line, branch, number)
    flat = build_ribbon(description, own)
    count = flat.segments
    first = _joint(description, main, flat, start, list(range(count)))
    last = _joint(description, main, flat, end, list(range(count - 1, -1, -1)))
    if len(first.segments) + len(last.segments) + 1 > count or set(first.main_segments) & set(
        last.main_segments
    ):
        raise description.error(
            branch.label,
            f"never leaves the main path: its {own.length:.0f} units are too short or too near",
        )
    clear = float(flat.distance[first.segments[-1] + 1]), float(flat.distance[last.segments[0]])
    heights = [
        float(np.interp(distance, main.distance, main.centre[:, 1])) for distance in (start, end)
    ]
    keys = (
        (0.0, heights[0]),
        (clear[0], heights[0]),
        (clear[1], heights[1]),
        (own.length, heights[1]),
    )
    ribbon = build_ribbon(description, replace(own, heights=keys))
    for key, joint, height in (("from", first, heights[0]), ("to", last, heights[1])):
        _check_joint(description, f"{branch.label}: {key}", main, ribbon, joint, height)
    main_clear = (
        float(main.distance[main.following(first.main_segments[-1])]),
        float(main.distance[last.main_segments[0]]),
    )
    return ribbon, BranchSpan(start, end, clear, main_clear), (first, last)


def _branch_line(
    description: CourseDescription, line: CentreLine, branch: Branch, number: int
) -> tuple[CentreLine, float, float]:
    """Return the centre line of a branch and the distances at which it leaves and joins."""
    start = line.distance_of(description, branch.start)
    end = line.distance_of(description, branch.end)
    if start >= end:
        raise description.error(
            f"{branch.label}: to",
            f"the branch would leave the main path at {start:.0f} and join it at {end:.0f}: a "
            "branch may not pass the start line",
        )
    ends = [line.at(start), line.at(end)]
    joints = []
    for key, place, (x, z, _), own in (
        ("from", branch.start, ends[0], branch.points[0]),
        ("to", branch.end, ends[1], branch.points[-1]),
    ):
        label = f"{branch.label}: {key}"
        if math.dist((x, z), own.at) < 1.0:
            raise description.error(
                label, f"point {place.point} with its offset is the place of a point of the branch"
            )
        joints.append(Point((x, z), 0.0, None, None, 0.0, None, None, label))
    points = (joints[0], *branch.points, joints[1])
    own_line = CentreLine.through(
        description, points, number=number, width=branch.width, surface=branch.surface
    )
    for point, heading, main_heading in (
        (joints[0], own_line.at(0.0)[2], ends[0][2]),
        (joints[1], own_line.at(own_line.length)[2], ends[1][2]),
    ):
        angle = abs(math.remainder(heading - main_heading, math.tau))
        if angle > JOINT_ANGLE:
            raise description.error(
                point.label,
                f"the branch meets the main path at {math.degrees(angle):.0f} degrees: expected "
                f"at most {math.degrees(JOINT_ANGLE):.0f}",
            )
    return own_line, start, end


def _check_joint(
    description: CourseDescription,
    label: str,
    main: Ribbon,
    ribbon: Ribbon,
    joint: Joint,
    height: float,
) -> None:
    """Refuse a joint that is not level, or where the branch is too wide, or a gap or pad lies."""
    sides = (("main path", main, joint.main_segments), ("branch", ribbon, joint.segments))
    for name, path, segments in sides:
        corners = path.strip(path.reach(0), -path.reach(1))[segments][:, :, 1]
        if np.abs(corners - height).max() > JOINT_LEVEL:
            raise description.error(
                label,
                f"both paths must be level at the height {height:.1f} where they meet, but the "
                f"{name} is {corners.min():.1f} to {corners.max():.1f} high; give the points "
                "around the same height and no bank",
            )
    floor = Region(main.strip(main.reach(0), -main.reach(1))[joint.main_segments][:, :, [0, 2]])
    tip = 0 if label.endswith("from") else -1
    corners = np.stack([ribbon.line(ribbon.reach(0))[tip], ribbon.line(-ribbon.reach(1))[tip]])
    if not floor.contains(corners[:, [0, 2]], 1.0).all():
        width = float(ribbon.reach(0)[tip] + ribbon.reach(1)[tip])
        raise description.error(
            label,
            f"the branch is {width:.0f} wide with its shoulders and sticks out of the main path on "
            "the far side; make it or its edges narrower",
        )
    for _, path, segments in sides:
        if path.gap[segments].any():
            raise description.error(label, "there is a gap where the paths meet")
        if any(pad.first <= k < pad.last for pad in path.pads for k in segments):
            raise description.error(label, "there is a pad where the paths meet")


def _joint(
    description: CourseDescription, main: Ribbon, ribbon: Ribbon, place: float, order: list[int]
) -> Joint:
    """Find the segments of a branch and of the main path that overlap at one end of the branch.

    Args:
        description: the course.
        main: the main path.
        ribbon: the branch.
        place: distance along the main path at which they meet.
        order: all segments of the branch, from this end on.
    """
    along = np.abs(main.distance - place)
    near = np.nonzero(np.minimum(along, main.length - along) < JOINT_WINDOW)[0]
    main_quads = ground(description, main)[near][:, :, [0, 2]]
    quads = ground(description, ribbon)[:, :, [0, 2]]
    segments: list[int] = []
    touched = np.zeros(len(near), dtype=np.bool_)
    for k in order:
        over = quads_overlap(np.broadcast_to(quads[k], main_quads.shape), main_quads)
        if not over.any():
            break
        touched |= over
        segments.append(k)
    # In the direction of driving, also across the start line.
    found = near[touched]
    ahead = (main.distance[found] - place + main.length / 2) % main.length
    found = found[np.argsort(ahead, kind="stable")]
    if not len(found):
        return Joint(sorted(segments), [])
    # A bend may leave holes: take all segments between the first and the last.
    first = int(found[0])
    size = (int(found[-1]) - first) % len(main) + 1
    return Joint(sorted(segments), [(first + i) % len(main) for i in range(size)])

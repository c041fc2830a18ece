"""Checks of laid-out paths: slopes, bends, overlaps, pads and gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import (
    BRIDGE_CLEARANCE,
    COORDINATE_LIMIT,
    CourseDescription,
)
from mkds_gym.kartlab.compiler.geometry.junctions import Joint
from mkds_gym.kartlab.compiler.geometry.planar import quads_overlap
from mkds_gym.kartlab.compiler.geometry.ribbon import PlacedPad, Ribbon, ground, outer_reach
from mkds_gym.kartlab.physics import GRAVITY, JUMP_SPEED, KART_RADIUS, SLOWEST_JUMP

MAXIMUM_SLOPE = 0.15
"""Steepest road, as height over distance."""

INNER_MARGIN = 25.0
"""Smallest radius left at the inside of a bend, in world units."""

GAP_MARGIN = 2 * KART_RADIUS
"""Distance a jump must reach beyond the gap, in world units: a kart's sphere."""

PAD_TO_GAP = 150.0
"""Longest distance between a jump pad and its gap, in world units."""

WALL_FROM_BRIDGE = 10.0
"""Height between the top of a wall and a road above it, in world units."""


def check_path(description: CourseDescription, ribbon: Ribbon) -> None:
    """Refuse slopes that are too steep, bends that are too tight and edges out of range.

    Raises:
        CourseDescriptionError: the message names the described point before the fault.
    """
    count, following = ribbon.segments, ribbon.next_stations
    rise = (ribbon.centre[following, 1] - ribbon.centre[:count, 1]) / np.diff(ribbon.borders)
    steepest = int(np.argmax(np.abs(rise)))
    if abs(rise[steepest]) > MAXIMUM_SLOPE:
        raise description.error(
            f"{ribbon.label(steepest)}: height",
            f"the road changes height by {rise[steepest]:.0%} after here: expected at most "
            f"{MAXIMUM_SLOPE:.0%}",
        )
    for k in np.nonzero(ribbon.curvature[:count])[0]:
        side = 0 if ribbon.curvature[k] > 0 else 1
        radius = 1.0 / abs(float(ribbon.curvature[k]))
        reach = ribbon.reach(side)
        inner = float(max(reach[k], reach[following[k]]))
        if ribbon.edges[k][side].end == "bounds":
            inner += description.bounds_width
        if inner + INNER_MARGIN > radius:
            raise description.error(
                ribbon.label(int(k)),
                f"radius={radius:g} is too small: half the road and its inner edge take "
                f"{inner:.1f}",
            )
    for side, sign in ((0, 1.0), (1, -1.0)):
        ends = ribbon.line(sign * outer_reach(description, ribbon, side))[:, [0, 2]]
        worst = int(np.argmax(np.abs(ends).max(axis=1)))
        if np.abs(ends[worst]).max() > COORDINATE_LIMIT:
            raise description.error(
                ribbon.label(worst),
                f"the course's edge lies at {ends[worst].round(1).tolist()}, beyond "
                f"{COORDINATE_LIMIT:g}",
            )


def check_overlaps(
    description: CourseDescription, paths: Sequence[Ribbon], joints: Sequence[tuple[int, Joint]]
) -> None:
    """Refuse roads that overlap, unless one passes well above the other.

    Args:
        description: the course.
        paths: the main path, then the branches.
        joints: with the number of the branch of each.

    Raises:
        CourseDescriptionError: the message names both places.
    """
    strips = [ground(description, ribbon) for ribbon in paths]
    corners = np.concatenate([strip[:, :, [0, 2]] for strip in strips])
    bottom = np.concatenate([strip[:, :, 1].min(axis=1) for strip in strips])
    top = np.concatenate([strip[:, :, 1].max(axis=1) for strip in strips])
    walled = [
        any(edge.end == "wall" for edge in ribbon.edges[k])
        for ribbon in paths
        for k in range(ribbon.segments)
    ]
    sizes = np.array([ribbon.segments for ribbon in paths])
    path = np.repeat(np.arange(len(paths)), sizes)
    segment = np.concatenate([np.arange(size) for size in sizes])

    box_low, box_high = corners.min(axis=1), corners.max(axis=1)
    pairs: list[NDArray[np.intp]] = []
    for i in range(len(corners) - 1):
        near = (box_low[i + 1 :] < box_high[i]).all(axis=1)
        near &= (box_high[i + 1 :] > box_low[i]).all(axis=1)
        found = np.nonzero(near)[0] + i + 1
        pairs.append(np.stack([np.full(len(found), i), found], axis=1))
    pair = np.concatenate(pairs)
    # Neighbours along a path share a side; joints are checked separately.
    apart = np.abs(segment[pair[:, 0]] - segment[pair[:, 1]])
    closed = np.array([ribbon.closed for ribbon in paths])[path[pair[:, 0]]]
    apart = np.where(closed, np.minimum(apart, sizes[path[pair[:, 0]]] - apart), apart)
    pair = pair[(path[pair[:, 0]] != path[pair[:, 1]]) | (apart > 1)]
    pair = pair[quads_overlap(corners[pair[:, 0]], corners[pair[:, 1]])]
    for i, j in pair:
        if path[i] == 0 and any(
            path[j] == number and segment[j] in joint.segments and segment[i] in joint.main_segments
            for number, joint in joints
        ):
            continue
        upper, lower = (i, j) if bottom[i] + top[i] > bottom[j] + top[j] else (j, i)
        need = BRIDGE_CLEARANCE
        if walled[lower]:
            need = max(need, description.wall_height + WALL_FROM_BRIDGE)
        room = float(bottom[upper] - top[lower])
        if room < need:
            labels = [paths[path[index]].label(int(segment[index])) for index in (i, j)]
            place = corners[i].mean(axis=0).round(0).tolist()
            raise description.error(
                " and ".join(labels),
                f"the course overlaps itself near {place}: {max(room, 0.0):.0f} units of height "
                f"lie between the two roads, and a bridge needs {need:.0f}",
            )


def check_pads(description: CourseDescription, paths: Sequence[Ribbon]) -> None:
    """Refuse pads that are not on the road or overlap.

    Raises:
        CourseDescriptionError: the message names the pad.
    """
    for number, ribbon in enumerate(paths):
        described = [pad for pad in description.pads if pad.place.path == number]
        earlier: list[tuple[str, PlacedPad]] = []
        for pad, placed in zip(described, ribbon.pads, strict=True):
            label = pad.place.label
            stations = [k % len(ribbon) for k in range(placed.first, placed.last + 1)]
            room = float(ribbon.half_width[stations].min())
            reach = max(placed.left, -placed.right)
            if reach > room:
                raise description.error(
                    f"{label}: side",
                    f"the pad reaches {reach:g} units from the centre of a road that is "
                    f"{2 * room:g} wide there",
                )
            if placed.first >= placed.last or ribbon.gap[stations[:-1]].any():
                raise description.error(
                    f"{label}: offset", "the pad lies where a gap leaves no road for it"
                )
            for name, other in earlier:
                if (
                    placed.first < other.last
                    and other.first < placed.last
                    and placed.right < other.left
                    and other.right < placed.left
                ):
                    raise description.error(f"{label}: offset", f"the pad lies on {name}")
            earlier.append((label, placed))


def jump_reach(rise: float, drop: float) -> float:
    """Return how far the slowest kart flies.

    Args:
        rise: upward speed at the take-off, in world units per frame.
        drop: height of the take-off above the landing, in world units.

    Returns:
        World units; 0 when the kart never gets as high as the landing.
    """
    under = rise * rise + 2 * GRAVITY * drop
    return SLOWEST_JUMP * (rise + math.sqrt(under)) / GRAVITY if under >= 0 else 0.0


def check_gaps(description: CourseDescription, paths: Sequence[Ribbon]) -> None:
    """Refuse gaps that the slowest karts cannot jump.

    Raises:
        CourseDescriptionError: the message names the gap.
    """
    for gap in description.gaps:
        ribbon = paths[gap.place.path]
        distance, height = ribbon.distance, ribbon.centre[:, 1]
        first = int(np.abs(distance - ribbon.distance_of(description, gap.place)).argmin())
        last = first
        while ribbon.gap[last]:
            last = ribbon.following(last)
        length = float(distance[last] - distance[first]) % ribbon.length
        pads = [
            pad
            for pad in ribbon.pads
            if pad.kind == "jump"
            and 0 <= distance[first] - distance[pad.last % len(ribbon)] <= PAD_TO_GAP
        ]
        # A kart takes off where it rolls onto a pad, not where the pad ends.
        take_off = min((pad.first for pad in pads), default=first)
        run = float(distance[first] - distance[take_off])
        drop = float(height[take_off] - height[last])
        before = (take_off - 1) % len(ribbon)
        step = float(distance[take_off] - distance[before]) % ribbon.length
        climb = float(height[take_off] - height[before]) / max(step, 1.0)
        # A pad cancels downward speed.
        rise = SLOWEST_JUMP * climb if not pads else SLOWEST_JUMP * max(climb, 0) + JUMP_SPEED
        reach = jump_reach(rise, drop) - run - GAP_MARGIN
        if length > reach:
            landing = f"{abs(drop):.0f} {'lower' if drop >= 0 else 'higher'}"
            start = "with the jump pad before it" if pads else "without a jump pad before it"
            raise description.error(
                f"{gap.place.label}: length",
                f"{length:.0f} units cannot be jumped: {start}, and landing {landing}, "
                f"the slowest karts clear {max(reach, 0.0):.0f}",
            )

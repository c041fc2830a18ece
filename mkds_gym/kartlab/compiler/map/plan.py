"""Positions of checkpoints, respawn points, routes, the start grid and item boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, Ribbon, outer_reach
from mkds_gym.kartlab.compiler.map.racing_line import racing_line
from mkds_gym.kartlab.compiler.map.sections import (
    Places,
    Section,
    checkpoint_sections,
    route_sections,
)
from mkds_gym.kartlab.physics import GRID_SIDE

Floats = NDArray[np.float64]

CHECKPOINT_OVERHANG = 30.0
"""Length of a checkpoint beyond the floor on each side, in world units."""

CHECKPOINT_LIMIT = 255
"""Largest number of checkpoints of a course."""

RUN_UP = 375.0
"""Shortest distance of a respawn point before a gap or its jump pad, in world units."""

PAD_RUN_UP = 125.0
"""Shortest distance of a respawn point before any pad, in world units."""

RESPAWN_AFTER = 50.0
"""Shortest distance of a respawn point behind a pad or gap, in world units."""

GRID_PLACES = 8
"""Places on the start grid."""

GRID_BACK = 220.0
"""Length of straight road that the eight places of the grid need, in world units."""

GRID_EDGE = 20.0
"""Distance of the places from the road's edge, in world units."""

ITEM_BOX_HEIGHT = 12.0
"""Height of an item box above the road, in world units."""

ITEM_BOX_EDGE = 45.0
"""Distance of the outermost boxes of a row from the road's edge, in world units."""


@dataclass(frozen=True)
class MapPlan:
    """The contents of the map, in world units.

    Attributes:
        checkpoints: (C, 2, 2) left then right end, each x and z.
        checkpoint_distance: (C,) distance of each along its path's centre line; the first is 0.
        checkpoint_sections: sections of the checkpoints.
        keys: (C,) key number or -1; the start line is key 0.
        respawn_ids: (C,) index of each checkpoint's respawn point.
        respawns: (R, 3) positions on the road's centre.
        respawn_headings: (R,) radians.
        respawn_paths: (R,) the path of each.
        start: (3,) pole position.
        start_heading: there, in radians.
        route: (E, 3) points of the item route, along the centre.
        route_radius: (E,) half the road's width there.
        route_sections: sections of both routes.
        racing: (E, 3) points of the CPU drivers' route, along the racing line.
        racing_radius: (E,) distances from the racing line to the nearer edge of the road.
        drifting: (E,) whether drifting pays there.
        item_boxes: (B, 3) positions.
    """

    checkpoints: Floats
    checkpoint_distance: Floats
    checkpoint_sections: tuple[Section, ...]
    keys: NDArray[np.int64]
    respawn_ids: NDArray[np.int64]
    respawns: Floats
    respawn_headings: Floats
    respawn_paths: NDArray[np.int64]
    start: Floats
    start_heading: float
    route: Floats
    route_radius: Floats
    route_sections: tuple[Section, ...]
    racing: Floats
    racing_radius: Floats
    drifting: NDArray[np.bool_]
    item_boxes: Floats


def plan_map(description: CourseDescription, layout: CourseLayout) -> MapPlan:
    """Place checkpoints, respawn points, start grid, routes and item boxes.

    Args:
        description: the course.
        layout: its paths.

    Raises:
        CourseDescriptionError: there is no room for the described checkpoints and keys, or the
            grid or a row of items is not on the road.
    """
    sections, places = checkpoint_sections(description, layout)
    count = len(places)
    if count > CHECKPOINT_LIMIT:
        raise description.error(
            "[checkpoints]",
            f"spacing={description.checkpoint_spacing:g} makes {count} checkpoints: expected at "
            f"most {CHECKPOINT_LIMIT}",
        )
    reaches = [
        np.stack([outer_reach(description, ribbon, side) for side in (0, 1)], axis=1)
        for ribbon in layout.paths
    ]
    checkpoints = np.array(
        [_checkpoint(layout.paths[path], reaches[path], distance) for path, distance in places]
    )
    respawn_places, respawn_ids = _respawns(description, layout, sections, places)
    respawns = [layout.paths[path].at(distance) for path, distance in respawn_places]
    start, start_heading = _grid(description, layout)

    routes, route_places = route_sections(layout)
    lines = [racing_line(ribbon) for ribbon in layout.paths]
    route, radius, racing, racing_radius, drifting = [], [], [], [], []
    for path, distance in route_places:
        ribbon, line = layout.paths[path], lines[path]
        room = ribbon.half_width_at(distance)
        offset = line.offset_at(distance)
        route.append(ribbon.at(distance).point)
        radius.append(room)
        racing.append(ribbon.floor_at(distance, offset))
        racing_radius.append(room - abs(offset))
        drifting.append(line.drifting_at(distance))
    return MapPlan(
        checkpoints=checkpoints,
        checkpoint_distance=np.array([distance for _, distance in places]),
        checkpoint_sections=sections,
        keys=_keys(description, layout, sections, places),
        respawn_ids=np.array(respawn_ids),
        respawns=np.array([spot.point for spot in respawns]),
        respawn_headings=np.array([spot.heading for spot in respawns]),
        respawn_paths=np.array([path for path, _ in respawn_places]),
        start=start,
        start_heading=start_heading,
        route=np.array(route),
        route_radius=np.array(radius),
        route_sections=routes,
        racing=np.array(racing),
        racing_radius=np.array(racing_radius),
        drifting=np.array(drifting),
        item_boxes=_item_boxes(description, layout),
    )


def _checkpoint(ribbon: Ribbon, reach: Floats, distance: float) -> Floats:
    """Return the ends (2, 2) of the line across a path at a distance."""
    point, heading, k, t = ribbon.at(distance)
    n = ribbon.following(k)
    left = np.array([math.cos(heading), -math.sin(heading)])
    curvature = float(max((ribbon.curvature[k], ribbon.curvature[k - 1]), key=abs))
    ends = np.empty((2, 2))
    for side, sign in ((0, 1.0), (1, -1.0)):
        width = float(reach[k, side] * (1 - t) + reach[n, side] * t) + CHECKPOINT_OVERHANG
        if sign * curvature > 0:
            # On the inside of a bend, lines must not cross at its centre.
            width = min(width, 0.97 / abs(curvature))
        ends[side] = point[[0, 2]] + sign * width * left
    return ends


def _keys(
    description: CourseDescription,
    layout: CourseLayout,
    sections: tuple[Section, ...],
    places: Places,
) -> NDArray[np.int64]:
    """Return key numbers (C,), evenly spread over the checkpoints of common sections."""
    count = len(places)
    keys = np.full(count, -1)
    parallel = {
        following for section in sections if len(section.next) > 1 for following in section.next
    }
    common = np.array(
        [
            section.start + i
            for number, section in enumerate(sections)
            if number not in parallel
            for i in range(section.length)
        ]
    )
    if description.keys >= len(common):
        on = "" if len(sections) == 1 else " on the common part of the lap"
        raise description.error(
            "[checkpoints]",
            f"keys={description.keys} needs more than {description.keys} checkpoints; "
            f"spacing={description.checkpoint_spacing:g} makes {len(common)}{on}",
        )
    distance = np.array([places[index][1] for index in common])
    at = 0
    for key in range(description.keys + 1):
        wanted = key * layout.main.length / (description.keys + 1)
        nearest = int(np.abs(distance - wanted).argmin())
        # After the previous key, with room for the remaining keys.
        at = min(max(nearest, at), len(common) - 1 - (description.keys - key))
        keys[common[at]] = key
        at += 1
    return keys


def _run_ups(layout: CourseLayout) -> list[list[tuple[float, float]]]:
    """Return the stretches of each path without respawn points, as (from, to) distances."""
    out = []
    for ribbon in layout.paths:
        ends = ribbon.borders
        stretches = [
            (float(ends[pad.first]) - PAD_RUN_UP, float(ends[pad.last]) + RESPAWN_AFTER)
            for pad in ribbon.pads
        ]
        for k in np.nonzero(ribbon.gap[: ribbon.segments])[0]:
            begin = float(ends[k])
            for pad in ribbon.pads:
                if pad.kind == "jump" and 0 <= begin - float(ends[pad.last]) <= RUN_UP:
                    begin = min(begin, float(ends[pad.first]))
            stretches.append((begin - RUN_UP, float(ends[k + 1]) + RESPAWN_AFTER))
        out.append(stretches)
    return out


def _respawns(
    description: CourseDescription,
    layout: CourseLayout,
    sections: tuple[Section, ...],
    places: Places,
) -> tuple[Places, list[int]]:
    """Return the places of respawn points and the respawn index of each checkpoint."""
    forbidden = _run_ups(layout)
    found: Places = []
    ids: list[int] = []
    for section in sections:
        for i in range(section.length):
            if i % description.respawn_every == 0:
                path, distance = places[section.start + i]
                found.append((path, _moved_back(layout.paths[path], forbidden[path], distance)))
            ids.append(len(found) - 1)
    return found, ids


def _moved_back(ribbon: Ribbon, stretches: list[tuple[float, float]], distance: float) -> float:
    """Return the last distance up to `distance` outside of all stretches."""
    for _ in range(len(stretches) + 1):
        inside = [
            begin - lap
            for begin, end in stretches
            for lap in ((0.0, ribbon.length) if ribbon.closed else (0.0,))
            if begin - lap < distance < end - lap
        ]
        if not inside:
            break
        distance = min(inside)
    return distance if ribbon.closed else max(distance, 0.0)


def _grid(description: CourseDescription, layout: CourseLayout) -> tuple[Floats, float]:
    """Return the pole position and its heading.

    Raises:
        CourseDescriptionError: one of the eight places is not on plain road.
    """
    ribbon = layout.main
    back, side = description.grid_back, description.grid_side
    spot = ribbon.at(-back)
    k = spot.station
    if abs(side) > float(ribbon.half_width[k]) - GRID_EDGE:
        raise description.error(
            "[grid]",
            f"side={side:g} is not on the road, which is {2 * float(ribbon.half_width[k]):g} wide "
            "there",
        )
    if ribbon.curvature[k] != 0.0:
        raise description.error("[grid]", f"back={back:g} is in a bend")
    if back + GRID_BACK > ribbon.length:
        raise description.error("[grid]", f"back={back:g} is nearly a complete lap")
    places = "the eight places of the grid"
    for distance in np.linspace(back, back + GRID_BACK, 12):
        k = ribbon.at(-float(distance)).station
        where = f"{distance:.0f} units behind the line"
        if ribbon.curvature[k] != 0.0:
            raise description.error(
                "[grid]",
                f"{places} reach {back + GRID_BACK:g} units behind the line, and {where} is a bend",
            )
        if ribbon.gap[k] or ribbon.pads_at(k) or layout.cuts[0][k] is not None:
            raise description.error(
                "[grid]", f"{places} need a plain road; {where} is a gap, a pad or a branch"
            )
        room = ribbon.half_width_at(-float(distance)) - GRID_EDGE
        if room < GRID_SIDE:
            raise description.error(
                "[grid]",
                f"{places} need {2 * (GRID_SIDE + GRID_EDGE):g} units of road; {where} it is "
                f"{2 * (room + GRID_EDGE):g} wide",
            )
    return ribbon.floor_at(-back, side), spot.heading


def _item_boxes(description: CourseDescription, layout: CourseLayout) -> Floats:
    """Return the places (B, 3) of all item boxes."""
    boxes: list[Floats] = []
    above = np.array([0.0, ITEM_BOX_HEIGHT, 0.0])
    for row in description.items:
        ribbon = layout.paths[row.place.path]
        distance = ribbon.distance_of(description, row.place)
        if ribbon.gap[ribbon.at(distance).station]:
            raise description.error(f"{row.place.label}: offset", "the row lies in a gap")
        room = ribbon.half_width_at(distance) - ITEM_BOX_EDGE
        offsets = np.linspace(room, -room, row.count) if row.count > 1 else np.zeros(1)
        for offset in offsets:
            boxes.append(ribbon.floor_at(distance, float(offset)) + above)
    return np.array(boxes).reshape(-1, 3)

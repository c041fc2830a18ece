"""Write `course_map.nkm`: start, respawns, checkpoints, routes, areas and cameras of a course.

The layout is the game's, version 37, with the seventeen sections of a race course in their
order. All positions are fx32 (12 fraction bits), rotations are degrees as fx32, a rotation about
y of 0 looks along +z and of 90 along +x.

Where the course has branches, checkpoints and routes come in pieces: a common one up to where a
branch leaves, the main path's and the branch's beside it, and a common one from where they join.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, Ribbon, outer_reach
from mkds_gym.kartlab.compiler.racing_line import racing_line

Floats = NDArray[np.float64]

FX32_ONE = 4096
VERSION = 37
SECTIONS = (
    *("OBJI", "PATH", "POIT", "STAG", "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM"),
    *("CPOI", "CPAT", "IPOI", "IPAT", "EPOI", "EPAT", "AREA", "CAME"),
)

CHECKPOINT_OVERHANG = 12.0
"""How far a checkpoint reaches beyond the last floor on each side, in world units."""

CHECKPOINT_LIMIT = 255
"""Most checkpoints of a course."""

ROUTE_SPACING = 90.0
"""Distance between route points (items and computer drivers), in world units."""

RUN_UP = 150.0
"""Before a gap, or the jump pad that is for it, nobody is put back within this distance."""

PAD_RUN_UP = 50.0
"""Nor within this before any pad."""

GRID_BACK = 110.0
"""How far behind the pole position the last of the eight places is, in world units."""

GRID_SIDE = 16.0
"""How far beside the pole position's line the places are."""

GRID_EDGE = 10.0
"""How far within the road a place has to be."""

ITEM_BOX = 101
"""The game's id of an item box among the map objects."""

ITEM_BOX_HEIGHT = 8.0
"""Above the road, in world units."""

ITEM_BOX_EDGE = 18.0
"""Distance of the outermost boxes of a row from the road's edge."""

NONE_16 = 0xFFFF
NONE_8 = 0xFF


@dataclass(frozen=True)
class Section:
    """A run of checkpoints or route points: `start` and `length`, and the sections around it.

    `path` is 0 on the main path (alone or in common), n + 1 on branch n; `order` counts how many
    sections come before it from the start line on.
    """

    path: int
    start: int
    length: int
    next: tuple[int, ...]
    previous: tuple[int, ...]
    order: int


@dataclass(frozen=True)
class MapPlan:
    """What the map says, in world units, before it is packed.

    Attributes:
        checkpoints: (C, 2, 2) left then right end, each x and z.
        checkpoint_distance: (C,) distance of each along its path's centre line; the first is 0.
        checkpoint_sections: their sections.
        keys: (C,) key number or -1; the start line is key 0.
        respawn_ids: (C,) index of each checkpoint's respawn point.
        respawns: (R, 3) positions on the road's centre.
        respawn_headings: (R,) radians.
        respawn_paths: (R,) the path each is on.
        start: (3,) pole position; start_heading in radians.
        route: (E, 3) points along the centre, for items.
        route_radius: (E,) half the road's width there.
        route_sections: the sections of both routes.
        racing: (E, 3) points of the line of computer drivers, beside those of `route`.
        racing_radius: (E,) from that line to the nearer edge of the road.
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


def at_distance(ribbon: Ribbon, distance: float) -> tuple[Floats, float, int, float]:
    """Find a place on a path's centre line.

    Returns:
        the point (3,), the heading there, and the station before it with the fraction (0 to 1)
        of the distance to the next one.
    """
    if ribbon.closed:
        distance %= ribbon.length
    k = int(np.searchsorted(ribbon.distance, distance, side="right")) - 1
    k = min(max(k, 0), ribbon.segments - 1)
    n = ribbon.following(k)
    end = ribbon.distance[n] if n else ribbon.length
    t = min(max(float((distance - ribbon.distance[k]) / (end - ribbon.distance[k])), 0.0), 1.0)
    turn = math.remainder(float(ribbon.heading[n] - ribbon.heading[k]), math.tau)
    point = ribbon.centre[k] * (1 - t) + ribbon.centre[n] * t
    return point, float(ribbon.heading[k]) + turn * t, k, t


def _beside(ribbon: Ribbon, distance: float, offset: float) -> Floats:
    """(3,) the road's point `offset` to the left of the centre at a distance."""
    point, heading, k, t = at_distance(ribbon, distance)
    slope = float(ribbon.slope[k] * (1 - t) + ribbon.slope[ribbon.following(k)] * t)
    return point + offset * np.array([math.cos(heading), slope, -math.sin(heading)])


def _half_width(ribbon: Ribbon, distance: float) -> float:
    _, _, k, t = at_distance(ribbon, distance)
    return float(ribbon.half_width[k] * (1 - t) + ribbon.half_width[ribbon.following(k)] * t)


def _evenly(start: float, end: float, spacing: float, *, with_end: bool) -> list[float]:
    """Return distances from `start` on, about `spacing` apart, with or without `end`."""
    if end - start < 1.0:
        return [(start + end) / 2]
    pieces = max(round((end - start) / spacing), 1)
    return [start + (end - start) * i / pieces for i in range(pieces + with_end)]


def _sections(
    layout: CourseLayout, runs: Callable[[int, float | None, float | None], list[float]]
) -> tuple[tuple[Section, ...], list[tuple[int, float]]]:
    """Lay sections round the course.

    Args:
        layout: the paths.
        runs: returns the distances of the points of a piece. Called with -1, the end of the
            branch before (None: from the start line) and the start of the next (None: up to the
            lap's end) for a common piece; with 2 n for the main path's beside branch n and
            2 n + 1 for the branch's.

    Returns:
        the sections, and the path and the distance of every point, in their order.
    """
    order = sorted(range(len(layout.spans)), key=lambda index: layout.spans[index].start)
    places: list[tuple[int, float]] = []
    sections: list[Section] = []

    def add(path: int, distances: list[float], following: tuple[int, ...], depth: int) -> None:
        before = tuple(i for i, section in enumerate(sections) if len(sections) in section.next)
        sections.append(Section(path, len(places), len(distances), following, before, depth))
        places.extend((path, distance) for distance in distances)

    behind: float | None = None
    for number, index in enumerate(order):
        span = layout.spans[index]
        first = len(sections)
        add(0, runs(-1, behind, span.start), (first + 1, first + 2), 2 * number)
        for which in (2 * index, 2 * index + 1):
            add((index + 1) * (which % 2), runs(which, None, None), (first + 3,), 2 * number + 1)
        behind = span.end
    add(0, runs(-1, behind, None), (0,), 2 * len(order))
    last = len(sections) - 1
    start = sections[0]
    sections[0] = Section(0, start.start, start.length, start.next, (last,), 0)
    return tuple(sections), places


def _joint_allowance(
    layout: CourseLayout, description: CourseDescription, index: int, end: int
) -> float:
    """How far behind (end 0) or beyond (end 1) a joint's place the branch's floor reaches."""
    span, path = layout.spans[index], layout.paths[index + 1]
    place = (span.start, span.end)[end]
    heading = at_distance(layout.main, place)[1]
    angle = float(path.heading[-end]) - heading
    reach = max(float(outer_reach(description, path, side)[-end]) for side in (0, 1))
    return reach * abs(math.sin(angle)) + 10.0


def _checkpoint_places(
    description: CourseDescription, layout: CourseLayout
) -> tuple[tuple[Section, ...], list[tuple[int, float]]]:
    main = layout.main
    spacing = description.checkpoint_spacing
    ends = {span.end: index for index, span in enumerate(layout.spans)}
    starts = {span.start: index for index, span in enumerate(layout.spans)}

    def runs(which: int, behind: float | None, ahead: float | None) -> list[float]:
        if which < 0:
            begin, end = 0.0, main.length
            if behind is not None:
                begin = behind + _joint_allowance(layout, description, ends[behind], 1)
            if ahead is not None:
                end = ahead - _joint_allowance(layout, description, starts[ahead], 0)
            if end <= begin:
                where = "the start line" if behind is None else f"branch {ends[behind]}"
                label = "the start line" if ahead is None else f"branch {starts[ahead]}"
                raise description.error(
                    f"branch {ends[behind] if behind is not None else starts[ahead or 0.0]}",
                    f"no room for a checkpoint between {where} and {label}; move them apart",
                )
            return _evenly(begin, end, spacing, with_end=ahead is not None)
        span = layout.spans[which // 2]
        begin, end = span.clear if which % 2 else span.main_clear
        return _evenly(begin, end, spacing, with_end=True)

    return _sections(layout, runs)


def _route_places(layout: CourseLayout) -> tuple[tuple[Section, ...], list[tuple[int, float]]]:
    main = layout.main

    def runs(which: int, behind: float | None, ahead: float | None) -> list[float]:
        if which < 0:
            begin = 0.0 if behind is None else behind + 40.0
            end = main.length if ahead is None else ahead
        elif which % 2:
            begin, end = 40.0, layout.paths[which // 2 + 1].length - 20.0
        else:
            span = layout.spans[which // 2]
            begin, end = span.start + 40.0, span.end - 20.0
        return _evenly(begin, end, ROUTE_SPACING, with_end=False)

    return _sections(layout, runs)


def plan_map(description: CourseDescription, layout: CourseLayout) -> MapPlan:
    """Decide where checkpoints, respawns, start and routes go.

    Args:
        description: the course.
        layout: its paths.

    Raises:
        CourseDescriptionError: there is no room for the checkpoints and keys asked for, or the
            grid or a row of items is not on the road.
    """
    sections, places = _checkpoint_places(description, layout)
    count = len(places)
    if count > CHECKPOINT_LIMIT:
        raise description.error(
            "[checkpoints]: spacing",
            f"{description.checkpoint_spacing:g} makes {count} checkpoints; at most "
            f"{CHECKPOINT_LIMIT} are meant",
        )
    reaches = [
        np.stack([outer_reach(description, ribbon, side) for side in (0, 1)], axis=1)
        for ribbon in layout.paths
    ]
    checkpoints = np.array(
        [_checkpoint(layout.paths[path], reaches[path], distance) for path, distance in places]
    )
    respawn_places, respawn_ids = _respawns(description, layout, sections, places)
    respawns = [at_distance(layout.paths[path], distance)[:2] for path, distance in respawn_places]
    start, start_heading = _grid(description, layout)

    route_sections, route_places = _route_places(layout)
    lines = [racing_line(ribbon) for ribbon in layout.paths]
    route, radius, racing, racing_radius, drifting = [], [], [], [], []
    for path, distance in route_places:
        ribbon, line = layout.paths[path], lines[path]
        room = _half_width(ribbon, distance)
        offset = line.offset_at(distance)
        route.append(at_distance(ribbon, distance)[0])
        radius.append(room)
        racing.append(_beside(ribbon, distance, offset))
        racing_radius.append(room - abs(offset))
        drifting.append(line.drifting_at(distance))
    return MapPlan(
        checkpoints=checkpoints,
        checkpoint_distance=np.array([distance for _, distance in places]),
        checkpoint_sections=sections,
        keys=_keys(description, layout, sections, places),
        respawn_ids=np.array(respawn_ids),
        respawns=np.array([point for point, _ in respawns]),
        respawn_headings=np.array([heading for _, heading in respawns]),
        respawn_paths=np.array([path for path, _ in respawn_places]),
        start=start,
        start_heading=start_heading,
        route=np.array(route),
        route_radius=np.array(radius),
        route_sections=route_sections,
        racing=np.array(racing),
        racing_radius=np.array(racing_radius),
        drifting=np.array(drifting),
        item_boxes=_item_boxes(description, layout),
    )


def _checkpoint(ribbon: Ribbon, reach: Floats, distance: float) -> Floats:
    """(2, 2) the ends of the line across a path at a distance."""
    point, heading, k, t = at_distance(ribbon, distance)
    n = ribbon.following(k)
    left = np.array([math.cos(heading), -math.sin(heading)])
    curvature = float(max((ribbon.curvature[k], ribbon.curvature[k - 1]), key=abs))
    ends = np.empty((2, 2))
    for side, sign in ((0, 1.0), (1, -1.0)):
        width = float(reach[k, side] * (1 - t) + reach[n, side] * t) + CHECKPOINT_OVERHANG
        if sign * curvature > 0:
            # On the inside of a bend the lines must not cross at its centre.
            width = min(width, 0.97 / abs(curvature))
        ends[side] = point[[0, 2]] + sign * width * left
    return ends


def _keys(
    description: CourseDescription,
    layout: CourseLayout,
    sections: tuple[Section, ...],
    places: list[tuple[int, float]],
) -> NDArray[np.int64]:
    """(C,) key numbers: evenly spread over the checkpoints that nobody can drive round."""
    count = len(places)
    keys = np.full(count, -1)
    beside = {following for section in sections for following in section.next[1:]}
    beside |= {section.next[0] for section in sections if len(section.next) > 1}
    common = np.array(
        [
            section.start + i
            for number, section in enumerate(sections)
            if number not in beside
            for i in range(section.length)
        ]
    )
    if description.keys >= len(common):
        on = "" if len(sections) == 1 else " on the common part of the lap"
        raise description.error(
            "[checkpoints]: keys",
            f"{description.keys} keys need more than {description.keys} checkpoints; a spacing of "
            f"{description.checkpoint_spacing:g} makes {len(common)}{on}",
        )
    distance = np.array([places[index][1] for index in common])
    at = 0
    for key in range(description.keys + 1):
        wanted = key * layout.main.length / (description.keys + 1)
        nearest = int(np.abs(distance - wanted).argmin())
        # Each after the one before, and with room for those that are still to come.
        at = min(max(nearest, at), len(common) - 1 - (description.keys - key))
        keys[common[at]] = key
        at += 1
    return keys


def _run_ups(layout: CourseLayout) -> list[list[tuple[float, float]]]:
    """Per path the stretches where nobody may be put back: (from, to) in distances."""
    out = []
    for ribbon in layout.paths:
        ends = np.append(ribbon.distance, ribbon.length) if ribbon.closed else ribbon.distance
        stretches = [
            (float(ends[pad.first]) - PAD_RUN_UP, float(ends[pad.last]) + 20.0)
            for pad in ribbon.pads
        ]
        for k in np.nonzero(ribbon.gap[: ribbon.segments])[0]:
            begin = float(ends[k])
            for pad in ribbon.pads:
                if pad.kind == "jump" and 0 <= begin - float(ends[pad.last]) <= RUN_UP:
                    begin = min(begin, float(ends[pad.first]))
            stretches.append((begin - RUN_UP, float(ends[k + 1]) + 20.0))
        out.append(stretches)
    return out


def _respawns(
    description: CourseDescription,
    layout: CourseLayout,
    sections: tuple[Section, ...],
    places: list[tuple[int, float]],
) -> tuple[list[tuple[int, float]], list[int]]:
    """Put a respawn point at every so many checkpoints of each section.

    Returns:
        the path and the distance of each, and the respawn of each checkpoint.
    """
    forbidden = _run_ups(layout)
    found: list[tuple[int, float]] = []
    ids: list[int] = []
    for section in sections:
        for i in range(section.length):
            if i % description.respawn_every == 0:
                path, distance = places[section.start + i]
                found.append((path, _moved_back(layout.paths[path], forbidden[path], distance)))
            ids.append(len(found) - 1)
    return found, ids


def _moved_back(ribbon: Ribbon, stretches: list[tuple[float, float]], distance: float) -> float:
    """Return the last distance before `distance` that is in none of the stretches."""
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
    """Return the pole position and its heading; checks that all eight places are on the road."""
    ribbon = layout.main
    back, side = description.grid_back, description.grid_side
    _, heading, k, _ = at_distance(ribbon, -back)
    if abs(side) > float(ribbon.half_width[k]) - 10:
        raise description.error(
            "[grid]: side",
            f"{side:g} is not on the road, which is {2 * float(ribbon.half_width[k]):g} wide there",
        )
    if ribbon.curvature[k] != 0.0:
        raise description.error("[grid]: back", f"{back:g} behind the line is in a bend")
    if back + GRID_BACK > ribbon.length:
        raise description.error("[grid]: back", f"{back:g} is nearly a whole lap")
    places = "the eight places of the grid"
    for distance in np.linspace(back, back + GRID_BACK, 12):
        _, _, k, _ = at_distance(ribbon, -float(distance))
        where = f"{distance:.0f} units behind the line"
        if ribbon.curvature[k] != 0.0:
            raise description.error(
                "[grid]: back",
                f"{places} reach {back + GRID_BACK:g} units behind the line, and {where} is a bend",
            )
        if ribbon.gap[k] or ribbon.pads_at(k) or layout.cuts[0][k] is not None:
            raise description.error(
                "[grid]: back", f"{places} need a plain road; {where} is a gap, a pad or a branch"
            )
        room = _half_width(ribbon, -float(distance)) - GRID_EDGE
        if room < GRID_SIDE:
            raise description.error(
                "[grid]: back",
                f"{places} need {2 * (GRID_SIDE + GRID_EDGE):g} units of road; {where} it is "
                f"{2 * (room + GRID_EDGE):g} wide",
            )
    return _beside(ribbon, -back, side), heading


def _item_boxes(description: CourseDescription, layout: CourseLayout) -> Floats:
    """(B, 3) the places of all item boxes."""
    boxes: list[Floats] = []
    above = np.array([0.0, ITEM_BOX_HEIGHT, 0.0])
    for row in description.items:
        ribbon = layout.paths[row.place.path]
        distance = ribbon.distance_of(row.place)
        if not ribbon.closed and not 0 <= distance <= ribbon.length:
            raise description.error(
                f"{row.place.label}: offset",
                f"{row.place.offset:g} leads to {distance:.0f} units along a branch that is "
                f"{ribbon.length:.0f} long",
            )
        _, _, k, _ = at_distance(ribbon, distance)
        if ribbon.gap[k]:
            raise description.error(f"{row.place.label}: offset", "the row lies in a gap")
        room = _half_width(ribbon, distance) - ITEM_BOX_EDGE
        offsets = np.linspace(room, -room, row.count) if row.count > 1 else np.zeros(1)
        for offset in offsets:
            boxes.append(_beside(ribbon, distance, float(offset)) + above)
    return np.array(boxes).reshape(-1, 3)


def _fx(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}i", *(round(float(value) * FX32_ONE) for value in values))


def _degrees(heading: float) -> float:
    return math.degrees(math.remainder(heading, math.tau))


def _section_entries(sections: tuple[Section, ...]) -> bytes:
    """Write CPAT, IPAT or EPAT entries."""
    out = bytearray()
    for section in sections:
        paths = [(*ids, *(NONE_8,) * (3 - len(ids))) for ids in (section.next, section.previous)]
        out += struct.pack(
            "<HH8B", section.start, section.length, *paths[0], *paths[1], section.order, 0
        )
    return bytes(out)


def _checkpoint_entries(plan: MapPlan) -> bytes:
    out = bytearray()
    middle = plan.checkpoints.mean(axis=1)
    for number, section in enumerate(plan.checkpoint_sections):
        for index in range(section.start, section.start + section.length):
            left, right = plan.checkpoints[index]
            across = left - right
            across = across / np.hypot(*across)
            first = index == section.start
            last = index == section.start + section.length - 1
            step = -1.0 if last else float(np.hypot(*(middle[index + 1] - middle[index])))
            # Sine and cosine are of the heading across the line, as a rotation about y: forward
            # is (sin, cos) in x and z.
            out += _fx(left[0], left[1], right[0], right[1], -across[1], across[0], step)
            out += struct.pack(
                "<hhhBB",
                section.next[0] if last else -1,
                number if first else -1,
                int(plan.keys[index]),
                int(plan.respawn_ids[index]),
                0,
            )
    return bytes(out)


def build_nkm(description: CourseDescription, layout: CourseLayout, plan: MapPlan) -> bytes:
    """Write an NKM file for a planned map."""
    ribbon = layout.main
    centre = ribbon.centre.mean(axis=0)
    low, high = ribbon.centre.min(axis=0), ribbon.centre.max(axis=0)
    flight = [0.0, 0.25, 0.5, 0.75]

    sections: dict[str, tuple[int, bytes]] = dict.fromkeys(SECTIONS, (0, b""))
    boxes = bytearray()
    for box in plan.item_boxes:
        boxes += _fx(*box, 0, 0, 0, 1, 1, 1)
        boxes += struct.pack("<Hh7hhI", ITEM_BOX, -1, *(0,) * 7, 0, 0)
    sections["OBJI"] = len(plan.item_boxes), bytes(boxes)
    # The flight of the introduction camera: round the course, above the outer road.
    points = bytearray()
    for index, part in enumerate(flight):
        point, _, _, _ = at_distance(ribbon, part * ribbon.length)
        spot = point + 0.35 * (centre - point)
        points += _fx(spot[0], high[1] + 160, spot[2]) + struct.pack("<BBhI", index, 0, 120, 0)
    sections["PATH"] = 1, struct.pack("<BBH", 0, 1, len(flight))
    sections["POIT"] = len(flight), bytes(points)

    sections["KTPS"] = (
        1,
        _fx(*plan.start, 0, _degrees(plan.start_heading), 0) + struct.pack("<Hh", NONE_16, 0),
    )
    respawns = bytearray()
    for index, (spot, heading) in enumerate(zip(plan.respawns, plan.respawn_headings, strict=True)):
        # One road over another: what is near in height counts for more.
        apart = np.abs(plan.route - spot) @ [1.0, 3.0, 1.0]
        nearest = int(apart.argmin())
        respawns += _fx(*spot, 0, _degrees(float(heading)), 0)
        respawns += struct.pack("<HHhh", nearest, nearest, index, 0)
    sections["KTPJ"] = len(plan.respawns), bytes(respawns)

    sections["CPOI"] = len(plan.checkpoints), _checkpoint_entries(plan)
    sections["CPAT"] = len(plan.checkpoint_sections), _section_entries(plan.checkpoint_sections)
    items, enemies = bytearray(), bytearray()
    for spot, radius in zip(plan.route, plan.route_radius, strict=True):
        items += _fx(*spot, radius) + bytes(4)
    for spot, radius, drifting in zip(plan.racing, plan.racing_radius, plan.drifting, strict=True):
        enemies += _fx(*spot, radius) + struct.pack("<HHI", int(drifting), 0, 0)
    routes = _section_entries(plan.route_sections)
    sections["IPOI"] = len(plan.route), bytes(items)
    sections["IPAT"] = len(plan.route_sections), routes
    sections["EPOI"] = len(plan.racing), bytes(enemies)
    sections["EPAT"] = len(plan.route_sections), routes

    # One area over the whole course, whose camera is the first one.
    size = (high - low) / 2 + 300
    sections["AREA"] = (
        1,
        _fx(centre[0], low[1], centre[2], *size, 1, 0, 0, 0, 1, 0, 0, 0, 1)
        + struct.pack("<hhhBBBBH", 0, 0, 0, 0, 0, 0, 0, 0),
    )
    sections["CAME"] = 2, _cameras(ribbon, plan)

    header_size = 8 + 4 * len(SECTIONS)
    offsets, body = [], bytearray()
    for name in SECTIONS:
        offsets.append(len(body))
        body += name.encode("ascii")
        if name == "STAG":
            body += _stage(description)
        else:
            count, entries = sections[name]
            body += struct.pack("<I", count) + entries
    header = b"NKMD" + struct.pack(f"<HH{len(SECTIONS)}I", VERSION, header_size, *offsets)
    return header + bytes(body)


def _stage(description: CourseDescription) -> bytes:
    return (
        struct.pack("<HHBBBB", description.course_id, description.laps, 0, 0, 0, 0)
        + bytes(8)
        + _fx(0)
        + struct.pack("<I", 0)
        + struct.pack("<4H", 0x7FFF, 0x6318, 0x4210, 0x7FFF)
        + _fx(2000, 2400)
    )


def _cameras(ribbon: Ribbon, plan: MapPlan) -> bytes:
    """Two cameras: one that stands by the start line, and the introduction's, which flies."""
    line, heading, k, _ = at_distance(ribbon, 0.0)
    left = np.array([math.cos(heading), 0.0, -math.sin(heading)])
    ahead = np.array([math.sin(heading), 0.0, math.cos(heading)])
    beside = line + left * (float(ribbon.reach(0)[k]) - 10) + ahead * 60
    beside[1] += 40
    half_fov = 22
    sine = round(math.sin(math.radians(half_fov)) * FX32_ONE)
    cosine = round(math.cos(math.radians(half_fov)) * FX32_ONE)
    lens = struct.pack("<Hhh", half_fov, sine, cosine)
    out = bytearray()
    for position, kind, route, following, first in (
        (beside, 1, -1, -1, 0),
        (line + np.array([0.0, 200.0, 0.0]), 4, 0, -1, 1),
    ):
        out += _fx(*position, 0, 0, 0, *line, *plan.start)
        out += lens + lens
        out += struct.pack("<hhhHHhhBB", 0, kind, route, 10, 10, 300, following, first, 0)
    return bytes(out)

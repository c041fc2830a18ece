"""Write `course_map.nkm`: start, respawns, checkpoints, routes, areas and cameras of a course.

The layout is the game's, version 37, with the seventeen sections of a race course in their
order. All positions are fx32 (12 fraction bits), rotations are degrees as fx32, a rotation about
y of 0 looks along +z and of 90 along +x.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import Ribbon

Floats = NDArray[np.float64]

FX32_ONE = 4096
VERSION = 37
SECTIONS = (
    *("OBJI", "PATH", "POIT", "STAG", "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM"),
    *("CPOI", "CPAT", "IPOI", "IPAT", "EPOI", "EPAT", "AREA", "CAME"),
)

CHECKPOINT_OVERHANG = 12.0
"""How far a checkpoint reaches beyond the last floor on each side, in world units."""

ROUTE_SPACING = 90.0
"""Distance between route points (items and computer drivers), in world units."""

NONE_16 = 0xFFFF
NONE_8 = 0xFF


@dataclass(frozen=True)
class MapPlan:
    """What the map says, in world units, before it is packed.

    Attributes:
        checkpoints: (C, 2, 2) left then right end, each x and z.
        checkpoint_distance: (C,) distance of each along the centre line; the first is 0.
        keys: (C,) key number or -1; the start line is key 0.
        respawn_ids: (C,) index of each checkpoint's respawn point.
        respawns: (R, 3) positions on the road's centre.
        respawn_headings: (R,) radians.
        start: (3,) pole position; start_heading in radians.
        route: (E, 3) points along the centre, for items and computer drivers.
        route_radius: (E,) half the road's width there.
    """

    checkpoints: Floats
    checkpoint_distance: Floats
    keys: NDArray[np.int64]
    respawn_ids: NDArray[np.int64]
    respawns: Floats
    respawn_headings: Floats
    start: Floats
    start_heading: float
    route: Floats
    route_radius: Floats


def at_distance(ribbon: Ribbon, distance: float) -> tuple[Floats, float, int, float]:
    """Find a place on the centre line.

    Returns:
        the point (3,), the heading there, and the station before it with the fraction (0 to 1)
        of the way to the next one.
    """
    distance %= ribbon.length
    k = int(np.searchsorted(ribbon.distance, distance, side="right")) - 1
    n = (k + 1) % len(ribbon)
    end = ribbon.distance[n] if n else ribbon.length
    t = float((distance - ribbon.distance[k]) / (end - ribbon.distance[k]))
    turn = math.remainder(float(ribbon.heading[n] - ribbon.heading[k]), math.tau)
    point = ribbon.centre[k] * (1 - t) + ribbon.centre[n] * t
    return point, float(ribbon.heading[k]) + turn * t, k, t


def plan_map(description: CourseDescription, ribbon: Ribbon, reach: Floats) -> MapPlan:
    """Decide where checkpoints, respawns, start and routes go.

    Args:
        description: the course.
        ribbon: its road.
        reach: (K, 2) distance from the centre to the end of all floor, left and right.

    Raises:
        CourseDescriptionError: there is no room for the checkpoints and keys asked for, or the
            grid is not on the road.
    """
    count = max(round(ribbon.length / description.checkpoint_spacing), 3)
    if description.keys >= count:
        raise description.error(
            "[checkpoints]: keys",
            f"{description.keys} keys need more than {description.keys} checkpoints; a spacing of "
            f"{description.checkpoint_spacing:g} makes {count}",
        )
    if count > 255:
        raise description.error(
            "[checkpoints]: spacing",
            f"{description.checkpoint_spacing:g} makes {count} checkpoints; at most 255 are meant",
        )
    distances: Floats = np.arange(count, dtype=np.float64) * (ribbon.length / count)
    checkpoints = np.empty((count, 2, 2))
    for index, distance in enumerate(distances):
        point, heading, k, t = at_distance(ribbon, float(distance))
        n = (k + 1) % len(ribbon)
        left = np.array([math.cos(heading), -math.sin(heading)])
        curvature = max((ribbon.curvature[k], ribbon.curvature[k - 1]), key=abs)
        for side, sign in ((0, 1.0), (1, -1.0)):
            width = float(reach[k, side] * (1 - t) + reach[n, side] * t) + CHECKPOINT_OVERHANG
            if sign * curvature > 0:
                # On the inside of a bend the lines must not cross at its centre.
                width = min(width, 0.97 / abs(float(curvature)))
            checkpoints[index, side] = point[[0, 2]] + sign * width * left
    keys = np.full(count, -1)
    for key in range(description.keys + 1):
        keys[round(key * count / (description.keys + 1))] = key

    every = description.respawn_every
    respawn_ids = np.arange(count) // every
    respawns, respawn_headings = [], []
    for distance in distances[::every]:
        point, heading, _, _ = at_distance(ribbon, float(distance))
        respawns.append(point)
        respawn_headings.append(heading)

    grid, start_heading, k, _ = at_distance(ribbon, -description.grid_back)
    if abs(description.grid_side) > float(ribbon.half_width[k]) - 10:
        raise description.error(
            "[grid]: side",
            f"{description.grid_side:g} is not on the road, which is "
            f"{2 * float(ribbon.half_width[k]):g} wide there",
        )
    if ribbon.curvature[k] != 0.0:
        raise description.error(
            "[grid]: back", f"{description.grid_back:g} behind the line is in a bend"
        )
    left3 = np.array([math.cos(start_heading), float(ribbon.slope[k]), -math.sin(start_heading)])
    start = grid + description.grid_side * left3

    route_count = max(round(ribbon.length / ROUTE_SPACING), 3)
    route, radius = [], []
    for index in range(route_count):
        point, _, k, _ = at_distance(ribbon, index * ribbon.length / route_count)
        route.append(point)
        radius.append(float(ribbon.half_width[k]))
    return MapPlan(
        checkpoints=checkpoints,
        checkpoint_distance=distances,
        keys=keys,
        respawn_ids=respawn_ids,
        respawns=np.array(respawns),
        respawn_headings=np.array(respawn_headings),
        start=start,
        start_heading=start_heading,
        route=np.array(route),
        route_radius=np.array(radius),
    )


def _fx(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}i", *(round(float(value) * FX32_ONE) for value in values))


def _degrees(heading: float) -> float:
    return math.degrees(math.remainder(heading, math.tau))


def _whole_loop(count: int) -> bytes:
    """One section of all points that leads back into itself (CPAT, IPAT, EPAT entry)."""
    return struct.pack("<HH8B", 0, count, 0, NONE_8, NONE_8, 0, NONE_8, NONE_8, 0, 0)


def _checkpoint_entries(plan: MapPlan) -> bytes:
    out = bytearray()
    count = len(plan.checkpoints)
    middle = plan.checkpoints.mean(axis=1)
    for index, (left, right) in enumerate(plan.checkpoints):
        across = left - right
        across = across / np.hypot(*across)
        last = index == count - 1
        step = -1.0 if last else float(np.hypot(*(middle[index + 1] - middle[index])))
        # Sine and cosine are of the heading across the line, as a rotation about y: forward is
        # (sin, cos) in x and z.
        out += _fx(left[0], left[1], right[0], right[1], -across[1], across[0], step)
        out += struct.pack(
            "<hhhBB",
            0 if last else -1,
            0 if index == 0 else -1,
            int(plan.keys[index]),
            int(plan.respawn_ids[index]),
            0,
        )
    return bytes(out)


def build_nkm(description: CourseDescription, ribbon: Ribbon, plan: MapPlan) -> bytes:
    """Write an NKM file for a planned map."""
    centre = ribbon.centre.mean(axis=0)
    low, high = ribbon.centre.min(axis=0), ribbon.centre.max(axis=0)
    flight = [0.0, 0.25, 0.5, 0.75]

    sections: dict[str, tuple[int, bytes]] = dict.fromkeys(SECTIONS, (0, b""))
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
        nearest = int(np.hypot(*(plan.route - spot)[:, [0, 2]].T).argmin())
        respawns += _fx(*spot, 0, _degrees(float(heading)), 0)
        respawns += struct.pack("<HHhh", nearest, nearest, index, 0)
    sections["KTPJ"] = len(plan.respawns), bytes(respawns)

    sections["CPOI"] = len(plan.checkpoints), _checkpoint_entries(plan)
    sections["CPAT"] = 1, _whole_loop(len(plan.checkpoints))
    items, enemies = bytearray(), bytearray()
    for spot, radius in zip(plan.route, plan.route_radius, strict=True):
        items += _fx(*spot, radius) + bytes(4)
        enemies += _fx(*spot, radius) + bytes(8)
    sections["IPOI"] = len(plan.route), bytes(items)
    sections["IPAT"] = 1, _whole_loop(len(plan.route))
    sections["EPOI"] = len(plan.route), bytes(enemies)
    sections["EPAT"] = 1, _whole_loop(len(plan.route))

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

"""Packing of `course_map.nkm`: start, respawns, checkpoints, routes, areas and cameras.

The layout is the game's, version 37, with the seventeen sections of a race course in their order.
Positions are fx32 (12 fraction bits). Rotations are degrees as fx32; a rotation about y of 0 looks
along +z, of 90 along +x.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, Ribbon
from mkds_gym.kartlab.compiler.map.plan import MapPlan
from mkds_gym.kartlab.compiler.map.sections import Section

FX32_ONE = 4096
VERSION = 37
SECTIONS = (
    *("OBJI", "PATH", "POIT", "STAG", "KTPS", "KTPJ", "KTP2", "KTPC", "KTPM"),
    *("CPOI", "CPAT", "IPOI", "IPAT", "EPOI", "EPAT", "AREA", "CAME"),
)
ITEM_BOX = 101
"""The game's id of an item box among the map objects."""

NONE_16 = 0xFFFF
NONE_8 = 0xFF


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
    # The flight of the introduction camera: round the course, above the road.
    points = bytearray()
    for index, part in enumerate(flight):
        point = ribbon.at(part * ribbon.length).point
        spot = point + 0.35 * (centre - point)
        points += _fx(spot[0], high[1] + 400, spot[2]) + struct.pack("<BBhI", index, 0, 120, 0)
    sections["PATH"] = 1, struct.pack("<BBH", 0, 1, len(flight))
    sections["POIT"] = len(flight), bytes(points)

    sections["KTPS"] = (
        1,
        _fx(*plan.start, 0, _degrees(plan.start_heading), 0) + struct.pack("<Hh", NONE_16, 0),
    )
    respawns = bytearray()
    for index, (spot, heading) in enumerate(zip(plan.respawns, plan.respawn_headings, strict=True)):
        # Where one road crosses another, height counts more.
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

    # One area over the course, with the first camera.
    size = (high - low) / 2 + 750
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


def _section_entries(sections: tuple[Section, ...]) -> bytes:
    """Write CPAT, IPAT or EPAT entries."""
    out = bytearray()
    for section in sections:
        links = [(*ids, *(NONE_8,) * (3 - len(ids))) for ids in (section.next, section.previous)]
        out += struct.pack(
            "<HH8B", section.start, section.length, *links[0], *links[1], section.order, 0
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
            # Sine and cosine of the heading across the line: forward is (sin, cos) in x and z.
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


def _stage(description: CourseDescription) -> bytes:
    return (
        struct.pack("<HHBBBB", description.course_id, description.laps, 0, 0, 0, 0)
        + bytes(8)
        + _fx(0)
        + struct.pack("<I", 0)
        + struct.pack("<4H", 0x7FFF, 0x6318, 0x4210, 0x7FFF)
        + _fx(5000, 6000)
    )


def _cameras(ribbon: Ribbon, plan: MapPlan) -> bytes:
    """Return two cameras: the fixed camera by the start line and the introduction's."""
    line, heading, k, _ = ribbon.at(0.0)
    left = np.array([math.cos(heading), 0.0, -math.sin(heading)])
    ahead = np.array([math.sin(heading), 0.0, math.cos(heading)])
    position = line + left * (float(ribbon.reach(0)[k]) - 25) + ahead * 150
    position[1] += 100
    half_fov = 22
    sine = round(math.sin(math.radians(half_fov)) * FX32_ONE)
    cosine = round(math.cos(math.radians(half_fov)) * FX32_ONE)
    lens = struct.pack("<Hhh", half_fov, sine, cosine)
    out = bytearray()
    for place, kind, route, following, first in (
        (position, 1, -1, -1, 0),
        (line + np.array([0.0, 500.0, 0.0]), 4, 0, -1, 1),
    ):
        out += _fx(*place, 0, 0, 0, *line, *plan.start)
        out += lens + lens
        out += struct.pack("<hhhHHhhBB", 0, kind, route, 10, 10, 300, following, first, 0)
    return bytes(out)


def _fx(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}i", *(round(float(value) * FX32_ONE) for value in values))


def _degrees(heading: float) -> float:
    return math.degrees(math.remainder(heading, math.tau))

"""Sections of checkpoints and of route points.

Branches divide a course into sections: a common section up to where a branch leaves, the main
path's and the branch's sections in parallel, and a common section from where they join.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry import CourseLayout, outer_reach

ROUTE_SPACING = 225.0
"""Distance between route points (items and CPU drivers), in world units."""

JOINT_CHECKPOINT = 25.0
"""Distance of a checkpoint from the floor of a joint, in world units."""

ROUTE_AFTER_JOINT = 100.0
ROUTE_BEFORE_JOINT = 50.0
"""Distance along the path between a joint and the route points around it, in world units."""


@dataclass(frozen=True)
class Section:
    """Consecutive checkpoints or route points.

    Attributes:
        path: 0 on the main path, also where it is common; n + 1 on branch n.
        start: index of the first point.
        length: number of points.
        next: sections that follow.
        previous: sections that lead here.
        order: number of sections between the start line and this one.
    """

    path: int
    start: int
    length: int
    next: tuple[int, ...]
    previous: tuple[int, ...]
    order: int


Places = list[tuple[int, float]]
"""Path and distance of points."""


def checkpoint_sections(
    description: CourseDescription, layout: CourseLayout
) -> tuple[tuple[Section, ...], Places]:
    """Return the sections of the checkpoints and the place of each checkpoint.

    Raises:
        CourseDescriptionError: two branches leave no room for a checkpoint between them.
    """
    spans, spacing = layout.spans, description.checkpoint_spacing

    def common(previous: int | None, following: int | None) -> list[float]:
        begin, end = 0.0, layout.main.length
        if previous is not None:
            begin = spans[previous].end + _joint_allowance(layout, description, previous, 1)
        if following is not None:
            end = spans[following].start - _joint_allowance(layout, description, following, 0)
        if end <= begin:
            labels = [
                "the start line" if branch is None else f"branch {branch}"
                for branch in (previous, following)
            ]
            raise description.error(
                labels[1] if previous is None else labels[0],
                f"no room for a checkpoint between {labels[0]} and {labels[1]}; move them apart",
            )
        return _evenly(begin, end, spacing, with_end=following is not None)

    def parallel(branch: int, path: int) -> list[float]:
        span = spans[branch]
        return _evenly(*(span.clear if path else span.main_clear), spacing, with_end=True)

    return _sections(layout, common, parallel)


def route_sections(layout: CourseLayout) -> tuple[tuple[Section, ...], Places]:
    """Return the sections of the routes and the place of each route point."""
    spans = layout.spans

    def common(previous: int | None, following: int | None) -> list[float]:
        begin = 0.0 if previous is None else spans[previous].end + ROUTE_AFTER_JOINT
        end = layout.main.length if following is None else spans[following].start
        return _evenly(begin, end, ROUTE_SPACING, with_end=False)

    def parallel(branch: int, path: int) -> list[float]:
        begin, end = spans[branch].start, spans[branch].end
        if path:
            begin, end = 0.0, layout.paths[path].length
        return _evenly(
            begin + ROUTE_AFTER_JOINT, end - ROUTE_BEFORE_JOINT, ROUTE_SPACING, with_end=False
        )

    return _sections(layout, common, parallel)


def _sections(
    layout: CourseLayout,
    common: Callable[[int | None, int | None], list[float]],
    parallel: Callable[[int, int], list[float]],
) -> tuple[tuple[Section, ...], Places]:
    """Lay sections round the course.

    Args:
        layout: the paths.
        common: distances of the points between two branches; None is the start line.
        parallel: distances of the points beside a branch (path 0) or on it.

    Returns:
        The sections, and the place of every point.
    """
    places: Places = []
    sections: list[Section] = []

    def add(path: int, distances: list[float], following: tuple[int, ...], order: int) -> None:
        before = tuple(i for i, section in enumerate(sections) if len(sections) in section.next)
        sections.append(Section(path, len(places), len(distances), following, before, order))
        places.extend((path, distance) for distance in distances)

    branches = sorted(range(len(layout.spans)), key=lambda branch: layout.spans[branch].start)
    previous: int | None = None
    for number, branch in enumerate(branches):
        first = len(sections)
        add(0, common(previous, branch), (first + 1, first + 2), 2 * number)
        for path in (0, branch + 1):
            add(path, parallel(branch, path), (first + 3,), 2 * number + 1)
        previous = branch
    add(0, common(previous, None), (0,), 2 * len(branches))
    sections[0] = replace(sections[0], previous=(len(sections) - 1,))
    return tuple(sections), places


def _joint_allowance(
    layout: CourseLayout, description: CourseDescription, branch: int, end: int
) -> float:
    """Return how far a branch's floor reaches before its start (end 0) or behind its end (1)."""
    span, ribbon = layout.spans[branch], layout.paths[branch + 1]
    angle = float(ribbon.heading[-end]) - layout.main.at((span.start, span.end)[end]).heading
    reach = max(float(outer_reach(description, ribbon, side)[-end]) for side in (0, 1))
    return reach * abs(math.sin(angle)) + JOINT_CHECKPOINT


def _evenly(start: float, end: float, spacing: float, *, with_end: bool) -> list[float]:
    """Return distances from `start` on, about `spacing` apart, with or without `end`."""
    if end - start < 1.0:
        return [(start + end) / 2]
    pieces = max(round((end - start) / spacing), 1)
    return [start + (end - start) * i / pieces for i in range(pieces + with_end)]

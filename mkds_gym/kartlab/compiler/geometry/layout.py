"""All paths of a course and how they are joined."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mkds_gym.kartlab.compiler.description import CourseDescription
from mkds_gym.kartlab.compiler.geometry.centre_line import CentreLine
from mkds_gym.kartlab.compiler.geometry.checks import (
    check_gaps,
    check_overlaps,
    check_pads,
    check_path,
)
from mkds_gym.kartlab.compiler.geometry.junctions import BranchSpan, Cut, Joint, join_branch
from mkds_gym.kartlab.compiler.geometry.ribbon import Ribbon
from mkds_gym.kartlab.compiler.geometry.stations import build_ribbon


@dataclass(frozen=True)
class CourseLayout:
    """All paths of a course and how they are joined.

    Attributes:
        paths: the main path, then the branches.
        spans: where each branch leaves and joins the main path.
        cuts: for each path and segment the `Cut`, or None where the segment is complete.
    """

    paths: tuple[Ribbon, ...]
    spans: tuple[BranchSpan, ...]
    cuts: tuple[tuple[Cut | None, ...], ...]

    @property
    def main(self) -> Ribbon:
        """The main path."""
        return self.paths[0]


def build_layout(description: CourseDescription) -> CourseLayout:
    """Cut all paths of a described course into stations and join them.

    Raises:
        CourseDescriptionError: the course cannot be built as described: a slope is too steep, an
            inner edge folds, roads overlap without a bridge, a point is beyond the range, a
            branch does not fit, a gap is too long, or a pad is not on the road.
    """
    line = CentreLine.through(
        description, description.points, width=description.width, surface=description.surface
    )
    main = build_ribbon(description, line)
    check_path(description, main)
    paths = [main]
    spans: list[BranchSpan] = []
    joints: list[tuple[int, Joint]] = []
    cuts: list[list[Cut | None]] = [[None] * len(main)]
    for number, branch in enumerate(description.branches, 1):
        ribbon, span, ends = join_branch(description, line, main, branch, number)
        for index, other in enumerate(spans):
            if span.start < other.end and other.start < span.end:
                raise description.error(
                    f"{branch.label}: from",
                    f"the branch spans {span.start:.0f} to {span.end:.0f} of the main path, but "
                    f"branch {index} spans {other.start:.0f} to {other.end:.0f}: a branch must end "
                    "before the next begins",
                )
        check_path(description, ribbon)
        cuts.append([None] * len(ribbon))
        for joint in ends:
            own_cut, main_cut = joint.cuts(main, ribbon)
            for k in joint.segments:
                cuts[number][k] = own_cut
            for k in joint.main_segments:
                cuts[0][k] = main_cut
            joints.append((number, joint))
        paths.append(ribbon)
        spans.append(span)
    check_overlaps(description, paths, joints)
    check_pads(description, paths)
    check_gaps(description, paths)
    return CourseLayout(tuple(paths), tuple(spans), tuple(tuple(cut) for cut in cuts))


def fall_height(description: CourseDescription, layout: CourseLayout) -> float:
    """Return the height of the fall boundary, in world units."""
    lowest = min(float(ribbon.centre[:, 1].min()) for ribbon in layout.paths)
    return math.floor(lowest - description.fall_depth)

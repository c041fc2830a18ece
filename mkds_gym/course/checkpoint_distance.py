"""Distances between checkpoints along a course."""

from __future__ import annotations

import heapq
import math

from mkds_gym.course.track import Track


def shortest_distance(track: Track, start: int, end: int) -> float:
    """Return the length of the shortest path between two checkpoints, negative if it is backward.

    A path goes from midpoint to midpoint of neighbouring checkpoints and may take any branch.
    Where forward and backward are equally long, the result is positive.

    Returns:
        World units; 0 if no path connects the checkpoints.
    """
    forward = _path_length(track, start, end)
    backward = _path_length(track, end, start)
    if forward <= backward:
        return forward if math.isfinite(forward) else 0.0
    return -backward


def _path_length(track: Track, start: int, end: int) -> float:
    """Dijkstra's algorithm along `Track.next`; infinity if there is no path."""
    visited: set[int] = set()
    queue = [(0.0, start)]
    while queue:
        length, here = heapq.heappop(queue)
        if here == end:
            return length
        if here in visited:
            continue
        visited.add(here)
        for there in track.next(here):
            heapq.heappush(queue, (length + checkpoint_gap(track, here, there), there))
    return math.inf


def checkpoint_gap(track: Track, a: int, b: int) -> float:
    """Return the distance between the midpoints of two checkpoints, world units."""
    return math.dist(track.middle(a), track.middle(b))

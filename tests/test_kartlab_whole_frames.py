"""Structures are whole when an emulated frame ends, however slow the processor is.

The interpreter needs more cycles for a frame's work than the recompiler. A structure that is still
being written when a frame ends therefore differs between the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from second_core_drive import keys, structures

from mkds_gym.emulator.console import Console
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.kartlab.generator import random_course_data
from mkds_gym.kartlab.host_drivers import NOBODY, HostDrivers

EIGHT: dict[str, Any] = {"mode": "vs", "drivers": 8, "items": True}
HARD: dict[str, Any] = {**EIGHT, "strength": "hard", "engine_class": 150, "seed": 7}


def heaviest_course() -> bytes:
    """Return the largest of some random courses."""
    return max((random_course_data(seed, 1.0) for seed in range(8)), key=len)


def hold(host: HostDrivers, frame: int) -> None:
    """Hold keys for hosted drivers, and look at each driver in turn, and at nobody."""
    for driver in range(8):
        host.keys[driver] = keys(frame + 45 * driver)
    host.shown = (*range(8), NOBODY)[frame // 50 % 9]


def torn_frames(frames: int, **parameters: Any) -> dict[str, int]:
    """Return how often each structure differs between the recompiler and the interpreter."""
    boot = BootParameters(**parameters)
    torn: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        consoles = [
            stack.enter_context(Console(jit=jit, on_power_on=boot.write)) for jit in (True, False)
        ]
        for console in consoles:
            while not structures(console.ram):
                console.step(0, 1, draw=False)
        for frame in range(frames):
            found = []
            for console in consoles:
                if boot.hosted:
                    hold(HostDrivers(console.ram), frame)
                console.step(keys(frame), 1, draw=False)
                found.append(structures(console.ram))
            assert found[0], f"the race is over at frame {frame}"
            for name in found[0]:
                torn[name] = torn.get(name, 0) + (found[0][name] != found[1][name])
    return torn


def test_structures_of_eight_karts_with_items_are_whole() -> None:
    torn = torn_frames(120, **HARD)
    assert not any(torn.values()), torn


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "course"),
    [
        (HARD, None),
        ({**EIGHT, "course": 27, "mirror": True}, None),
        (HARD, heaviest_course),
        ({**HARD, "hosted": 8}, heaviest_course),
        ({"hosted": 8, "alone": True}, heaviest_course),
    ],
    ids=["eight karts", "mirrored", "random course", "hosted", "alone"],
)
def test_no_frame_of_ten_thousand_is_torn(
    parameters: dict[str, Any], course: Callable[[], bytes] | None
) -> None:
    course_data = course() if course else None
    torn = torn_frames(2000, course_data=course_data, **parameters)
    assert not any(torn.values()), torn

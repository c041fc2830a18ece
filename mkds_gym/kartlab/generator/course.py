"""Random courses from a seed and a difficulty."""

from __future__ import annotations

from typing import Final

from mkds_gym.kartlab.compiler import (
    CourseDescription,
    CourseDescriptionError,
    compile_description,
    parse_description,
)
from mkds_gym.kartlab.compiler.geometry import build_layout
from mkds_gym.kartlab.compiler.themes import THEMES
from mkds_gym.kartlab.generator.features import add_heights, add_ice, add_pads, add_sides
from mkds_gym.kartlab.generator.loop import Corner, Style, lay_corners, mix
from mkds_gym.kartlab.generator.random_numbers import RandomNumbers
from mkds_gym.race.names import COURSES
from mkds_gym.utils.arguments import integer, number

SEEDS: Final = range(2**31)
"""All seeds."""

TRAIN_SEEDS: Final = range(800)
"""Seeds of the courses for training."""

TEST_SEEDS: Final = range(800, 1000)
"""Seeds of the courses for testing a trained driver."""

COURSE_ID: Final = 5
"""Course id of every random course."""

SHORTEST: Final = 8000.0
LONGEST: Final = 16000.0
"""Shortest and longest lap along the centre line, in world units."""

_ATTEMPTS: Final = 40


def generate(seed: int, difficulty: float = 0.5) -> CourseDescription:
    """Return the description of a random course.

    Args:
        seed: of the course, one of `SEEDS`; the same seed gives the same course everywhere.
        difficulty: 0 (wide, gentle, walled) to 1 (narrow, tight, with drops).

    Returns:
        The description of a course that compiles.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: an argument is out of range.
    """
    return parse_description(random_course(seed, difficulty), f"random course {seed}")


def random_course_data(seed: int, difficulty: float = 0.5) -> bytes:
    """Compile `generate(seed, difficulty)` to an archive for `BootParameters.course_data`."""
    return compile_description(generate(seed, difficulty)).narc()


def random_course(seed: int, difficulty: float = 0.5) -> str:
    """Return the description that `generate(seed, difficulty)` parses, as TOML text."""
    seed = integer("seed", seed, 0, SEEDS[-1])
    # Rounding to thousandths removes floating-point errors.
    step = round(number("difficulty", difficulty, 0, 1) * 1000) / 1000
    for attempt in range(_ATTEMPTS):
        text = _attempt(seed, step, attempt)
        if text is None:
            continue
        try:
            description = parse_description(text)
            length = build_layout(description).main.length
        except CourseDescriptionError:
            continue
        if SHORTEST <= length <= LONGEST:
            return text
    raise AssertionError(f"no course for seed {seed}, difficulty {difficulty}")


def _attempt(seed: int, difficulty: float, attempt: int) -> str | None:
    """Return the text of one course, plainer with each attempt; None if the loop does not fit."""
    boldness = 1.0 - attempt / _ATTEMPTS
    shape, form, dress, extra = (RandomNumbers(seed, attempt, part) for part in range(4))
    width = mix(375.0, 210.0, difficulty) * form.number(0.92, 1.08)
    fence = mix(35.0, 20.0, difficulty)
    smallest = max(width / 2 + fence + 35.0, mix(325.0, 210.0, difficulty))
    # Twice the radius of the tightest bend is a hairpin; the rest lets it lean.
    style = Style(difficulty, round(width), pitch=smallest * 2.3 + 20.0, smallest=smallest)
    length = form.number(SHORTEST + 375, LONGEST - 375)
    corners = lay_corners(shape, form, style, length, boldness)
    if corners is None:
        return None
    add_heights(dress, style, corners, boldness)
    snow = dress.chance(mix(0.12, 0.35, difficulty))
    theme = "snow" if snow else dress.pick([name for name in THEMES if name != "snow"])
    edges = add_sides(dress, style, corners, boldness)
    if theme == "snow":
        add_ice(dress, style, corners)
    return _write(
        seed, dress, style, corners, edges, add_pads(extra, style, corners), theme, length
    )


def _write(
    seed: int,
    random: RandomNumbers,
    style: Style,
    corners: list[Corner],
    edges: dict[str, tuple[str, int, str]],
    extras: list[str],
    theme: str,
    length: float,
) -> str:
    """Return the text of the description."""
    laps = min(5, max(2, round(27_500 / length)))
    lines = [
        f'title = "Random course {seed}"',
        f'name = "{COURSES[COURSE_ID]}"',
        f"id = {COURSE_ID}",
        f"laps = {laps}",
        "",
        "[road]",
        f"width = {style.width:g}",
        "blend = 300",
        "",
        "[scenery]",
        f'theme = "{theme}"',
        f"trees = {random.integer(20, 50)}",
        f"seed = {random.integer(1, 10_000)}",
    ]
    used = {name for corner in corners for name in (corner.left, corner.right)}
    for name, (surface, width, end) in edges.items():
        if name in used:
            lines += ["", f"[edges.{name}]", f'surface = "{surface}"', f"width = {width}"]
            lines += [f'end = "{end}"']
    left = right = surface = ""
    for corner in corners:
        lines += ["", "[[point]]", f"at = [{corner.at[0]:g}, {corner.at[1]:g}]"]
        if corner.turn:
            lines.append(f"radius = {corner.radius:g}")
        if corner.height is not None:
            lines.append(f"height = {corner.height:g}")
        if corner.width is not None:
            lines.append(f"width = {corner.width:g}")
        if corner.bank:
            lines.append(f"bank = {corner.bank:g}")
        if corner.left != left:
            lines.append(f'left = "{corner.left}"')
        if corner.right != right:
            lines.append(f'right = "{corner.right}"')
        if corner.surface != (surface or "road"):
            lines.append(f'surface = "{corner.surface}"')
        left, right, surface = corner.left, corner.right, corner.surface
    return "\n".join(lines + extras) + "\n"

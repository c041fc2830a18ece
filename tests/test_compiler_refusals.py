"""Bad course descriptions: every error names the file, the entry and the value."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kartlab_courses import BRANCH, LOOP, MEADOW, OVAL, PADS, compiled, eight, text, winding

from mkds_gym.kartlab.compiler import (
    CourseDescriptionError,
    compile_course,
    compile_description,
    parse_description,
)
from mkds_gym.kartlab.compiler.description import POINT_LIMIT

FORKED, PADDED = text(LOOP, BRANCH), text(LOOP, PADS)
SECOND = BRANCH.replace("[1250, -375]", "[1300, -350]").replace("\n", r"\n")


def changed(description: str, old: str, new: str) -> str:
    """A description with a text replaced once; an empty text appends."""
    assert old in description, "the description changed; change this case too"
    return description.replace(old, new, 1) if old else description + new


# Of each description, one change to a line: replaced text | new text | error message.
REFUSED = {
    MEADOW: r"""
title | = title | not TOML
laps = 3 | laps = 3\nspeed = 4 | speed is unknown: expected one of
at = [475, 850] | at = [475, 850]\ngrip = 1 | point 1: grip is unknown
title = "Meadow Circuit" | | title is missing
at = [475, 850] | at = [nan, 850] | point 1: at[0]=nan is out of range
at = [475, 850] | at = [6250, 850] | point 1: at[0]=6250 is out of range
at = [475, 850] | at = [475] | point 1: at=[475] is malformed: expected [x, z]
blend = 350 | blend = inf | [road]: blend=inf is out of range
width = 300 | width = 20 | [road]: width=20 is out of range: expected a number from 100
width = 300 | width = "wide" | width='wide' is not a number
laps = 3 | laps = true | laps=True is not an integer
laps = 3 | laps = 9 | laps=9 is out of range: expected an integer from 1 to 5
"heavy off-road" | "ice" | [edges.mud]: surface='ice' is unknown: expected one of 'road', 'slippery
end = "bounds" | end = "hedge" | [edges.common]: end='hedge' is unknown
right = "mud" | right = "muck" | point 8: right='muck' is unknown
[grid] | [colours]\nroad = [1, 2]\n[grid] | [colours]: road=[1, 2] is malformed
id = 25 | id = 24 | 'ridge_course' under the id 24, and 'mario_course' has the id 25
"mario_course" | "tiny" | and 'tiny' is not on the list
"mario_course" | "../up" | name='../up' is not a folder name
radius = 475\n | | point 5: radius is missing, though the road turns 90.0
radius = 475 | radius = 1000 | the bends need
radius = 300 | radius = 175 | radius=175 is too small
height = 85 | height = 300 | height: the road changes height by
at = [-150, 850] | at = [-150, 750] | point 0: at=[-150.0, 750.0] is in a bend
spacing = 275\nkeys = 4 | spacing = 1000\nkeys = 20 | [checkpoints]: keys=20 needs more than 20
side = 0 | side = 175 | [grid]: side=175 is not on the road
back = 125 | back = 1000 | [grid]: back=1000 is in a bend
""",
    text(LOOP): r"""
 | [scenery]\ntheme = "moon"\n | [scenery]: theme='moon' is unknown: expected one of 'meadow'
 | [grid]\nback = 1045\n | the eight places of the grid reach 1265 units behind
[road]\n | [road]\nwidth = 105\n | [grid]: the eight places of the grid need 112 units of road
 | [[branch]]\nfrom = 3\nto = 5\n | branch 0 point: expected 2 to 200 [[branch.point]] tables, got 0
 | [[pad]]\nkind = "boost"\npoint = 0\noffset = -50\n | pad 0: length=100 reaches over the start
 | [[gap]]\npoint = 5\nlength = 150\n | without a jump pad before it
""",
    changed(
        text(LOOP), "-1750]\nradius = 500\nheight = 0", "-1750]\nradius = 500\nheight = 150"
    ): r"""
 | [[gap]]\npoint = 3\noffset = 250\nlength = 250\n | higher, the slowest
""",
    changed(FORKED, "-1750]\nradius = 500\nheight = 0", "-1750]\nradius = 500\nheight = 150"): r"""
title | title | branch 0: from: both paths must be level at
""",
    FORKED: rf"""
width = 200 | wide = 80 | branch 0: wide is unknown
from = 3\nto = 5 | from = 5\nto = 3 | branch 0: to: the branch would leave
at = [1250, -375] | at = [1250, 750] | degrees: expected at most 70
width = 200 | width = 500 | sticks out of the main path
to = 5 | to = 9 | branch 0: to=9 is out of range
 | {SECOND} | branch 1: from: the branch spans
""",
    PADDED: r"""
"boost" | "glue" | pad 0: kind='glue' is unknown
point = 3 | point = 30 | pad 0: point=30 is out of range
side = 62.5 | side = 125 | pad 0: side: the pad reaches 162.5
 | [[pad]]\nkind = "boost"\npoint = 3\noffset = 275\nside = 37.5\n | pad 2: offset: the pad lies on
 | [[pad]]\nkind = "boost"\npoint = 5\noffset = 275\n | pad 2: offset: the pad lies where a gap
length = 175 | length = 500 | gap 0: length: 500 units cannot
offset = 185\nwidth = 275\nlength = 50 | offset = 125\nwidth = 275 | slowest karts clear 1
point = 0\noffset = 250\ncount | point = 5\noffset = 350\ncount | items 0: offset: the row lies in
""",
    changed(PADDED, "point = 5\noffset = 185", "point = 7\noffset = 1160"): r"""
point = 5\noffset = 250 | point = 7\noffset = 1225 | the eight places of the grid need a plain road
""",
}
LONG = {
    "deep TOML": ("x = " + "[" * 50_000, "nested more than 200 levels"),
    "huge integer": (changed(MEADOW, "laps = 3", f"laps = 0x{'f' * 9000}"), "laps=<an integer of"),
    "too many points": (
        text("".join(f"[[point]]\nat = [{i}, 0]\n" for i in range(POINT_LIMIT + 1))),
        f"point: expected 4 to {POINT_LIMIT} [[point]] tables, got {POINT_LIMIT + 1}",
    ),
    "path too long": (text(winding(8)), "units long: expected at most 40000"),
    "bridge too low": (text(eight(50)), "50 units of height lie between the two roads, and a br"),
}


def cases() -> Iterator[Any]:
    for description, table in REFUSED.items():
        for line in table.strip("\n").splitlines():
            old, new, message = (part.strip().replace(r"\n", "\n") for part in line.split("|"))
            yield pytest.param(changed(description, old, new), message, id=message)
    for name, (description, message) in LONG.items():
        yield pytest.param(description, message, id=name)


@pytest.mark.parametrize(("description", "message"), list(cases()))
def test_bad_description_is_refused_by_name_and_value(description: str, message: str) -> None:
    with pytest.raises(CourseDescriptionError, match=re.escape(message)) as caught:
        compile_description(parse_description(description, "course.toml"))
    assert str(caught.value).startswith("course.toml: ")
    assert isinstance(caught.value, ValueError)


def test_overlap_names_both_places() -> None:
    crossed = changed(
        changed(OVAL, "{ at = [0, 375] }", "{ at = [500, 375] }"),
        "{ at = [-1125, -375], radius = 375 },\n    { at = [-1125, 375], radius = 375 },",
        "{ at = [0, -375], radius = 250 },\n    { at = [0, 1250], radius = 250 },\n"
        "    { at = [-1125, 1250], radius = 250 },\n    { at = [-1125, 375], radius = 250 },",
    )
    for description in (crossed, text(eight(50))):
        with pytest.raises(CourseDescriptionError, match=r"point \d and point \d: .* overlaps it"):
            compiled(description)


@pytest.mark.parametrize(
    "description",
    [
        changed(MEADOW, "keys = 4", "keys = 30"),
        changed(changed(FORKED, "from = 3", "from = 3\nfrom_offset = -250"), "height = 45", ""),
    ],
    ids=["many keys", "branch from a point's offset"],
)
def test_unusual_description_compiles(description: str) -> None:
    assert compiled(description).length > 5000


def test_course_too_large_for_the_console_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    description = parse_description(text(winding(4)))
    assert compile_description(description).length > 35_000
    monkeypatch.setattr("mkds_gym.kartlab.compiler.SIZE_LIMIT", 100_000)
    with pytest.raises(CourseDescriptionError, match=r"3\d,\d+ units of road .* at most 100,000"):
        compile_description(description)
    monkeypatch.setattr("mkds_gym.kartlab.compiler.TRIANGLE_LIMIT", 1000)
    with pytest.raises(CourseDescriptionError, match=r"1,\d+ collision triangles: .* most 1,000"):
        compile_description(description)


def test_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\r\n\xff\xfe")
    (tmp_path / "long.toml").write_text(text(LOOP) + "[[point]]\nat = [0, 0]\n" * 1_000_000)
    for name, message in (
        ("nothing.toml", "does not exist: expected a course description"),
        ("picture.toml", "is not UTF-8 text"),
        ("long.toml", r"has .* bytes, and the limit is 131,072: expected a course description"),
        ("pipe.toml", "is a pipe"),
    ):
        with pytest.raises(CourseDescriptionError, match=f"{name} {message}"):
            compile_course(tmp_path / name)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_values_compile_or_raise_the_compilers_error(data: st.DataObject) -> None:
    value = st.one_of(
        *(st.floats(), st.integers(), st.booleans(), st.text(max_size=4), st.just([])),
        st.lists(st.floats(), max_size=3),
    )
    lines = text(LOOP, BRANCH + PADS).splitlines()
    entries = [i for i, line in enumerate(lines) if " = " in line]
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.sampled_from(entries))
        new = data.draw(value)
        if isinstance(new, bool):
            new = str(new).lower()
        elif isinstance(new, str):
            new = '"' + "".join(c for c in new if c.isalnum()) + '"'
        lines[index] = f"{lines[index].partition(' = ')[0]} = {new}"
    try:
        course = compile_description(parse_description("\n".join(lines)))
    except CourseDescriptionError:
        return
    assert struct.unpack_from("<I", course.files["course_collision.kcl"])[0] == 0x3C

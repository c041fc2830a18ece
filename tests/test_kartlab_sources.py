"""The C program of the Kartlab cartridge: folders in layers, no circles, headers that are used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkds_gym.kartlab import SOURCE_DIRECTORY
from mkds_gym.kartlab.build import GENERATED_HEADERS

FOLDERS = ["platform", "", "course", "kart", "race", "draw", "hud", "screens", "boot"]
"""From the lowest to the highest; the empty name is the root, with the race's data."""

WITHOUT_HEADER = {"boot/main.c", "platform/arm7.c", "platform/libc.c"}
"""Sources that no other source calls, or that only the compiler calls."""

FILES = sorted(
    [
        *map(Path, GENERATED_HEADERS),
        *(path.relative_to(SOURCE_DIRECTORY) for path in SOURCE_DIRECTORY.rglob("*.[ch]")),
    ]
)


def code(path: Path) -> str:
    """Return a file without its comments."""
    generated = GENERATED_HEADERS.get(path.as_posix())
    text = generated() if generated else (SOURCE_DIRECTORY / path).read_text()
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def included(path: Path) -> list[Path]:
    """Return the program's own headers that a file includes, in order."""
    return [Path(name) for name in re.findall(r'#include "([^"]+)"', code(path))]


def declared(header: Path) -> set[str]:
    """Return the names that a header declares."""
    text = code(header)
    bodies = re.findall(r"\benum\b[^{;]*\{([^}]*)\}", text)
    return {
        *re.findall(r"#define (\w+)", text),
        *re.findall(r"\b(?:struct|enum) (\w+)\s*\{", text),
        *re.findall(r"\}\s*(\w+)\s*;", text),
        *re.findall(r"^typedef [^{;]*?(\w+);", text, flags=re.MULTILINE),
        *re.findall(r"^extern [^;]*?(\w+)(?:\[[^\]]*\])*;", text, flags=re.MULTILINE),
        *re.findall(r"^\w[^#;={]*?\b(\w+)\(", text, flags=re.MULTILINE),
        *(name for body in bodies for name in re.findall(r"(?:^|,)\s*(\w+)", body)),
    }


def layer(path: Path) -> int:
    return FOLDERS.index("" if path.parent == Path() else path.parts[0])


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Return a circle of modules, or nothing."""
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> Iterator[list[str]]:
        if module in way:
            yield [*way[way.index(module) :], module]
        elif module not in done:
            for other in sorted(edges[module]):
                yield from walk(other, [*way, module])
            done.add(module)

    return next((found for module in sorted(edges) for found in walk(module, [])), [])


def test_modules_include_each_other_without_a_circle() -> None:
    # A source and its header are one module.
    edges: dict[str, set[str]] = {}
    for path in FILES:
        module = path.with_suffix("").as_posix()
        edges.setdefault(module, set()).update(
            other.with_suffix("").as_posix() for other in included(path)
        )
        edges[module].discard(module)
    assert len(edges) > 50
    assert circle(edges) == []


def test_circle_finds_a_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d", "b"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_file_includes_what_it_uses_from_its_layer_or_below(path: Path) -> None:
    headers = included(path)
    assert headers == list(dict.fromkeys(headers)), "a header is included twice"
    words = set(re.findall(r"\w+", re.sub(r"#include.*", "", code(path))))
    own = path.with_suffix(".h")
    for header in headers:
        assert layer(header) <= layer(path), f"{header} belongs to a higher layer"
        assert header == own or declared(header) & words, f"nothing of {header} is used"
    if path.suffix == ".c" and path.as_posix() not in WITHOUT_HEADER:
        assert headers[:1] == [own], "a source includes its own header first"


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".c"], ids=str)
def test_source_has_no_more_than_400_lines(path: Path) -> None:
    assert len((SOURCE_DIRECTORY / path).read_text().splitlines()) <= 400

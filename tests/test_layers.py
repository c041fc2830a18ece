"""The layers of docs/development.md: nothing imports what is below it in that table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(ROOT)
    for package in ("mkds_gym", "mkds_neat")
    for path in (ROOT / package).rglob("*.py")
)


def table() -> list[tuple[str, list[str]]]:
    """Each row's layer, and the paths of its files and folders (these end in a slash)."""
    text = (ROOT / "docs" / "development.md").read_text()
    section = text.split("## Layers")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("|")][2:]
    found = []
    for layer, files in rows:
        names = re.findall(r"`([^`]+)`", files)
        folder = names[0].split("/")[0]
        found.append(
            (
                layer.strip(),
                [name if name.startswith("mkds_") else f"{folder}/{name}" for name in names],
            )
        )
    return found


LAYERS = table()


def rank(path: Path) -> int:
    """Number of the row that a file is in."""
    ranks = [
        number
        for number, (_, entries) in enumerate(LAYERS)
        for entry in entries
        if path.as_posix() == entry or (entry.endswith("/") and path.as_posix().startswith(entry))
    ]
    assert len(ranks) == 1, f"{path} is in {len(ranks)} rows of the table"
    return ranks[0]


def module_file(name: str) -> Path | None:
    """The file of one of our modules, or None for what is none."""
    for path in (Path(*name.split(".")).with_suffix(".py"), Path(*name.split("."), "__init__.py")):
        if (ROOT / path).is_file():
            return path
    return None


def imported(path: Path, source: str) -> Iterator[tuple[int, Path]]:
    """Line and file of every import of ours, wherever it stands."""
    package = list(path.parent.parts)
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *(node.module or "").split(".")]).strip(".")
            # `from package import name`: a module of the package, or something in it.
            names = [
                f"{base}.{alias.name}" if module_file(f"{base}.{alias.name}") else base
                for alias in node.names
            ]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names = [
                argument.value
                for argument in node.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            ]
        for name in names:
            if name.split(".")[0] in ("mkds_gym", "mkds_neat"):
                file = module_file(name)
                assert file is not None, f"{path}:{node.lineno}: no module {name}"
                yield node.lineno, file


def wrong(path: Path, source: str) -> list[str]:
    """The imports of a file that go the wrong way."""
    own = rank(path)
    return [
        f"{path}:{line}: {LAYERS[own][0]} imports {file} of {LAYERS[rank(file)][0]}"
        for line, file in imported(path, source)
        if rank(file) > own
    ]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_imports_what_is_below_it(path: Path) -> None:
    assert wrong(path, (ROOT / path).read_text()) == []


def test_all_that_the_table_names_exists() -> None:
    for _, entries in LAYERS:
        for entry in entries:
            assert (ROOT / entry).is_dir() if entry.endswith("/") else (ROOT / entry).is_file()


@pytest.mark.parametrize(
    "source",
    [
        "import mkds_gym.env",
        "import numpy, mkds_neat.config as config",
        "from mkds_gym.race import state",
        "from mkds_gym.race.state import RaceState",
        "from mkds_gym.course.archive import read_carc",
        "def read():\n    from mkds_gym.course.archive import read_carc",
        "if TYPE_CHECKING:\n    from mkds_gym.race.state import RaceState",
        "from ..race import state",
        "from ..course import archive",
        "import importlib\nimportlib.import_module('mkds_gym.env')",
        "import mkds_gym",
    ],
)
def test_a_wrong_import_would_be_found(source: str) -> None:
    assert len(wrong(Path("mkds_gym/emulator/cartridge.py"), source)) == 1


def test_the_top_may_import_everything() -> None:
    assert (
        wrong(Path("mkds_neat/run.py"), "import mkds_gym\nfrom mkds_gym.env import MKDSEnv") == []
    )

"""``individuals.csv``: its columns, new columns, and its way back to a checkpoint."""

from __future__ import annotations

import contextlib
import csv
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from neat_runs import QUICK, start, table

from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import RunFolderError
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import NetworkSpec
from mkds_neat.results import Checkpoint, Row, RunFolder

NOBODY = NetworkSpec((), (), (), ())


def rows(generation: int, count: int, event: str = "stuck", **metrics: float) -> list[Row]:
    record = EpisodeRecord(metrics=metrics, events=(event,))
    results = (Result(generation * count + i, float(i), record) for i in range(count))
    return [Row(generation, Individual(r.id, NOBODY, {}), True, r) for r in results]


def folder_of(tmp_path: Path, *generations: list[Row]) -> RunFolder:
    folder = RunFolder.create(tmp_path / "run", "")
    for each in generations:
        folder.add_individuals(each)
    return folder


def checkpoint(folder: RunFolder, generation: int) -> Checkpoint:
    return Checkpoint(generation, {}, tables=folder.tables(generation))


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Check that a block takes no more memory than this many bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def test_new_metric_may_come_in_a_table_of_any_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, rows(0, 1800, "x" * 10_000, speed=1.0))
    path = folder.path / "individuals.csv"
    before, data = checkpoint(folder, 1), path.read_bytes()
    assert len(data) > 16 << 20
    new = rows(1, 2, speed=2.0, drift=3.0)
    with at_most(10_000_000):
        folder.add_individuals(new)
    after = checkpoint(folder, 2)
    folder.rewind(after)  # nothing to do
    with path.open(newline="") as file:
        first, *_, last = csv.DictReader(file)
    assert (first["speed"], first["drift"]) == ("1.0", "")
    assert (last["generation"], last["speed"], last["drift"]) == ("1", "2.0", "3.0")
    # A run that dies now may go back to the checkpoint before, which has no such column.
    with at_most(10_000_000):
        RunFolder.open(folder.path).rewind(before)
    assert path.read_bytes() == data
    folder.add_individuals(new)
    assert checkpoint(folder, 2) == after


def test_table_without_its_rows_is_refused_and_unchanged(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, rows(0, 3, speed=1.0))
    before = checkpoint(folder, 1)
    folder.add_individuals(rows(1, 3, drift=1.0))
    path = folder.path / "individuals.csv"
    data = path.read_bytes().replace(b"\n1,", b"\n0,", 1)
    path.write_bytes(data)
    with pytest.raises(RunFolderError, match="is missing or has changed"):
        folder.rewind(before)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data + b"\xff\n", "not UTF-8"),
        (lambda data: data + b"," * (1 << 20) + b"\n", "a line has more than 1,048,576 bytes"),
        (lambda data: data + b'"' + b"x\n" * (1 << 20), "is damaged: field larger than"),
    ],
)
def test_new_metric_in_a_damaged_table_is_named(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, rows(0, 3))
    path = folder.path / "individuals.csv"
    path.write_bytes(damage(path.read_bytes()))
    data = path.read_bytes()
    with pytest.raises(RunFolderError, match=message):
        folder.add_individuals(rows(1, 3, drift=1.0))
    assert path.read_bytes() == data
    assert not list(folder.path.glob(".partial-*"))


def test_row_names_the_course_of_each_episode() -> None:
    def courses(*names: str) -> Any:
        episodes = tuple(EpisodeRecord(course=name) for name in names)
        result = Result(1, 1.0, episodes=episodes, scores=(1.0,) * len(names))
        return Row(0, Individual(1, NOBODY, {}), True, result).cells()["courses"]

    assert courses("mario_course", "17") == "mario_course 17"
    assert courses("mario_course") == "mario_course"
    assert courses("", "17") == "- 17"
    assert courses("", "") == courses() == ""  # an environment without courses


def test_run_names_its_courses_with_one_driver_and_with_several_in_a_console(
    tmp_path: Path,
) -> None:
    given = {"environment__course": None, "evaluation__courses": "snow_course, 3"}
    drawn = {"environment__course": None, "environment__course_set": "train"}
    quick = {
        **QUICK,
        "run__generations": 1,
        "run__strategy": "truncation",
        "truncation__population": 2,
    }
    found = {}
    for name, changes in (("given", given), ("drawn", drawn)):
        for drivers in (1, 2):
            run = start(
                tmp_path,
                **quick,
                **changes,
                run__drivers_per_console=drivers,
                evaluation__episodes=2,
            )
            run.run()
            found[name, drivers] = [row["courses"] for row in table(run.folder, "individuals.csv")]
    assert found["given", 1] == found["given", 2] == ["snow_course 3"] * 2
    assert found["drawn", 1] == found["drawn", 2]
    names = " ".join(found["drawn", 1]).split()
    assert len(set(names)) == 4
    assert all(name.isdecimal() for name in names)

"""The measurement of the examples' goals: what it does not repeat, and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import goals
from mkds_neat.episode import EpisodeRecord
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.results import Champion


def outcome(**milestones: float) -> dict[str, Any]:
    return {
        "seconds": 60.0,
        "cpu_seconds": 110.0,
        "frames": 1_000_000,
        "milestones": {
            name: {"seconds": seconds, "frames": int(20_000 * seconds), "race_time": 77.0}
            for name, seconds in milestones.items()
        },
        "race_time": 77.0,
        "generations": 9,
        "champion": None,
    }


RESULT: dict[str, Any] = {
    "goals": True,
    "machine": {
        **dict.fromkeys(("date", "processor", "cores", "memory_gib", "system", "python"), "x"),
        "load_average_before": 0.0,
        "packages": {},
    },
    "pure_pursuit": 83.12,
    "hard": 77.41,
    "runs": {
        "first_finish 11": outcome(first_finish=4.0),
        "first_finish 12": outcome(first_finish=8.0),
        "time_trial 11": outcome(pure_pursuit=30.0, hard=50.0),
        "time_trial 12": outcome(pure_pursuit=40.0),
        "generalist 11": outcome(),
        "generalist 12": outcome(),
    },
    "unseen": {"800": {"11": True, "12": True}, "801": {"11": True, "12": False}},
}


def test_report_has_medians_and_all_runs() -> None:
    lines = [line for line in goals.report(RESULT).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    by_goal = {row[0]: row[1:] for row in cells}
    assert by_goal[goals.GOALS["first_finish"]][:2] == ["2 of 2", "6.0 s"]
    assert by_goal[goals.GOALS["hard"]][:2] == ["1 of 2", "50.0 s"]
    assert by_goal[goals.GOALS["unseen"]][0] == "1 of 2"
    assert ["unseen", "12", "60.0 s", "1,000,000", "50 %"] in cells


def test_runs_in_the_file_are_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "goals.json"
    file.write_text(json.dumps(RESULT))
    arguments = ["--seeds", "11", "12", "--courses", "2", "--json", str(file)]
    assert goals.main(arguments) == 0
    assert "1 of 2" in capsys.readouterr().out
    assert json.loads(file.read_text()) == RESULT


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "goals.json"
    file.write_text("{")
    with pytest.raises(SystemExit):
        goals.main(["--json", str(file)])


def champion(**record: Any) -> Champion:
    return Champion(
        id=1,
        generation=0,
        fitness=1.0,
        strategy="neat",
        genome={},
        network=NetworkSpec((0,), (1,), (Node(1),), ()),
        env_id="MKDS-v0",
        env_kwargs={},
        seed=0,
        record=EpisodeRecord(steps=1, frames=1, seconds=0.1, **record),
    )


def test_milestone_counts_the_frames_up_to_the_generation_of_its_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "generations.csv").write_text("generation,frames\n0,300\n1,50\n")
    (tmp_path / "champion.json").touch()
    monkeypatch.setattr(goals, "load_champion", lambda path: champion())
    ended = SimpleNamespace(poll=lambda: 0, wait=lambda: 0)
    monkeypatch.setattr(goals.subprocess, "Popen", lambda *_, **__: ended)
    found = goals.run("first_finish", 1, tmp_path, {"yes": lambda _: True, "no": lambda _: False})
    assert found["milestones"]["yes"]["frames"] == 300
    assert list(found["milestones"]) == ["yes"]
    assert (found["frames"], found["generations"]) == (350, 2)


def test_goals_ask_for_faster_races_and_for_four_courses_of_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, goals.Milestones] = {}

    def run(*arguments: Any) -> dict[str, Any]:
        asked[arguments[0]] = arguments[3]
        return outcome()

    monkeypatch.setattr(goals, "run", run)
    result = {"machine": RESULT["machine"], "runs": {}, "pure_pursuit": 83.0, "hard": 77.0}
    goals.measure([11], 9, 5, result, None)
    for time, passed in ((83.0, 0), (82.0, 1), (77.0, 1), (76.0, 2)):
        driver = champion(finished=True, race_time=time)
        names = [name for name, reached in asked["time_trial"].items() if reached(driver)]
        assert names == ["pure_pursuit", "hard"][:passed]
    assert not asked["first_finish"]["first_finish"](champion())

    for finished, reached in ((4, "1 of 1"), (3, "0 of 1")):
        result["unseen"] = {str(800 + i): {"11": i < finished} for i in range(5)}
        (row,) = [
            line for line in goals.report(result).splitlines() if goals.GOALS["unseen"] in line
        ]
        assert reached in row


def test_fastest_of_some_hard_races_counts_and_one_without_a_finish_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(goals, "hard_time", lambda _, seed: (80.0, None, 79.0, 1.0)[seed])
    assert goals.fastest_hard_time() == 79.0

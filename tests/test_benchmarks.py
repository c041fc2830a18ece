"""The benchmark command runs, and what it reports hangs together. Speed itself is not judged."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import courses, frame_loop, restore, soak
from benchmarks.__main__ import report
from benchmarks.aims import AIMS, aims, aims_lines
from benchmarks.pairs import PAIRS, WARM_UP, Paired
from benchmarks.peers import PEERS
from benchmarks.plot import draw, points
from benchmarks.plot import main as plot
from benchmarks.race import FRAME_SKIP, drive
from benchmarks.report import spread
from benchmarks.rows import COUNTS, ROWS, VECTORS
from benchmarks.tables import REFERENCE, TABLES, vector_groups, vector_ratios
from benchmarks.together import ROWS as TOGETHER
from benchmarks.turns import PIECE, ratio
from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.components.sensors import SENSORS
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.env import MKDSEnv

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def command(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=timeout,
        capture_output=True,
        text=True,
    )


def short_run(tmp_path: Path, *tables: str) -> tuple[dict[str, Any], str]:
    file = tmp_path / "result.json"
    sizes = ("--seconds", "0.1", "--rounds", "2", "--json", str(file))
    done = command("--only", *tables, *sizes, timeout=850)
    assert done.returncode == 0, done.stdout + done.stderr
    # Rows that do not drive the recorded race would have failed, see benchmarks.rows.answering.
    result = json.loads(file.read_text())
    assert list(result["tables"]) == list(tables)
    assert not result["failed"]
    printed = done.stdout.strip()
    assert printed == report(result)
    for name in tables:
        assert f"**{TABLES[name].question}** (`{name}`)" in printed
    return result, printed


def test_a_short_run_of_what_one_process_can_do(tmp_path: Path) -> None:
    result, printed = short_run(tmp_path, "step", "parts", "sensors", "metrics")
    tables = result["tables"]
    step = tables["step"]
    assert list(step["rows"]) == list(step["own"]) == list(PAIRS)
    assert list(step["ratios"]) == [pair.name for pair in PAIRS.values()]
    for key, row in step["rows"].items():
        assert row["title"] == PAIRS[key].title
        assert f"| {PAIRS[key].name} " in printed
        assert row["pieces"] == step["rows"]["env"]["pieces"] >= 2
        kept, own = step["ratios"][PAIRS[key].name], step["own"][key]
        for values in (row["console"], row["env"], kept, own["own"], own["emulator"]):
            assert 0 < values["low"] <= values["median"] <= values["high"]
        # Four frames of the emulator take most of a step, and our own code a microsecond at least.
        assert 1 < own["own"]["median"] < own["emulator"]["median"]
    assert set(tables["parts"]["microseconds"]) == {
        *("state", "metrics", "events", "reward", "observation", "info")
    }
    assert set(tables["sensors"]["microseconds"]) == set(SENSORS)
    assert set(tables["metrics"]["microseconds"]) == set(DEFAULT_METRICS)
    # A microsecond or so, and no sleep: units are not mixed up.
    for name in ("parts", "sensors", "metrics"):
        assert all(0.01 < v["median"] < 5000 for v in tables[name]["microseconds"].values())
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["packages"]["py-desmume"][0].isdigit()
    assert {row["aim"] for row in result["aims"]} == {a.title for a in AIMS if a.path[0] == "step"}
    widths = [len(line) for line in printed.splitlines() if line.startswith("| default arg")]
    widths += [len(line) for line in printed.splitlines() if line.startswith("| obs_type='dict'")]
    assert widths[:3] == widths[3:], "the tables' columns do not line up"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_short_run_of_what_takes_many_processes(tmp_path: Path) -> None:
    names = "plain", "vector", "together", "states", "evolution", "peers"
    result, printed = short_run(tmp_path, *names)
    tables = result["tables"]
    groups = [group["rows"] for group in tables["vector"]["groups"]]
    assert [list(rows) for rows in groups] == [
        group.keys for group in vector_groups([count for count in COUNTS if count <= 8])
    ]
    assert {key for rows in groups for key in rows} == {
        *("env", "plain_workers"),
        *(f"{kind}_{count}" for kind in VECTORS for count in COUNTS if count <= 8),
    }
    # The same ratio in both tables, and in the picture.
    shown = points(result)[1]
    for name, upper, lower in vector_ratios(8):
        if lower == REFERENCE:
            assert tables["vector"]["ratios"][name] == groups[-1][upper]["of_reference"]
            times = shown[upper]["median"] / shown[lower]["median"]
            assert times == pytest.approx(tables["vector"]["ratios"][name]["median"])
    for rows in (*groups, *(tables[name]["rows"] for name in ("plain", "peers"))):
        assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows.values())
    assert set(tables["together"]["ratios"]) == {title for title, _ in TOGETHER.values()}
    # Two cannot be more than twice one, but for noise.
    assert all(0 < row["median"] < 5 for row in tables["together"]["ratios"].values())
    for name in ("reset", "clone_state", "restore_state"):
        assert 0.1 < tables["states"]["milliseconds"][name]["median"] < 1000
    size = tables["states"]["clone_kib"]
    assert 1 < size["least"] <= size["mean"] <= size["most"] < 12 * 1024
    for way in tables["evolution"]["rows"].values():
        assert way["frames_per_second"]["median"] > 0
        assert 0 <= way["idle"]["median"] <= 1
    # Whoever has no other project is told so.
    peers = tables["peers"]
    assert {*peers["left_out"]} == {ROWS[key].title for key in PEERS if key not in peers["rows"]}
    assert {row["aim"] for row in result["aims"]} == {
        aim.title for aim in AIMS if aim.path[0] in tables
    }
    assert "**Aims**" in printed


def test_a_ratio_is_of_the_same_pieces() -> None:
    # Twice as fast in each piece, whatever the piece: the medians alone would say 3.
    samples = {"a": [2.0, 6.0, 20.0], "b": [1.0, 3.0, 10.0]}
    assert ratio(samples, "a", "b") == {"median": 2.0, "low": 2.0, "high": 2.0}
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == {"median": 3.0, "low": 2.0, "high": 4.0}


def test_aims_are_read_from_the_tables() -> None:
    def nested(path: tuple[str, ...], value: float) -> dict[str, Any]:
        inner: Any = value
        for key in reversed(path):
            inner = {key: inner}
        return inner  # type: ignore[no-any-return]

    assert aims({}) == []
    for aim in AIMS:
        enough, short = aim.wanted * (1.01, 0.99)[not aim.at_least], aim.wanted * 0.5
        if not aim.at_least:
            short = aim.wanted * 2.0
        results: tuple[dict[str, Any], ...] = (
            *(nested(aim.path, enough), nested(aim.path, short)),
            {aim.path[0]: {}},
        )
        met, missed, absent = (
            next(row for row in aims(result) if row["aim"] == aim.title) for result in results
        )
        assert (met["aim"], met["met"], missed["met"]) == (aim.title, True, False)
        assert aims_lines([missed])[-1].endswith(" NO |")
        # A number that is not where it is looked for must not pass unseen.
        assert (absent["measured"], absent["met"]) == (None, False)
        assert aims_lines([absent])[-1].endswith("| left out |  NO |")


def test_aims_name_ratios_that_are_measured() -> None:
    named = {
        "step": {pair.name for pair in PAIRS.values()},
        "vector": {name for count in (1, 2, 4, 8) for name, *_ in vector_ratios(count)},
        "vector64": {name for name, *_ in vector_ratios(64)},
    }
    ratios = [aim.path for aim in AIMS if aim.path[1] == "ratios"]
    assert {table for table, *_ in ratios} == set(named)
    for table, _, name, number in ratios:
        assert name in named[table]
        assert number == "median"
    # Each of them is of rows that take turns, and the reference is in every group.
    groups = vector_groups(COUNTS)
    assert all(group.keys.count(REFERENCE) == 1 for group in groups)
    for count in COUNTS:
        for _, upper, lower in vector_ratios(count):
            assert any({upper, lower} <= {*g.keys} for g in groups if g.count == count)
    # With 64 too, each kind is compared with two environments.
    assert [upper for _, upper, _ in vector_ratios(64)] == [f"{kind}_64" for kind in VECTORS]


def test_the_recorded_lap_is_a_lap() -> None:
    tape, states, course = drive()
    assert len(tape.actions) == len(tape.places) == len(tape.keys) == len(states) - 1 > PIECE
    assert all(len(frames) == FRAME_SKIP for frames in states[1:])
    assert {0, 1, 2} == set(tape.actions), "straight, left and right are all driven"
    seen = {checkpoint for _, checkpoint in tape.places}
    assert seen == set(course.track.main)
    # An environment and its console drive it to the same places, and say so when they do not.
    with closing(Paired(PAIRS["env"], tape)) as paired:
        cycle = paired._base.console._cycle
        for begin in (0, PIECE):
            piece = paired.piece(begin, begin + PIECE)
            assert len(piece.own) == len(piece.emulator) == PIECE - WARM_UP
            # The frames are in both; a console with no frames would take microseconds.
            assert min(piece.console, piece.env) > 0.2 * sum(piece.emulator) / 1e6 > 0
            assert min(piece.own) > 0
        assert paired._base.console._cycle == cycle
        with pytest.raises(RuntimeError, match=r"the race is at \(frame, checkpoint\)"):
            paired.piece(PIECE, 2 * PIECE)  # but it is already at the end of that


def test_ctrl_c_leaves_no_process_and_keeps_what_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    arguments = f"--only metrics vector --rounds 1 --seconds 0.1 --json {file}".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "starting: AsyncVectorEnv, 2" in line:
            break
    time.sleep(0.5)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    result = json.loads(file.read_text())
    assert list(result["tables"]) == ["metrics"]
    assert printed.strip() == report(result)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seconds", "0"), "--seconds 0.0 must be greater than 0"),
        (("--seconds", "nan"), "must be greater than 0, and finite"),
        (("--rounds", "0"), "--rounds 0 must be at least 1"),
        (("--json", "no/such/folder/x.json"), "there is no folder"),
        (("--json", "tests"), "is a folder; name a file"),
        (("--only", "speed"), "no table 'speed'; tables are plain, step"),
        (("--only", "step", "--skip", "step"), "leave no table to measure"),
    ],
)
def test_bad_arguments(arguments: tuple[str, ...], complaint: str) -> None:
    done = command(*arguments, timeout=60)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_courses_take_turns_and_say_which_failed(tmp_path: Path) -> None:
    rom = Cartridge.open().path
    samples = courses.frames_per_second(["mario_course"], str(rom), 0.02, 2)
    assert [*samples] == ["mario_course", courses.AGAINST]
    # Frames per second, and no seconds: an emulator makes more than a console's 60.
    assert all(len(row) == 2 and min(row) > 10 for row in samples.values())
    broken = tmp_path / "broken.nds"
    broken.write_bytes(rom.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match=f"^{courses.AGAINST}: "):
        courses.frames_per_second([], str(broken), 0.02, 1)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["no_course"], "course 'no_course' is not on the cartridge; it has airship_course, "),
        (["--seconds", "inf"], "--seconds must be finite and greater than 0"),
        (["--against", "none.nds"], "--against none.nds: no such file"),
        (["--json", "tests"], "--json tests is a folder; name a file"),
    ],
)
def test_bad_arguments_of_courses(
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MKDS_ROM", "")  # which it takes out of the environment
    with pytest.raises(SystemExit) as left:
        courses.main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_a_short_run_of_a_course(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    arguments = f"mario_course --seconds 0.05 --repeats 2 --json {file} --against".split()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.courses", *arguments, str(Cartridge.open().path)],
        cwd=ROOT,
        env=ENVIRONMENT,
        timeout=280,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "round 2 of 2" in done.stderr
    assert "counting the work, course 1 of 1: mario_course" in done.stderr
    result = json.loads(file.read_text())
    assert done.stdout.strip() == courses.report(result)
    # The same course against itself; and a lap's work is less than that of eight karts.
    assert 0.2 < result["ratios"]["mario_course"]["median"] < 5
    lap, crowd = result["time_trial"]["mario_course"], result["eight_karts"]["mario_course"]
    assert 0 < lap["cycles"] < crowd["cycles"] < courses.CYCLES
    assert lap["race"] + lap["draw"] <= lap["cycles"]


def group(count: int, reference: float, **ratios: float) -> dict[str, Any]:
    """A group of vector rows that all are as fast in each of their pieces."""
    rows = {
        key: {
            "title": ROWS[key].title,
            "consoles": ROWS[key].consoles,
            "memory_mib": None,
            **spread([reference * times]),
            "of_reference": spread([times]),
        }
        for key, times in {REFERENCE: 1.0, **ratios}.items()
    }
    return {"environments": count, "rows": rows}


def test_a_machine_that_becomes_faster_is_not_taken_for_more_environments() -> None:
    def result(*last: float) -> dict[str, Any]:
        """Of a machine that may have another speed when it comes to each of the last groups."""
        rows: list[dict[str, float]] = [{"sync_64": 0.5}, {"native_64": 1.1}]
        groups = [group(64, speed, **ratios) for speed, ratios in zip(last, rows, strict=True)]
        first = group(2, 100.0, sync_2=0.6), group(8, 100.0, native_8=1.2)
        tables = {"vector": {"groups": list(first)}, "vector64": {"groups": groups}}
        empty: dict[str, Any] = {"ratios": {}, "left_out": {}}
        return {"tables": {name: {**table, **empty} for name, table in tables.items()}}

    steady, faster = result(100.0, 100.0), result(100.0, 150.0)
    assert points(steady) == points(faster)
    speed, rows = points(faster)
    assert speed == rows[REFERENCE]["median"] == 100.0
    assert rows["native_64"]["median"] == pytest.approx(110.0)
    # And the table says what the reference had beside each of them.
    lines = TABLES["vector64"].lines(faster["tables"]["vector64"])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    shown = [row[:2] + row[3:4] for row in cells if row[0].endswith((", 2", ", 64"))]
    assert shown == [
        ["MKDSVectorEnv, 2", "100", "1"],
        ["SyncVectorEnv, 64", "50", "0.500"],
        ["MKDSVectorEnv, 2", "150", "1"],
        ["MKDSVectorEnv, 64", "165", "1.100"],
    ]


def test_the_plot_shows_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {
        "date": "2026-01-01",
        "machine": {"cores": 2, "processor": "X"},
        "tables": {"vector": {"groups": [group(1, 20.0, native_1=0.5)]}},
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    assert plot([str(tmp_path / "result.json"), str(pictures[0])]) == 0
    result["tables"]["vector"]["groups"] = [group(1, 20.0, native_1=0.8)]  # type: ignore[index]
    draw(result, pictures[1])
    first, second = (picture.read_bytes() for picture in pictures)
    assert first.startswith(b"\x89PNG")
    assert first != second
    (tmp_path / "result.json").write_text(json.dumps({"tables": {}}))
    with pytest.raises(SystemExit):
        plot([str(tmp_path / "result.json"), str(pictures[0])])
    assert "no vector environments were measured" in capsys.readouterr().err


def test_a_soak_is_written_into_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("measured", ROOT / "docs" / "measured.py")
    assert spec is not None
    assert spec.loader is not None
    measured = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(measured)
    page = tmp_path / "docs" / "reference" / "benchmarks.md"
    page.parent.mkdir(parents=True)
    page.write_text((ROOT / "docs" / "reference" / "benchmarks.md").read_text())
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(soak, "_TURN", 8)
    monkeypatch.setattr(soak, "_SAMPLES", 12)
    file = tmp_path / "soak.json"
    arguments = ["--frames", "288", "--envs", "1", "--limit", "1000", "--json", str(file)]
    assert soak.main(arguments) == 0
    printed = capsys.readouterr().out
    measured.main([str(file)])
    result = json.loads(file.read_text())
    block = page.read_text().split("<!-- soak: begin -->\n")[1].split("<!-- soak: end -->")[0]
    assert block.startswith(f"{result['date']}: {result['machine']['processor']}, ")
    rows = [line for line in block.splitlines() if line.startswith("|")]
    # The head, its rule, and the last ten samples of the table that was printed.
    assert len(result["samples"]) > len(rows) - 2 == 10
    values = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    seen = [line for line in printed.splitlines() if line.startswith("|")][2:]
    assert values == [[cell.strip() for cell in row.strip("|").split("|")] for row in seen[-10:]]
    assert f"Growth per 100,000 frames: {result['growth']:+.2f} MiB. The limit is 1000." in block
    assert "Growth per 100,000 frames: " in printed
    file.write_text("")  # as of a command that was stopped
    with pytest.raises(SystemExit):
        measured.main([str(file)])
    assert "is not what a measurement writes when it is done" in capsys.readouterr().err


def test_frame_loops_copy_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loops = frame_loop.Loops(frame_loop.compiled(tmp_path), "emulator", 0)
    try:
        loops.drive(30)
        before = loops.env.clone_state()
        ran = []
        for run in (loops._python, loops._c):
            loops.env.restore_state(before)
            ran.append((run(1), loops.env.console.ram.tobytes()))
        assert ran[0] == ran[1]
        assert len(set(ran[0][0])) == frame_loop.FRAMES, "each frame moves the race"
    finally:
        loops.env.close()
    monkeypatch.setattr(frame_loop, "_STEPS", {"emulator": 8, "nothing": 20})
    monkeypatch.setattr(frame_loop, "_ROUNDS", 1)
    monkeypatch.setattr(sys, "argv", ["frame_loop"])
    assert frame_loop.main() == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 2 * 2 * 3
    monkeypatch.setenv("PATH", str(tmp_path))
    assert frame_loop.main() == 2
    assert "no C compiler" in capsys.readouterr().err


def test_where_the_time_of_a_restore_goes(capsys: pytest.CaptureFixture[str]) -> None:
    before = MKDSEnv.restore_state
    assert restore.main(["--rounds", "1"]) == 0
    assert MKDSEnv.restore_state is before
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[-1][0] == "restore_state"
    assert sum(int(share.rstrip("%")) for _, _, share in cells[:-1]) == pytest.approx(100, abs=4)
    assert all(float(spent.replace(",", "")) > 1 for _, spent, _ in cells)
    with pytest.raises(SystemExit):
        restore.main(["--rounds", "0"])

"""What commands write: whatever becomes of their streams, and whatever the texts of files hold."""

from __future__ import annotations

import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from neat_runs import QUICK, start
from programs import run

from mkds_gym.utils.arguments import escaped
from mkds_gym.utils.command_line import print_error, print_line
from mkds_gym.utils.reading import tomllib

ODD = "\x1b]0;title\x07\x1b[2J\u202e\nmkds_gym: a line of its own"
"""Sets the title of a terminal, clears it, and looks like another message."""
DROP = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
"""Without these capabilities of root, permissions count."""
AS_USER = DROP if os.getuid() == 0 else []


def shell(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        env={**os.environ, "MKDS_HOME": str(home), "PYTHON": sys.executable},
        timeout=120,
    )


def test_closed_and_full_outputs_give_no_traceback(tmp_path: Path) -> None:
    for redirection in (">&-", ">&- 2>&- <&-", "2>/dev/full"):
        result = shell(f'"$PYTHON" -m mkds_gym.roms list {redirection}', tmp_path)
        assert (result.returncode, result.stderr) == (0, ""), redirection
    result = shell('"$PYTHON" -m mkds_gym.roms list >/dev/full', tmp_path)
    assert result.returncode == 1
    assert result.stderr == "the standard output cannot be written: No space left on device\n"


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    program = (
        "import os, sys; from mkds_gym.utils.command_line import open_streams; open_streams(); "
        f"file = open({str(tmp_path / 'file')!r}, 'w'); os.write(1, b'x'); os.write(2, b'x'); "
        "print('lost'); sys.stdin.read(); sys.exit(file.fileno())"
    )
    result = shell(f'"$PYTHON" -c "{program}" >&- 2>&- <&-', tmp_path)
    assert result.returncode > 2
    assert (tmp_path / "file").read_text() == ""


def test_installed_commands_end_quietly_on_closed_pipes(tmp_path: Path) -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    scripts = project["project"]["scripts"]
    assert len(scripts) == 6
    for name, entry in scripts.items():
        module, function = entry.split(":")
        program = f"from {module} import {function} as f; import sys; sys.exit(f())"
        line = f'("$PYTHON" -c "{program}" --help; echo $? >&2) | true'
        result = shell(line, tmp_path)
        assert result.stderr in ("141\n", "0\n"), name


def test_ctrl_c_ends_a_command_without_a_traceback() -> None:
    program = """
        import signal
        from mkds_gym.utils.command_line import run_command
        run_command(lambda: signal.raise_signal(signal.SIGINT))
        """
    result = run(program)
    assert (result.returncode, result.stderr) == (130, "")


def test_texts_are_escaped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert escaped("Größe – 1 GB") == "Größe – 1 GB"
    assert escaped("a\x1b\n\udcff\u202e") == "a\\x1b\\n\\udcff\\u202e"
    print_line(f"{ODD}\udcff")
    print_error(ODD)
    out, err = capsys.readouterr()
    assert out == ("\\x1b]0;title\\x07\\x1b[2J\\u202e\nmkds_gym: a line of its own\\udcff\n")
    assert err == "\\x1b]0;title\\x07\\x1b[2J\\u202e\n    mkds_gym: a line of its own\n"
    ascii_only = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    print_line("Größe")
    assert ascii_only.buffer.getvalue() == b"Gr\\xf6\\xdfe\n"  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two generations."""
    evolution = start(tmp_path_factory.mktemp("finished"), **QUICK)
    evolution.run()
    return evolution.folder.path


def called(module: str, *arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command and return what it wrote, after a look for what a terminal would obey."""
    importlib.import_module(module).main([str(each) for each in arguments])
    captured = capsys.readouterr()
    for text in captured:
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text
        assert not any(line.startswith("mkds_gym: a line") for line in text.splitlines())
    return captured.out + captured.err


def test_files_cannot_control_the_terminal(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mkds_gym.recording.format import Recording

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
    recording = Recording.load(finished / "champion.mkr")
    replace(recording, label=ODD).save("odd.mkr")
    assert "title" in called("mkds_gym.replay.__main__", "odd.mkr", capsys=capsys)
    with zipfile.ZipFile("odd.zip", "w") as archive:
        archive.writestr(f"{ODD}.nds", bytes(20_000))
    assert "title" in called("mkds_gym.roms.__main__", "import", "odd.zip", capsys=capsys)
    champion = json.loads((finished / "champion.json").read_text())
    metrics = {**champion["record"], "metrics": {ODD: "x"}}
    for number, change in enumerate(
        ({"env_id": ODD}, {"env_kwargs": {ODD: 1}}, {"record": metrics}, {"seed": ODD})
    ):
        path = Path(f"champion{number}.json")
        path.write_text(json.dumps({**champion, **change}))
        for module in ("mkds_neat.watch", "mkds_neat.race"):
            assert "error:" in called(module, path, "--no-window", capsys=capsys)
    folder = Path(shutil.copytree(finished, ODD))
    for module in ("mkds_neat.watch", "mkds_neat.race"):
        assert "title" in called(module, folder, "--no-window", capsys=capsys)
    assert "title" in called("mkds_neat.run", "--resume", folder, "--quiet", capsys=capsys)
    Path("odd.ini").write_text("[run]\n[\x1b[2J]\n")
    assert "unknown section" in called("mkds_neat.run", "odd.ini", capsys=capsys)


# Permissions ---------------------------------------------------------------------------------


def as_user(module: str, *words: object, home: Path) -> tuple[int, str]:
    result = subprocess.run(
        [*AS_USER, sys.executable, "-m", module, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "MKDS_HOME": str(home)},
        timeout=120,
    )
    assert "Traceback" not in result.stderr
    return result.returncode, result.stderr


PROGRAM_INTERRUPTED_IN_EXEC = """
import sys
from mkds_gym.utils.command_line import run_command
from mkds_neat import run

def interrupted(*_):
    exec("raise KeyboardInterrupt")

if sys.argv[1] == "evolve":
    run._evolve = interrupted
    sys.exit(run.main(["c.ini"]))
run_command(interrupted)
"""


@pytest.mark.parametrize("command", ["evolve", "any"])
def test_interrupt_in_executed_text_leaves_the_exit_status(command: str, tmp_path: Path) -> None:
    """CPython would kill a process of ``python -m`` at its end."""
    (tmp_path / "program.py").write_text(PROGRAM_INTERRUPTED_IN_EXEC)
    program = [sys.executable, "-m", "program", command]
    result = subprocess.run(program, cwd=tmp_path, capture_output=True, timeout=60)
    assert result.returncode == 130


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_run_folder_without_permission_is_refused_in_one_line(
    mode: int, finished: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    folder.chmod(mode)
    try:
        for module, words in (
            ("mkds_neat.report", ("--output", tmp_path / "a.html", "--no-video")),
            ("mkds_neat.watch", ("--no-window",)),
            ("mkds_neat.export", (tmp_path / "a.json",)),
        ):
            _, err = as_user(module, folder, *words, home=tmp_path)
            assert "Permission denied" in err or "cannot be read" in err, module
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("locked", [".", "roms", "starts"])
def test_user_folder_without_permission_is_named(locked: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in ("roms", "starts"):
        (home / name).mkdir(parents=True)
    rom = Path(importlib.import_module("mkds_gym.kartlab").ROM_PATH)
    assert as_user("mkds_gym.roms", "import", rom, "--name", "mine", home=home)[0] == 0
    (home / locked).chmod(0o000)
    try:
        line = {"starts": ("mkds_gym.starts", "list", "--rom", rom)}
        module, *words = line.get(locked, ("mkds_gym.roms", "list"))
        status, err = as_user(module, *words, home=home)
        if locked != "roms":  # a folder that cannot be listed looks empty
            assert status == 1
            assert "cannot read the folder" in err
            assert "Permission denied" in err
    finally:
        (home / locked).chmod(0o755)

"""Small evolutions for tests, in this process and as commands."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from neat_config import config_text
from waiting import until

from mkds_neat.config import parse_config
from mkds_neat.evolution import Evolution
from mkds_neat.results import RunFolder

SMALL = {
    "run__stop_when": "never",
    "run__generations": 4,
    "run__workers": 2,
    "evaluation__frames": 90,
    "evaluation__stuck": 60,
    "NEAT__pop_size": 5,
    "DefaultReproduction__elitism": 1,
    "truncation__population": 5,
}
NATIVE = {"run__vectorization": "native"}  # starts faster than worker processes


def start(tmp_path: Path, **changes) -> Evolution:
    config = parse_config(config_text(**{**SMALL, "run__output": tmp_path / "run", **changes}))
    return Evolution(config, RunFolder.create(config.run.output, config.text), progress=False)


def resume(folder: RunFolder, **overrides: str) -> Evolution:
    config = parse_config((folder.path / "config.ini").read_text(), overrides=overrides)
    return Evolution(config, folder, checkpoint=folder.load_checkpoint(), progress=False)


def table(folder: RunFolder, name: str) -> list[dict[str, str]]:
    """The rows of a table without the columns of wall time."""
    with (folder.path / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    of_time = ("wall_seconds", "seconds", "busy")
    return [{k: v for k, v in r.items() if k not in of_time} for r in rows]


def everything(folder: RunFolder):
    champion = json.loads((folder.path / "champion.json").read_text())
    del champion["record"]["seconds"]
    return table(folder, "individuals.csv"), table(folder, "generations.csv"), champion


QUICK = {**NATIVE, "run__generations": 2, "run__workers": 1, "evaluation__frames": 30}


def command(tmp_path: Path, *arguments: str, before=None, **changes) -> subprocess.Popen[str]:
    """Start the command in ``tmp_path``, with a config c.ini that writes to the folder out.

    Neither the command nor its workers can import PyTorch.
    """
    modules = tmp_path / "modules"
    modules.mkdir(exist_ok=True)
    (modules / "torch.py").write_text("raise ImportError('PyTorch is not needed here')")
    path = os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")])
    if not (tmp_path / "c.ini").exists():
        (tmp_path / "c.ini").write_text(config_text(**{**SMALL, "run__output": "out", **changes}))
    return subprocess.Popen(
        [sys.executable, "-m", "mkds_neat.run", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )


LONG = ("c.ini", "--generations", "50", "--no-pictures", "--quiet")


def finish(process: subprocess.Popen[str], status: int, seconds: float = 60) -> tuple[str, str]:
    """Wait for the end of a command, and check its status and that its group is gone."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == status, (out, err)
    assert "Traceback" not in err, err

    def group_is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    until(group_is_gone, 5)
    return out, err

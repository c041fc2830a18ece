"""Kill an evolution at its writes to the disk, resume each time, and compare with a whole run.

Usage: kill_at_writes.py FOLDER STRATEGY ENGINE FIRST STEP

Every change of a file below the run's folder is a write: opened to be written, flushed, renamed,
removed, or a folder made. The run is killed by SIGKILL before write FIRST, FIRST + STEP, and so on.
Before a flush, half of the file's new bytes are cut off, as after a power failure. Prints the
number of writes of a whole run, and the kills after which the resumed run differed.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from neat_config import config_text

from mkds_neat.config import load_config, parse_config
from mkds_neat.evolution import Evolution
from mkds_neat.results import RunFolder

SMALL = {
    "run__stop_when": "never",
    "run__generations": 3,
    "run__workers": 1,
    "run__drivers_per_console": 4,
    "run__start_method": "fork",
    "evaluation__frames": 30,
    "evaluation__stuck": 20,
    "NEAT__pop_size": 4,
    "DefaultReproduction__elitism": 1,
    "truncation__population": 4,
}


class Killer:
    """Kills this process before a write.

    Args:
        folder: Only files below it count.
        at: Number of the write; None only counts.
    """

    def __init__(self, folder: Path, at: int | None) -> None:
        self.folder = f"{folder}/"
        self.at = at
        self.pid = os.getpid()
        self.count = 0
        self.sizes: dict[str, int] = {}
        sys.addaudithook(self.event)
        fsync = os.fsync

        def flush(descriptor: int) -> None:
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            if self.write(path):
                old, new = self.sizes.get(path, 0), os.fstat(descriptor).st_size
                os.truncate(path, old + (new - old) // 2)
                os.kill(self.pid, signal.SIGKILL)
            fsync(descriptor)

        os.fsync = flush

    def write(self, path: str) -> bool:
        """Count a write; return whether it is the one to be killed at."""
        if not path.startswith(self.folder) or os.getpid() != self.pid:
            return False
        self.count += 1
        return self.count - 1 == self.at

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, _, flags = arguments
            if not isinstance(path, str) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
            if path.startswith(self.folder):
                self.sizes[path] = Path(path).stat().st_size if Path(path).exists() else 0
        elif name in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"):
            path = arguments[1 if name == "os.rename" else 0]
        else:
            return
        if isinstance(path, str | os.PathLike) and self.write(os.fspath(path)):
            os.kill(self.pid, signal.SIGKILL)


def everything(path: Path) -> Any:
    """The results in a run folder, without wall times."""
    tables = []
    for name in ("individuals.csv", "generations.csv"):
        with (path / name).open(newline="") as file:
            tables.append(
                [
                    {k: v for k, v in row.items() if k not in ("wall_seconds", "seconds", "busy")}
                    for row in csv.DictReader(file)
                ]
            )
    champion = json.loads((path / "champion.json").read_text())
    del champion["record"]["seconds"]
    (newest,) = sorted((path / "checkpoints").glob("*3.json"))
    strategy = json.loads(newest.read_text().splitlines()[1])["strategy"]
    return tables, champion, strategy


def drive(text: str, path: Path, at: int | None) -> int:
    """Run or resume an evolution; return the number of its writes."""
    killer = Killer(path, at)
    if path.exists() and (path / "config.ini").exists():
        with RunFolder.open(path) as folder:
            folder.lock()
            checkpoint = folder.load_checkpoint()
            config = load_config(path / "config.ini")
            Evolution(config, folder, checkpoint=checkpoint, progress=False).run()
    else:
        shutil.rmtree(path, ignore_errors=True)  # killed before there was a config
        config = parse_config(text)
        folder = RunFolder.create(path, config.text)
        Evolution(config, folder, progress=False).run()
    left = [each.name for each in path.rglob(".partial-*")]
    assert not left, left
    return killer.count


def in_child(text: str, path: Path, at: int | None) -> tuple[int, int]:
    """Drive in a child process; return its exit status and the number of writes."""
    inward, outward = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(inward)
            os.write(outward, str(drive(text, path, at)).encode())
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(outward)
    with os.fdopen(inward) as pipe:
        writes = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), int(writes or 0)


def main() -> None:
    root, strategy, engine, first, step = sys.argv[1:]
    folder = Path(root).resolve()
    text = config_text(
        **SMALL, run__strategy=strategy, run__vectorization=engine, run__output=folder / "run"
    )
    status, writes = in_child(text, folder / "run", None)
    assert status == 0, status
    expected = everything(folder / "run")
    different = []
    for at in range(int(first), writes, int(step)):
        shutil.rmtree(folder / "run")
        status, _ = in_child(text, folder / "run", at)
        assert status == -signal.SIGKILL, (at, status)
        status, _ = in_child(text, folder / "run", None)
        if status != 0:
            different.append((at, f"status {status}"))
        elif (found := everything(folder / "run")) != expected:
            different.append((at, [a == b for a, b in zip(found, expected, strict=True)]))
    print(f"{writes} writes, different after {different}")


if __name__ == "__main__":
    main()

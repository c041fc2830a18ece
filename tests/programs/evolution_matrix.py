"""Drive evolutions of every strategy that must end alike, and print a table in Markdown.

Usage: evolution_matrix.py FOLDER (kills | few-kills | evaluations | engines | ray) [STRATEGY]

``kills``: SIGKILL hits the main process, a worker, or the server that forks workers, in every
phase. The run then continues by itself or is resumed, and must end with the files of a run that
nothing interrupted. ``evaluations``: the same, with other settings in ``[evaluation]``.
``engines``: the same run with other numbers and kinds of workers must end with the same tables,
champion and strategy. ``ray``: both on a Ray cluster, where SIGKILL also hits an actor or a raylet.
Exit status 1 if a run ends otherwise.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import importlib
import io
import itertools
import json
import multiprocessing.forkserver
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from neat_config import config_text
from ray_nodes import RemoteCluster, actors_on

import mkds_gym.vector.env  # noqa: F401
import mkds_neat.rollout  # noqa: F401
from mkds_neat import evolution, workers
from mkds_neat.cluster import RayPool
from mkds_neat.config import load_config, parse_config
from mkds_neat.evolution import Evolution
from mkds_neat.results import RunFolder

POPULATION = 4
STRATEGIES: dict[str, dict[str, Any]] = {
    "neat": {"NEAT__pop_size": POPULATION, "DefaultReproduction__elitism": 1},
    "neat recurrent": {
        "NEAT__pop_size": POPULATION,
        "DefaultReproduction__elitism": 1,
        "DefaultGenome__feed_forward": False,
    },
    **{
        name: {f"{name}__population": POPULATION}
        for name in ("truncation", "random_search", "openai_es", "cma_es", "sep_cma_es")
    },
    "map_elites": {"map_elites__population": POPULATION},
    "cma_me": {"cma_me__population": POPULATION, "cma_me__emitters": 2},
    "own_strategy:HillClimber": {"strategy__population": POPULATION},
    "truncation with episodes": {
        "truncation__population": POPULATION,
        "evaluation__episodes": 2,
        "evaluation__courses": "mario_course, donkey_course",
        "evaluation__rung_episodes": 1,
        "environment__course": None,
    },
}
DRAWN = {"environment__course": "random", "evaluation__seeds": "generation"}
RUNGS = {"evaluation__rung_frames": 10}
REPLACE = {**DRAWN, "evaluation__reevaluate": "replace"}
AVERAGE = {**DRAWN, "evaluation__reevaluate": "average"}
EVALUATIONS: dict[str, dict[str, Any]] = {
    "neat with replace": {**STRATEGIES["neat"], **REPLACE},
    "neat with average and rungs": {**STRATEGIES["neat"], **AVERAGE, **RUNGS},
    "truncation with average": {**STRATEGIES["truncation"], **AVERAGE},
    "truncation with replace and rungs": {**STRATEGIES["truncation"], **REPLACE, **RUNGS},
    "cma_es with average": {**STRATEGIES["cma_es"], **AVERAGE},
    "cma_es with replace and rungs": {**STRATEGIES["cma_es"], **REPLACE, **RUNGS},
}
ALL = {**STRATEGIES, **EVALUATIONS}
TARGETS = ("main process", "worker", "fork server")
RAY_TARGETS = ("main process", "actor", "raylet")
PHASES = ("starting", "evaluating", "writing tables", "checkpoint", "closing")
SMALL = {
    "run__stop_when": "never",
    "run__generations": 3,
    "run__drivers_per_console": 2,
    "evaluation__frames": 30,
    "evaluation__stuck": 20,
}
ENGINES: dict[str, dict[str, Any]] = {
    "native": {"run__vectorization": "native", "run__workers": 1},
    "fork": {"run__start_method": "fork", "run__workers": 1},
    "forkserver": {"run__start_method": "forkserver", "run__workers": 2},
    "spawn": {"run__start_method": "spawn", "run__workers": 2},
}
RAY = {"run__engine": "ray", "ray__actors": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "1 thread, alone": {**ENGINES["native"], "run__drivers_per_console": 1},
    "2 threads, 4 drivers": {
        "run__vectorization": "native",
        "run__workers": 2,
        "run__drivers_per_console": 4,
    },
    "1 process, 4 drivers": {**ENGINES["fork"], "run__drivers_per_console": 4},
    "2 processes, alone": {
        **ENGINES["fork"],
        "run__workers": 2,
        "run__drivers_per_console": 1,
    },
    "2 processes, 2 drivers": {**ENGINES["fork"], "run__workers": 2},
}


@dataclass(frozen=True)
class Kill:
    """What is killed and when."""

    strategy: str
    engine: str
    target: str
    phase: str


def kills() -> list[Kill]:
    """Return the cases: every strategy in every phase, and every engine and target, in pairs."""
    names = list(STRATEGIES)
    cases = [Kill(name, "native", TARGETS[0], phase) for name in names for phase in PHASES]
    # Each strategy meets each kind of death with processes, in phases that change by strategy.
    for number, name in enumerate(names):
        phases = itertools.islice(itertools.cycle(PHASES), number, None)
        cases += [
            Kill(name, "fork", TARGETS[0], next(phases)),
            Kill(name, "fork", TARGETS[1], next(phases)),
        ]
    for phase in PHASES:
        for target in TARGETS:
            cases.append(Kill("neat", "forkserver", target, phase))
    for number, name in enumerate(names[1:]):
        cases.append(Kill(name, "forkserver", TARGETS[number % 3], PHASES[number % 5]))
    cases += [Kill("truncation", "spawn", target, "evaluating") for target in TARGETS[:2]]
    return list(dict.fromkeys(cases))


def few_kills() -> list[Kill]:
    """Return two cases."""
    return [
        Kill("neat recurrent", "native", "main process", "checkpoint"),
        Kill("own_strategy:HillClimber", "fork", "worker", "evaluating"),
    ]


def kills_by_evaluation() -> list[Kill]:
    """Return the cases for `EVALUATIONS`: deaths while they evaluate, and in another phase."""
    others = itertools.cycle(phase for phase in PHASES if phase != "evaluating")
    cases = []
    for number, name in enumerate(EVALUATIONS):
        cases.append(Kill(name, "native", TARGETS[0], "evaluating"))
        cases.append(Kill(name, "native", TARGETS[0], next(others)))
        if number % 2:
            cases.append(Kill(name, "fork", TARGETS[1], "evaluating"))
    return cases


def kills_on_ray() -> list[Kill]:
    """Return the cases with Ray: every target in every phase, with changing strategies."""
    names = itertools.cycle(STRATEGIES)
    special = iter(
        ("neat with average and rungs", "truncation with average", "cma_es with average")
    )
    return [
        Kill(next(special if phase == "evaluating" else names), "ray", target, phase)
        for phase in PHASES
        for target in RAY_TARGETS
    ]


# One run -------------------------------------------------------------------------------------


class Nodes:
    """Two nodes of a Ray cluster, which drive."""

    def __init__(self, cluster: RemoteCluster) -> None:
        self._cluster = cluster
        self.raylets: list[int] = []

    def options(self) -> dict[str, Any]:
        """Start missing nodes, and return what a config needs."""
        self.raylets += [self._cluster.add_node() for _ in range(2 - len(self.raylets))]
        return {**RAY, "ray__address": self._cluster.address}

    def remove_dead(self) -> None:
        """Wait for dead raylets: the actors of a zombie would live on."""
        for raylet in [each for each in self.raylets if not runs(each)]:
            self._cluster.remove_node(raylet)
            self.raylets.remove(raylet)


def runs(pid: int) -> bool:
    """Return whether a process runs."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition holds, or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def victim(target: str, pool: Any, raylets: Sequence[int]) -> int:
    """Return the process id of what is to be killed."""
    if target == TARGETS[0]:
        return os.getpid()
    if target in RAY_TARGETS:
        wait(lambda: bool(actors_on(raylets)), 60)
        actor = actors_on(raylets)[0]
        return actor.pid if target == "actor" else actor.ppid()
    if target == TARGETS[1]:
        return int(pool.processes[0].pid)
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    return int(server._forkserver_pid)


def before(owner: Any, name: str, act: Callable[..., bool]) -> None:
    """Call ``act`` before a method, with its arguments, until ``act`` returns True."""
    method, state = getattr(owner, name), {"done": False}

    def changed(*args: Any, **kwargs: Any) -> Any:
        if not state["done"]:
            state["done"] = act(*args)
        return method(*args, **kwargs)

    setattr(owner, name, changed)


def prepare(kill: Kill, raylets: Sequence[int]) -> None:
    """Let this process, one of its children, or a process of the nodes die in a phase."""
    kinds = {"native": workers.ThreadPool, "ray": RayPool}
    kind: Any = kinds.get(kill.engine, workers.ProcessPool)
    pools: list[Any] = []
    make = kind.__init__

    def die() -> bool:
        pid = victim(kill.target, pools[0] if pools else None, raylets)
        print("killed", pid, *(actor.pid for actor in actors_on(raylets)), flush=True)
        os.kill(pid, signal.SIGKILL)
        return True

    def noted(pool: Any, *args: Any, **kwargs: Any) -> None:
        make(pool, *args, **kwargs)
        pools.append(pool)
        if kill.phase == "starting":
            die()

    kind.__init__ = noted
    results = itertools.count()
    if kill.phase == "evaluating":  # in the second generation, after a result or before the last
        last = kill.strategy in EVALUATIONS and kill.target == TARGETS[0]
        after = POPULATION - 1 if last else 1
        before(
            RunFolder,
            "journal",
            lambda _, number, *__: number == 1 and next(results) == after and die(),
        )
    elif kill.phase == "writing tables":  # between the two tables
        before(RunFolder, "add_generation", lambda *_: next(results) == 1 and die())
    elif kill.phase == "checkpoint":  # the file is written, but has its temporary name

        def writes(_: RunFolder, name: str, *__: Any) -> bool:
            if not name.endswith("000002.json"):
                return False
            before(os, "fsync", lambda *_: die())
            return True

        before(RunFolder, "write", writes)
    elif kill.phase == "closing":
        before(kind, "shut_down", lambda *_: die())


def drive(text: str, path: Path) -> None:
    """Begin or resume a run in this process."""
    evolution.write_fitness_plot = lambda _: None  # takes longer than the run
    if (path / "config.ini").exists():
        with RunFolder.open(path) as folder:
            folder.lock()
            checkpoint = folder.load_checkpoint()
            config = load_config(path / "config.ini")
            Evolution(config, folder, checkpoint=checkpoint, progress=False).run()
    else:
        config = parse_config(text)
        Evolution(config, RunFolder.create(path, config.text), progress=False).run()


def in_child(act: Callable[[], object], path: Path) -> tuple[int, str, list[int]]:
    """Drive the run of a folder in a child process.

    Returns:
        Its exit status, what it printed, and its processes that are left ten seconds later.
    """
    output = path.with_suffix(".log")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            with output.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            act()
            status = 0
        except BaseException as error:  # the parent reports what was printed
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            # Without the end of this process's parent, but with that of its helpers.
            server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):
                server._stop()
            with contextlib.suppress(Exception):
                multiprocessing.resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]
            os._exit(status)
    _, status = os.waitpid(child, 0)
    wait(lambda: not of_session(child), 10)
    left = of_session(child)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status), output.read_text(), left


def of_session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == leader and state != "Z":
                    found.append(int(entry.name))
    return found


# What must be the same -----------------------------------------------------------------------

_OF_TIME = ("wall_seconds", "seconds", "busy", "busy_seconds")


def timeless(value: Any) -> Any:
    """Return JSON values without wall times."""
    if isinstance(value, dict):
        return {key: timeless(each) for key, each in value.items() if key not in _OF_TIME}
    return [timeless(each) for each in value] if isinstance(value, list) else value


def results(path: Path) -> dict[str, Any]:
    """Return tables, champion and the last state of the strategy."""
    found: dict[str, Any] = {}
    for name in ("individuals.csv", "generations.csv"):
        with (path / name).open(newline="") as file:
            found[name] = timeless(list(csv.DictReader(file)))
    found["champion.json"] = timeless(json.loads((path / "champion.json").read_text()))
    newest = max((path / "checkpoints").glob("*.json"))
    body = json.loads(newest.read_text().splitlines()[1])
    found["strategy"], found["generation"] = body["strategy"], newest.name
    return found


def everything(path: Path) -> dict[str, Any]:
    """Return `results` and the other files of a run, without wall times."""
    found = results(path)
    names = sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
    found["files"] = names
    for name in names:
        data = (path / name).read_bytes()
        if name.endswith(".gz"):
            found[name] = gzip.GzipFile(fileobj=io.BytesIO(data)).read()
        elif name.endswith(".pt"):
            found[name] = data
    return found


def text_of(strategy: str, path: Path, **changes: Any) -> str:
    """Return the config of a run."""
    name = strategy.split()[0]
    return config_text(
        **{**SMALL, **ALL[strategy], "run__strategy": name, "run__output": path, **changes}
    )


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return the names of what differs."""
    return [key for key in {**expected, **found} if found.get(key) != expected.get(key)]


# Tables --------------------------------------------------------------------------------------


def kill_one(kill: Kill, path: Path, expected: dict[str, Any], nodes: Nodes | None) -> str:
    """Return how a run went on after a kill."""
    shutil.rmtree(path, ignore_errors=True)
    options = nodes.options() if nodes else ENGINES[kill.engine]
    raylets = list(nodes.raylets) if nodes else []
    text = text_of(kill.strategy, path, **options)

    def first() -> None:
        prepare(kill, raylets)
        drive(text, path)

    status, out, left = in_child(first, path)
    if (killed := re.search("^killed (.*)", out, re.MULTILINE)) is None:
        return f"WRONG: nothing was killed: status {status}, {out[-500:]}"
    how = "continued"
    if kill.target == TARGETS[0] and status != -signal.SIGKILL:
        return f"WRONG: status {status}: {out[-500:]}"
    if status != 0:
        how = "resumed"
        status, out, later = in_child(lambda: drive(text, path), path)
        left += later
        if status != 0:
            return f"WRONG: not resumed, status {status}: {out[-500:]}"
    if nodes:
        nodes.remove_dead()
    seen = [int(pid) for pid in killed[1].split()]
    wait(lambda: not any(map(runs, seen)) and not actors_on(raylets), 60)
    left += [pid for pid in seen if runs(pid)] + [actor.pid for actor in actors_on(raylets)]
    if left:
        return f"WRONG: processes left: {left}"
    wrong = differing(everything(path), expected)
    return f"WRONG: other {', '.join(wrong)}" if wrong else how


def uninterrupted(strategy: str, path: Path, **changes: Any) -> None:
    """Drive a run to its end in a child process."""
    shutil.rmtree(path, ignore_errors=True)
    text = text_of(strategy, path, **changes)
    status, out, _ = in_child(lambda: drive(text, path), path)
    assert status == 0, (strategy, changes, out)


def matrix_of_kills(root: Path, cases: Sequence[Kill], nodes: Nodes | None = None) -> int:
    """Print the outcomes; return the number of wrong ones."""
    expected: dict[str, dict[str, Any]] = {}
    outcomes: dict[Kill, str] = {}
    path = root / "run"
    for kill in cases:
        if kill.strategy not in expected:
            uninterrupted(kill.strategy, path, **ENGINES["native"])
            expected[kill.strategy] = everything(path)
        outcomes[kill] = kill_one(kill, path, expected[kill.strategy], nodes)
        if "WRONG" in outcomes[kill]:
            print(kill, outcomes[kill], file=sys.stderr, flush=True)
    print("| strategy | engine | killed | " + " | ".join(PHASES) + " |")
    print("|---|---|---|" + "---|" * len(PHASES))
    for name, engine, target in dict.fromkeys((k.strategy, k.engine, k.target) for k in cases):
        cells = [outcomes.get(Kill(name, engine, target, phase), "") for phase in PHASES]
        print(f"| {name} | {engine} | {target} | {' | '.join(cells)} |")
    return sum("WRONG" in each for each in outcomes.values())


def matrix_of_engines(root: Path, names: Sequence[str]) -> int:
    """Print the outcomes; return the number of wrong ones."""
    wrong = 0
    print("| strategy | " + " | ".join(VARIANTS) + " |")
    print("|---|" + "---|" * len(VARIANTS))
    for name in names:
        cells, expected = [], None
        for variant in VARIANTS:
            uninterrupted(name, path := root / "run", **VARIANTS[variant])
            found = results(path)
            expected = expected or found
            other = differing(found, expected)
            wrong += len(other)
            cells.append(f"WRONG: {', '.join(other)}" if other else "same")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return wrong


def matrix_of_ray(root: Path, names: Sequence[str], nodes: Nodes) -> int:
    """Print the outcomes of runs with one connection; return the number of wrong ones."""
    options = nodes.options()
    texts = {name: text_of(name, root / f"ray {name}", **options) for name in names}

    def all_on_ray() -> None:
        ray = importlib.import_module("ray")
        ray.init(address=options["ray__address"], log_to_driver=False, configure_logging=False)
        for name, text in texts.items():
            drive(text, root / f"ray {name}")

    for name in names:
        shutil.rmtree(root / f"ray {name}", ignore_errors=True)
    status, out, _ = in_child(all_on_ray, root / "ray")
    assert status == 0, out
    wrong = 0
    print("| strategy | Ray, 2 actors |")
    print("|---|---|")
    for name in names:
        uninterrupted(name, path := root / "run", **ENGINES["native"])
        other = differing(everything(root / f"ray {name}"), everything(path))
        wrong += len(other)
        print(f"| {name} | {f'WRONG: {other}' if other else 'same'} |", flush=True)
    return wrong


def main() -> int:
    folder, kind, *only = sys.argv[1:]
    root = Path(folder).resolve()
    root.mkdir(parents=True, exist_ok=True)
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # pyribs would compile for seconds in each process
    modules = ["ribs.archives", "ribs.emitters", "mkds_gym.kartlab.generator"]
    if kind == "ray":
        modules.append("ray")
    for module in [] if kind == "few-kills" else modules:
        importlib.import_module(module)  # once, for all forks
    names = only or list(STRATEGIES)
    if kind == "engines":
        return int(matrix_of_engines(root, names) > 0)
    cases = {
        "kills": kills,
        "few-kills": few_kills,
        "evaluations": kills_by_evaluation,
        "ray": kills_on_ray,
    }[kind]()
    if only:
        cases = [kill for kill in cases if kill.strategy in only]
    if kind != "ray":
        return int(matrix_of_kills(root, cases) > 0)
    with contextlib.closing(RemoteCluster()) as cluster:
        nodes = Nodes(cluster)
        wrong = matrix_of_ray(root, names, nodes)
        print()
        return int(wrong + matrix_of_kills(root, cases, nodes) > 0)


if __name__ == "__main__":
    sys.exit(main())

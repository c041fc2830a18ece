"""One job of a comparison, in a process of its own: ``python -m mkds_neat.compare.job``.

The process dies with the one that started it. Everything that it leaves behind is complete, or can
be continued.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mkds_gym.utils.command_line import print_error
from mkds_gym.utils.processes import signal_if_parent_dies

FAILED: Final = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Do a job.

    Args:
        argv: Folder of the comparison, kind of the job (``run``, ``reference`` or ``unseen``) and
            its name: that of a run or course, or a course seed.

    Returns:
        0 if the result is on the disk.
    """
    # The thread that started this process waits for it.
    signal_if_parent_dies(signal.SIGKILL)
    folder, kind, name = sys.argv[1:] if argv is None else argv
    from mkds_gym.errors import MKDSError

    try:
        return _KINDS[kind](Path(folder), name)
    except MKDSError as error:
        print_error(f"{kind} {name}: {error}")
        return FAILED


def _run(folder: Path, name: str) -> int:
    from mkds_neat.compare.measures import measure
    from mkds_neat.compare.store import Store
    from mkds_neat.config.ppo import PPO
    from mkds_neat.run import main as run

    store = Store.open(folder)
    planned = store.plan.run(name)
    if planned.strategy == PPO:
        from mkds_neat.compare.ppo import train

        status = train(store, planned)
    else:
        status = run(["--resume", str(store.run_folder(name)), "--quiet", "--no-pictures"])
    if status:
        return status
    last = store.plan.config(planned).plan.seeds == "generation"
    folder = store.run_folder(name)
    measures = measure(folder, name, store.plan.frames, last_champion=last)
    measures.save(store.measures_path(name))
    return 0


def _reference(folder: Path, course: str) -> int:
    from mkds_neat.compare.reference import reference
    from mkds_neat.compare.store import Store

    store = Store.open(folder)
    planned = next(run for run in store.plan.runs if run.course == course)
    times = reference(store.plan.config(planned).env_kwargs)
    store.write(store.reference_path(course), asdict(times))
    return 0


def _unseen(folder: Path, seed: str) -> int:
    from mkds_neat.compare.store import Store
    from mkds_neat.compare.unseen import drive_unseen

    store = Store.open(folder)
    done = store.unseen_races(int(seed))
    groups: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    arguments: dict[str, dict[str, Any]] = {}  # by setting
    for planned in store.plan.runs:
        measures = store.measures(planned.name)
        if measures is None or measures.champion is None or planned.name in done:
            continue
        if planned.setting not in arguments:
            arguments[planned.setting] = store.plan.config(planned).env_kwargs
        kwargs = arguments[planned.setting]
        # Champions with the same sensors and rules share a console.
        key = json.dumps(
            {k: v for k, v in kwargs.items() if not k.startswith("course")}, sort_keys=True
        )
        _, networks = groups.setdefault(key, (kwargs, {}))
        networks[planned.name] = store.network(planned, measures.champion)
    found: dict[str, Any] = {name: asdict(race) for name, race in done.items()}
    for kwargs, networks in groups.values():
        laps = store.plan.unseen_laps or None
        for name, result in drive_unseen(networks, kwargs, int(seed), laps=laps).items():
            found[name] = asdict(result)
    store.write(store.unseen_path(int(seed)), found)
    return 0


_KINDS: Final = {"run": _run, "reference": _reference, "unseen": _unseen}


if __name__ == "__main__":
    sys.exit(main())

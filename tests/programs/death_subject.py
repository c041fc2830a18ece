"""Start what a test will kill: KIND METHOD PHASE. Print "reached" in that phase, and go on.

Kinds: evolve-async, evolve-native, vector-async, vector-native, record, replay, play.
Phases: starting, resetting, stepping, writing, drawing, closing.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gymnasium as gym

import mkds_gym
from mkds_gym.viewer import Bus, Viewer

LONG = 10_000


def reached() -> None:
    print("reached", os.getpid(), flush=True)


def before(owner: Any, name: str, *, stay: bool = False, calls: int = 1) -> None:
    """Report the phase when a method is called for the first time, and stay there if asked to."""
    method, left = getattr(owner, name), [calls]

    @functools.wraps(method)
    def reporting(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            reached()
            if stay:
                time.sleep(60)
        return method(*args, **kwargs)

    setattr(owner, name, reporting)


def when_watched() -> None:
    """Report the phase when a window watches."""
    buses: list[Bus] = []
    make = Bus.__init__

    def noted(bus: Bus, *args: Any, **kwargs: Any) -> None:
        make(bus, *args, **kwargs)
        buses.append(bus)

    Bus.__init__ = noted  # type: ignore[method-assign]

    def wait() -> None:
        while not any(bus.watched for bus in buses):
            time.sleep(0.05)
        reached()

    threading.Thread(target=wait, daemon=True).start()


def evolve(engine: str, method: str, phase: str) -> int:
    from neat_config import config_text

    from mkds_neat import workers
    from mkds_neat.evaluation import Evaluator
    from mkds_neat.results import RunFolder
    from mkds_neat.run import main

    pool: Any = workers.ProcessPool if engine == "async" else workers.ThreadPool
    if phase == "starting":
        before(Evaluator, "start")
    elif phase == "resetting":
        before(pool, "send")
    elif phase == "stepping":
        before(RunFolder, "journal", calls=2)
    elif phase == "writing":
        before(Path, "replace", stay=True, calls=6)
    elif phase == "drawing":
        when_watched()
    elif phase == "closing":
        before(pool, "shut_down")
    text = config_text(
        run__output="out",
        run__workers=2,
        run__generations=1 if phase == "closing" else LONG,
        run__stop_when="never",
        run__vectorization=engine,
        run__start_method="forkserver" if method == "-" else method,
        run__viewer="all" if phase == "drawing" else "none",
        run__strategy="truncation",
        truncation__population=5,
        evaluation__frames=60,
        evaluation__stuck=60,
    )
    Path("c.ini").write_text(text)
    return main(["c.ini", "--quiet", "--no-pictures"])


def vector(engine: str, method: str, phase: str) -> int:
    if phase == "starting":
        reached()
    mode = "async" if engine == "async" else "vector_entry_point"
    envs = gym.make_vec(
        "MKDS-v0",
        num_envs=2,
        vectorization_mode=mode,
        vector_kwargs={"context": method} if engine == "async" else None,
    )
    if phase == "drawing":
        when_watched()
        Viewer(envs)
    if phase == "resetting":
        reached()
    envs.reset(seed=0)
    for step in range(LONG):
        if step == 20 and phase == "stepping":
            reached()
        if step == 20 and phase == "closing":
            reached()
            envs.close()
            return 0
        envs.step(envs.action_space.sample())
    return 0


def record(phase: str) -> int:
    from mkds_gym.recording import Recorder

    env = mkds_gym.MKDSEnv()
    recorder = Recorder(env)
    env.reset(seed=0)
    for _ in range(30):
        env.step(env.action_space.sample())
    if phase == "writing":
        before(Path, "replace", stay=True)
    recorder.recording().save("race.mkr")
    if phase == "stepping":
        reached()
        while True:
            env.step(env.action_space.sample())
    return 0


def replay(phase: str) -> int:
    from mkds_gym.replay.__main__ import main

    record("")
    if phase == "writing":
        before(Path, "replace", stay=True)
    else:
        reached()
    return main(["race.mkr", "--video", "race.mp4"])


def play(phase: str) -> int:
    from mkds_gym.play.__main__ import main

    if phase == "stepping":
        before(mkds_gym.Console, "step", calls=60)
    else:
        before(Path, "replace", stay=True)
        threading.Timer(8.0, os.kill, (os.getpid(), 15)).start()  # which saves the recording
    return main(["--record", "race.mkr"])


if __name__ == "__main__":
    kind, method, phase = sys.argv[1:]
    name, _, engine = kind.partition("-")
    if name == "evolve":
        sys.exit(evolve(engine, method, phase))
    if name == "vector":
        sys.exit(vector(engine, method, phase))
    sys.exit({"record": record, "replay": replay, "play": play}[name](phase))

"""Two threads use one environment, or one console, without any care; print what came of it.

Arguments: ``step`` (both step), ``reset`` (the main thread resets while the other steps),
``pictures`` (the main thread renders and clones) or ``console`` (both call a console).
"""

import hashlib
import sys
import threading
from collections.abc import Callable

import gymnasium as gym

import mkds_gym  # noqa: F401 - registers MKDS-v0
from mkds_gym.emulator import Console, Keys
from mkds_gym.errors import ConcurrentCallError
from mkds_gym.kartlab.boot import BootParameters

STEPS = 50


def repeat(call: Callable[[], object], times: int) -> list[int]:
    """Call until it has succeeded so often; return how often it succeeded and was refused."""
    counts = [0, 0]
    while counts[0] < times:
        try:
            call()
            counts[0] += 1
        except ConcurrentCallError:
            counts[1] += 1
    return counts


def both(main: Callable[[], object], other: Callable[[], object], times: int) -> list[list[int]]:
    """Repeat both calls in two threads, and return their counts."""
    counts: list[list[int]] = []
    thread = threading.Thread(target=lambda: counts.append(repeat(other, STEPS)))
    thread.start()
    counts.append(repeat(main, times))
    thread.join()
    assert len(counts) == 2, "the other thread failed"
    return counts


def digest(console: Console) -> str:
    return hashlib.sha256(console.ram).hexdigest()


def main(kind: str) -> None:
    if kind == "console":
        console = Console(on_power_on=BootParameters().write)
        counts = both(lambda: console.step(Keys.A), lambda: console.run(Keys.A, 1, int), STEPS)
        got = digest(console)
        console.reset()
        console.step(Keys.A, 2 * STEPS)
        assert digest(console) == got
    else:
        env = gym.make("MKDS-v0", render_mode="rgb_array", truncate_on=()).unwrapped

        def look() -> None:
            env.render()
            env.clone_state()

        env.reset()
        env.step(1)
        env.reset()
        calls = {"step": lambda: env.step(1), "reset": env.reset, "pictures": look}
        counts = both(calls[kind], lambda: env.step(1), STEPS if kind == "step" else 10)
        if kind == "reset":
            env.reset()
        got = digest(env.console)
        env.reset()
        for _ in range({"step": 2 * STEPS, "reset": 0, "pictures": STEPS}[kind]):
            env.step(1)
        assert digest(env.console) == got
        env.close()
    assert sum(refused for _, refused in counts) > 0, "the threads never met"
    print("same", counts)


main(sys.argv[1])

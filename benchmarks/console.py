"""Frames per second of the console against a plain py-desmume loop, and the cost of its calls.

    python benchmarks/console.py [--rom FILE] [--frames 1500] [--repeat 3]

Each row runs in a process of its own, the rows in turn, and the best of the repeats is shown, as
other work on the machine only ever slows a run down. All drive with the accelerator held.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from mkds_gym.cartridge import Cartridge
from mkds_gym.console import Console, Keys
from mkds_gym.kartlab.boot import ADDRESS, BootParameters

WARM_UP = 300  # frames: past boot and the countdown


@contextlib.contextmanager
def timed() -> Iterator[Callable[[], float]]:
    start = time.perf_counter()
    yield lambda: time.perf_counter() - start


def plain(rom: str, frames: int) -> float:
    """The loop of every public project: `emu.cycle()`, everything drawn, sound on."""
    os.environ.update(SDL_VIDEODRIVER="dummy", SDL_AUDIODRIVER="dummy")
    with tempfile.TemporaryDirectory() as home, open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.environ.update(HOME=home, XDG_CONFIG_HOME=home)
        os.dup2(nowhere.fileno(), 1)
        from desmume.emulator import DeSmuME

        emulator = DeSmuME()
        emulator.open(rom)
        words = BootParameters().pack() if Cartridge.open(rom).boot_parameters else b""
        for i, word in enumerate(struct.unpack(f"<{len(words) // 4}I", words)):
            emulator.memory.write_long(ADDRESS + 4 * i, word)
        emulator.input.keypad_add_key(int(Keys.A))
        for _ in range(WARM_UP):
            emulator.cycle(False)
        with timed() as elapsed:
            for _ in range(frames):
                emulator.cycle(False)
            return frames / elapsed()


def _race(rom: str, jit: bool = True) -> Console:
    """A console whose cartridge goes straight into a race, past title and menu."""
    told = Cartridge.open(rom).boot_parameters
    return Console(rom, on_power_on=BootParameters().write if told else None, jit=jit)


def console(rom: str, frames: int, jit: bool, draw: bool, per_step: int) -> float:
    with _race(rom, jit) as one:
        one.step(Keys.A, WARM_UP, draw=False)
        with timed() as elapsed:
            for _ in range(frames // per_step):
                one.step(Keys.A, per_step, draw)
            return frames // per_step * per_step / elapsed()


def threads(rom: str, frames: int, count: int) -> float:
    """Several consoles in one process, a thread each."""
    consoles = [_race(rom) for _ in range(count)]
    for one in consoles:
        one.step(Keys.A, WARM_UP, draw=False)
    workers = [
        threading.Thread(target=one.step, args=(Keys.A, frames), kwargs={"draw": False})
        for one in consoles
    ]
    with timed() as elapsed:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return count * frames / elapsed()


def call(rom: str, what: str) -> float:
    """Milliseconds of one call."""
    with _race(rom) as one:
        one.step(Keys.A, WARM_UP)
        snapshot, best = one.snapshot(), float("inf")
        state = one.save_state()
        assert state is not None
        actions: dict[str, Callable[[], object]] = {
            "restore": lambda: one.restore(snapshot),
            "snapshot": one.snapshot,
            "save_state": one.save_state,
            "load_state": lambda: one.load_state(state),
            "screen": one.screen,
            "reset": one.reset,
        }
        for _ in range(20):
            one.step(Keys.A, 30, draw=False)  # code to forget, memory to put back
            with timed() as elapsed:
                actions[what]()
                best = min(best, elapsed())
        return 1000 * best


def overhead(rom: str) -> float:
    """Microseconds that `step(keys, 1, draw=False)` adds to the two calls into the library."""
    with _race(rom) as one:
        one.step(0, WARM_UP, draw=False)
        skip, cycle, count = one._skip, one._cycle, 20_000
        one._cycle = one._skip = lambda *_: None  # the emulator itself varies far too much
        step = one.step
        with timed() as elapsed:
            for _ in range(count):
                step(0, 1, False)
            ours = elapsed()
        nothing: Callable[..., None] = one._cycle
        with timed() as elapsed:
            for _ in range(count):
                nothing()
                nothing(0)
            bare = elapsed()
        one._cycle, one._skip = cycle, skip
        return 1e6 * (ours - bare) / count


def best_of(repeat: int, function: Callable[..., float], *args: object, least: bool) -> float:
    results = []
    for _ in range(repeat):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(pool.apply(function, args))
    return min(results) if least else max(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rom", help="default: MKDS_ROM, else Kartlab")
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    cartridge = Cartridge.open(options.rom)
    rom, frames, repeat = str(cartridge.path), options.frames, options.repeat
    print(f"{cartridge.title}, {frames} frames, best of {repeat}, {os.cpu_count()} cores\n")

    base = best_of(repeat, plain, rom, frames, least=False)
    print(f"{'frames per second':<52}{'':>10}   times plain")
    print(f"{'plain py-desmume, emu.cycle()':<52}{base:>10.0f}{1:>12.2f}")
    rows: list[tuple[str, Callable[..., float], tuple[object, ...]]] = [
        ("interpreter, every frame drawn", console, (False, True, 1)),
        ("interpreter, nothing drawn", console, (False, False, 1)),
        ("every frame drawn", console, (True, True, 1)),
        ("steps of 4 frames, the last drawn", console, (True, True, 4)),
        ("steps of 1 frame, nothing drawn", console, (True, False, 1)),
        ("steps of 4 frames, nothing drawn (bare console)", console, (True, False, 4)),
        ("2 consoles, 2 threads, nothing drawn", threads, (2,)),
    ]
    for label, function, arguments in rows:
        value = best_of(repeat, function, rom, frames, *arguments, least=False)
        print(f"{'Console: ' + label:<52}{value:>10.0f}{value / base:>12.2f}", flush=True)

    print(f"\n{'milliseconds per call':<52}")
    for what in ("restore", "snapshot", "reset", "load_state", "save_state", "screen"):
        print(f"{what:<52}{best_of(1, call, rom, what, least=True):>10.2f}", flush=True)
    value = best_of(repeat, overhead, rom, least=True)
    print(f"\n{'step() beyond its two calls, microseconds':<52}{value:>10.2f}")


if __name__ == "__main__":
    main()

"""Checks that run the emulator, in a child process, because a damaged ROM or state can crash it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from mkds_gym.course import Course
from mkds_gym.doctor.finding import BAD, ODD, OK, Finding
from mkds_gym.doctor.races import check_race
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.errors import MKDSError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.utils.child import answer_parent, run_in_child

TIMEOUT: Final = 600
"""Seconds that the child may take."""
FRAMES: Final = 2000
"""Frames whose speed is measured."""
_BOOT_FRAMES: Final = 300
_EXACT_FRAMES: Final = 120
_ADVICE: Final = {
    "known_build": "install the py-desmume of pyproject.toml",
    "jit": "the interpreter runs at a third of the speed; see docs/explanation/speed.md",
}
_DAMAGED: Final = "the ROM or the state is damaged: dump the cartridge, or save the state, again"

_NOT_BOOTED: Final = "the program does not reach its race: mend what is bad above first"


def check_running(
    cartridge: Cartridge, states: Sequence[tuple[str, Path]], frames: int = FRAMES
) -> Iterator[Finding]:
    """Run a cartridge and states of it in a child process.

    Args:
        cartridge: the cartridge.
        states: names and files of savestates.
        frames: number of frames for the speed.
    """
    result = run_in_child("mkds_gym.doctor.running", (cartridge, list(states), frames), TIMEOUT)
    last = "the start of the emulator"
    for entry in result.answers:
        if "next" in entry:
            last = entry["next"]
        else:
            yield Finding(**entry)
    if result.status is None:
        yield Finding(last, BAD, f"the emulator hangs for {TIMEOUT} s", _DAMAGED)
    elif result.status != 0:
        yield Finding(last, BAD, f"the emulator crashes ({result.ending})", _DAMAGED)


def _findings(
    cartridge: Cartridge, states: Sequence[tuple[str, Path]], frames: int
) -> Iterator[Finding | str]:
    """Yield findings, and before each part its name."""
    boot = BootParameters().write if cartridge.boot_parameters else None
    yield "console"
    with Console(cartridge, on_power_on=boot) as console:
        for field in fields(console.capabilities):
            on = getattr(console.capabilities, field.name)
            advice = _ADVICE.get(field.name, "everything works, but slower or with side effects")
            yield Finding(
                f"capability {field.name}",
                OK if on else ODD,
                "on" if on else "off",
                "" if on else advice,
            )
        yield "boot"
        console.step(0, _BOOT_FRAMES, draw=False)
        yield _check_layout(console)
        yield "speed"
        start = console.snapshot()
        for draw in (True, False):
            console.restore(start)
            yield _speed(console, frames, draw)
        yield "exactness"
        console.restore(start)
        yield _exactness(console, start)
        courses = _courses(cartridge)
        if cartridge.boot_parameters:
            yield "booted race"
            console.restore(start)
            yield from check_race(console, "booted race", courses, _NOT_BOOTED)
        for name, path in states:
            yield name
            try:
                console.load_state(path)
                console.step(0, 2)
            except MKDSError as error:
                yield Finding(name, BAD, str(error), "save the state again")
                continue
            yield from check_race(console, name, courses)


def _check_layout(console: Console) -> Finding:
    region = console.cartridge.region
    try:
        layout = MemoryLayout.detect(console.ram, region)
    except MKDSError as error:
        return Finding(
            "layout",
            BAD,
            str(error),
            "the program has not started, or keeps its memory elsewhere: the ROM is damaged, or a "
            "hack that mkds-gym cannot read",
        )
    text = f"region {region}, addresses shifted by {layout.shift:+#x}"
    if (layout.shift == 0) != (region == "USA"):
        return Finding(
            "layout",
            ODD,
            text,
            "unusual for this region: check the fields of a start below, and report this line",
        )
    return Finding("layout", OK, text)


def _speed(console: Console, frames: int, draw: bool) -> Finding:
    start = time.perf_counter()
    for _ in range(max(frames // 10, 1)):
        console.step(Keys.A, 10, draw=draw)
    rate = max(frames // 10, 1) * 10 / (time.perf_counter() - start)
    slow = rate < FRAMES_PER_SECOND
    return Finding(
        f"speed, {'drawn' if draw else 'not drawn'}",
        ODD if slow else OK,
        f"{rate:,.0f} frames/s over {frames:,} frames",
        "slower than a real console: close other programs; look at the capabilities above"
        if slow
        else "",
    )


def _drive(console: Console) -> str:
    digest = hashlib.sha256()
    for number in range(_EXACT_FRAMES // 10):
        console.step(Keys.A | (Keys.LEFT if number % 2 else Keys.RIGHT), 10)
        digest.update(console.ram.data)
        digest.update(console.screen("both").tobytes())
    return digest.hexdigest()


def _exactness(console: Console, start: Snapshot) -> Finding:
    text = f"snapshot and saved state, {_EXACT_FRAMES} frames each"
    expected = _drive(console)
    console.restore(start)
    state = console.save_state()
    again = _drive(console)
    console.load_state(state or b"")
    loaded = _drive(console)
    wrong = [
        name
        for name, digest in (("snapshot", again), ("saved state", loaded))
        if digest != expected
    ]
    if wrong:
        return Finding(
            "exactness",
            BAD,
            f"{text}: memory or pictures differ after the {' and the '.join(wrong)}",
            "results are not reproducible on this machine or ROM: report this page",
        )
    return Finding("exactness", OK, f"{text}: memory and pictures are equal")


def _courses(cartridge: Cartridge) -> dict[int, str]:
    """Names of the courses that can be read, by fingerprint."""
    found = {}
    try:
        for name in cartridge.course_names():
            try:
                found[Course.from_cartridge(cartridge, name).fingerprint] = name
            except MKDSError:
                continue  # `check_courses` names the fault
    except MKDSError:
        pass
    return found


def _answer(
    request: tuple[Cartridge, Sequence[tuple[str, Path]], int],
) -> Iterator[dict[str, str]]:
    """In the child: yield the findings, and the name of each part before it."""
    try:
        for finding in _findings(*request):
            yield {"next": finding} if isinstance(finding, str) else asdict(finding)
    except MKDSError as error:
        yield asdict(Finding("console", BAD, str(error), _DAMAGED))


if __name__ == "__main__":
    answer_parent(_answer)

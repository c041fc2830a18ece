"""Many consoles: one after another, at once, in threads and processes, with other libraries."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from consoles import LEFT, RIGHT, digest_after, digest_of_new_console, race_console
from programs import run_file

from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.desmume import library, loader
from mkds_gym.emulator.desmume.builds import KNOWN_BUILDS
from mkds_gym.errors import ConsoleError


@pytest.fixture(scope="module")
def expected() -> str:
    """`digest_of_new_console` of `LEFT`."""
    return digest_of_new_console(LEFT)


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") // 1024


# One process ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_consoles_one_after_another_use_constant_memory(expected: str) -> None:
    before = 0
    for i in range(30):
        if i == 5:
            gc.collect()
            before = resident_kib()
        with Console(BUNDLED_ROM) as console:
            console.step(0, 2)
            if i % 10 == 0:
                assert digest_after(race_console(), LEFT) == expected
        gc.collect()
    # Another image would take 60 MiB.
    assert resident_kib() - before < 20 * 1024
    assert len(list(Path("/proc/self/fd").iterdir())) < 60


def test_collected_consoles_return_their_libraries() -> None:
    consoles = [Console(BUNDLED_ROM), Console(BUNDLED_ROM)]
    used = [console.library for console in consoles]
    assert not any(one in library.idle for one in used)
    consoles.clear()
    gc.collect()
    assert all(one in library.idle for one in used)
    idle = len(library.idle)
    again = [Console(BUNDLED_ROM) for _ in range(idle)]
    try:
        assert library.idle == []
        assert all(any(console.library is one for console in again) for one in used)
    finally:
        for console in again:
            console.close()
    assert len(library.idle) == idle


def test_image_sleeps_unless_a_picture_of_it_is_in_use_and_draws_the_same_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with race_console() as console:
        used = console.library
        console.step(0, 30)
        view, expected = console.colours(), console.screen("both")
    assert used.graphics is not None
    assert used.graphics.exists
    shown = view.copy()
    assert (view == shown).all()  # the memory is still there
    del view
    monkeypatch.setattr(library, "idle", [used])
    for _ in range(2):
        with race_console() as console:
            assert console.library is used
            console.step(0, 30)
            assert (console.screen("both") == expected).all()
        assert not used.graphics.exists


def test_consoles_at_once_are_independent(expected: str) -> None:
    keys = (0, LEFT, RIGHT)
    alone = [digest_of_new_console(0), expected, digest_of_new_console(RIGHT)]
    assert len(set(alone)) == 3
    consoles = [race_console() for _ in keys]
    for console in consoles:
        console.step(0, 60, draw=False)
    for _ in range(40):
        for console, held in zip(consoles, keys, strict=True):
            console.step(held, 1, draw=False)
    assert [hashlib.sha256(console.ram).hexdigest() for console in consoles] == alone
    for console in consoles:
        console.close()
    # And in threads.
    results: dict[int, str] = {}

    def work(held: int) -> None:
        results[held] = digest_of_new_console(held)

    for _ in range(3):
        results.clear()
        threads = [threading.Thread(target=work, args=(held,)) for held in keys[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [results[held] for held in keys[1:]] == alone[1:]


def test_ctrl_c_while_a_cartridge_opens_is_not_lost(expected: str) -> None:
    """The main thread is in C, and C calls back: Python code there would swallow the Ctrl-C."""
    begun = time.perf_counter()
    race_console().close()
    duration = time.perf_counter() - begun
    consoles = []  # a Ctrl-C while Python collects a console would be lost
    for number in range(30):
        timer = threading.Timer(
            duration * number / 30, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
        )

        def open_until(timer: threading.Timer = timer) -> None:
            timer.start()
            consoles.append(race_console())
            consoles[-1].close()
            timer.join()
            time.sleep(10)  # the Ctrl-C has come, or comes right away

        with pytest.raises(KeyboardInterrupt):
            open_until()
        timer.join()
    assert digest_of_new_console(LEFT) == expected


# Processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["fork", *(pytest.param(name, marks=pytest.mark.slow) for name in ("forkserver", "spawn"))],
)
def test_worker_process_gives_the_same_memory(method: str, expected: str) -> None:
    """Like `AsyncVectorEnv`: a console in the parent, then workers."""
    with Console(BUNDLED_ROM) as console:
        console.step(0, 10)
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(digest_of_new_console, [LEFT] * 2, chunksize=1) == [expected] * 2
        console.step(0, 10)


def test_forked_child_cannot_use_the_parents_console(expected: str) -> None:
    console = race_console()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answers = []
        for call in (console.step, console.screen, console.reset, lambda: console.ram):
            try:
                call()
                answers.append("no error")
            except ConsoleError as error:
                answers.append("forked" if "forked" in str(error) else str(error))
        console.close()
        answers.append(str(digest_of_new_console(LEFT) == expected))
        os.write(writer, " ".join(answers).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        assert stream.read() == "forked forked forked forked True"
    assert os.waitpid(child, 0)[1] == 0
    assert digest_after(console, LEFT) == expected
    console.close()


def test_console_without_stdout_works_and_its_forked_child_exits() -> None:
    run = run_file("fork_without_stdout.py")
    assert (run.returncode, run.stdout, run.stderr) == (7, "", "")


@pytest.mark.parametrize("kill", [False, True])
def test_console_prints_nothing_and_leaves_no_files(tmp_path: Path, kill: bool) -> None:
    for folder in ("home", "tmp", "work"):
        (tmp_path / folder).mkdir()
    shared = set(Path("/dev/shm").glob("*mkds-gym*"))
    run = run_file(
        "two_consoles.py",
        str(tmp_path / "work"),
        *(["kill"] if kill else []),
        HOME=str(tmp_path / "home"),
        XDG_CONFIG_HOME=str(tmp_path / "home" / "config"),
        TMPDIR=str(tmp_path / "tmp"),
    )
    assert run.returncode == (-signal.SIGKILL if kill else 0)
    assert run.stdout.split() == (["before"] if kill else ["before", "after"])
    assert run.stderr == ""
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert list((tmp_path / "home").iterdir()) == []
    assert set(Path("/dev/shm").glob("*mkds-gym*")) <= shared


def test_console_changes_neither_environment_nor_signal_handlers() -> None:
    run = run_file("environment_and_signals.py")
    assert run.returncode == -signal.SIGTERM, run.stderr
    assert run.stdout == ""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_pygame_window_opens_with_consoles_in_the_process(display: str) -> None:
    pytest.importorskip("pygame")
    run = run_file("window_and_consoles.py", DISPLAY=display, PYGAME_HIDE_SUPPORT_PROMPT="1")
    assert run.stdout == "shown\n", run.stderr


def test_py_desmume_in_the_same_process_is_not_affected(tmp_path: Path) -> None:
    run = run_file(
        "with_py_desmume.py",
        SDL_VIDEODRIVER="dummy",
        SDL_AUDIODRIVER="dummy",
        HOME=str(tmp_path),
        XDG_CONFIG_HOME=str(tmp_path),
    )
    assert run.stdout.endswith("both\n"), run.stderr


# Libraries -----------------------------------------------------------------------------------


def test_unknown_build_works_with_a_warning(
    unknown_library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert loader.read_library(unknown_library)[1] not in KNOWN_BUILDS
    monkeypatch.setenv(loader.LIBRARY_VARIABLE, str(unknown_library))
    with caplog.at_level(logging.WARNING), Console(BUNDLED_ROM) as console:
        assert not console.capabilities.known_build
        assert not console.capabilities.jit
        console.step(Keys.A, 30)
    assert "is an unknown build" in caplog.text
    assert "py-desmume 0.0.9" in caplog.text


@pytest.mark.slow
def test_unknown_build_passes_all_tests_of_a_console(unknown_library: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(Path(__file__).with_name("test_console.py"))],
        env=os.environ | {loader.LIBRARY_VARIABLE: str(unknown_library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]


def test_library_without_replaceable_imports_works(unknown_library: Path, tmp_path: Path) -> None:
    """The last fallback: output redirected for a moment, battery file in the user's folder."""
    run = run_file(
        "without_imports.py",
        str(unknown_library),
        HOME=str(tmp_path),
        XDG_CONFIG_HOME=str(tmp_path),
    )
    assert run.stdout.split() == ["before", "after"], run.stderr


@pytest.mark.parametrize("works", [True, False])
def test_frames_are_drawn_if_the_emulator_does_not_skip_them(
    works: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "idle", [])  # so that a new image is loaded
    if not works:
        broken = library.acquire()
        broken.image.desmume_skip_next_frame = ctypes.CDLL(None).getpid  # does nothing
        library.release(broken)
    with caplog.at_level(logging.WARNING), Console(BUNDLED_ROM) as console:
        console.step(0, 60)
        before = console.screen()
        for _ in range(60):
            console.step(0, 1, draw=False)
        assert console.capabilities.skip_frames == works
        assert np.array_equal(console.screen(), before) == works
    assert ("does not skip frames: every frame is drawn" in caplog.text) != works


def test_broken_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "none.so"
    monkeypatch.setenv(loader.LIBRARY_VARIABLE, str(path))
    with pytest.raises(ConsoleError, match=r"MKDS_DESMUME_LIBRARY=.*none\.so.*does not exist"):
        Console(BUNDLED_ROM)
    path.write_bytes(b"\x7fELF nothing")
    with pytest.raises(ConsoleError, match="apt-get install libgl1"):
        Console(BUNDLED_ROM)


def test_missing_system_library_is_named_with_its_package() -> None:
    error = loader.loader_error(OSError("libGL.so.1: cannot open shared object file"))
    assert "apt-get install libgl1`" in str(error)
    assert "libGL.so" in str(error)

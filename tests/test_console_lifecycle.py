"""Consoles come and go: many, at once, in threads and processes, without a display, elsewhere."""

from __future__ import annotations

import gc
import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from mkds_gym.emulator import builds, library, loader
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.emulator.console import Console, Keys
from mkds_gym.errors import ConsoleError
from mkds_gym.kartlab.boot import BootParameters

ONE_WAY, OTHER_WAY = Keys.A | Keys.LEFT, Keys.A | Keys.RIGHT


def kartlab() -> Console:
    """A console in a race, where keys make a difference, after a few frames."""
    return Console(BUNDLED_ROM, on_power_on=BootParameters().write)


def digest_after(console: Console, keys: int, frames: int = 60) -> str:
    console.step(0, 60, draw=False)
    console.step(keys, frames, draw=False)
    return hashlib.sha256(console.ram).hexdigest()


def digest_of_new_console(keys: int) -> str:
    with kartlab() as console:
        return digest_after(console, keys)


def resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") // 1024


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter, without the display of this one."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_sixty_consoles_one_after_another() -> None:
    expected = digest_of_new_console(ONE_WAY)
    before = 0
    for i in range(60):
        if i == 5:
            gc.collect()
            before = resident_kib()
        with Console(BUNDLED_ROM) as console:
            console.step(0, 2)
            if i % 20 == 0:
                assert digest_after(kartlab(), ONE_WAY) == expected
        gc.collect()
    # One console more would be 60 MiB.
    assert resident_kib() - before < 20 * 1024
    assert len(list(Path("/proc/self/fd").iterdir())) < 60


def test_forgotten_consoles_give_their_core_back() -> None:
    """Two consoles that nobody closed: the next two run on their cores, and load nothing."""
    consoles = [Console(BUNDLED_ROM), Console(BUNDLED_ROM)]
    used = [console.library for console in consoles]  # kept, so that no other has their addresses
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


def test_consoles_at_once_are_apart() -> None:
    alone = [digest_of_new_console(keys) for keys in (0, ONE_WAY, OTHER_WAY)]
    assert len(set(alone)) == 3
    consoles = [kartlab() for _ in range(3)]
    try:
        for console in consoles:
            console.step(0, 60, draw=False)
        for _ in range(60):
            for console, keys in zip(consoles, (0, ONE_WAY, OTHER_WAY), strict=True):
                console.step(keys, 1, draw=False)
        assert [hashlib.sha256(console.ram).hexdigest() for console in consoles] == alone
    finally:
        for console in consoles:
            console.close()


def test_threads_give_what_one_thread_gives() -> None:
    ways = (ONE_WAY, OTHER_WAY)
    serial = [digest_of_new_console(keys) for keys in ways]
    for _ in range(3):
        results: dict[int, str] = {}

        def work(keys: int, results: dict[int, str] = results) -> None:
            results[keys] = digest_of_new_console(keys)

        threads = [threading.Thread(target=work, args=(keys,)) for keys in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [results[keys] for keys in ways] == serial


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_worker_processes(method: str) -> None:
    """As `AsyncVectorEnv` has it: a console in the parent, then workers."""
    expected = digest_of_new_console(ONE_WAY)
    with Console(BUNDLED_ROM) as console:
        console.step(0, 10)
        with multiprocessing.get_context(method).Pool(2) as pool:
            digests = pool.map(digest_of_new_console, [ONE_WAY] * 4, chunksize=1)
        assert digests == [expected] * 4
        console.step(0, 10)  # the parent's goes on


def test_a_forked_child_cannot_use_the_parents_console() -> None:
    expected = digest_of_new_console(ONE_WAY)
    console = kartlab()
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
        answers.append(str(digest_of_new_console(ONE_WAY) == expected))
        os.write(writer, " ".join(answers).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        assert stream.read() == "forked forked forked forked True"
    assert os.waitpid(child, 0)[1] == 0
    assert digest_after(console, ONE_WAY) == expected
    console.close()


def test_a_forked_child_ends_normally() -> None:
    run = run_python(
        "import os, sys\n"
        "from mkds_gym.emulator.console import Console\n"
        "console = Console(); console.step(0, 3)\n"
        "if os.fork() == 0: sys.exit(7)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert (run.returncode, run.stdout, run.stderr) == (7, "", "")


def test_silent_and_without_a_display(tmp_path: Path) -> None:
    """Nothing printed, nothing left: no files in the user's folders, in /tmp or in memory."""
    for folder in ("home", "tmp", "work"):
        (tmp_path / folder).mkdir()
    shared = set(Path("/dev/shm").glob("*mkds*"))
    code = (
        "import os; os.chdir({work!r})\n"
        "from mkds_gym.emulator.console import Console\n"
        "print('before', flush=True)\n"
        "a, b = Console(), Console()\n"
        "a.step(1, 50); b.step(2, 50); a.load_state(b.save_state()); b.reset(); b.step()\n"
        "if {kill}: os.kill(os.getpid(), 9)\n"
        "print('after')\n"
    )
    for kill in (False, True):
        run = run_python(
            code.format(work=str(tmp_path / "work"), kill=kill),
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
    assert set(Path("/dev/shm").glob("*mkds*")) <= shared


def test_without_standard_output() -> None:
    run = run_python(
        "import os; os.close(1)\n"
        "from mkds_gym.emulator.console import Console\n"
        "with Console() as console: console.step(0, 3); console.restore(console.snapshot())"
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_environment_and_signals_are_left_alone() -> None:
    run = run_python(
        "import os, signal\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM)\n"
        "from mkds_gym.emulator.console import Console\n"
        "console = Console(); console.step()\n"
        "assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == before\n"
        # SDL would take it away behind Python's back.
        "os.kill(os.getpid(), signal.SIGTERM); console.step(); print('survived')"
    )
    assert run.returncode == -signal.SIGTERM
    assert run.stdout == ""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_a_real_window_beside_a_console() -> None:
    """With a display, before and after a console, SDL of others still opens it."""
    pytest.importorskip("pygame")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "640x480x24"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        with os.fdopen(reader) as stream:
            display = ":" + stream.readline().strip()
        run = run_python(
            "import warnings; warnings.simplefilter('ignore')\n"
            "from mkds_gym.emulator.console import Console\n"
            "console = Console(); console.step(0, 3)\n"
            "import pygame\n"
            "pygame.display.init()\n"
            "assert pygame.display.get_driver() == 'x11', pygame.display.get_driver()\n"
            "window = pygame.display.set_mode((256, 192))\n"
            "second = Console(); second.step(0, 3)\n"
            "picture = pygame.surfarray.make_surface(second.screen().swapaxes(0, 1))\n"
            "window.blit(picture, (0, 0)); pygame.display.flip(); pygame.event.pump()\n"
            "console.step(); second.close(); pygame.quit(); console.step(); print('shown')",
            DISPLAY=display,
            PYGAME_HIDE_SUPPORT_PROMPT="1",
        )
        assert run.stdout == "shown\n", run.stderr
    finally:
        server.terminate()
        server.wait()


def test_beside_another_user_of_py_desmume() -> None:
    """Whoever uses py-desmume in the same process keeps the library's own image."""
    with tempfile.TemporaryDirectory() as home:
        run = run_python(
            "from desmume.emulator import DeSmuME\n"
            "emulator = DeSmuME()\n"
            "from mkds_gym.emulator.cartridge import BUNDLED_ROM\n"
            "emulator.open(str(BUNDLED_ROM))\n"
            "from mkds_gym.emulator.console import Console\n"
            "console = Console()\n"
            "for _ in range(5): emulator.cycle(False)\n"
            "console.step(0, 5); console.close(); emulator.cycle(False)\n"
            "print('both')",
            SDL_VIDEODRIVER="dummy",
            SDL_AUDIODRIVER="dummy",
            HOME=home,
            XDG_CONFIG_HOME=home,
        )
    assert run.stdout.endswith("both\n"), run.stderr


def test_an_unknown_build_is_told_and_works(
    unknown_library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert loader.read_library(unknown_library)[1] not in builds.KNOWN_BUILDS
    monkeypatch.setenv(loader.LIBRARY_VARIABLE, str(unknown_library))
    with caplog.at_level(logging.WARNING), Console(BUNDLED_ROM) as console:
        assert not console.capabilities.known_build
        assert not console.capabilities.jit
        console.step(Keys.A, 30)
    assert "is an unknown build" in caplog.text
    assert "py-desmume 0.0.9" in caplog.text


@pytest.mark.slow
def test_all_of_a_console_on_an_unknown_build(unknown_library: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(Path(__file__).with_name("test_console.py"))],
        env=os.environ | {loader.LIBRARY_VARIABLE: str(unknown_library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]


def test_no_ctrl_c_is_lost_while_the_emulator_opens_a_cartridge() -> None:
    """It arrives while the main thread is in C, and C calls back: nothing of Python may run there,
    or the Ctrl-C is raised where nobody can catch it."""
    with kartlab() as console:
        expected = digest_after(console, ONE_WAY)
    begun = time.perf_counter()
    kartlab().close()
    duration = time.perf_counter() - begun
    kept = []  # or a Ctrl-C may come while Python cleans up, and be lost there
    for number in range(30):
        timer = threading.Timer(
            duration * number / 30, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)
        )

        def open_until(timer: threading.Timer = timer) -> None:
            timer.start()
            kept.append(kartlab())
            kept[-1].close()
            timer.join()
            time.sleep(10)  # it is there already, or comes right away

        with pytest.raises(KeyboardInterrupt):
            open_until()
        timer.join()
    with kartlab() as console:
        assert digest_after(console, ONE_WAY) == expected


def test_without_access_to_the_imports(unknown_library: Path, tmp_path: Path) -> None:
    """The last fallback: output redirected for a moment, battery file in the user's folder."""
    code = (
        "from mkds_gym.emulator import internals\n"
        "def refuse(data): raise ValueError('no slots')\n"
        "internals.import_slots = refuse\n"
        "from mkds_gym.emulator.console import Console\n"
        "print('before', flush=True)\n"
        "with Console() as console:\n"
        "    capabilities = console.capabilities\n"
        "    assert not (capabilities.quiet or capabilities.private_battery)\n"
        "    assert not capabilities.fixed_clock\n"
        "    console.step(1, 30); console.restore(console.snapshot()); console.step()\n"
        "print('after')"
    )
    for path in ("", str(unknown_library)):
        run = run_python(
            code,
            HOME=str(tmp_path),
            XDG_CONFIG_HOME=str(tmp_path),
            **({loader.LIBRARY_VARIABLE: path} if path else {}),
        )
        assert run.stdout.split() == ["before", "after"], run.stderr


def test_an_emulator_that_does_not_skip_frames_draws_them_all() -> None:
    """Found out on the picture, told, and the picture is right then, whatever `draw` says."""
    code = (
        "import ctypes, logging, sys\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message)s')\n"
        "from mkds_gym.emulator import library\n"
        "from mkds_gym.emulator.console import Console\n"
        "if {broken}:\n"
        "    one = library.acquire()\n"
        "    one.image.desmume_skip_next_frame = ctypes.CDLL(None).getpid\n"  # does nothing
        "    library.release(one)\n"
        "with Console() as console:\n"
        "    console.step(0, 60); before = console.screen()\n"
        "    for _ in range(60): console.step(0, 1, draw=False)\n"
        "    print(console.capabilities.skip_frames, (console.screen() != before).any())\n"
    )
    assert run_python(code.format(broken=False)).stdout == "True False\n"
    run = run_python(code.format(broken=True))
    assert "does not skip frames: every frame is drawn" in run.stdout, run.stderr
    assert run.stdout.endswith("False True\n")


def test_broken_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = tmp_path / "none.so"
    monkeypatch.setenv(loader.LIBRARY_VARIABLE, str(missing))
    with pytest.raises(ConsoleError, match=r"MKDS_DESMUME_LIBRARY=.*none\.so.*does not exist"):
        Console(BUNDLED_ROM)
    missing.write_bytes(b"\x7fELF nothing")
    with pytest.raises(ConsoleError, match="apt-get install libgl1"):
        Console(BUNDLED_ROM)


def test_a_missing_system_library_is_named() -> None:
    error = loader.loader_error(OSError("libGL.so.1: cannot open shared object file"))
    assert "apt-get install libgl1" in str(error)
    assert "libGL.so" in str(error)

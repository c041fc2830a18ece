"""`SharedConsole`: one console whose drivers are alone together, each as if on its own console.

Every driver has a `Seat`, which takes the place of a `Console`, and a `SeatReader`, which takes the
place of a `RaceReader`. A driver does not depend on the others: it stands still in the frames that
run without it, and everything of it comes out as in a race that it drives alone.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from mkds_gym.course.progress import RaceProgress
from mkds_gym.emulator.capabilities import Capabilities
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import ALL_KEYS, SCREENS, Console
from mkds_gym.emulator.desmume.library import Library
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.emulator.states.snapshot import Snapshot
from mkds_gym.emulator.states.state_file import ReadState, StateLike
from mkds_gym.episodes.driver_state import DriverState
from mkds_gym.episodes.race_config import RaceConfig
from mkds_gym.episodes.race_start import PRIMING_FRAMES, RaceStart
from mkds_gym.episodes.start_manager import StartManager, StartOptions
from mkds_gym.errors import ConsoleError, StateError
from mkds_gym.kartlab.host_drivers import NOBODY, HostDrivers
from mkds_gym.race.frames import RaceFrames
from mkds_gym.race.memory import read_pointer
from mkds_gym.race.memory_layout import DRIVER, MemoryLayout
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.reader import Completion, ObjectState, RaceReader
from mkds_gym.utils.arguments import choice, integer
from mkds_gym.utils.caches import WeakCache
from mkds_gym.utils.one_thread import OneThread, one_thread

T = TypeVar("T")

_starts: Final[WeakCache[RaceStart]] = WeakCache()
"""Starts of all drivers of this process, which share the points along the course."""

EVERYBODY: Final = 0xFF
"""Value of `HostDrivers.held` for frames in which nobody drives."""


@dataclass(eq=False, slots=True)
class FrameRequest:
    """Frames that a driver wants to drive.

    Attributes:
        seat: the driver.
        keys: combination of `Keys`, held during all frames.
        frames: number of frames that are left.
        look: called after each frame; None copies the race, as `RaceReader.copy` does.
        draws: whether a picture of the last frame may be asked for.
        alone: whether an observer wants to look on between the frames, so that the environment
            runs them itself, while all other drivers are held.
        results: what ``look`` returned.
        error: what ``look``, or the console, raised.
    """

    seat: Seat
    keys: int
    frames: int
    look: Callable[[], Any] | None
    draws: bool
    alone: bool = False
    results: list[Any] = field(default_factory=list)
    error: BaseException | None = None


class SharedConsole(OneThread):
    """A console with several drivers. It is switched on at the first use.

    All seats of a console belong to one thread at a time.

    Args:
        cartridge: the cartridge in the console.
        config: the race, a time trial on a fixed course.
        drivers: number of drivers, 1 to 8.

    Attributes:
        cartridge: the cartridge.
        config: the race.
        seats: the drivers.
        wait: runs a request together with those of other seats; None: requests run alone.
        race: digest of the race. States of drivers fit consoles with the same digest.

    Raises:
        ValueError: the cartridge or the race cannot be shared.
    """

    def __init__(self, cartridge: Cartridge, config: RaceConfig, drivers: int) -> None:
        super().__init__()
        shared = RaceConfig(cartridge, config.arguments, has_state=False, hosted=drivers)
        self.cartridge: Final = cartridge
        self.config: Final = config
        self._starts = StartManager(cartridge, shared, None)
        self._generator = np.random.default_rng(0)  # nothing is drawn
        self._console: Console | None = None
        self._start: RaceStart | None = None
        self._users = 0
        self.wait: Callable[[FrameRequest], None] | None = None
        self.seats: Final = tuple(Seat(self, index) for index in range(drivers))
        key = repr((cartridge.sha1, sorted(vars(config.arguments).items())))
        self.race: Final = hashlib.sha256(key.encode()).hexdigest()

    @property
    def console(self) -> Console:
        """The console, at a race, with all drivers held between two frames.

        Raises:
            ConsoleError: the emulator cannot be started, or the cartridge has no host block.
        """
        if self.closed:
            self.close()
            try:
                self._switch_on()
            except BaseException:
                self.close()
                raise
        assert self._console is not None
        return self._console

    @property
    def closed(self) -> bool:
        """Whether the console is switched off, or belongs to the parent process."""
        return self._console is None or self._console.closed

    @property
    def start(self) -> RaceStart:
        """The start of a driver's race; switches the console on."""
        _ = self.console
        assert self._start is not None
        return self._start

    def _switch_on(self) -> None:
        starts = self._starts
        start = starts.choose(StartOptions(), self._generator)
        console, reader = starts.go_to(start, self._generator)
        self._host = HostDrivers(console.ram)
        self._reader, self._console = reader, console
        spans = [self._host.race_spans(seat.index) for seat in self.seats]
        self._copies = FrameCopies(console.ram, list(itertools.chain(*spans)), ())
        for seat in self.seats:
            seat.pieces = self._host.race_pieces(seat.index)
        self.save()
        block = self.seats[0].block
        assert block is not None
        frame_count = start.snapshot.frame_count
        rom, build_id = self.cartridge.sha1, console.build_id

        def prepare() -> RaceStart:
            state = DriverState(block, rom, build_id, frame_count, race=self.race)
            return RaceStart(state, start.course, start.course_seed, booted=True)

        self._start = _starts.get((self.race, build_id, frame_count, block), prepare)

    def join(self) -> None:
        """Count a user of the console; `leave` ends the use."""
        self._users += 1

    def leave(self) -> None:
        """End a use of the console. After the last, the console is closed."""
        self._users -= 1
        if not self._users:
            self.close()

    def close(self) -> None:
        """Close the console. The next use switches it on again; all drivers need a reset then."""
        self._console = self._start = None
        for seat in self.seats:
            seat.close()
        self._starts.close()

    # Frames ------------------------------------------------------------------------------------

    @one_thread
    def advance(self, requests: Sequence[FrameRequest], shown: int = NOBODY) -> list[FrameRequest]:
        """Run frames until the first of some requests is done. All other drivers are held.

        Args:
            requests: at least one, at most one for each seat. Their attributes are updated.
            shown: the driver whose picture the console draws.

        Returns:
            The requests that are done.
        """
        frames = min(request.frames for request in requests)
        try:
            if any(request.draws and request.seat.block is None for request in requests):
                self.save()
            held = EVERYBODY
            for request in requests:
                index = request.seat.index
                self._host.keys[index] = request.keys
                held &= ~(1 << index)
            self._run(held, shown, frames, requests)
        except Exception as error:
            # Nobody knows where the drivers are now.
            self.close()
            for request in requests:
                request.error = request.error or error
        return [request for request in requests if not request.frames or request.error]

    def _run(
        self, held: int, shown: int, frames: int, requests: Sequence[FrameRequest] = ()
    ) -> None:
        console, host = self.console, self._host
        host.held, host.shown = held, shown
        plain = self._copies.supported
        for request in requests:
            request.seat.moved(frames, draws=request.draws)
            request.frames -= frames
            plain = plain and request.look is None and not request.draws
        if plain:
            _, copies = console.run_and_copy(0, frames, self._copies)
            size = self._copies.size // len(self.seats)
            for request in requests:
                at = request.seat.index * size
                request.results += [copied[at : at + size] for copied in copies]
            return
        drawing = [request for request in requests if request.draws]
        saved = sum(1 << request.seat.index for request in drawing)
        host.save(saved)

        def look() -> None:
            for request in requests:
                try:
                    request.results.append((request.look or request.seat.take)())
                except Exception as error:
                    request.error = request.error or error
            for request in drawing:
                request.seat.remember(request.keys, host.state(request.seat.index))
            host.save(saved)

        console.run(0, frames, look)

    @one_thread
    def settle(self) -> None:
        """Let restored drivers appear in memory, in a frame in which all are held."""
        self._run(EVERYBODY, NOBODY, 1)

    @one_thread
    def save(self) -> None:
        """Save all drivers, in a frame in which all are held."""
        self._host.save(EVERYBODY)
        self.settle()
        for seat in self.seats:
            seat.block = self._host.state(seat.index)

    @one_thread
    def put(self, seat: Seat, block: bytes) -> None:
        """Let a driver continue at a saved state from the next frame on."""
        host = self._host
        host.write_state(seat.index, block)
        host.load(1 << seat.index)

    @one_thread
    def draw(self, seat: Seat) -> NDArray[np.uint16]:
        """Return the picture of a driver, of both screens.

        A picture is complete two frames after the one that it shows, so the driver drives its last
        three frames again. Without these frames, it is shown where it stands.
        """
        host, console = self._host, self.console
        host.shown, host.held = seat.index, EVERYBODY
        keys = [0] * PRIMING_FRAMES
        try:
            if len(seat.recent) == PRIMING_FRAMES:
                self.put(seat, seat.recent[0][0])
                host.held = EVERYBODY & ~(1 << seat.index)
                keys = [held for _, held in seat.recent]
            for number, held in enumerate(keys):
                host.keys[seat.index] = held
                console.step(0, 1, draw=number == 0)
        except BaseException:  # Ctrl-C, with the driver at an earlier frame
            if seat.block is not None and not self.closed:
                self.put(seat, seat.block)
            raise
        picture: NDArray[np.uint16] = console.colours("both").copy()
        return picture

    def reader(self, seat: Seat) -> SeatReader:
        """Return a reader of a driver's race."""
        ram, layout = self.console.ram, self._reader.layout
        computed = None if layout.checkpoint_fields else RaceProgress(ram, layout)
        return SeatReader(ram, layout, seat, computed)


class Seat(Console):
    """One driver of a shared console, with the methods of a `Console`.

    Frames that this object runs are frames of this driver; all others are held meanwhile. Main
    memory and the host's keys belong to all drivers.

    Args:
        shared: the console.
        index: number of the driver.

    Attributes:
        pieces: live views of the memory that makes up a `RaceCopy`.
        block: the state block of the driver; None if it has moved since it was saved.
        recent: state blocks before the last three frames, with the keys of these frames.
    """

    is_shared = True

    def __init__(self, shared: SharedConsole, index: int) -> None:
        # No library of its own: the constructor of Console is not called.
        OneThread.__init__(self)
        self.shared: Final = shared
        self.index: Final = index
        self.cartridge = shared.cartridge
        self.frame_count = 0
        self.pieces: tuple[memoryview, ...] = ()
        self.block: bytes | None = None
        self.recent: tuple[tuple[bytes, int], ...] = ()
        self._picture: NDArray[np.uint16] | None = None
        self._pending = False
        self._closed = True

    def __repr__(self) -> str:
        return f"<Seat {self.index} of a shared console, frame {self.frame_count}>"

    @property
    def closed(self) -> bool:
        """Whether this driver must be restored before it can drive."""
        return self._closed or self.shared.closed

    def check_open(self) -> None:
        """Refuse to drive a driver that must be restored first.

        Raises:
            ConsoleError: the console or this driver was closed.
        """
        if self.closed:
            raise ConsoleError(
                "the driver of a shared console is closed, or its console failed: reset the "
                "environment"
            )

    @property
    def library(self) -> Library:
        """The emulator library that runs the console."""
        self.check_open()
        return self.shared.console.library

    @property
    def capabilities(self) -> Capabilities:  # type: ignore[override]
        """The fast paths in use."""
        return self.shared.console.capabilities

    def close(self) -> None:
        """Refuse all frames until the driver is restored. The console stays open."""
        self._closed = True
        self.block, self.recent, self._picture = None, (), None

    def reset(self) -> NoReturn:
        """Refuse: switching off would end the races of the other drivers."""
        raise ConsoleError("a shared console cannot be switched off by one of its drivers")

    def step(self, keys: int = 0, frames: int = 1, draw: bool = True) -> None:
        """Hold keys and run frames of this driver, see `Console.step`."""
        integer("frames", frames, 1)
        # The frames before a drawn one are needed as well, see `SharedConsole.draw`.
        draws = draw or self.block is not None
        self._drive(FrameRequest(self, keys, frames, _nothing, draws), self.index)

    def run(self, keys: int, frames: int, look: Callable[[], T], drawn: int = -1) -> list[T]:
        """Hold keys and run frames of this driver, see `Console.run`."""
        copies = look == self.take
        request = FrameRequest(self, keys, frames, None if copies else look, drawn >= 0)
        self._drive(request)
        return request.results

    def _drive(self, request: FrameRequest, shown: int = NOBODY) -> None:
        integer("keys", request.keys, 0, ALL_KEYS)
        self.check_open()
        if self.shared.wait is not None:
            self.shared.wait(request)
        while request.frames and request.error is None:
            self.shared.advance([request], shown)
        if request.error is not None:
            raise request.error

    def take(self) -> RaceCopy:
        """Return the race of this driver after a frame, as from `RaceReader.copy`."""
        return b"".join(self.pieces)

    def moved(self, frames: int, *, draws: bool) -> None:
        """Note that the driver drives frames; with ``draws``, each is followed by `remember`."""
        self.frame_count += frames
        self._picture, self._pending = None, False
        if not draws:
            self.block, self.recent = None, ()

    def remember(self, keys: int, block: bytes) -> None:
        """Note the keys of a frame, and the state block after it."""
        assert self.block is not None
        self.recent = (*self.recent[1 - PRIMING_FRAMES :], (self.block, keys))
        self.block = block

    def colours(self, which: str = "top") -> NDArray[np.uint16]:
        """Return the picture of this driver, see `Console.colours`.

        The first call after a frame runs three more frames on the console.
        """
        self.check_open()
        rows = SCREENS[choice("which", which, SCREENS)]
        if self._picture is None:
            self._picture = self.shared.draw(self)
        return self._picture[rows]

    def snapshot(self) -> DriverState:
        """Return the state of this driver."""
        library = self.library
        if self.block is None:
            self.shared.save()
        assert self.block is not None
        return DriverState(
            self.block,
            self.cartridge.sha1,
            library.build_id,
            self.frame_count,
            race=self.shared.race,
            recent=self.recent,
        )

    def difference(self, start: Snapshot) -> DriverState:  # type: ignore[override]  # noqa: ARG002
        """Return the state of this driver, which is small enough as it is."""
        return self.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a state of a driver of this race.

        Raises:
            StateError: the snapshot is of a whole console or of another race, or is damaged.
            ConsoleError: the emulator cannot be started.
        """
        if not isinstance(snapshot, DriverState):
            raise StateError("a driver of a shared console takes no snapshot of a whole console")
        if snapshot.race != self.shared.race:
            raise StateError("the state is of a driver in another race")
        _ = self.shared.console
        block = bytes(snapshot.data)
        try:
            self.shared.put(self, block)
        except ValueError as error:
            raise StateError(f"the state is damaged ({error}): save it again") from error
        self.block, self.recent, self._picture = block, snapshot.recent, None
        self.frame_count = snapshot.frame_count
        self._closed, self._pending = False, True

    def settle(self) -> None:
        """Let a restored state appear in memory."""
        self.check_open()
        if self._pending:
            self.shared.settle()
            self._pending = False

    def save_state(self, path: str | PathLike[str] | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse: a savestate holds a whole console."""
        raise StateError("a driver of a shared console has no savestate: clone its state instead")

    def load_state(self, state: StateLike | ReadState) -> NoReturn:  # noqa: ARG002
        """Refuse: a savestate holds a whole console."""
        raise StateError("a driver of a shared console takes no savestate: restore a cloned state")


def _nothing() -> None:
    pass


class SeatReader(RaceReader):
    """Reads the race of one driver of a shared console, as if it were alone on the console."""

    def __init__(
        self,
        ram: NDArray[np.uint8],
        layout: MemoryLayout,
        seat: Seat,
        completion: Completion | None = None,
    ) -> None:
        super().__init__(ram, layout, completion=completion)
        self._seat = seat

    def _take(self) -> RaceCopy:
        self._seat.settle()
        return self._seat.take()

    def run(self, console: Console, keys: int, frames: int, drawn: int = -1) -> RaceFrames:
        """Run frames of the driver, and return the race after each, see `RaceReader.run`."""
        return self.frames(self.completed(console.run(keys, frames, self._seat.take, drawn)))

    def read_objects(self) -> list[ObjectState]:
        """Return all live objects but the other drivers."""
        own = self._seat.index
        first = read_pointer(self._ram, self.layout.drivers_pointer, DRIVER.itemsize, "the drivers")
        address = first + own * DRIVER.itemsize
        found = super().read_objects()
        return [each for each in found if each.kind != "driver" or each.address == address]

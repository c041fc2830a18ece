"""`SeatStarts`: brings one driver of a shared console to the start of each episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mkds_gym.course import Course
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.desmume.loader import installed_build_id
from mkds_gym.emulator.states.state_file import check_origin
from mkds_gym.episodes.cloned_state import ClonedState
from mkds_gym.episodes.driver_state import DriverState
from mkds_gym.episodes.race_config import RaceConfig
from mkds_gym.episodes.race_start import RaceStart
from mkds_gym.episodes.shared_console import Seat, SeatReader
from mkds_gym.episodes.start_manager import StartManager, StartOptions
from mkds_gym.errors import RecordingError, StateError
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Start, boot_digest


class SeatStarts(StartManager):
    """Starts of an environment that has one driver of a shared console.

    Args:
        cartridge: the cartridge in the console.
        config: the race of the environment.
        seat: the driver.
    """

    def __init__(self, cartridge: Cartridge, config: RaceConfig, seat: Seat) -> None:
        super().__init__(cartridge, config, None)
        self._seat = seat
        self._joined = True
        seat.shared.join()

    @property
    def build_id(self) -> str:
        """The emulator build of the console."""
        shared = self._seat.shared
        return installed_build_id() if shared.closed else shared.console.build_id

    def check_options(self, options: Mapping[str, Any] | None) -> StartOptions:
        """Check the options of `MKDSEnv.reset` without changing anything.

        Raises:
            ValueError, TypeError: an option is unknown or wrong.
            StateError: the state cannot be used.
        """
        state = options.get("state") if isinstance(options, Mapping) else None
        if state is not None and not isinstance(state, ClonedState):
            raise StateError(
                "a savestate holds a whole console, and this environment has one driver of a "
                "shared console: pass a state of clone_state() of such an environment, or make "
                "the environments without drivers_per_console"
            )
        checked = super().check_options(options)
        own = self.config.arguments.course_seed
        if checked.course_seed not in (None, own):
            raise ValueError(
                f"course_seed={checked.course_seed} is another course than that of the shared "
                f"console, course_seed={own}: make the environments without drivers_per_console"
            )
        return checked

    def check_state(self, state: ClonedState) -> None:
        """Refuse a cloned state that is not of a driver of this race.

        Raises:
            StateError: the state is of another cartridge, emulator build or race, or of a whole
                console.
        """
        check_origin(state, "the state", self._cartridge, self.build_id)
        driver = state.difference
        if not isinstance(driver, DriverState):
            raise StateError(
                "the state is of a whole console, and this environment has one driver of a "
                "shared console: pass a state of an environment with drivers_per_console and the "
                "same race"
            )
        if driver.race != self._seat.shared.race:
            raise StateError(
                "the state is of another race than that of the shared console: pass a state of an "
                "environment with drivers_per_console and the same arguments of the race"
            )

    def course_of_seed(self, seed: int | None) -> Course:  # noqa: ARG002
        """Return the course, on which all states of this race are."""
        return self._seat.shared.start.course

    def powered_on(self) -> Console:
        """Return the driver; the first call switches the console on."""
        _ = self._seat.shared.console
        self.console = self._seat
        return self._seat

    def new_reader(self, console: Console) -> SeatReader:  # noqa: ARG002
        """Return a reader of the driver's race."""
        return self._seat.shared.reader(self._seat)

    def go_to(self, start: RaceStart, generator: np.random.Generator) -> tuple[Console, RaceReader]:
        """Bring the driver to a start; it appears in memory with the next frame."""
        self.reader = None  # the console may have been switched on again
        return super().go_to(start, generator)

    def recording_start(self, start: RaceStart) -> tuple[Start, bytes | None]:
        """Return how a recording describes the start that the driver is at.

        Raises:
            RecordingError: a recording cannot begin there.
        """
        if start.origin is not None or not start.booted:
            raise RecordingError(
                "a recording of an environment with drivers_per_console begins at the start of "
                "the race only, as a point along the course and a cloned state have no savestate: "
                "leave out the options state and progress, or drivers_per_console"
            )
        parameters = self.config.boot_parameters(start.course_seed)
        described = Start(
            "race",
            race=vars(self.config.arguments),
            course_seed=start.course_seed,
            digest=boot_digest(parameters),
            frame=self._seat.frame_count,
        )
        return described, None

    def close(self) -> None:
        """Give the driver back. The console is closed with its last user."""
        self.console = None  # another environment may have taken over the driver
        super().close()
        if self._joined:
            self._joined = False
            self._seat.shared.leave()

    def _race_start(self, options: StartOptions, generator: np.random.Generator) -> RaceStart:  # noqa: ARG002
        current, state = self.current, options.state
        start = self._seat.shared.start
        if isinstance(state, ClonedState):
            return RaceStart.at_state(state, start.course)
        if current is not None and current.cloned is not None and options == StartOptions():
            return current
        return start

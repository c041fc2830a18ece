"""A run in the viewer: which races are shown, with labels and a summary of the run."""

from __future__ import annotations

import contextlib
import logging
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mkds_gym.errors import ViewerError
from mkds_gym.viewer import SHOW_WORDS, Board, Bus, RacePublisher, WindowProcess
from mkds_neat.config import Config
from mkds_neat.individual import Individual

_LOG = logging.getLogger(__name__)

_INTERVAL: Final = 0.5
"""Seconds between updates of the frame rate."""
_COUNTS: Final = 8
"""Updates over which the frame rate is measured."""


class RunViewer:
    """A bus, a window that reads it, and the text around the pictures.

    Each tile shows a lane of a worker (``none``, ``first``, ``all``), or the individual at a place
    among those that a generation evaluates, in whichever lane it drives.

    Args:
        config: The run's config.
        title: Title of the window.

    Raises:
        ViewerError: Shared memory is not available.
    """

    def __init__(self, config: Config, title: str) -> None:
        run = config.run
        self._by_place: Final = run.viewer not in SHOW_WORDS
        self._lanes = run.workers * config.lanes
        self.bus: Final = Bus(config.shown, label=title)
        self._title = f"mkds-gym - {title}"
        try:
            self._scorer = pickle.dumps(config.scorer)
        except Exception as error:
            # The evaluator calls the scorer in this process; workers then publish the reward.
            _LOG.info("the viewer shows the reward instead of the fitness: %s", error)
            self._scorer = b""
        self._frames_per_step = config.environment.frame_skip
        self._budget = config.settings.evaluation.frames
        self._generation = 0
        self._species = 0
        self._places: dict[int, int] = {}
        self._best: float | None = None
        self._individuals_left = 0
        self._seconds_left: float | None = None
        self._frames = 0
        self._counts: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=_COUNTS)
        self._post()
        self._window = WindowProcess(self.bus.folder)

    def publishers(self) -> list[RacePublisher | None]:
        """Return the publisher of each lane of all workers; None for a lane that is not shown."""
        return [
            RacePublisher(self.bus.folder, lane, self._scorer, follows=self._by_place)
            if self._by_place or lane in self.bus.indices
            else None
            for lane in range(self._lanes)
        ]

    def begin_generation(self, generation: int, individuals: Sequence[int], species: int) -> None:
        """Note the start of a generation.

        Args:
            generation: Its number.
            individuals: Ids of the individuals to evaluate, in order.
            species: Number of species; 0 for a strategy without species.
        """
        self._generation, self._species = generation, species
        self._places = {key: place for place, key in enumerate(individuals)}

    def place_of(self, individual: Individual) -> tuple[str, int | None]:
        """Return the label of an individual, and the tile that shows it.

        The tile is None if the individual is not shown, or in the tile of its lane.
        """
        parts = [f"driver {individual.id}"]
        if individual.species is not None:
            parts.append(f"species {individual.species}")
        parts.append(f"generation {self._generation}")
        tile = self._places.get(individual.id) if self._by_place else None
        return " · ".join(parts), tile if tile in self.bus.indices else None

    def count_steps(self, steps: int) -> None:
        """Add steps of environments to the frame rate."""
        self._frames += steps * self._frames_per_step
        now = time.monotonic()
        if now - self._counts[-1][0] > _INTERVAL:
            self._counts.append((now, self._frames))
            self._post()

    def update(self, best: float | None, individuals_left: int, seconds_left: float | None) -> None:
        """Show the progress of the run.

        Args:
            best: Fitness of the champion; None before the first result.
            individuals_left: Individuals to evaluate until the last generation ends.
            seconds_left: Estimated time for them; None before there is an estimate.
        """
        self._best, self._individuals_left = best, individuals_left
        self._seconds_left = seconds_left
        self._post()

    def close(self) -> None:
        """Close the bus and the window."""
        self.bus.close()
        self._window.close()

    def _post(self) -> None:
        (then, before), (now, frames) = self._counts[0], self._counts[-1]
        rate = (frames - before) / (now - then) if now > then else 0.0
        parts = [f"generation {self._generation}"]
        if self._best is not None:
            parts.append(f"best so far {self._best:.1f}")
        if self._species:
            parts.append(f"{self._species} species")
        if rate:
            parts.append(f"{rate:.0f} frames/s")
        seconds = self._seconds_left
        if seconds is None and rate and self._individuals_left:
            # No episode has ended yet: assume that each uses its whole budget.
            seconds = max(self._individuals_left * self._budget - self._frames, 0) / rate
        if seconds is not None:
            minutes, seconds = divmod(round(seconds), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02}:{seconds:02} left at most")
        score = "fitness" if self._scorer else "reward"
        self.bus.post(Board(self._title, " · ".join(parts), {}, score))


@contextlib.contextmanager
def open_viewer(
    config: Config, title: str, say: Callable[[str], None]
) -> Iterator[RunViewer | None]:
    """Open the viewer that ``[run] viewer`` names.

    Args:
        config: The run's config.
        title: Title of the window.
        say: Receives the reason if the viewer cannot be opened.

    Yields:
        The viewer; None if nothing is shown.
    """
    viewer = None
    if config.shown:
        try:
            viewer = RunViewer(config, title)
        except ViewerError as error:
            say(f"no race is shown: {error}")
    try:
        yield viewer
    finally:
        if viewer is not None:
            viewer.close()

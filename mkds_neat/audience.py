"""What a viewer is told of a run: who drives in which lane, and how the run stands."""

from __future__ import annotations

import contextlib
import inspect
import logging
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym

from mkds_gym.env import MKDSEnv
from mkds_gym.errors import ViewerError
from mkds_gym.viewer import SHOW_WORDS, Board, Bus, RacePublisher, WindowProcess

if TYPE_CHECKING:
    from mkds_neat.config import Config

_LOG = logging.getLogger(__name__)

_TELL: Final = 0.5
"""Seconds between the frame rates that are told; each is over the last `_COUNTS` of them."""
_COUNTS: Final = 8


class RunAudience:
    """A bus, a window on it, and the words beside the pictures.

    What is shown has a tile each: lanes (``none``, ``first``, ``all``), or individuals, by their
    place among those that a generation has evaluated, whatever lane each drives on.

    Args:
        config: of the run.
        title: of the window.
        window: open one.

    Raises:
        ViewerError: there is no shared memory.
    """

    def __init__(self, config: Config, title: str, *, window: bool = True) -> None:
        run = config.run
        shown = config.shown
        self._by_place: Final = run.viewer.strip().lower() not in SHOW_WORDS
        self.bus: Final = Bus(shown, label=title, lanes=run.workers)
        self._title = f"mkds-gym - {title}"
        self._score = "fitness"
        try:
            self._scorer = pickle.dumps(config.scorer)
        except Exception as error:
            # It is called in this process otherwise. The reward is shown instead.
            _LOG.info("the fitness under way is not shown: %s", error)
            self._scorer = b""
        if not self._scorer:
            self._score = "reward"
        self._frames_a_step = _frame_skip(config)
        self._budget = config.evaluation.frames
        self._generation = 0
        self._best: float | None = None
        self._left = 0
        self._seconds_left: float | None = None
        self._places: dict[int, int] = {}
        self._species = 0
        self._frames = 0
        self._counts: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._post()
        self._window = WindowProcess(self.bus.folder) if window else None

    def spectator(self, lane: int) -> RacePublisher | None:
        """What publishes the pictures of a lane, in its process; None for one that shows none."""
        if not self._by_place and lane not in self.bus.indices:
            return None
        return RacePublisher(self.bus.folder, lane, self._scorer, follows=True)

    def begins(self, lane: int, individual: Any) -> None:
        """An individual begins its episode on a lane."""
        tile = self._places.get(individual.id) if self._by_place else lane
        if tile not in self.bus.indices:
            tile = None
        parts = [f"driver {individual.id}"]
        species = getattr(individual, "species", None)
        if species is not None:
            parts.append(f"species {species}")
        parts.append(f"generation {self._generation}")
        self.bus.assign(lane, tile, " · ".join(parts))

    def stepped(self, lanes: int) -> None:
        """So many lanes have made a step."""
        self._frames += lanes * self._frames_a_step
        now = time.monotonic()
        if now - self._counts[-1][0] > _TELL:
            self._counts.append((now, self._frames))
            if len(self._counts) > _COUNTS:
                self._counts.popleft()
            self._post()

    def evaluates(self, generation: int, individuals: Sequence[int], species: int) -> None:
        """A generation begins.

        Args:
            generation: its number.
            individuals: ids of those that it evaluates, in order.
            species: how many there are; 0 where there are none.
        """
        self._generation, self._species = generation, species
        self._places = {key: place for place, key in enumerate(individuals)}

    def stands(self, best: float | None, left: int, seconds_left: float | None) -> None:
        """How the run stands.

        Args:
            best: fitness of the champion, if there is one.
            left: individuals to evaluate, to the last generation.
            seconds_left: for these, if that can be said yet.
        """
        self._best, self._left, self._seconds_left = best, left, seconds_left
        self._post()

    def close(self) -> None:
        """Close bus and window."""
        self.bus.close()
        if self._window is not None:
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
        if seconds is None and rate and self._left:
            # Nobody has ended yet: as if each of them used up its clock.
            seconds = max(self._left * self._budget - self._frames, 0) / rate
        if seconds is not None:
            minutes, seconds = divmod(round(seconds), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02}:{seconds:02} left at most")
        self.bus.post(Board(self._title, " · ".join(parts), {}, self._score))


def _frame_skip(config: Config) -> int:
    """Frames in a step of the environment, which is an `MKDSEnv`."""
    given = {**gym.spec(config.env_id).kwargs, **config.env_kwargs}
    default = inspect.signature(MKDSEnv).parameters["frame_skip"].default
    return int(given.get("frame_skip", default))


@contextlib.contextmanager
def audience_of(
    config: Config, title: str, say: Callable[[str], None]
) -> Iterator[RunAudience | None]:
    """The audience that ``[run] viewer`` asks for; None if it asks for none, or cannot have it.

    Args:
        config: of the run.
        title: of the window.
        say: told why there is none.
    """
    audience = None
    if config.shown:
        try:
            audience = RunAudience(config, title)
        except ViewerError as error:
            say(f"nothing is shown: {error}")
    try:
        yield audience
    finally:
        if audience is not None:
            audience.close()

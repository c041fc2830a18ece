"""What a viewer is told of a run: who drives in which lane, and how the run stands."""

from __future__ import annotations

import contextlib
import logging
import pickle
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.errors import ViewerError
from mkds_gym.viewer import Board, Bus, RacePublisher, WindowProcess, parse_show

if TYPE_CHECKING:
    from mkds_neat.config import Config

_LOG = logging.getLogger(__name__)


class RunAudience:
    """A bus, a window on it, and the words beside the pictures.

    Args:
        config: of the run.
        shown: lanes.
        title: of the window.
        window: open one.

    Raises:
        ViewerError: there is no shared memory.
    """

    def __init__(
        self, config: Config, shown: tuple[int, ...], title: str, *, window: bool = True
    ) -> None:
        self.bus: Final = Bus(shown, label=title)
        self._title = f"mkds-gym - {title}"
        self._header = ""
        self._captions: dict[int, str] = {}
        self._generation = 0
        try:
            self._scorer = pickle.dumps(config.scorer)
        except Exception as error:
            # It is called in this process otherwise. The reward is shown instead.
            _LOG.info("the fitness under way is not shown: %s", error)
            self._scorer = b""
        self._score = "fitness" if self._scorer else "reward"
        self._post()
        self._window = WindowProcess(self.bus.folder) if window else None

    def spectator(self, lane: int) -> RacePublisher | None:
        """What publishes the pictures of a lane, in its process; None for one that is not shown."""
        if lane not in self.bus.indices:
            return None
        return RacePublisher(self.bus.folder, lane, self._scorer)

    def begins(self, lane: int, individual: Any) -> None:
        """An individual begins its episode on a lane."""
        if lane not in self.bus.indices:
            return
        species = getattr(individual, "species", None)
        parts = [f"driver {individual.id}"]
        if species is not None:
            parts.append(f"species {species}")
        self._captions[lane] = " · ".join([*parts, f"generation {self._generation}"])
        self._post()

    def stands(
        self,
        generation: int,
        best: float | None,
        frames_per_second: float,
        seconds_left: float | None,
    ) -> None:
        """How the run stands.

        Args:
            generation: that is evaluated.
            best: fitness of the champion, if there is one.
            frames_per_second: of all lanes.
            seconds_left: to the last generation, if that can be said yet.
        """
        self._generation = generation
        parts = [f"generation {generation}"]
        if best is not None:
            parts.append(f"best so far {best:.1f}")
        if frames_per_second:  # else the window counts by itself
            parts.append(f"{frames_per_second:.0f} frames/s")
        if seconds_left is not None:
            minutes, seconds = divmod(round(seconds_left), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02}:{seconds:02} left at most")
        self._header = " · ".join(parts)
        self._post()

    def close(self) -> None:
        """Close bus and window."""
        self.bus.close()
        if self._window is not None:
            self._window.close()

    def _post(self) -> None:
        self.bus.post(Board(self._title, self._header, dict(self._captions), self._score))


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
    shown = parse_show(config.run.viewer, config.run.workers)
    if shown:
        try:
            audience = RunAudience(config, shown, title)
        except ViewerError as error:
            say(f"nothing is shown: {error}")
    try:
        yield audience
    finally:
        if audience is not None:
            audience.close()

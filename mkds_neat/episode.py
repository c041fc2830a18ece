"""Episodes: what a worker is asked to drive, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mkds_neat.networks import NetworkSpec


@dataclass(frozen=True)
class EpisodeRecord:
    """The facts of one episode.

    Attributes:
        metrics: The environment's metrics at the end, by name.
        steps: Steps of the environment.
        frames: Emulated frames; equal to ``steps`` for an environment without ``frame_skip``.
        score: Sum of the rewards, for environments without metrics.
        finished: Whether the race was finished (``info["is_success"]``).
        lap_times: Seconds of each complete lap.
        race_time: Seconds of the race; 0 if it was not finished.
        events: Names of the events that ended the episode.
        seconds: Wall time from the end of the reset to the end of the last step.
        end_position: Where the kart was at the end, as x, y and z in world units; None for an
            environment without karts.
        course: The course: its name, or the seed of a random one, as ``[evaluation] courses`` names
            it. Empty for an environment without courses, and for the summary of several episodes.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    frames: int = 0
    score: float = 0.0
    finished: bool = False
    lap_times: tuple[float, ...] = ()
    race_time: float = 0.0
    events: tuple[str, ...] = ()
    seconds: float = 0.0
    end_position: tuple[float, float, float] | None = None
    course: str = ""


Key = tuple[int, int]
"""An individual's id, and the number of an episode of it."""


@dataclass(frozen=True)
class Task:
    """An episode to drive.

    Attributes:
        id: The individual.
        network: Its network.
        seed: Seed of the episode.
        label: Name of the driver in the viewer.
        tile: Tile of the viewer that shows the driver, if tiles change between lanes; None for no
            tile.
        episode: Number of the episode among those of the individual, from 0.
        course: Arguments of the environment that choose another course than its own.
        start: Where along the course the episode starts, in laps since the start line; None for the
            start of the race.
        frames: Frames after which the episode is cut off; None for no such limit.
    """

    id: int
    network: NetworkSpec
    seed: int
    label: str = ""
    tile: int | None = None
    episode: int = 0
    course: Mapping[str, Any] = field(default_factory=dict)
    start: float | None = None
    frames: int | None = None

    @property
    def key(self) -> Key:
        """Individual and number of the episode, unique among the tasks of an evaluation."""
        return (self.id, self.episode)

    @property
    def is_recorded(self) -> bool:
        """Whether the race is recorded: an individual's first episode, if it is whole."""
        return self.episode == 0 and self.frames is None


# Messages of a worker ------------------------------------------------------------------------


@dataclass(frozen=True)
class Started:
    """The worker has an environment and can drive.

    Attributes:
        lanes: Episodes that it drives at the same time.
    """

    lanes: int


@dataclass(frozen=True)
class Progress:
    """The worker is alive. Sent several times a second while it drives.

    Attributes:
        steps: Steps of environments since the last message of this kind.
        busy: Seconds that the worker has spent on episodes since its last message.
    """

    steps: int
    busy: float = 0.0


@dataclass(frozen=True)
class Finished:
    """An episode has ended.

    Attributes:
        id: The individual.
        record: Its episode.
        recording: Bytes of the recording; None for an environment that records nothing.
        busy: As in `Progress`.
        episode: Number of the episode among those of the individual.
    """

    id: int
    record: EpisodeRecord
    recording: bytes | None
    busy: float = 0.0
    episode: int = 0

    @property
    def key(self) -> Key:
        """The key of the task."""
        return (self.id, self.episode)


@dataclass(frozen=True)
class Failed:
    """The worker's environment failed and has been replaced. The worker goes on.

    Attributes:
        lost: Keys of the tasks whose episodes were under way.
        culprits: Those of them whose own step or reset failed.
        error: The error.
        trace: Its traceback.
    """

    lost: tuple[Key, ...]
    culprits: tuple[Key, ...]
    error: str
    trace: str


@dataclass(frozen=True)
class Ended:
    """The worker has ended.

    Attributes:
        error: Why.
        trace: The traceback in the worker; empty if there is none.
        blameless: Whether no individual can be to blame, because the machine was lost.
    """

    error: str
    trace: str = ""
    blameless: bool = False


Message = Started | Progress | Finished | Failed | Ended

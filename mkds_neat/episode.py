"""Episodes: what a worker is asked to drive, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    metrics: dict[str, float]
    steps: int
    frames: int
    score: float
    finished: bool
    lap_times: tuple[float, ...]
    race_time: float
    events: tuple[str, ...]
    seconds: float


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
    """

    id: int
    network: NetworkSpec
    seed: int
    label: str = ""
    tile: int | None = None


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
    """

    steps: int


@dataclass(frozen=True)
class Finished:
    """An episode has ended.

    Attributes:
        id: The individual.
        record: Its episode.
        recording: Bytes of the recording; None for an environment that records nothing.
    """

    id: int
    record: EpisodeRecord
    recording: bytes | None


@dataclass(frozen=True)
class Failed:
    """The worker's environment failed and has been replaced. The worker goes on.

    Attributes:
        lost: Individuals whose episodes were under way.
        culprits: Those of them whose own step or reset failed.
        error: The error.
        trace: Its traceback.
    """

    lost: tuple[int, ...]
    culprits: tuple[int, ...]
    error: str
    trace: str


@dataclass(frozen=True)
class Ended:
    """The worker has ended.

    Attributes:
        error: Why.
        trace: The traceback in the worker; empty if there is none.
    """

    error: str
    trace: str = ""


Message = Started | Progress | Finished | Failed | Ended

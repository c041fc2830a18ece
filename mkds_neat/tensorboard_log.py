"""Curves and videos of a run for TensorBoard.

Events are written by the calling thread: a second thread must not exist when worker processes are
forked, and the writers of other libraries have such a thread. A disk that is full ends the curves,
not the run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from mkds_gym.utils.portable_errors import describe
from mkds_neat.config.environment import is_mkds
from mkds_neat.report import gif, replay
from mkds_neat.results import Champion, Row

FOLDER: Final = "tensorboard"
VIDEO_SECONDS: Final = 60.0
"""Least time between two videos. The workers wait while a video is made."""
_PICTURES: Final = 80
_GIF_LIMIT: Final = 1_000_000
_QUANTILES: Final = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}
_VERSION: Final = "brain.Event:2"

_LOG: Final = logging.getLogger(__name__)


class TensorBoardLog:
    """An event file in the folder ``tensorboard`` of a run. The step of an event is a generation.

    Args:
        run: Folder of the run.
        generation: The generation that is evaluated next. TensorBoard then drops what earlier
            processes wrote about this generation and later ones.

    Attributes:
        failed: Whether a write has failed, after which nothing is written.
    """

    def __init__(self, run: Path, generation: int) -> None:
        self.failed = False
        self._file: Any = None
        self._records: Any = None
        self._filmed: tuple[int, int] | None = None  # generation and id
        self._next_video = 0.0
        # Two sessions of a process may begin in the same second.
        seconds, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds}.{socket.gethostname()}.{os.getpid()}.{rest:09d}"
        with self._reported():
            from tensorboard.compat.proto.event_pb2 import SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter

            (run / FOLDER).mkdir(exist_ok=True)
            self._file = (run / FOLDER / name).open("ab", buffering=0)
            self._records = RecordWriter(self._file)
            self._add(0, file_version=_VERSION)
            if generation:
                self._add(generation, session_log=SessionLog(status=SessionLog.START))

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            with self._reported():
                self._file.close()

    def generation(
        self, summary: Mapping[str, Any], rows: Sequence[Row], champion: Champion | None
    ) -> None:
        """Add the curves of a generation.

        Args:
            summary: The row of ``generations.csv``.
            rows: The rows of ``individuals.csv``.
            champion: The best driver so far.
        """
        scores = [row.result.fitness for row in rows]
        values = {f"fitness/{name}": summary[name] for name in ("best", "mean", "worst")}
        for name, quantile in _QUANTILES.items() if scores else ():
            values[f"fitness/{name}"] = float(np.quantile(scores, quantile))
        if summary["species"]:  # 0: the strategy has none
            values["population/species"] = summary["species"]
        values["population/finished"] = summary["finished"]
        values["speed/busy"] = summary["busy"]
        values["speed/seconds"] = summary["seconds"]
        if summary["seconds"] > 0:
            values["speed/frames_per_second"] = summary["frames"] / summary["seconds"]
        laps = [lap for row in rows for lap in row.result.record.lap_times]
        if laps:
            values["time/fastest_lap"] = min(laps)
        times = [row.result.record.race_time for row in rows if row.result.record.finished]
        if times:
            values["time/fastest_race"] = min(times)
        if champion is not None:
            values["champion/fitness"] = champion.fitness
            if champion.record.finished:
                values["champion/race_time"] = champion.record.race_time
            for name, value in champion.record.metrics.items():
                values[f"champion_metrics/{name}"] = value
        with self._reported():
            self._scalars(summary["generation"], values)

    def video(
        self,
        generation: int,
        champion: Champion | None,
        should_stop: Callable[[], bool],
        *,
        last: bool = False,
    ) -> None:
        """Add the race of a new champion, driven again, if the last video is old enough.

        Args:
            generation: The step.
            champion: The best driver so far.
            should_stop: Called at every step of the race; True ends it.
            last: Add the race of a new champion in any case.
        """
        if champion is None or self.failed:
            return
        key = champion.generation, champion.id
        if (
            self._filmed == key
            or not is_mkds(champion.env_id)
            or (time.monotonic() < self._next_video and not last)
        ):
            return
        self._filmed = key
        try:
            pictures, _ = replay(champion, _PICTURES, should_stop)
        except Exception as error:  # custom components can raise anything
            _LOG.warning("no video of the champion's race for TensorBoard: %s", describe(error))
            return
        if should_stop():
            return
        data = gif(pictures, _GIF_LIMIT)
        width, height = Image.open(io.BytesIO(data)).size
        with self._reported():
            from tensorboard.compat.proto.summary_pb2 import Summary

            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=data
            )
            self._add(
                generation,
                summary=Summary(value=[Summary.Value(tag="champion/race", image=image)]),
            )
        self._next_video = time.monotonic() + VIDEO_SECONDS

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        finite = {name: float(v) for name, v in values.items() if math.isfinite(v)}
        parts = [Summary.Value(tag=name, simple_value=v) for name, v in finite.items()]
        self._add(step, summary=Summary(value=parts))

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        if not self.failed:
            event = Event(wall_time=time.time(), step=step, **content)
            self._records.write(event.SerializeToString())

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Log the first error of a write, and write nothing afterwards."""
        try:
            yield
        except OSError as error:
            if not self.failed:
                self.failed = True
                _LOG.warning("the run continues without TensorBoard: %s", error)

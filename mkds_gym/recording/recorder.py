"""Record what is driven, of an environment or of a bare console."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from mkds_gym.course import Course
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.state_file import pack_state
from mkds_gym.errors import CourseFormatError, NoRaceError, RecordingError
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.race.reader import RaceReader
from mkds_gym.recording.format import Recording, Start, race_result


class ConsoleRecorder:
    """Records a console that is driven frame by frame, as by a person.

    Args:
        console: at the start.
        start: where that is.
        state: savestate of the start, where the recording must hold it.
        label: of the recording.
    """

    def __init__(
        self, console: Console, start: Start, *, state: bytes | None = None, label: str = ""
    ) -> None:
        self._console = console
        self._label = label
        self._keys = array("H")  # copied in no time, also after an hour
        self._start, self._state = start, state

    @property
    def frames(self) -> int:
        """How many frames are recorded."""
        return len(self._keys)

    def step(self, keys: int) -> None:
        """A frame was run.

        Args:
            keys: mask of `Keys` that were held in it.
        """
        self._keys.append(keys)

    def rewound(self) -> None:
        """The console has gone back to an earlier frame: what came after it is dropped."""
        del self._keys[max(self._console.frame_count - self._start.frame, 0) :]

    def loaded(self) -> None:
        """The console is at another state now: the recording begins anew there."""
        del self._keys[:]
        self._start = Start("state", frame=self._console.frame_count)
        self._state = pack_state(self._console.snapshot())

    def recording(self) -> Recording:
        """What was driven so far."""
        console = self._console
        try:
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            race = RaceReader(console.ram, layout).read()
            # What a game shows behind its title and its menu, nobody has driven.
            result = race_result(race, Course.from_ram(console.ram, layout)) if race.race_on else {}
        except (NoRaceError, CourseFormatError):  # a menu
            result = {}
        return Recording.of(
            console,
            self._start,
            np.array(self._keys, np.uint16),
            environment={"frame_skip": 1},
            result=result,
            label=self._label,
            state=self._state,
        )


class Recorder:
    """Records the episodes of an environment, whoever drives it.

    ```python
    recorder = Recorder(env)
    env.reset(seed=1)
    ...                                       # env.step() as ever
    recorder.recording().save("run.mkr")      # also in the middle of an episode
    ```

    It costs a step well under a microsecond, and the end of an episode a look at all of memory.

    Args:
        env: ``MKDS-v0``, wrapped or not; recording begins with its next reset (or
            ``restore_state``), and goes on until `close`.
        label: of the recordings.
        on_end: called with the recording of each episode that ended, or that a reset or the
            environment's ``close`` cut off after its first step; where Ctrl-C comes meanwhile, once
            more.

    Raises:
        TypeError: it is no such environment.
    """

    def __init__(
        self,
        env: Any,
        *,
        label: str = "",
        on_end: Callable[[Recording], object] | None = None,
    ) -> None:
        unwrapped = env.unwrapped
        if not hasattr(unwrapped, "record"):
            raise TypeError(
                f"{env!r} is no MKDS-v0 environment; a vector environment's are recorded by the "
                "wrapper mkds_gym.wrappers.record_races.RecordRaces around each"
            )
        self._env: Any = unwrapped
        self.label = label
        self._on_end = on_end
        self._start: Start | None = None
        self._state: bytes | None = None
        self._lead = 0
        self._keys: list[tuple[int, int]] = []
        self._events: tuple[str, ...] = ()
        self._done: Recording | None = None
        self._env.record(self)

    def recording(self) -> Recording:
        """The episode so far; after its end, all of it, until the next reset.

        Raises:
            RecordingError: none was begun since the recorder is there, or since one was given up
                before its first step; or no frame was run since ``restore_state``.
        """
        if self._done is not None:
            return self._done
        if self._start is None:
            raise RecordingError("nothing is recorded yet; call env.reset() first")
        if not self._frames():
            raise RecordingError("nothing is recorded yet; call env.step() first")
        return self._make()

    def close(self) -> None:
        """Record no more; what was recorded can still be asked for."""
        begun = self._start is not None and self._done is None
        if begun and not self._env.closed and not self._env.console.closed and self._frames():
            self._done = self._make()
        self._env.record(None)

    # Called by the environment --------------------------------------------------------------

    def begin(self, start: Start, lead: int, state: bytes | None) -> None:
        """An episode begins.

        Args:
            start: where; the console is there now.
            lead: frames that the environment runs by itself now.
            state: the savestate of the start, where the recording must hold it.
        """
        self._start, self._lead, self._state, self._done = start, lead, state, None
        self._keys = [(0, lead)] if lead else []
        self._events = ()

    def step(self, keys: int, frames: int) -> None:
        """A step is about to be made, which may be broken off before all its frames are run.

        Args:
            keys: mask of `Keys` that are held.
            frames: that it takes.
        """
        self._keys.append((keys, frames))

    def end(self, events: tuple[str, ...] = ()) -> None:
        """The episode is over, or cut off; the console is still at its last frame.

        Args:
            events: names of those that ended it.
        """
        if self._start is None or self._done is not None:
            return
        if self._frames() <= self._lead:  # no step, or one that was broken off before its frames
            self._start = None
            return
        self._events = events
        self._done = self._make()
        if self._on_end is not None:
            try:
                self._on_end(self._done)
            except KeyboardInterrupt:
                self._on_end(self._done)  # once more: what was driven is not lost
                raise

    # Within -----------------------------------------------------------------------------------

    def _frames(self) -> int:
        """How many frames were run since the start, the environment's own among them."""
        assert self._start is not None
        return int(max(self._env.console.frame_count - self._start.frame, 0))

    def _make(self) -> Recording:
        assert self._start is not None
        env = self._env
        keys = np.repeat(
            np.array([keys for keys, _ in self._keys], np.uint16),
            [frames for _, frames in self._keys],
        )
        # What was broken off, by Ctrl-C or by a metric that failed, ran fewer of them.
        keys = keys[: self._frames()]
        return Recording.of(
            env.console,
            self._start,
            keys,
            lead=min(self._lead, len(keys)),
            environment=env.recorded_arguments,
            result={**race_result(env.race, env.course), "events": list(self._events)},
            label=self.label,
            state=self._state,
        )

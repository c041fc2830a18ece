"""Recorders: of an environment's episodes, and of a console driven frame by frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.emulator.console import Console
from mkds_gym.emulator.states.state_file import pack_state
from mkds_gym.errors import CourseFormatError, NoRaceError, RecordingError
from mkds_gym.observer import EnvObserver
from mkds_gym.race.memory_layout import MemoryLayout
from mkds_gym.recording.format import Recording, Start, race_result
from mkds_gym.utils.arguments import shown


class ConsoleRecorder:
    """Records a console that is driven frame by frame, as by a person.

    Args:
        console: the console, at the start.
        start: where the recording starts.
        state: savestate of the start, if the recording must hold it.
        label: label of the recording.
    """

    def __init__(
        self, console: Console, start: Start, *, state: bytes | None = None, label: str = ""
    ) -> None:
        self._console = console
        self._label = label
        self._keys = array("H")  # fast to copy, even after an hour
        self._start, self._state = start, state

    @property
    def frames(self) -> int:
        """Number of frames recorded."""
        return len(self._keys)

    def step(self, keys: int) -> None:
        """Record a frame that was run.

        Args:
            keys: combination of `Keys` held in the frame.
        """
        self._keys.append(keys)

    def rewound(self) -> None:
        """Drop the frames after the console's current one; call after a rewind."""
        del self._keys[max(self._console.frame_count - self._start.frame, 0) :]

    def loaded(self) -> None:
        """Start the recording again at the console's current state; call after loading one."""
        del self._keys[:]
        self._start = Start("state", frame=self._console.frame_count)
        self._state = pack_state(self._console.snapshot())

    def recording(self) -> Recording:
        """Return the recording up to the current frame.

        Raises:
            ConcurrentCallError: another thread drives the console.
        """
        with self._console.turn("recording"):
            return self._recording()

    def _recording(self) -> Recording:
        console = self._console
        try:
            layout = MemoryLayout.detect(console.ram, console.cartridge.region)
            race = race_reader(console.ram, layout).read()
            # Games also run races behind their title and menu: those have no result.
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


class Recorder(EnvObserver):
    """Records the episodes of an environment.

    ```python
    recorder = Recorder(env)
    env.reset(seed=1)
    ...                                       # env.step() as usual
    recorder.recording().save("run.mkr")      # also in the middle of an episode
    ```

    A step takes less than a microsecond more. The end of an episode hashes the main memory.

    Args:
        env: ``MKDS-v0``, wrapped or not. Recording begins with the next reset or
            ``restore_state`` and goes on until `close`.
        label: label of the recordings.
        on_end: called with the recording of each episode that ended, and of each that a reset,
            ``restore_state`` or ``close`` cut off after its first step. If Ctrl-C interrupts the
            call, it is repeated.

    Raises:
        TypeError: `env` is not an ``MKDS-v0`` environment.
    """

    def __init__(
        self,
        env: Any,
        *,
        label: str = "",
        on_end: Callable[[Recording], object] | None = None,
    ) -> None:
        if not hasattr(env.unwrapped, "add_observer"):
            raise TypeError(
                f"env={shown(env)} is not an MKDS-v0 environment: expected gym.make('MKDS-v0'); "
                "for a vector environment, pass env_wrappers=[mkds_gym.wrappers.RecordRaces]"
            )
        self._env: Any = env.unwrapped
        self.label = label
        self._on_end = on_end
        self._start: Start | None = None
        self._state: bytes | None = None
        self._lead = 0
        self._keys: list[tuple[int, int]] = []
        self._ended: Recording | None = None
        self._env.add_observer(self)

    def recording(self) -> Recording:
        """Return the episode so far; after its end, the whole episode until the next reset.

        Raises:
            RecordingError: no frame has been recorded since the last reset or ``restore_state``.
            ConcurrentCallError: another thread is in a call of the environment.
        """
        with self._env.turn("recording"):
            return self._recording()

    def _recording(self) -> Recording:
        if self._ended is not None:
            return self._ended
        if self._start is None:
            raise RecordingError("nothing is recorded yet: call env.reset() first")
        if not self._frames():
            raise RecordingError("nothing is recorded yet: call env.step() first")
        return self._make(())

    def close(self) -> None:
        """Stop recording. `recording` still returns the last episode."""
        if self in self._env.observers:
            self._env.remove_observer(self)

    def start_reached(self, env: Any, lead: int) -> None:
        """Begin a recording."""
        self._start, self._state = env.recording_start()
        self._lead, self._ended = lead, None
        self._keys = [(0, lead)] if lead else []

    def step_started(self, env: Any, keys: int, frames: int) -> None:  # noqa: ARG002
        """Record the keys of a step."""
        self._keys.append((keys, frames))

    def episode_ended(self, env: Any, events: tuple[str, ...]) -> None:  # noqa: ARG002
        """Finish the recording, unless no frame of a step was run."""
        if self._start is None:
            return
        if self._frames() <= self._lead:
            self._start = None
            return
        self._ended = self._make(events)
        if self._on_end is not None:
            try:
                self._on_end(self._ended)
            except KeyboardInterrupt:
                self._on_end(self._ended)  # otherwise the recording would be lost
                raise

    def detached(self, env: Any) -> None:
        """Keep the recording of an episode under way."""
        if self._start is not None and self._ended is None and not env.console.closed:
            self._ended = self._make(()) if self._frames() else None

    def _frames(self) -> int:
        """Frames run since the start, those of the reset included."""
        assert self._start is not None
        return int(max(self._env.console.frame_count - self._start.frame, 0))

    def _make(self, events: tuple[str, ...]) -> Recording:
        assert self._start is not None
        env = self._env
        keys = np.repeat(
            np.array([keys for keys, _ in self._keys], np.uint16),
            [frames for _, frames in self._keys],
        )
        keys = keys[: self._frames()]  # an interrupted step ran fewer frames
        return Recording.of(
            env.console,
            self._start,
            keys,
            lead=min(self._lead, len(keys)),
            environment=env.recorded_arguments,
            result={**race_result(env.race, env.course), "events": list(events)},
            label=self.label,
            state=self._state,
        )

"""`EnvObserver`: the one way to watch an environment; `Observable`: the list of its observers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mkds_gym.utils.arguments import shown

if TYPE_CHECKING:
    from mkds_gym.race.state import RaceState


class EnvObserver:
    """Watches an environment. Every method does nothing; override the ones of interest.

    ```python
    class TopSpeed(EnvObserver):
        needs_frames = True
        top = 0.0

        def frame(self, env, race, keys):
            self.top = max(self.top, race.speed)

    env.unwrapped.add_observer(TopSpeed())
    ```

    The environment calls `attached`; in each episode `start_reached`, `episode_started`, then
    `step_started` and `step_ended` for each step, and `episode_ended`; at last `detached`.
    Observers are called in the order in which they were added. An exception in an observer ends
    the reset or step.

    Attributes:
        needs_frames: call `frame` after each emulated frame, also those that a reset runs.
        needs_picture: draw the picture of each step; with `needs_frames`, of each frame. A picture
            on the screen is complete from the third frame on after this is set.

    The environment reads both attributes at the beginning of each reset and step.
    """

    needs_frames: bool = False
    needs_picture: bool = False

    def attached(self, env: Any) -> None:
        """The observer was added to an environment.

        Args:
            env: the `MKDSEnv`, as in all other methods.
        """

    def start_reached(self, env: Any, lead: int) -> None:
        """The console is at the start of an episode.

        Args:
            env: the environment.
            lead: frames that the environment runs before the first step, with no key held.
        """

    def episode_started(self, env: Any) -> None:
        """An episode is ready for its first step, after a reset or `MKDSEnv.restore_state`."""

    def step_started(self, env: Any, keys: int, frames: int) -> None:
        """A step is about to run. An exception may stop it before its last frame.

        Args:
            env: the environment.
            keys: combination of `Keys` held in the step.
            frames: length of the step.
        """

    def frame(self, env: Any, race: RaceState, keys: int) -> None:
        """A frame was emulated. Called only with `needs_frames`.

        Args:
            env: the environment.
            race: the race after the frame.
            keys: combination of `Keys` held in the frame.
        """

    def step_ended(self, env: Any, reward: float, over: bool) -> None:
        """A step was made.

        Args:
            env: the environment.
            reward: reward of the step.
            over: whether the step ended the episode.
        """

    def episode_ended(self, env: Any, events: tuple[str, ...]) -> None:
        """An episode ended; the console is still at its last frame.

        Args:
            env: the environment.
            events: names of the events that ended it; empty where a reset, `restore_state` or
                `close` cut it off.
        """

    def detached(self, env: Any) -> None:
        """The observer was removed, or the environment is being closed."""


class Observable:
    """The list of observers of an environment, which `MKDSEnv` inherits."""

    def __init__(self) -> None:
        self._observers: tuple[EnvObserver, ...] = ()
        self._viewer: EnvObserver | None = None

    @property
    def observers(self) -> tuple[EnvObserver, ...]:
        """The observers, in the order in which they are called."""
        return self._observers

    def add_observer(self, observer: EnvObserver) -> None:
        """Let an observer watch the environment, from now on.

        Raises:
            TypeError: `observer` is not an `EnvObserver`.
            ValueError: `observer` watches this environment already.
        """
        if not isinstance(observer, EnvObserver):
            raise TypeError(
                f"observer={shown(observer)} is not an observer: expected an EnvObserver"
            )
        if observer in self._observers:
            raise ValueError(f"observer={shown(observer)} watches this environment already")
        self._observers = (*self._observers, observer)
        observer.attached(self)

    def remove_observer(self, observer: EnvObserver) -> None:
        """Stop an observer from watching the environment.

        Raises:
            ValueError: `observer` does not watch this environment.
        """
        if observer not in self._observers:
            raise ValueError(f"observer={shown(observer)} does not watch this environment")
        self._observers = tuple(other for other in self._observers if other is not observer)
        if observer is self._viewer:
            self._viewer = None
        observer.detached(self)

    @property
    def viewer(self) -> EnvObserver | None:
        """The observer that a viewer has set; setting another one replaces it.

        ``envs.set_attr("viewer", [...])`` gives each environment of a vector environment its own,
        in other processes as well.
        """
        return self._viewer

    @viewer.setter
    def viewer(self, observer: EnvObserver | None) -> None:
        if self._viewer is not None:
            self.remove_observer(self._viewer)
        if observer is not None:
            self.add_observer(observer)
            self._viewer = observer

    @contextlib.contextmanager
    def without_viewer(self) -> Iterator[None]:
        """Hide from the viewer what happens in the context."""
        observers = self._observers
        self._observers = tuple(other for other in observers if other is not self._viewer)
        try:
            yield
        finally:
            self._observers = observers

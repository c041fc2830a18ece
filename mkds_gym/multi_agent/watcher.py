"""`RaceWatcher`: the window and the overlays of a race of several agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkds_gym.components.agent import Agent
from mkds_gym.components.sensors import ray_angles
from mkds_gym.course import Course
from mkds_gym.course.progress import race_reader
from mkds_gym.display.live_window import LiveWindow
from mkds_gym.overlays import Overlay, SceneRecorder, draw_overlays
from mkds_gym.race.race_copy import RaceCopy
from mkds_gym.race.reader import RaceReader
from mkds_gym.race.state import RaceState


class RaceWatcher:
    """Looks at each frame of a race, from the view of one driver.

    Args:
        overlays: drawn on pictures.
        window: shows each frame; None for no window.
    """

    def __init__(self, overlays: Sequence[Overlay], window: LiveWindow | None) -> None:
        self._overlays = tuple(overlays)
        self._window = window
        self._scenes = SceneRecorder()
        self._driver: int | None = None

    @property
    def needs_picture(self) -> bool:
        """Whether each frame must be drawn: the window is not closed."""
        window = self._window
        return window is not None and not (window.window is not None and window.window.closed)

    @property
    def needs_frames(self) -> bool:
        """Whether `frame` must be called after each frame."""
        return bool(self._overlays) or self.needs_picture

    def restart(self) -> None:
        """Forget the race, because another one begins."""
        self._driver = None

    def follow(self, ram: NDArray[np.uint8], reader: RaceReader, driver: int) -> None:
        """Look at a driver from the next frame on. Call before the frames of a step or reset."""
        if self._overlays and driver != self._driver:
            viewed = race_reader(ram, reader.layout, driver)
            if self._driver is None:
                self._scenes.begin(viewed)
            else:
                self._scenes.follow(viewed)
            self._driver = driver

    def frame(self, copied: RaceCopy, keys: int) -> None:
        """Process a frame, in which the driver held these keys."""
        if self._driver is not None:
            self._scenes.add(RaceState(copied, self._driver), keys)

    def show(self, env: Any) -> None:
        """Show the picture in the window, if it is open."""
        if self._window is not None and self.needs_picture:
            self._window.show(env)

    @property
    def driver_in_picture(self) -> int | None:
        """The driver whose view the picture on the screen shows; None without overlays."""
        return None if self._driver is None else self._scenes.driver

    def draw(
        self, picture: NDArray[np.uint8], agent: Agent, course: Course, *, stepped: bool
    ) -> NDArray[np.uint8]:
        """Return a picture with the overlays.

        Args:
            picture: the picture on the screen.
            agent: the agent that drives the driver in the picture.
            course: the course of the race.
            stepped: whether the last step was one of the agent's episode, and has a reward.
        """
        if not self._overlays:
            return picture
        scene = self._scenes.scene(
            course,
            reward=agent.last_reward if stepped else None,
            terms=agent.last_reward_terms() if stepped else None,
            ray_angles=ray_angles(getattr(agent.observation_builder, "sensors", ())),
        )
        return draw_overlays(self._overlays, picture, scene, course)

    def close(self, env: Any) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.detached(env)

"""The loop of a worker: individuals in, finished episodes out.

The loop is the same in a process and in a thread. It imports no PyTorch, so that worker processes
start quickly and stay small.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import gymnasium as gym

from mkds_gym.env import MKDSEnv
from mkds_gym.utils.portable_errors import describe, traceback_of
from mkds_neat.episode import EpisodeRecord, Failed, Finished, Message, Progress, Started, Task
from mkds_neat.lanes import LanesFactory
from mkds_neat.networks import Policy, compile_network

HEARTBEAT: Final = 0.2
"""Seconds between two messages of a worker that drives."""
KEPT_COURSES: Final = 4
"""Courses whose lanes a worker keeps. Each takes the memory of a console, about 60 MB."""

Receive = Callable[[bool], Sequence[Task]]
"""Returns new tasks. The argument tells whether to wait for them. Raises EOFError at the end."""


class _Episode:
    """The episode of one lane."""

    def __init__(self, task: Task, space: gym.spaces.Box) -> None:
        self.task = task
        self.policy: Policy = compile_network(task.network, space)
        self.steps = 0
        self.score = 0.0
        self.start = 0.0

    def record(
        self,
        info: dict[str, Any],
        frame_skip: int,
        end_position: tuple[float, float, float] | None,
        course: str,
    ) -> EpisodeRecord:
        """Return the facts of the episode, whose last info is ``info``, in its full form."""
        return EpisodeRecord(
            metrics={name: float(value) for name, value in info.get("metrics", {}).items()},
            steps=self.steps,
            frames=self.steps * frame_skip,
            score=self.score,
            finished=bool(info.get("is_success", False)),
            lap_times=tuple(float(t) for t in info.get("lap_times", ())),
            race_time=float(info.get("total_time", 0.0)),
            events=tuple(info.get("events", ())),
            seconds=time.perf_counter() - self.start,
            end_position=end_position,
            course=course,
        )


class _Episodes:
    """The episodes of a worker on one course, each in one of its lanes."""

    def __init__(self, factory: LanesFactory, worker: int, course: Mapping[str, Any]) -> None:
        self.course = course
        self.lanes, self._recorders, self._publishers = factory.make(worker, course)
        self.running: dict[int, _Episode] = {}
        self.free = list(reversed(range(len(self.lanes.envs))))
        self._skip = int(getattr(self.lanes.envs[0].unwrapped, "frame_skip", 1))

    def begin(self, waiting: deque[_Episode]) -> None:
        """Begin waiting episodes of this course in the free lanes."""
        chosen = [e for e in waiting if e.task.course == self.course][: len(self.free)]
        starts: dict[float | None, dict[int, int]] = {}
        for episode in chosen:
            waiting.remove(episode)
            lane, task = self.free.pop(), episode.task
            self.running[lane] = episode
            starts.setdefault(task.start, {})[lane] = task.seed
            if self._publishers[lane] is not None:
                self._publishers[lane].assign(task.tile, task.label)
        for start, seeds in starts.items():
            self.lanes.reset(seeds, start)
        now = time.perf_counter()
        for seeds in starts.values():
            for lane in seeds:
                self.running[lane].start = now

    def step(self, ended: list[Message]) -> None:
        """Step all episodes, and append the results of those that ended."""
        lanes, actions = self.lanes, self.lanes.actions
        for lane, episode in self.running.items():
            actions[lane] = episode.policy(lanes.observations[lane].tolist())
        rewards, over = lanes.step(tuple(self.running))
        for lane, episode in self.running.items():
            episode.steps += 1
            episode.score += rewards[lane]
            limit = episode.task.frames
            if limit is not None and lane not in over and episode.steps * self._skip >= limit:
                over[lane] = {}
        for lane, info in over.items():
            episode, recorder = self.running[lane], self._recorders[lane]
            base: Any = lanes.envs[lane].unwrapped
            where, course = None, ""
            if isinstance(base, MKDSEnv):
                info, where = base.full_info(), base.race.position
                seed = info["course_seed"]
                course = info["course"] if seed is None else str(seed)
            recording = None
            if recorder is not None and episode.task.is_recorded:
                recording = recorder.recording().to_bytes()
            task, record = episode.task, episode.record(info, self._skip, where, course)
            ended.append(Finished(task.id, record, recording, episode=task.episode))
            del self.running[lane]
            self.free.append(lane)

    def failure(self, error: Exception) -> Failed:
        """Describe an error of `begin` or `step`."""
        running = {lane: episode.task.key for lane, episode in self.running.items()}
        guilty = self.lanes.failed(error) & set(running) or set(running)
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        return Failed(
            lost=tuple(running.values()),
            culprits=tuple(running[lane] for lane in sorted(guilty)),
            error=describe(cause),
            trace=traceback_of(error),
        )


class _Courses:
    """The lanes of a worker on the courses that it drove last. It drives on one at a time."""

    def __init__(self, factory: LanesFactory, worker: int) -> None:
        self._factory, self._worker = factory, worker
        self._kept: list[_Episodes] = []  # the current course is the last
        self._go_to(factory.course)

    @property
    def current(self) -> _Episodes:
        """The episodes on the current course."""
        return self._kept[-1]

    def begin(self, waiting: deque[_Episode]) -> None:
        """Begin waiting episodes; go to another course if all of the current one are done."""
        episodes = self.current
        if not episodes.running and all(e.task.course != episodes.course for e in waiting):
            self._go_to(waiting[0].task.course)
        self.current.begin(waiting)

    def _go_to(self, course: Mapping[str, Any]) -> None:
        for number, episodes in enumerate(self._kept):
            if episodes.course == course:
                self._kept.append(self._kept.pop(number))
                return
        if len(self._kept) == KEPT_COURSES:
            self._kept.pop(0).lanes.close()
        self._kept.append(_Episodes(self._factory, self._worker, course))

    def renew(self) -> None:
        """Replace the lanes of the current course after an error."""
        failed = self._kept.pop()
        failed.lanes.close()
        self._go_to(failed.course)

    def close(self) -> None:
        """Close all lanes."""
        while self._kept:
            self._kept.pop().lanes.close()


def drive(
    factory: LanesFactory,
    worker: int,
    receive: Receive,
    send: Callable[[Message], object],
) -> None:
    """Drive the episodes of a worker until ``receive`` raises EOFError.

    Args:
        factory: Makes the lanes, again after an error of them.
        worker: Number of the worker.
        receive: Returns new tasks.
        send: Takes the messages.

    Raises:
        Exception: The lanes cannot be made.
    """
    waiting: deque[_Episode] = deque()
    courses = _Courses(factory, worker)
    with contextlib.closing(courses):
        send(Started(len(courses.current.lanes.envs)))
        steps, busy, due = 0, 0.0, 0.0
        while True:
            episodes = courses.current
            now = time.perf_counter()
            beat = now >= due
            if beat or (episodes.free and not waiting):
                try:
                    tasks = receive(not (waiting or episodes.running))
                except EOFError:
                    return
                waiting.extend(_Episode(task, episodes.lanes.action_space) for task in tasks)
            if beat:
                send(Progress(steps, busy))
                steps, busy, due = 0, 0.0, now + HEARTBEAT
            messages: list[Message] = []
            began = time.perf_counter()
            try:
                if waiting and episodes.free:
                    courses.begin(waiting)
                    episodes = courses.current
                if episodes.running:
                    steps += len(episodes.running)
                    episodes.step(messages)
            except Exception as error:
                if not courses.current.running:  # the next course cannot be reached
                    raise
                messages.append(courses.current.failure(error))
                courses.renew()
            busy += time.perf_counter() - began
            for message in messages:
                if isinstance(message, Finished):
                    message, busy = replace(message, busy=busy), 0.0
                send(message)

"""The loop of a worker: individuals in, finished episodes out.

The loop is the same in a process and in a thread. It imports no PyTorch, so that worker processes
start quickly and stay small.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import gymnasium as gym

from mkds_gym.env import MKDSEnv
from mkds_neat.episode import EpisodeRecord, Failed, Finished, Message, Progress, Started, Task
from mkds_neat.lanes import LanesFactory
from mkds_neat.networks import Policy, compile_network

HEARTBEAT: Final = 0.2
"""Seconds between two messages of a worker that drives."""

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

    def record(self, info: dict[str, Any], frame_skip: int) -> EpisodeRecord:
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
        )


class _Episodes:
    """The episodes of a worker, each in one of its lanes."""

    def __init__(self, factory: LanesFactory, worker: int) -> None:
        self.lanes, self._recorders, self._publishers = factory.make(worker)
        self.running: dict[int, _Episode] = {}
        self.free = list(reversed(range(len(self.lanes.envs))))
        self._skip = int(getattr(self.lanes.envs[0].unwrapped, "frame_skip", 1))

    def begin(self, waiting: deque[_Episode]) -> None:
        """Begin waiting episodes in the free lanes."""
        seeds = {}
        while waiting and self.free:
            lane, episode = self.free.pop(), waiting.popleft()
            self.running[lane] = episode
            seeds[lane] = episode.task.seed
            if self._publishers[lane] is not None:
                self._publishers[lane].assign(episode.task.tile, episode.task.label)
        self.lanes.reset(seeds)
        now = time.perf_counter()
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
        for lane, info in over.items():
            episode, recorder = self.running[lane], self._recorders[lane]
            base: Any = lanes.envs[lane].unwrapped
            if isinstance(base, MKDSEnv):
                info = base.full_info()
            recording = None if recorder is None else recorder.recording().to_bytes()
            ended.append(Finished(episode.task.id, episode.record(info, self._skip), recording))
            del self.running[lane]
            self.free.append(lane)

    def failure(self, error: Exception) -> Failed:
        """Describe an error of `begin` or `step`."""
        running = {lane: episode.task.id for lane, episode in self.running.items()}
        guilty = self.lanes.failed(error) & set(running) or set(running)
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        return Failed(
            lost=tuple(running.values()),
            culprits=tuple(running[lane] for lane in sorted(guilty)),
            error=f"{type(cause).__name__}: {cause}",
            trace="".join(traceback.format_exception(error)),
        )


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
    with contextlib.ExitStack() as stack:

        def make() -> _Episodes:
            stack.close()
            made = _Episodes(factory, worker)
            stack.callback(made.lanes.close)
            return made

        episodes = make()
        send(Started(len(episodes.lanes.envs)))
        steps, due = 0, 0.0
        while True:
            now = time.perf_counter()
            beat = now >= due
            if beat or (episodes.free and not waiting):
                try:
                    tasks = receive(not (waiting or episodes.running))
                except EOFError:
                    return
                waiting.extend(_Episode(task, episodes.lanes.action_space) for task in tasks)
            if beat:
                send(Progress(steps))
                steps, due = 0, now + HEARTBEAT
            messages: list[Message] = []
            try:
                if waiting and episodes.free:
                    episodes.begin(waiting)
                if episodes.running:
                    steps += len(episodes.running)
                    episodes.step(messages)
            except Exception as error:
                messages.append(episodes.failure(error))
                episodes = make()
            for message in messages:
                send(message)

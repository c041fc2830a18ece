"""The worker in an actor's process."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from mkds_neat.cluster.files import NodeFiles
from mkds_neat.cluster.versions import difference, versions
from mkds_neat.episode import Ended, Finished, Message, Progress, Task
from mkds_neat.lanes import LanesFactory
from mkds_neat.workers import ThreadPool

_HEARTBEAT: Final = 5.0
"""Seconds after which an actor answers without news."""


class EpisodeActor:
    """A worker in a process of its own, on any node.

    Args:
        factory: Makes the lanes.
        files: The files of the environment.
        expected: The versions of the process that deals out tasks.
        node: Id of the node; None asks Ray.
    """

    def __init__(
        self,
        factory: LanesFactory,
        files: NodeFiles,
        expected: Mapping[str, str],
        node: str | None = None,
    ) -> None:
        if node is None:
            import ray

            node = ray.get_runtime_context().get_node_id()
        self._node = node
        self._lanes = factory.count
        self._unfinished = 0
        self._at_once = False
        self._early: list[Message] = []
        if text := difference(versions(), expected):
            error = f"node {platform.node()} has {text}: install the same versions on all nodes"
            self._early.append(Ended(error))
            return
        kwargs = {**factory.kwargs, **files.write()}
        self._pool = ThreadPool(replace(factory, kwargs=kwargs), 1)

    def push(self, tasks: Sequence[Task], at_once: bool) -> None:
        """Take tasks.

        Args:
            tasks: The tasks.
            at_once: Report the end of each episode without delay.
        """
        self._unfinished += len(tasks)
        self._at_once = at_once
        self._pool.send(0, tasks)

    def poll(self, batch_seconds: float) -> tuple[str, list[Message]]:
        """Wait for messages.

        The call returns if an error occurs, if no task waits for a lane, ``batch_seconds`` after
        the first episode ended, and at the latest after some seconds.

        Returns:
            Id of the node, and the messages.
        """
        messages, self._early = self._early, []
        steps, busy = 0, 0.0
        until = time.monotonic() + (0.0 if messages else _HEARTBEAT)
        while (left := until - time.monotonic()) > 0:
            for _, message in self._pool.receive(left):
                if isinstance(message, Progress):
                    steps += message.steps
                    busy += message.busy
                    continue
                messages.append(message)
                if not isinstance(message, Finished):
                    until = 0.0
                    continue
                self._unfinished -= 1
                if self._at_once or self._unfinished <= self._lanes:
                    until = 0.0
                until = min(until, time.monotonic() + batch_seconds)
        return self._node, [Progress(steps, busy), *messages]

"""A pool of workers on a Ray cluster: each worker is an actor, which Ray places on a node.

This process deals out tasks as with other pools. Tasks and messages travel in batches, whose size
follows the measured time of episodes. An actor gets the cartridge and race starts from the object
store of its node, which receives them once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mkds_gym.utils.portable_errors import describe
from mkds_neat.cluster.actor import EpisodeActor
from mkds_neat.cluster.connection import connect, disconnect
from mkds_neat.cluster.files import files_of
from mkds_neat.cluster.head import Head
from mkds_neat.cluster.versions import versions
from mkds_neat.config.settings import RaySettings
from mkds_neat.episode import Ended, Failed, Finished, Message, Progress, Started, Task
from mkds_neat.errors import EvaluationError
from mkds_neat.lanes import LanesFactory
from mkds_neat.workers import Messages

_LOG = logging.getLogger(__name__)


@dataclass
class _Actor:
    """What this process knows of an actor."""

    handle: Any
    poll: Any
    node: str = ""
    started: bool = False
    doubtful: bool = False  # a call failed, and the actor may live
    at_once: bool = False
    outbox: list[Task] = field(default_factory=list)
    tasks: set[Any] = field(default_factory=set)
    pushes: list[Any] = field(default_factory=list)


class RayPool:
    """Workers that are actors of a Ray cluster.

    Actors for which the cluster has no room wait, and start on nodes that join. A lost node, or a
    lost connection, is not the fault of an individual.

    Args:
        factory: Makes the lanes.
        count: Number of actors.
        settings: Section ``[ray]``.

    Raises:
        ConfigError: The cluster cannot be used.
    """

    processes: Final[list[Any]] = []
    needs_all: Final = False

    def __init__(self, factory: LanesFactory, count: int, settings: RaySettings) -> None:
        self._settings = settings
        files = files_of(factory.env_id, factory.kwargs)
        self._ray = connect(settings, files.size)
        self._head = Head(self._ray.get_runtime_context().gcs_address)
        self._actors: dict[int, _Actor] = {}
        self._suspects: set[Any] = set()  # tasks of actors that died
        self._seconds = 0.0  # mean duration of an episode in a busy lane
        self._lanes = factory.count
        self._lonely_since = time.monotonic()
        try:
            remote = self._ray.remote(EpisodeActor)
            strategy = {"spread": "SPREAD", "pack": "DEFAULT"}[settings.placement]
            self._class = remote.options(
                num_cpus=settings.cpus_per_actor,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=4,  # a call to `poll` waits beside a call to `push`
                scheduling_strategy=strategy,
            )
            self._arguments = (factory, self._ray.put(files), versions())
            for worker in range(count):
                self.restart(worker)
        except BaseException:
            self.shut_down()
            raise

    @property
    def look_ahead(self) -> int:
        """Tasks beyond its lanes that an actor gets while many wait."""
        if self._seconds <= 0.0:
            return 1
        return max(1, math.ceil(self._lanes * self._settings.batch_seconds / self._seconds))

    @property
    def nodes(self) -> dict[int, str]:
        """Id of the node of each worker that has started."""
        return {n: actor.node for n, actor in self._actors.items() if actor.started}

    def restart(self, worker: int) -> None:
        """Start an actor, in place of the one that there was.

        Raises:
            EvaluationError: The head of the cluster is lost.
        """
        self._head.wait()
        if (old := self._actors.get(worker)) is not None:
            self._suspects |= old.tasks
            self._kill(old)
        handle = self._class.remote(*self._arguments)
        self._actors[worker] = _Actor(handle, self._poll(handle))

    def _poll(self, handle: Any) -> Any:
        return handle.poll.remote(self._settings.batch_seconds)

    def _kill(self, actor: _Actor) -> None:
        with contextlib.suppress(Exception):  # the actor or the connection has ended
            self._ray.kill(actor.handle)

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Give tasks to a worker, with the next `receive`."""
        actor = self._actors[worker]
        actor.outbox += tasks
        actor.tasks.update(task.key for task in tasks)

    def receive(self, timeout: float) -> Messages:
        """Return messages with the numbers of their workers; wait for the first one.

        An actor that has ended gives `Ended`.

        Raises:
            EvaluationError: The cluster has no room for an actor, or its head is lost.
        """
        for actor in self._actors.values():
            if actor.outbox:
                # A suspect ends alone, so that the right one is blamed if the actor dies again.
                actor.at_once = not self._suspects.isdisjoint(actor.tasks)
                actor.pushes.append(actor.handle.push.remote(actor.outbox, actor.at_once))
                actor.outbox = []
        self._head.check()
        self._check_room()
        calls = {actor.poll: number for number, actor in self._actors.items()}
        ready, _ = self._ray.wait(list(calls), timeout=timeout, fetch_local=False)
        if ready:
            ready, _ = self._ray.wait(
                list(calls), num_returns=len(calls), timeout=0, fetch_local=False
            )
        messages: Messages = []
        for call in ready:
            worker = calls[call]
            messages += [(worker, message) for message in self._answer(worker)]
        # A worker that waits for its place is not silent.
        messages += [(n, Progress(0)) for n, actor in self._actors.items() if not actor.started]
        return messages

    def _answer(self, worker: int) -> list[Message]:
        """Return the messages of an actor whose call has returned."""
        actor, exceptions = self._actors[worker], self._ray.exceptions
        try:
            node, messages = self._ray.get(actor.poll)
            if actor.pushes:
                number = len(actor.pushes)
                done, actor.pushes = self._ray.wait(actor.pushes, num_returns=number, timeout=0)
                self._ray.get(done)
        except exceptions.ActorUnavailableError:
            # The next call tells whether the actor has died.
            actor.doubtful = True
            actor.poll = self._poll(actor.handle)
            return []
        except exceptions.RayActorError as error:
            return self._death(worker, error)
        except Exception as error:
            return [Ended(describe(error))]
        if actor.doubtful:
            return [Ended("the connection to its node was interrupted", blameless=True)]
        actor.node = node
        for message in messages:
            if isinstance(message, Started):
                actor.started = True
            elif isinstance(message, Finished):
                actor.tasks.discard(message.key)
                self._suspects.discard(message.key)
                self._measure(message)
            elif isinstance(message, Failed):
                actor.tasks.difference_update(message.lost)
        if not any(isinstance(message, Ended) for message in messages):
            actor.poll = self._poll(actor.handle)
        return list(messages)

    def _death(self, worker: int, error: Exception) -> list[Message]:
        """Return what is to be told of an actor that has died."""
        actor = self._actors[worker]
        self._head.wait()
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        text = describe(error)
        if ("node" in text and "died" in text and not actor.started) or (
            actor.node and actor.node not in alive
        ):
            if actor.started:
                return [Ended(f"its node {actor.node[:12]} was lost", blameless=True)]
            _LOG.warning("worker %d lost its node before it started; starting it again", worker)
            self.restart(worker)
            return []
        known = actor.at_once or not actor.started
        return [Ended(_last_line(error), text, blameless=not known)]

    def _measure(self, message: Finished) -> None:
        seconds = max(message.record.seconds, 1e-4)
        self._seconds += (seconds - self._seconds) * (0.05 if self._seconds else 1.0)

    def _check_room(self) -> None:
        now = time.monotonic()
        if any(actor.started for actor in self._actors.values()):
            self._lonely_since = now
        elif now - self._lonely_since > self._settings.start_timeout:
            have = self._ray.cluster_resources().get("CPU", 0.0)
            free = self._ray.available_resources().get("CPU", 0.0)
            raise EvaluationError(
                f"no worker started on the Ray cluster within {self._settings.start_timeout:.0f} "
                f"seconds: each needs {self._settings.cpus_per_actor:g} CPUs, and {free:g} of "
                f"{have:g} are free; see `ray status`, and [ray] start_timeout"
            )

    def shut_down(self) -> None:
        """End the actors and the connection."""
        for actor in self._actors.values():
            self._kill(actor)
        self._actors.clear()
        disconnect()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"

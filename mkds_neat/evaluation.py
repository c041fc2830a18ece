"""Evaluation: individuals in, results out, over a pool of workers.

A worker drives whole episodes by itself. This process deals out individuals, a few ahead of those
that a worker drives, and takes the results as they come. Which worker drives which individual
therefore depends on the number of workers. The results do not: the seed of an episode comes from
the run's seed and the individual's id, and results are ordered by id.

A worker that dies or hangs is started again, and an environment that fails is replaced. Only the
episodes that were under way in it are driven again from their start. No individual is scored for a
crash.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mkds_neat.episode import Ended, Failed, Finished, Message, Progress, Started, Task
from mkds_neat.errors import EvaluationError
from mkds_neat.individual import Individual, Result
from mkds_neat.lanes import LanesFactory
from mkds_neat.workers import ProcessPool, ThreadPool, WorkerPool

if TYPE_CHECKING:
    from mkds_neat.viewer import RunViewer

_LOG = logging.getLogger(__name__)

START_METHODS: Final = ("forkserver", "fork", "spawn")
VECTORIZATIONS: Final = ("async", "native")
WORKER_TIMEOUT: Final = 60.0
"""Seconds without a message after which a worker process that drives counts as dead."""
_POLL: Final = 0.1
"""Seconds between two looks at a request to stop."""


class Stopped(Exception):  # noqa: N818 - a stop on request is not an error
    """The evaluation was asked to stop. The results that were reported remain valid."""


def episode_seed(run_seed: int, individual: int) -> int:
    """Return the seed of an individual's episode: a 32-bit hash of the run's seed and the id."""
    return int(np.random.SeedSequence([run_seed, individual]).generate_state(1)[0])


class _Worker:
    """What this process knows of a worker."""

    def __init__(self) -> None:
        self.started = False
        self.tasks: list[Task] = []  # in the order in which the worker begins them
        self.silence = 0.0  # seconds since the last message, or since the worker is busy

    @property
    def is_busy(self) -> bool:
        """Whether the worker starts or drives."""
        return bool(self.tasks) or not self.started

    def remove(self, ids: Sequence[int]) -> None:
        """Forget tasks."""
        self.tasks = [task for task in self.tasks if task.id not in ids]


class Evaluator:
    """Evaluates individuals, one episode each, over several workers.

    Use an evaluator as a context manager, or call `close`.

    Args:
        env_id: A registered environment with vector observations and a Box of actions.
        env_kwargs: Its arguments.
        workers: Number of worker processes, or of threads of this process.
        lanes: Episodes that a worker drives at the same time; more than 1 only for ``MKDS-v0``.
        seed: The run's seed, from which the seed of every episode is derived.
        scorer: Maps the metrics of an episode to a fitness; None takes the sum of rewards.
        start_method: ``"forkserver"``, ``"fork"`` or ``"spawn"``.
        retries: Evaluations of an individual that are repeated after its worker failed.
        timeout: Seconds without a message after which a worker process that drives counts as
            dead, also an attribute.
        vectorization: ``"async"`` for worker processes. ``"native"`` for threads of this process:
            ``start_method`` and ``timeout`` are then ignored.
        viewer: Shows the races, which must then be of ``MKDS-v0``.

    Attributes:
        restarts: Number of times that a worker was started again.
        frames: Emulated frames of all results so far.
        pool: The workers; None before the first use.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        workers: int,
        seed: int,
        lanes: int = 1,
        scorer: Callable[[Mapping[str, float]], float] | None = None,
        start_method: str = "forkserver",
        retries: int = 2,
        timeout: float = WORKER_TIMEOUT,
        vectorization: str = "async",
        viewer: RunViewer | None = None,
    ) -> None:
        for name, number, least in (
            ("workers", workers, 1),
            ("lanes", lanes, 1),
            ("retries", retries, 0),
        ):
            if number < least:
                raise ValueError(f"{name}={number} is out of range: expected at least {least}")
        for name, word, accepted in (
            ("start_method", start_method, START_METHODS),
            ("vectorization", vectorization, VECTORIZATIONS),
        ):
            if word not in accepted:
                raise ValueError(f"{name}={word!r} is unknown: expected {' or '.join(accepted)}")
        self.workers = workers
        self.lanes = lanes
        self.timeout = timeout
        self.restarts = 0
        self.frames = 0
        self.pool: WorkerPool | None = None
        self._env_id = env_id
        self._env_kwargs = dict(env_kwargs or {})
        self._seed = seed
        self._scorer = scorer
        self._start_method = start_method
        self._retries = retries
        self._vectorization = vectorization
        self._viewer = viewer
        self._workers: list[_Worker] = []

    def __enter__(self) -> Evaluator:
        """Return the evaluator."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers."""
        self.close()

    @property
    def processes(self) -> list[Any]:
        """The worker processes (``multiprocessing.Process``); empty before the first use."""
        return [] if self.pool is None else list(self.pool.processes)

    def start(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Start the workers if they are not running. `evaluate` calls this itself.

        Args:
            should_stop: Called while they start; True raises `Stopped`.

        Raises:
            EvaluationError: The workers do not start.
            Stopped: ``should_stop`` returned True.
        """
        if self.pool is not None:
            return
        try:
            publishers = self._viewer.publishers() if self._viewer is not None else ()
            factory = LanesFactory(self._env_id, self._env_kwargs, self.lanes, publishers)
            if self._vectorization == "native":
                self.pool = ThreadPool(factory, self.workers)
            else:
                self.pool = ProcessPool(factory, self.workers, self._start_method)
            self._workers = [_Worker() for _ in range(self.workers)]
            while not all(worker.started for worker in self._workers):
                for number, message in self._receive(self.pool, should_stop):
                    if isinstance(message, Ended):
                        raise _not_started(message)
                    self._workers[number].started = True
        except Exception as error:
            self.close()
            if isinstance(error, Stopped | EvaluationError):
                raise
            if should_stop():
                raise Stopped from error
            raise _not_started(Ended(f"{type(error).__name__}: {error}")) from error
        except BaseException:
            self.close()
            raise

    def evaluate(
        self,
        individuals: Iterable[Individual],
        on_result: Callable[[Result], object] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Result]:
        """Evaluate each individual once.

        Args:
            individuals: Individuals with different ids.
            on_result: Called with each result as soon as it exists, in any order.
            should_stop: Called at every step; True raises `Stopped`.

        Returns:
            The results in order of id.

        Raises:
            ValueError: Two individuals have the same id.
            EvaluationError: An individual's worker failed more often than ``retries`` allows, the
                workers do not start, or a metric or fitness cannot be used.
            Stopped: ``should_stop`` returned True.
        """
        wanted = list(individuals)
        if len({i.id for i in wanted}) != len(wanted):
            raise ValueError("two individuals of one evaluation have the same id")
        waiting = deque(map(self._task, wanted))
        results: dict[int, Result] = {}
        failures: Counter[int] = Counter()
        self.start(should_stop)
        assert self.pool is not None
        try:
            while len(results) < len(wanted):
                self._deal(self.pool, waiting)
                for number, message in self._receive(self.pool, should_stop):
                    if isinstance(message, Finished):
                        self._workers[number].remove([message.id])
                        self._deal(self.pool, waiting)  # before the result is written to a disk
                        result = self._score(message)
                        results[result.id] = result
                        self.frames += result.record.frames
                        on_result(result)
                    elif isinstance(message, Failed | Ended):
                        self._recover(self.pool, number, message, waiting, failures)
        except BaseException:  # leave no process behind
            self.close()
            raise
        return [results[key] for key in sorted(results)]

    def close(self) -> None:
        """End the workers. A second call does nothing."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shut_down()

    def _task(self, individual: Individual) -> Task:
        label, tile = self._viewer.place_of(individual) if self._viewer is not None else ("", None)
        seed = episode_seed(self._seed, individual.id)
        return Task(individual.id, individual.network, seed, label, tile)

    def _deal(self, pool: WorkerPool, waiting: deque[Task]) -> None:
        """Give waiting tasks to the workers with the fewest.

        While many wait, a worker gets one more than it has lanes, and need not wait for this
        process. Near the end, a task waits here for the first free lane.
        """
        while waiting:
            ahead = 1 if len(waiting) > 2 * self.workers * self.lanes else 0
            number = min(
                (i for i in range(self.workers) if self._workers[i].started),
                key=lambda i: len(self._workers[i].tasks),
                default=None,
            )
            if number is None or len(self._workers[number].tasks) >= self.lanes + ahead:
                return
            task = waiting.popleft()
            self._workers[number].tasks.append(task)
            pool.send(number, [task])

    def _receive(
        self, pool: WorkerPool, should_stop: Callable[[], bool]
    ) -> list[tuple[int, Message]]:
        """Return messages of the workers; note those that have started or are silent."""
        if should_stop():
            raise Stopped
        began = time.monotonic()
        messages = pool.receive(_POLL)
        # Not more than a moment at a time: this process may have been suspended, too.
        passed = min(time.monotonic() - began, 2 * _POLL)
        for worker in self._workers:
            # A worker without tasks says nothing, and must not count as dead when it gets one.
            worker.silence = worker.silence + passed if worker.is_busy else 0.0
        for number, message in messages:
            worker = self._workers[number]
            worker.silence = 0.0
            if isinstance(message, Started):
                worker.started = True
            elif isinstance(message, Progress) and self._viewer is not None:
                self._viewer.count_steps(message.steps)
        if self._vectorization == "async":
            for number, worker in enumerate(self._workers):
                if worker.silence > self.timeout:
                    error = f"TimeoutError: no message for {self.timeout:.0f} seconds"
                    messages.append((number, Ended(error)))
        return messages

    def _score(self, finished: Finished) -> Result:
        key, record = finished.id, finished.record
        if self._scorer is None:
            fitness = record.score
        else:
            try:
                fitness = float(self._scorer(record.metrics))
            except Exception as error:
                raise EvaluationError(
                    f"the scorer failed on individual {key}: {error!r}; its metrics "
                    f"were {record.metrics}"
                ) from error
        if not math.isfinite(fitness):
            raise EvaluationError(
                f"individual {key} has the fitness {fitness}: expected a finite number "
                f"(its metrics were {record.metrics})"
            )
        return Result(key, fitness, record, finished.recording)

    def _recover(
        self,
        pool: WorkerPool,
        number: int,
        message: Failed | Ended,
        waiting: deque[Task],
        failures: Counter[int],
    ) -> None:
        """Queue the lost episodes of a worker again, and start the worker again if it has ended.

        Raises:
            EvaluationError: An individual's worker failed too often, or never started.
        """
        worker = self._workers[number]
        if isinstance(message, Ended):
            if not worker.started:
                raise _not_started(message)
            # The worker begins its tasks in order: those after the first are not to blame.
            lost, culprits = worker.tasks, [task.id for task in worker.tasks[: self.lanes]]
        else:
            lost = [task for task in worker.tasks if task.id in message.lost]
            culprits = list(message.culprits)
        _LOG.warning(
            "worker %d failed (%s); evaluating %s again\n%s",
            number,
            message.error,
            ", ".join(str(task.id) for task in lost) or "no individual",
            message.trace,
        )
        for key in culprits:
            failures[key] += 1
            if failures[key] > self._retries:
                raise EvaluationError(
                    f"the worker of individual {key} failed {failures[key]} times, the last time "
                    f"with {message.error}; results so far are saved, and --resume continues the "
                    "run"
                )
        waiting.extendleft(reversed(lost))
        worker.remove([task.id for task in lost])
        if isinstance(message, Ended):
            self.restarts += 1
            self._workers[number] = _Worker()
            pool.restart(number)


def _not_started(message: Ended) -> EvaluationError:
    return EvaluationError(
        f"the workers do not start: {message.error}; check the files in [environment], try fewer "
        "workers, or another start_method"
    )

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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mkds_gym.utils.arguments import shown
from mkds_gym.utils.portable_errors import describe, ends_process
from mkds_neat.episode import (
    Ended,
    EpisodeRecord,
    Failed,
    Finished,
    Key,
    Message,
    Progress,
    Started,
    Task,
)
from mkds_neat.errors import EvaluationError
from mkds_neat.individual import Individual, Result
from mkds_neat.lanes import LanesFactory
from mkds_neat.plan import Plan, with_frames
from mkds_neat.rollout import KEPT_COURSES
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


class _Worker:
    """What this process knows of a worker."""

    def __init__(self) -> None:
        self.started = False
        self.tasks: list[Task] = []  # in the order in which the worker begins them
        self.courses: list[_Course] = []  # of its tasks, the course of the last task at the end
        self.silence = 0.0  # seconds since the last message, or since the worker is busy

    @property
    def is_busy(self) -> bool:
        """Whether the worker starts or drives."""
        return bool(self.tasks) or not self.started

    def remove(self, keys: Sequence[Key]) -> None:
        """Forget tasks."""
        self.tasks = [task for task in self.tasks if task.key not in keys]

    def add(self, task: Task) -> None:
        """Note a task that the worker gets."""
        self.tasks.append(task)
        course = _course(task)
        if course in self.courses:
            self.courses.remove(course)
        self.courses = [*self.courses, course][-KEPT_COURSES:]


_Course = tuple[tuple[str, Any], ...]


def _course(task: Task) -> _Course:
    return tuple(sorted(task.course.items()))


class _Waiting:
    """Tasks that no worker has yet, by course: a worker drives on one course at a time."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks: dict[_Course, deque[Task]] = {}
        for task in tasks:
            self._tasks.setdefault(_course(task), deque()).append(task)

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))

    def put_back(self, tasks: Sequence[Task]) -> None:
        """Put tasks in front of the others."""
        for task in reversed(tasks):
            self._tasks.setdefault(_course(task), deque()).appendleft(task)

    def take(self, number: int, workers: Sequence[_Worker]) -> Task:
        """Take the next task for a worker.

        The course of its last task comes first, then one that no other worker drives on, if
        possible one that it still knows, and then that with most tasks.
        """
        mine = workers[number].courses
        left = [course for course, tasks in self._tasks.items() if tasks]
        taken = {w.courses[-1] for i, w in enumerate(workers) if i != number and w.courses}
        alone = [course for course in left if course not in taken]
        if mine and mine[-1] in left:
            course = mine[-1]
        elif alone:
            course = next((c for c in alone if c in mine), alone[0])
        else:
            course = max(left, key=lambda c: len(self._tasks[c]))
        return self._tasks[course].popleft()


class Evaluator:
    """Evaluates individuals over several workers, by default with one episode each.

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
        make_pool: Makes the workers from a factory of lanes and their number; None for processes
            or threads of this machine.
        plan: Which episodes an individual drives.

    Attributes:
        restarts: Number of times that a worker was started again.
        frames: Emulated frames of all results so far.
        steps: Steps of environments so far, also in episodes that have not ended.
        busy_seconds: Seconds that the workers have spent on episodes so far, added up.
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
        make_pool: Callable[[LanesFactory, int], WorkerPool] | None = None,
        plan: Plan | None = None,
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
                raise ValueError(
                    f"{name}={shown(word)} is unknown: expected {' or '.join(accepted)}"
                )
        self.workers = workers
        self.lanes = lanes
        self.timeout = timeout
        self.restarts = 0
        self.frames = 0
        self.steps = 0
        self.busy_seconds = 0.0
        self.pool: WorkerPool | None = None
        self._env_id = env_id
        self._env_kwargs = dict(env_kwargs or {})
        self._seed = seed
        self._scorer = scorer
        self._start_method = start_method
        self._retries = retries
        self._vectorization = vectorization
        self._viewer = viewer
        self._make_pool = make_pool
        self._plan = plan or Plan()
        if lanes == 1:  # the environment draws its course by itself
            self._plan = replace(self._plan, drawn=None)
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
            course = self._plan.course(0, self._plan.seed(self._seed, 0, 0, 0))
            factory = LanesFactory(
                self._env_id,
                self._env_kwargs,
                self.lanes,
                publishers,
                dict(course),
                records=self.lanes == 1 or not any(s is not None for s in self._plan.starts),
            )
            if self._make_pool is not None:
                self.pool = self._make_pool(factory, self.workers)
            elif self._vectorization == "native":
                self.pool = ThreadPool(factory, self.workers)
            else:
                self.pool = ProcessPool(factory, self.workers, self._start_method)
            self._workers = [_Worker() for _ in range(self.workers)]
            enough = all if self.pool.needs_all else any
            while not enough(worker.started for worker in self._workers):
                for _, message in self._receive(self.pool, should_stop):
                    if isinstance(message, Ended):
                        raise _not_started(message)
        except BaseException as error:  # custom code can raise anything
            self.close()
            if isinstance(error, Stopped | EvaluationError) or ends_process(error):
                raise
            if should_stop():
                raise Stopped from error
            raise _not_started(Ended(describe(error))) from error

    def evaluate(
        self,
        individuals: Iterable[Individual],
        on_result: Callable[[Result], object] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        *,
        generation: int = 0,
        known: Mapping[int, Result] | None = None,
        spared: Collection[int] = (),
    ) -> list[Result]:
        """Evaluate each individual.

        Args:
            individuals: Individuals with different ids.
            on_result: Called with each new result as soon as it exists, in any order.
            should_stop: Called at every step; True raises `Stopped`.
            generation: Number of the generation, for seeds that depend on it.
            known: Results of individuals of this generation that need not be driven again.
            spared: Ids of individuals that no rung drops.

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
        plan, results = self._plan, dict(known or {})
        driven: dict[int, list[_Scored]] = {individual.id: [] for individual in wanted}
        spent: Counter[int] = Counter()  # frames in rungs that are driven again
        self.start(should_stop)
        assert self.pool is not None
        try:
            dropped: dict[int, int] = {}
            for rung in range(plan.rungs):
                racing = [i for i in wanted if i.id not in dropped]
                tasks = [t for i in racing for t in self._tasks(i, generation, rung)]
                for each in self._drive(self.pool, tasks, should_stop):
                    driven[each.key[0]].append(each)
                ranked = sorted(
                    (i.id for i in racing if i.id not in spared),
                    key=lambda key: (-self._fitness(driven[key]), key),
                )
                for key in ranked[plan.survivors(len(ranked)) :]:
                    dropped[key] = rung
                for i in racing if plan.rung_frames else ():
                    if i.id not in dropped:
                        spent[i.id] += sum(each.record.frames for each in driven.pop(i.id))
                        driven[i.id] = []
            last = [i for i in wanted if i.id not in dropped and i.id not in results]
            tasks = [task for i in last for task in self._tasks(i, generation, None)]
            left = Counter(task.id for task in tasks)

            for each in self._drive(self.pool, tasks, should_stop):
                key = each.key[0]
                driven[key].append(each)
                left[key] -= 1
                if not left[key]:
                    results[key] = self._result(key, driven.pop(key), spent[key])
                    on_result(results[key])
            # By the scores: a known fitness may be an average with earlier evaluations.
            whole = [i.id for i in wanted if i.id not in dropped] if dropped else []
            lowest = min((plan.fitness(results[key].scores) for key in whole), default=math.inf)
            for rung in reversed(range(plan.rungs)):
                below = math.nextafter(lowest, -math.inf)
                for key in [key for key in dropped if dropped[key] == rung]:
                    if key not in results:
                        result = self._result(key, driven[key], spent[key])
                        fitness = min(result.fitness, below)
                        results[key] = replace(result, fitness=fitness, rung=rung)
                        on_result(results[key])
                    lowest = min(lowest, results[key].fitness)
        except BaseException:  # leave no process behind
            self.close()
            raise
        return [results[key] for key in sorted(results)]

    def _drive(
        self, pool: WorkerPool, tasks: Iterable[Task], should_stop: Callable[[], bool]
    ) -> Iterator[_Scored]:
        """Drive episodes, and yield them as they end."""
        waiting = _Waiting(tasks)
        left = len(waiting)
        failures: Counter[Key] = Counter()
        while left:
            self._deal(pool, waiting)
            for number, message in self._receive(pool, should_stop):
                if isinstance(message, Finished):
                    self._workers[number].remove([message.key])
                    # Before the result is written to a disk. The others have not changed.
                    self._deal(pool, waiting, (number,))
                    self.frames += message.record.frames
                    left -= 1
                    yield _Scored(
                        message.key, message.record, self._score(message), message.recording
                    )
                elif isinstance(message, Failed | Ended):
                    self._recover(pool, number, message, waiting, failures)

    def close(self) -> None:
        """End the workers. A second call does nothing."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shut_down()

    def _tasks(self, individual: Individual, generation: int, rung: int | None) -> list[Task]:
        """Return episodes of an individual, with their place in the viewer."""
        tasks = self._plan.tasks(self._seed, individual, generation, rung)
        if self._viewer is None:
            return tasks
        label, tile = self._viewer.place_of(individual)
        return [replace(task, label=label, tile=tile) for task in tasks]

    def _fitness(self, driven: Iterable[_Scored]) -> float:
        return self._plan.fitness([each.score for each in _in_order(driven)])

    def _result(self, key: int, driven: Iterable[_Scored], spent: int) -> Result:
        episodes = _in_order(driven)
        records = tuple(each.record for each in episodes)
        return Result(
            key,
            self._fitness(episodes),
            with_frames(self._plan.record(records), spent),
            episodes[0].recording,
            episodes=records,
            scores=tuple(each.score for each in episodes),
        )

    def _deal(
        self, pool: WorkerPool, waiting: _Waiting, workers: Sequence[int] | None = None
    ) -> None:
        """Give waiting tasks to the workers with the fewest.

        While many wait, a worker gets more than it has lanes, and need not wait for this process.
        Near the end, a task waits here for the first free lane.

        Args:
            pool: The workers.
            waiting: The tasks.
            workers: Numbers of those that get some; None for all.
        """
        workers = range(self.workers) if workers is None else workers
        while waiting:
            ahead = min(pool.look_ahead, (len(waiting) - 1) // (2 * self.workers * self.lanes))
            number = min(
                (i for i in workers if self._workers[i].started),
                key=lambda i: len(self._workers[i].tasks),
                default=None,
            )
            if number is None or len(self._workers[number].tasks) >= self.lanes + ahead:
                return
            task = waiting.take(number, self._workers)
            self._workers[number].add(task)
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
            if isinstance(message, Progress | Finished):
                self.busy_seconds += message.busy
            if isinstance(message, Progress):
                self.steps += message.steps
                if self._viewer is not None:
                    self._viewer.count_steps(message.steps)
        if self._vectorization == "async":
            for number, worker in enumerate(self._workers):
                if worker.silence > self.timeout:
                    error = f"TimeoutError: no message for {self.timeout:.0f} seconds"
                    messages.append((number, Ended(error)))
        return messages

    def _score(self, finished: Finished) -> float:
        key, record = finished.id, finished.record
        if self._scorer is None:
            fitness = record.score
        else:
            try:
                fitness = float(self._scorer(record.metrics))
            except BaseException as error:
                if ends_process(error):  # a second Ctrl-C, SIGTERM or SIGHUP
                    raise
                seen = (
                    f"its metrics were {record.metrics}"
                    if record.metrics
                    else f"{self._env_id} gave no metrics: write [evaluation] scorer = rewards"
                )
                raise EvaluationError(
                    f"the scorer failed on individual {key}: {describe(error)}; {seen}"
                ) from error
        if not math.isfinite(fitness):
            raise EvaluationError(
                f"individual {key} has the fitness {fitness}: expected a finite number "
                f"(its metrics were {record.metrics})"
            )
        return fitness

    def _recover(
        self,
        pool: WorkerPool,
        number: int,
        message: Failed | Ended,
        waiting: _Waiting,
        failures: Counter[Key],
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
            lost, culprits = worker.tasks, [task.key for task in worker.tasks[: self.lanes]]
            if message.blameless:
                culprits = []
        else:
            lost = [task for task in worker.tasks if task.key in message.lost]
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
                    f"the worker of individual {key[0]} failed {failures[key]} times, the last "
                    f"time with {message.error}; results so far are saved, and --resume continues "
                    "the run"
                )
        waiting.put_back(lost)
        worker.remove([task.key for task in lost])
        if isinstance(message, Ended):
            self.restarts += 1
            self._workers[number] = _Worker()
            try:
                pool.restart(number)
            except (OSError, RuntimeError) as error:
                raise _not_started(Ended(describe(error))) from error


@dataclass(frozen=True)
class _Scored:
    """An episode and its score."""

    key: Key
    record: EpisodeRecord
    score: float
    recording: bytes | None


def _in_order(driven: Iterable[_Scored]) -> list[_Scored]:
    return sorted(driven, key=lambda each: each.key)


def _not_started(message: Ended) -> EvaluationError:
    return EvaluationError(
        f"the workers do not start: {message.error}; check the files in [environment], try fewer "
        "workers, or another start_method"
    )

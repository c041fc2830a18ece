"""Evaluation: individuals in, results out, over a pool of workers.

A worker that finishes an episode takes the next waiting individual at once. Which worker drives
which individual therefore depends on the number of workers. The results do not: the seed of an
episode comes from the run's seed and the individual's id, the outputs of a network do not depend
on its batch (see `mkds_neat.networks`), and results are ordered by id.

A worker process that dies, fails or hangs costs only the episodes in progress: the workers are
started again, and these individuals are evaluated again from their start. An emulator of this
process that fails is replaced, and only its own episode is repeated. No individual is scored for
a crash.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import gymnasium as gym
import numpy as np

from mkds_neat.episode import RECORD_KEY, RECORDING_KEY, EnvironmentFactory, EpisodeRecord
from mkds_neat.errors import EvaluationError
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import GenomeNetwork, NetworkBatch
from mkds_neat.workers import ProcessPool, Stopped, ThreadPool, WorkerPool

if TYPE_CHECKING:
    from mkds_neat.viewer import RunViewer

_LOG = logging.getLogger(__name__)

START_METHODS: Final = ("forkserver", "fork", "spawn")
VECTORIZATIONS: Final = ("async", "native")
STEP_TIMEOUT: Final = 60.0
"""Seconds after which a worker process that has not answered counts as dead."""


def episode_seed(run_seed: int, individual: int) -> int:
    """Return the seed of an individual's episode: a 32-bit hash of the run's seed and the id."""
    return int(np.random.SeedSequence([run_seed, individual]).generate_state(1)[0])


class _PoolError(Exception):
    """A call to the worker pool failed."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


@contextlib.contextmanager
def _pool_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _PoolError(error) from error


@dataclass
class _Episode:
    individual: Individual
    network: GenomeNetwork


@dataclass
class _Progress:
    """The state of one call of `Evaluator.evaluate`."""

    waiting: deque[Individual]
    running: list[_Episode | None]
    """The episode of each worker."""
    results: dict[int, Result] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)


class Evaluator:
    """Evaluates individuals, one episode each, over several workers.

    Use an evaluator as a context manager, or call `close`.

    Args:
        env_id: A registered environment with vector observations and a Box of actions.
        env_kwargs: Its arguments.
        workers: Number of worker processes, or of emulators in this process.
        seed: The run's seed, from which the seed of every episode is derived.
        scorer: Maps the metrics of an episode to a fitness; None takes the sum of rewards.
        start_method: ``"forkserver"``, ``"fork"`` or ``"spawn"``.
        retries: Evaluations of an individual that are repeated after its worker failed.
        timeout: Seconds after which a worker process that has not answered counts as dead.
        vectorization: ``"async"`` for worker processes. ``"native"`` for emulators in this
            process, stepped by threads: only for ``MKDS-v0``; ``start_method`` and ``timeout``
            are then ignored.
        viewer: Shows the races, which must then be of ``MKDS-v0``.

    Attributes:
        restarts: Number of times that the workers were started again.
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
        scorer: Callable[[Mapping[str, float]], float] | None = None,
        start_method: str = "forkserver",
        retries: int = 2,
        timeout: float = STEP_TIMEOUT,
        vectorization: str = "async",
        viewer: RunViewer | None = None,
    ) -> None:
        for name, number, least in (("workers", workers, 1), ("retries", retries, 0)):
            if number < least:
                raise ValueError(f"{name}={number} is out of range: expected at least {least}")
        for name, word, accepted in (
            ("start_method", start_method, START_METHODS),
            ("vectorization", vectorization, VECTORIZATIONS),
        ):
            if word not in accepted:
                raise ValueError(f"{name}={word!r} is unknown: expected {' or '.join(accepted)}")
        self.workers = workers
        self.restarts = 0
        self.frames = 0
        self.pool: WorkerPool | None = None
        self._factory = EnvironmentFactory(env_id, dict(env_kwargs or {}))
        self._seed = seed
        self._scorer = scorer
        self._start_method = start_method
        self._retries = retries
        self._timeout = timeout
        self._vectorization = vectorization
        self._viewer = viewer

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
        publishers: list[Any] = [None] * self.workers
        if self._viewer is not None:
            publishers = [self._viewer.publisher(worker) for worker in range(self.workers)]
        try:
            if self._vectorization == "native":
                self.pool = ThreadPool(self._factory, publishers)
            else:
                self.pool = ProcessPool(
                    [replace(self._factory, publisher=each) for each in publishers],
                    self._start_method,
                    self._timeout,
                    should_stop,
                )
        except Stopped:
            raise
        except Exception as error:
            if should_stop():
                raise Stopped from error
            raise EvaluationError(
                f"the workers do not start: {type(error).__name__}: {error}; check the files in "
                "[environment], try fewer workers, or another start_method"
            ) from error
        if should_stop():
            self.close()
            raise Stopped

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
        progress = _Progress(deque(wanted), [None] * self.workers)
        while len(progress.results) < len(wanted):
            try:
                self.start(should_stop)
                assert self.pool is not None
                self._drive(self.pool, progress, on_result, should_stop)
            except _PoolError as error:
                self._recover(progress, error.cause)
            except BaseException:  # leave no process behind
                self.close()
                raise
        return [progress.results[key] for key in sorted(progress.results)]

    def close(self) -> None:
        """End the workers. A second call does nothing."""
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.shut_down()

    def _drive(
        self,
        pool: WorkerPool,
        progress: _Progress,
        on_result: Callable[[Result], object],
        should_stop: Callable[[], bool],
    ) -> None:
        """Drive episodes until no individual waits and no episode runs."""
        running = progress.running
        space = pool.single_action_space
        assert isinstance(space, gym.spaces.Box)
        actions = np.zeros((self.workers, *space.shape), dtype=space.dtype)
        observations = self._begin(pool, progress)
        batch, active = _batch_of(running)
        while batch is not None:
            if should_stop():
                raise Stopped
            actions[active] = np.clip(batch(observations[active]), space.low, space.high)
            with _pool_errors():
                observations, terminated, truncated, infos = pool.advance(actions, active)
            if self._viewer is not None:
                self._viewer.count_steps(len(active))
            ended = [worker for worker in active if terminated[worker] or truncated[worker]]
            if not ended:
                continue
            for worker in ended:
                episode, running[worker] = running[worker], None
                assert episode is not None
                if RECORD_KEY not in infos or not infos[f"_{RECORD_KEY}"][worker]:
                    self._count_failure(progress, episode.individual, infos["error"][worker])
                    progress.waiting.appendleft(episode.individual)
                    continue
                recording = infos[RECORDING_KEY][worker] if RECORDING_KEY in infos else None
                result = self._score(episode.individual, infos[RECORD_KEY][worker], recording)
                progress.results[result.id] = result
                self.frames += result.record.frames
                on_result(result)
            if progress.waiting:
                observations = self._begin(pool, progress)
            batch, active = _batch_of(running)

    def _begin(self, pool: WorkerPool, progress: _Progress) -> Any:
        """Give waiting individuals to free workers; return the observations of all workers."""
        mask = np.zeros(self.workers, dtype=np.bool_)
        seeds: list[int | None] = [None] * self.workers
        for worker, episode in enumerate(progress.running):
            if episode is None and progress.waiting:
                individual = progress.waiting.popleft()
                progress.running[worker] = _Episode(individual, GenomeNetwork(individual.network))
                mask[worker] = True
                seeds[worker] = episode_seed(self._seed, individual.id)
                if self._viewer is not None:
                    self._viewer.begin_episode(worker, individual)
        with _pool_errors():
            return pool.begin(seeds, mask)

    def _score(
        self, individual: Individual, record: EpisodeRecord, recording: bytes | None
    ) -> Result:
        if self._scorer is None:
            fitness = record.score
        else:
            try:
                fitness = float(self._scorer(record.metrics))
            except Exception as error:
                raise EvaluationError(
                    f"the scorer failed on individual {individual.id}: {error!r}; its metrics "
                    f"were {record.metrics}"
                ) from error
        if not math.isfinite(fitness):
            raise EvaluationError(
                f"individual {individual.id} has the fitness {fitness}: expected a finite number "
                f"(its metrics were {record.metrics})"
            )
        return Result(individual.id, fitness, record, recording)

    def _recover(self, progress: _Progress, error: Exception) -> None:
        """End the workers and queue their individuals again, or give up."""
        failed = set() if self.pool is None else self.pool.failed()
        lost = {worker: e for worker, e in enumerate(progress.running) if e is not None}
        progress.running = [None] * self.workers
        self.close()
        self.restarts += 1
        culprits = [e for worker, e in lost.items() if worker in failed] or list(lost.values())
        for episode in culprits:
            self._count_failure(progress, episode.individual, repr(error), error)
        _LOG.warning(
            "a worker failed (%r); starting the workers again and evaluating %s again",
            error,
            ", ".join(str(e.individual.id) for e in lost.values()),
        )
        progress.waiting.extendleft(e.individual for e in reversed(list(lost.values())))

    def _count_failure(
        self,
        progress: _Progress,
        individual: Individual,
        what: str,
        cause: Exception | None = None,
    ) -> None:
        """Count a failure of an individual's worker, and raise an error after too many."""
        key = individual.id
        progress.failures[key] = progress.failures.get(key, 0) + 1
        if progress.failures[key] > self._retries:
            raise EvaluationError(
                f"the worker of individual {key} failed {progress.failures[key]} times, the last "
                f"time with {what}; results so far are saved, and --resume continues the run"
            ) from cause


def _batch_of(running: Sequence[_Episode | None]) -> tuple[NetworkBatch | None, list[int]]:
    """Return the networks of the running episodes, and their workers."""
    active = [worker for worker, episode in enumerate(running) if episode is not None]
    networks = [episode.network for episode in running if episode is not None]
    return (NetworkBatch(networks) if networks else None), active

"""Evaluation: individuals in, results out, over the lanes of a vector environment.

The lanes are worker processes (Gymnasium's `AsyncVectorEnv`) or emulators in this process, stepped
by threads (`MKDSVectorEnv`); the results are the same.

A lane that finishes an episode takes the next waiting individual at once. Which
individual lands on which lane therefore depends on the number of workers, and nothing else
may: episodes are seeded from the run's seed and the individual's id, networks give the same
outputs in any company (see `mkds_neat.networks`), and results come back in order of id.

A worker that dies (or fails, or stops answering) costs the episodes that were under way, and
nothing more: the workers are started again and those individuals are evaluated again, from
their start. An emulator in this process that fails is replaced by itself, and costs its own
episode only. No individual ever scores for a crash.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Final, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState
from numpy.typing import NDArray

from mkds_gym.errors import VectorEnvError
from mkds_neat.errors import EvaluationError
from mkds_neat.networks import GenomeNetwork, NetworkBatch, NetworkSpec
from mkds_neat.workers import ALIVE, RECORD_KEY, RECORDING_KEY, EpisodeRecord, Lane, LaneFactory

_LOG = logging.getLogger(__name__)

START_METHODS: Final = ("forkserver", "fork", "spawn")
VECTORIZATIONS: Final = ("async", "native")
STEP_TIMEOUT: Final = 60.0
"""Seconds after which a worker that has not answered a step or a reset counts as dead."""
_CLOSE_TIMEOUT: Final = 5.0
"""Seconds that a terminated worker gets to close its console before it is killed."""


class Individual(Protocol):
    """What the evaluator needs to know of an individual."""

    @property
    def id(self) -> int:
        """Its number, unique within the run."""

    @property
    def network(self) -> NetworkSpec:
        """Its network."""


class Audience(Protocol):
    """Who looks at the lanes."""

    def spectator(self, lane: int) -> Any | None:
        """A lane's `mkds_gym.env.Spectator`, picklable; None for nobody."""

    def begins(self, lane: int, individual: Any) -> None:
        """An individual begins its episode on a lane."""

    def stepped(self, lanes: int) -> None:
        """So many lanes have made a step."""


@dataclass(frozen=True)
class Result:
    """What an individual achieved.

    Attributes:
        id: the individual.
        fitness: its score; higher is better.
        record: the episode.
        recording: of it, as a file's bytes; None where the environment makes none.
    """

    id: int
    fitness: float
    record: EpisodeRecord
    recording: bytes | None = field(default=None, repr=False, compare=False)


class Stopped(Exception):  # noqa: N818 - it is no error: someone asked for it
    """The evaluation was asked to stop; results reported so far stand."""


def episode_seed(run_seed: int, individual: int) -> int:
    """The seed of an individual's episode: 32 bits of the run's seed and its id, hashed."""
    return int(np.random.SeedSequence([run_seed, individual]).generate_state(1)[0])


class _WorkersFailed(Exception):  # noqa: N818 - never leaves this module
    """A call to the vector environment failed; anything else that fails is not its fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def _workers_may_fail() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _WorkersFailed(error) from error


@dataclass
class _Episode:
    individual: Individual
    network: GenomeNetwork


@dataclass
class _Work:
    """The state of one `evaluate` call."""

    waiting: deque[Individual]
    results: dict[int, Result] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)


class _Lanes(Protocol):
    """What the evaluator asks of a vector environment."""

    @property
    def single_action_space(self) -> gym.Space[Any]:
        """The action space of a lane."""

    @property
    def processes(self) -> list[Any]:
        """The worker processes, if there are any."""

    def begin(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> Any:
        """Begin an episode on the lanes in the mask; the observations of all."""

    def advance(self, actions: Any, lanes: Sequence[int]) -> tuple[Any, Any, Any, dict[str, Any]]:
        """A step of these lanes; observations, terminations, truncations and infos of all.

        An episode that ends without a record in its info has ended because the lane failed and
        was replaced; ``infos["error"]`` says why.
        """

    def failed(self) -> set[int]:
        """The lanes whose fault an error was, as far as that is known."""

    def end(self) -> None:
        """End them, in whatever state they are."""


class _Threads:
    """Lanes in this process.

    Args:
        factory: of the environments.
        spectators: of the lanes; None for nobody.

    Raises:
        Exception: whatever the environment raises that cannot be made.
    """

    processes: Final[list[Any]] = []

    def __init__(self, factory: LaneFactory, spectators: Sequence[Any]) -> None:
        self._envs: Any = gym.make_vec(
            factory.env_id,
            num_envs=len(spectators),
            vectorization_mode="vector_entry_point",
            env_wrappers=(Lane,),
            copy=False,
            autoreset_mode=AutoresetMode.DISABLED,
            on_error="replace",
            **factory.kwargs,
        )
        self.single_action_space: Any = self._envs.single_action_space
        self._failed: set[int] = set()
        if any(spectators):
            base: Any = self._envs.unwrapped
            base.set_attr("spectator", list(spectators))

    def begin(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> Any:
        """See `_Lanes`; what cannot be reset is replaced, once."""
        try:
            return self._envs.reset(seed=seeds, options={"reset_mask": mask})[0]
        except VectorEnvError as error:
            for lane, cause in sorted(error.failures.items()):
                _LOG.warning("lane %d failed and is replaced", lane, exc_info=cause)
                self._failed = {lane}
                observations = self._envs.replace(lane, seed=seeds[lane])[0]
                self._failed = set()  # it is no more to blame for what fails later
            return observations

    def advance(self, actions: Any, lanes: Sequence[int]) -> tuple[Any, Any, Any, dict[str, Any]]:
        """See `_Lanes`; the other lanes rest."""
        mask = np.zeros(len(actions), np.bool_)
        mask[lanes] = True
        try:
            observations, _, over, cut, infos = self._envs.step(actions, step_mask=mask)
        except VectorEnvError as error:
            self._failed = set(error.failures)
            raise error.failures[min(error.failures)] from error
        return observations, over, cut, infos

    def failed(self) -> set[int]:
        """See `_Lanes`."""
        return self._failed

    def end(self) -> None:
        """See `_Lanes`."""
        self._envs.close()


# Without its types, which cannot be named before Gymnasium 1.4.
class _Workers(AsyncVectorEnv):
    """Lanes in worker processes, which start and fail in an orderly way.

    Args:
        factories: of the environments.
        start_method: of `multiprocessing`.
        timeout: seconds that all of them together may take to start.
        stopping: asked while they do; True raises `Stopped`.
    """

    def __init__(
        self,
        factories: Sequence[LaneFactory],
        start_method: str,
        timeout: float,
        stopping: Callable[[], bool],
    ) -> None:
        # There before the base class says so, for `_end`.
        self.parent_pipes: list[Any] = []
        self.processes: list[Any] = []
        self._timeout = timeout
        self._stopping = stopping
        if start_method != "fork":
            # Starting the tracker unblocks SIGINT, so it must run before that is blocked.
            resource_tracker.ensure_running()
        # Ctrl-C reaches the whole process group. The workers, and the server that forks them,
        # inherit that it is blocked: else it would kill them in their imports, long before
        # `LaneFactory` can ignore it.
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            super().__init__(
                factories,
                copy=False,
                context=start_method,
                autoreset_mode=AutoresetMode.DISABLED,
            )
        except BaseException:
            _end(self)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _check_spaces(self) -> None:
        """What the base class does when all processes are started, with a way out."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            # A question of our own first, as the base class would wait for its answers for ever.
            self.call_async(ALIVE)
            self._await_answers()
            self.call_wait()
            super()._check_spaces()  # type: ignore[no-untyped-call]
        except (EOFError, ConnectionError) as error:
            codes = set()
            for process in self.processes:
                process.join(0.5)
                codes |= {process.exitcode} - {None}
            raise RuntimeError(
                "a worker ended while it started, with exit code "
                + ", ".join(map(str, sorted(codes)))
            ) from error

    def _await_answers(self) -> None:
        deadline = time.monotonic() + self._timeout
        for pipe in self.parent_pipes:
            while not pipe.poll(0.1):  # true at its end, too
                if self._stopping():
                    raise Stopped
                if time.monotonic() > deadline:
                    raise multiprocessing.TimeoutError(
                        f"a worker has not started within {self._timeout:.0f} seconds"
                    )

    def begin(self, seeds: Sequence[int | None], mask: NDArray[np.bool_]) -> Any:
        """See `_Lanes`."""
        self.reset_async(seed=list(seeds), options={"reset_mask": mask})
        return self.reset_wait(self._timeout)[0]

    def advance(self, actions: Any, lanes: Sequence[int]) -> tuple[Any, Any, Any, dict[str, Any]]:  # noqa: ARG002
        """See `_Lanes`; a lane without an episode idles by itself."""
        self.step_async(actions)
        observations, _, over, cut, infos = self.step_wait(self._timeout)
        return observations, over, cut, infos

    def failed(self) -> set[int]:
        """See `_Lanes`: where a worker raised, the base class has replaced its pipe by None."""
        return {
            lane
            for lane, (process, pipe) in enumerate(
                zip(self.processes, self.parent_pipes, strict=True)
            )
            if pipe is None or not process.is_alive()
        }

    def end(self) -> None:
        """See `_Lanes`."""
        _end(self)

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        """As the base class does it, but the workers' tracebacks go to the log."""
        failed = len([success for success in successes if not success])
        last: BaseException | None = None
        for _ in range(failed):
            lane, kind, value, trace = self.error_queue.get()
            _LOG.warning("worker %d failed:\n%s", lane, trace)
            self.parent_pipes[lane].close()
            self.parent_pipes[lane] = None
            last = value if isinstance(value, Exception) else kind(value)
        if last is not None:
            self._state = AsyncState.DEFAULT
            raise last


def _end(envs: AsyncVectorEnv[Any, Any]) -> None:
    """End the workers, in whatever state they are."""
    processes = list(envs.processes)
    for pipe in envs.parent_pipes:
        with contextlib.suppress(OSError):  # that worker is gone already
            if pipe is not None and not pipe.closed:
                pipe.send(("close", None))
    deadline = time.monotonic() + _CLOSE_TIMEOUT
    # The answer to an unfinished step may fill the pipe and must not hold a worker up.
    for pipe in envs.parent_pipes:
        with contextlib.suppress(EOFError, OSError):
            while pipe is not None and not pipe.closed:
                if not pipe.poll(max(0.0, deadline - time.monotonic())):
                    break
                pipe.recv()
    # One that was never started has no pid, and cannot be joined.
    processes = [process for process in processes if process.pid is not None]
    for process in processes:
        process.join(0.2)
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(max(0.5, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
    for pipe in envs.parent_pipes:
        if pipe is not None:
            pipe.close()
    if hasattr(envs, "error_queue"):
        envs.error_queue.close()
        envs.error_queue.join_thread()
    # All that AsyncVectorEnv.close() would do is done, and its own way of doing it waits
    # for ever on a worker that is no more.
    envs.closed = True


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Evaluator:
    """Evaluates individuals, one episode each, over several lanes.

    Use as a context manager, or call `close`: the workers end with it, on every way out.

    Args:
        env_id: a registered environment with vectors as observations and a Box of actions.
        env_kwargs: its arguments.
        workers: lanes: processes, or emulators in this one.
        seed: the run's seed, of which every episode's seed is derived.
        scorer: from an episode's metrics to a fitness; None takes the sum of rewards.
        start_method: ``"forkserver"``, ``"fork"`` or ``"spawn"``.
        retries: how often an individual is evaluated again after its worker failed.
        timeout: seconds after which a worker process that has not answered counts as dead.
        vectorization: ``"async"`` for worker processes; ``"native"`` for emulators in this
            process, stepped by threads, which ``MKDS-v0`` alone has; ``start_method`` and
            ``timeout`` then mean nothing.
        audience: who looks at the lanes, which must then be ``MKDS-v0``.

    Raises:
        ValueError: an argument is out of range.
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
        audience: Audience | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers={workers}: an evaluation needs at least one worker")
        if start_method not in START_METHODS:
            raise ValueError(
                f"start_method={start_method!r} is not one of {', '.join(START_METHODS)}"
            )
        if vectorization not in VECTORIZATIONS:
            raise ValueError(
                f"vectorization={vectorization!r} is not one of {', '.join(VECTORIZATIONS)}"
            )
        if retries < 0:
            raise ValueError(f"retries={retries} is negative")
        self.workers = workers
        self._factory = LaneFactory(env_id, dict(env_kwargs or {}))
        self._seed = seed
        self._scorer = scorer
        self._start_method = start_method
        self._retries = retries
        self._timeout = timeout
        self._vectorization = vectorization
        self._audience = audience
        self._envs: _Lanes | None = None
        self.restarts = 0
        self.frames = 0

    def __enter__(self) -> Evaluator:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the workers."""
        self.close()

    @property
    def processes(self) -> list[Any]:
        """The worker processes (``multiprocessing.Process``); none before the first use."""
        return [] if self._envs is None else list(self._envs.processes)

    def start(self, should_stop: Callable[[], bool] | None = None) -> None:
        """Start the workers, if they are not running; `evaluate` does so by itself.

        Args:
            should_stop: asked while they start; True raises `Stopped`.

        Raises:
            EvaluationError: they do not start.
            Stopped: ``should_stop`` said so.
        """
        if self._envs is not None:
            return
        stopping = should_stop or _never
        if self._vectorization == "async" and self._start_method == "forkserver":
            # The server imports the environment once; each worker is then a quick fork of it.
            context: Any = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["mkds_neat.workers", "mkds_gym.env"])
        spectators: list[Any] = [None] * self.workers
        if self._audience is not None:
            spectators = [self._audience.spectator(lane) for lane in range(self.workers)]
        try:
            if self._vectorization == "native":
                self._envs = _Threads(self._factory, spectators)
            else:
                self._envs = _Workers(
                    [replace(self._factory, spectator=each) for each in spectators],
                    self._start_method,
                    self._timeout,
                    stopping,
                )
        except Stopped:
            raise
        except Exception as error:
            if stopping():
                raise Stopped from error
            raise EvaluationError(
                f"the workers do not start: {_cause(error)}; see that the files in [environment] "
                "are there, try fewer workers, or another start_method"
            ) from error
        if stopping():
            self.close()
            raise Stopped

    def evaluate(
        self,
        individuals: Iterable[Individual],
        on_result: Callable[[Result], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[Result]:
        """Evaluate each individual once.

        Args:
            individuals: whom to evaluate; ids must differ.
            on_result: called with each result as soon as it is there, in any order.
            should_stop: asked at every step; True raises `Stopped`.

        Returns:
            The results in order of id.

        Raises:
            EvaluationError: an individual's worker failed more often than ``retries`` allows,
                the workers do not start, or a metric or a fitness cannot be used.
            Stopped: ``should_stop`` said so.
        """
        wanted = list(individuals)
        if len({i.id for i in wanted}) != len(wanted):
            raise ValueError("two individuals of one evaluation have the same id")
        work = _Work(deque(wanted))
        while len(work.results) < len(wanted):
            running: list[_Episode | None] = [None] * self.workers
            try:
                self.start(should_stop)
                self._run(work, running, on_result or _ignore, should_stop or _never)
            except _WorkersFailed as failure:
                self._recover(work, running, failure.error)
            except BaseException:  # whatever it is, leave no process behind
                self.close()
                raise
        return [work.results[key] for key in sorted(work.results)]

    def close(self) -> None:
        """End the workers; the second time does nothing."""
        envs, self._envs = self._envs, None
        if envs is not None:
            envs.end()

    # Within -----------------------------------------------------------------------------------

    def _run(
        self,
        work: _Work,
        running: list[_Episode | None],
        on_result: Callable[[Result], None],
        should_stop: Callable[[], bool],
    ) -> None:
        envs = self._envs
        assert envs is not None
        space = envs.single_action_space
        assert isinstance(space, gym.spaces.Box)
        actions = np.zeros((self.workers, *space.shape), dtype=space.dtype)
        observations = self._begin(work, running)
        batch, lanes = _assemble(running)
        while batch is not None:
            if should_stop():
                raise Stopped
            actions[lanes] = np.clip(batch(observations[lanes]), space.low, space.high)
            with _workers_may_fail():
                observations, terminations, truncations, infos = envs.advance(actions, lanes)
            if self._audience is not None:
                self._audience.stepped(len(lanes))
            over = [lane for lane in lanes if terminations[lane] or truncations[lane]]
            if not over:
                continue
            for lane in over:
                episode = running[lane]
                assert episode is not None
                running[lane] = None
                if not _has(infos, RECORD_KEY, lane):
                    self._count_failure(work, episode.individual, infos["error"][lane])
                    work.waiting.appendleft(episode.individual)
                    continue
                recording = infos[RECORDING_KEY][lane] if RECORDING_KEY in infos else None
                result = self._judge(episode.individual, infos[RECORD_KEY][lane], recording)
                work.results[result.id] = result
                self.frames += result.record.frames
                on_result(result)
            if work.waiting:
                observations = self._begin(work, running)
            batch, lanes = _assemble(running)

    def _begin(self, work: _Work, running: list[_Episode | None]) -> Any:
        """Give waiting individuals to free lanes, and reset those lanes."""
        envs = self._envs
        assert envs is not None
        mask = np.zeros(self.workers, dtype=np.bool_)
        seeds: list[int | None] = [None] * self.workers
        for lane, episode in enumerate(running):
            if episode is None and work.waiting:
                individual = work.waiting.popleft()
                running[lane] = _Episode(individual, GenomeNetwork(individual.network))
                mask[lane] = True
                if self._audience is not None:
                    self._audience.begins(lane, individual)
                seeds[lane] = episode_seed(self._seed, individual.id)
        with _workers_may_fail():
            return envs.begin(seeds, mask)

    def _judge(
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
                f"individual {individual.id} has the fitness {fitness}; a scorer must give a "
                f"finite number (its metrics were {record.metrics})"
            )
        return Result(individual.id, fitness, record, recording)

    def _recover(self, work: _Work, running: Sequence[_Episode | None], error: Exception) -> None:
        """Put the episodes under way back, and the workers away; or give up."""
        failed = set() if self._envs is None else self._envs.failed()
        lost = {lane: e for lane, e in enumerate(running) if e is not None}
        culprits = [e for lane, e in lost.items() if lane in failed] or list(lost.values())
        self.close()
        self.restarts += 1
        for episode in culprits:
            self._count_failure(work, episode.individual, repr(error), error)
        _LOG.warning(
            "a worker failed (%r); starting the workers again and evaluating %s again",
            error,
            ", ".join(str(e.individual.id) for e in lost.values()),
        )
        work.waiting.extendleft(e.individual for e in reversed(list(lost.values())))

    def _count_failure(
        self,
        work: _Work,
        individual: Individual,
        what: str,
        cause: Exception | None = None,
    ) -> None:
        """Note that an individual's worker has failed.

        Raises:
            EvaluationError: once too often.
        """
        key = individual.id
        work.failures[key] = work.failures.get(key, 0) + 1
        if work.failures[key] > self._retries:
            raise EvaluationError(
                f"the worker of individual {key} failed {work.failures[key]} times, the last "
                f"time with {what}; results so far are kept, --resume goes on from them"
            ) from cause


def _has(infos: Mapping[str, Any], key: str, lane: int) -> bool:
    return key in infos and bool(infos[f"_{key}"][lane])


def _assemble(running: Sequence[_Episode | None]) -> tuple[NetworkBatch | None, list[int]]:
    lanes = [lane for lane, episode in enumerate(running) if episode is not None]
    if not lanes:
        return None, lanes
    return NetworkBatch([e.network for e in running if e is not None]), lanes


def _ignore(result: Result) -> None:
    """What happens to a result that nobody waits for."""


def _never() -> bool:
    return False

"""The loop of a run: strategy, evaluator and run folder, generation after generation."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mkds_gym.emulator.states.state_file import MAX_SIZE
from mkds_gym.errors import StateError
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.files import is_file
from mkds_gym.utils.reading import read_file
from mkds_neat.cluster import connected, disconnect, pool_maker
from mkds_neat.config import Config, config_changes
from mkds_neat.errors import RunFolderError, RunVersionError, StrategyStateError
from mkds_neat.evaluation import Evaluator, Stopped
from mkds_neat.individual import Individual, Result
from mkds_neat.main_module import check_main_module
from mkds_neat.report import write_fitness_plot
from mkds_neat.results import Champion, Checkpoint, Row, RunFolder, RunInfo, Session
from mkds_neat.results.checkpoint import network_digest
from mkds_neat.results.population import save_networks
from mkds_neat.results.run_folder import Known
from mkds_neat.results.tables import summarise
from mkds_neat.strategies import Strategy
from mkds_neat.tensorboard_log import TensorBoardLog
from mkds_neat.terminal import Status, TerminalView
from mkds_neat.viewer import RunViewer, open_viewer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        reason: ``finished`` (a driver finished the race), ``solved`` (the strategy's threshold
            was met), ``generations`` (all generations are done), ``frames`` (the frame budget is
            spent) or ``stopped`` (on request).
        champion: The best driver; None if no driver was evaluated.
        generation: The generation to evaluate next.
    """

    reason: str
    champion: Champion | None
    generation: int


class _Generation:
    """The generation that is evaluated.

    Args:
        number: Its number.
        individuals: Its individuals.
        last: Results of the generation before, by id.
        evaluator: Evaluates it.
        again: Whether individuals of the generation before drive again.

    Attributes:
        again: As the argument.
        results: Results so far, by id.
        before: Results of the generation before, of individuals that are in this one.
        survivors: Individuals that keep their result.
        species: Number of species; 0 for a strategy without species.
    """

    def __init__(
        self,
        number: int,
        individuals: Iterable[Individual],
        last: Mapping[int, Result],
        evaluator: Evaluator,
        *,
        again: bool,
    ) -> None:
        self.number = number
        self.again = again
        self.individuals = {individual.id: individual for individual in individuals}
        self.before = {key: last[key] for key in self.individuals if key in last}
        self.results = {} if again else dict(self.before)
        self.survivors = set(self.results)
        self.species = len({i.species for i in self.individuals.values()} - {None})
        self._started, self._frames = time.perf_counter(), evaluator.frames

    def rows(self) -> list[Row]:
        """Return the rows of the results so far."""
        return [
            Row(self.number, self.individuals[key], key not in self.survivors, result)
            for key, result in sorted(self.results.items())
        ]

    def best_and_mean(self) -> tuple[float, float] | None:
        """Return the best and the mean fitness so far; None without a result."""
        scores = [result.fitness for result in self.results.values()]
        return (max(scores), statistics.fmean(scores)) if scores else None

    def seconds(self) -> float:
        """Return the time since the start."""
        return time.perf_counter() - self._started

    def frames(self, evaluator: Evaluator) -> int:
        """Return the frames emulated since the start."""
        return evaluator.frames - self._frames


class Evolution:
    """One run, new or resumed.

    An individual that survives unchanged (same id as in the generation before) keeps its result.
    Episodes are deterministic: a second evaluation would give the same result.

    Args:
        config: The config.
        folder: The folder to write to. It is locked until the end of `run`, or longer if the caller
            has locked it.
        checkpoint: Where to resume; None for a new run.
        restart_tables: Rename an ``individuals.csv`` that has lost rows, and begin another.
        say: Receives lines of output; None logs them.
        progress: Draw a live area if the standard error is a terminal, see `TerminalView`.

    Attributes:
        champion: The best driver so far.
        strategy: The strategy.

    Raises:
        RunFolderError: Another run writes to the folder, the cartridge is not that of the
            checkpoint, or the folder is damaged. The folder has not changed.
        ConfigError: The config differs from that of the checkpoint in what cannot change.
        EvaluationError: A worker process that imports the main module starts the run again.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        *,
        checkpoint: Checkpoint | None = None,
        restart_tables: bool = False,
        say: Callable[[str], None] | None = None,
        progress: bool = True,
    ) -> None:
        check_main_module()
        self.config = config = connected(config)
        self.folder = folder
        self._cartridge = config.environment.cartridge
        self._say = say or _LOG.info
        self._terminal = TerminalView(progress)
        self._stop = False
        self._known: Known = {}
        self.champion: Champion | None = None
        self._former: Champion | None = None  # of the generation before, if it cannot be compared
        self._last: dict[int, Result] = {}
        self._reason: str | None = None
        self._viewer: RunViewer | None = None
        self._tensorboard: TensorBoardLog | None = None
        self._pace: tuple[float, int] | None = None
        self._measured: tuple[float, float] | None = None
        self._fastest_lap: float | None = None
        self._begun = False
        self._written = 0  # generations in the tables
        self._frames = 0  # of the generations that the strategy was told
        self._changes: tuple[tuple[str, str, str], ...] = ()
        self._resumed = checkpoint is not None
        self._sessions: tuple[Session, ...] = ()
        with contextlib.ExitStack() as refused:
            if config.run.engine == "ray":
                refused.callback(disconnect)
            self._locked = folder.lock()
            refused.callback(self._unlock)
            self.strategy: Strategy = config.make_strategy()
            if checkpoint is not None:
                self._resume(checkpoint, restart_tables)
            self.strategy.ask()  # may refuse the config
            refused.pop_all()

    def _resume(self, checkpoint: Checkpoint, restart_tables: bool) -> None:
        config, folder = self.config, self.folder
        self._changes = config_changes(checkpoint.config, config.sections)
        _check_origin(folder, checkpoint.origin, _origin(config))
        try:
            self._sessions = folder.info().sessions
        except RunVersionError:
            raise
        except RunFolderError as error:
            folder.notes.append(f"{error}; run.json is written again")
        try:
            self.strategy.restore(checkpoint.strategy)
        except StrategyStateError as error:
            raise RunFolderError(
                f"the checkpoint of generation {checkpoint.generation} in "
                f"{shown(str(folder.path))} is "
                f"damaged: {error}"
            ) from error
        if self.strategy.generation != checkpoint.generation:
            raise RunFolderError(
                f"the checkpoint of generation {checkpoint.generation} in {str(folder.path)!r} is "
                f"damaged: its strategy is in generation {self.strategy.generation}"
            )
        if checkpoint.champion is not None:
            # The environment is that of the config, which a user can read: its names run code.
            self.champion = replace(
                checkpoint.champion, env_id=config.env_id, env_kwargs=self._champion_kwargs
            )
        self._last = dict(checkpoint.last)
        self._reason = checkpoint.reason
        if self._reason == "finished" and config.run.stop_when == "never":
            self._reason = None
        if self._reason == "solved" and self._changes:  # perhaps another threshold
            self._reason = None
        self._written = checkpoint.tables.generations
        summaries = checkpoint.tables.summaries
        if summaries:
            column = summaries[0].index("frames")
            done = summaries[1 : checkpoint.generation + 1]
            self._frames = sum(int(float(row[column])) for row in done)
        self._known = folder.rewind(checkpoint, restart_tables=restart_tables)

    def stop(self) -> None:
        """Ask the run to stop at the next step. Safe in a signal handler."""
        self._stop = True

    def _stopping(self) -> bool:
        return self._stop

    def begin(self) -> None:
        """Note in the folder that the run begins or continues. `run` calls this.

        A new run saves its first checkpoint, so that it can be resumed.
        """
        if self._begun:
            return
        folder, origin = self.folder, _origin(self.config)
        if self._resumed:
            folder.write("config.ini", self.config.text.encode())
        session, sessions = Session.begin(self.strategy.generation, self._changes), self._sessions
        run = self.config.run
        folder.save_info(RunInfo(run.strategy, run.seed, **origin, sessions=(*sessions, session)))
        for note in folder.notes:
            self._say(note)
        last = sessions[-1].versions if sessions else session.versions
        for name, version in session.versions.items():
            if version != last.get(name, version):
                self._say(
                    f"changed since the last session: {name} from {last[name]} to {version}; the "
                    "results may differ from those of an uninterrupted run"
                )
        for key, old, new in self._changes:
            self._say(f"changed since the last checkpoint: {key} from {shown(old)} to {shown(new)}")
        if not self._resumed:
            self._checkpoint()
        self._begun = True

    def run(self) -> Outcome:
        """Run to the end.

        On every way out, including an exception, the workers are ended and the results so far
        are on the disk, unless the disk fails.
        """
        try:
            return self._run()
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._locked:  # else the caller goes on writing
            self.folder.unlock()

    def _run(self) -> Outcome:
        run = self.config.run
        self.begin()
        try:
            with (
                open_viewer(self.config, self.folder.path.name, self._say) as self._viewer,
                self._open_tensorboard() as self._tensorboard,
                Evaluator(
                    self.config.env_id,
                    self.config.env_kwargs,
                    workers=run.workers,
                    lanes=self.config.lanes,
                    seed=run.seed,
                    scorer=self.config.scorer,
                    start_method=run.start_method,
                    vectorization=run.vectorization,
                    retries=self.config.settings.evaluation.retries,
                    viewer=self._viewer,
                    make_pool=pool_maker(self.config),
                    plan=self.config.plan,
                ) as evaluator,
            ):
                reason = self._generations(evaluator)
        except Stopped:
            reason = "stopped"
            self.champion = self._former or self.champion
        except BaseException:
            self.champion = self._former or self.champion
            self._rescue()
            raise
        # A stopped run resumes from the last checkpoint and the results in the journal.
        if reason != "stopped":
            self._reason = None if reason in ("generations", "frames") else reason
            self._checkpoint()
        if self.champion is not None:
            self.folder.save_champion(self.champion)
        write_fitness_plot(self.folder)
        # neat-python does not make another generation when its threshold is met.
        return Outcome(reason, self.champion, self.strategy.generation + (reason == "solved"))

    def _open_tensorboard(self) -> contextlib.AbstractContextManager[TensorBoardLog | None]:
        if not self.config.run.tensorboard:
            return contextlib.nullcontext()
        return TensorBoardLog(self.folder.path, self.strategy.generation)

    def _generations(self, evaluator: Evaluator) -> str:
        # Before the live area, whose clock measures evaluation only.
        if self._reason is None and not self._spent():
            evaluator.start(self._stopping)
        while self._reason is None and not self._spent():
            reason = self._generation(evaluator)
            if reason is not None:
                return reason
        return self._reason or self._spent()

    def _spent(self) -> str:
        """Return which budget is spent, ``generations`` or ``frames``; empty if none is."""
        run = self.config.run
        if self.strategy.generation >= run.generations:
            return "generations"
        return "frames" if run.frames is not None and self._frames >= run.frames else ""

    def _generation(self, evaluator: Evaluator) -> str | None:
        run, number = self.config.run, self.strategy.generation
        again = self.config.settings.evaluation.reevaluate
        current = _Generation(
            number, self.strategy.ask(), self._last, evaluator, again=again != "never"
        )
        results, before = current.results, current.before
        if self.config.plan.seeds == "generation" and not current.survivors:
            # The best of this generation takes its place: other seeds cannot be compared.
            self._former, self.champion = self.champion, None
        for key, individual in current.individuals.items():
            known = self._known.get((number, key, network_digest(individual.network)))
            if key not in results and known is not None:
                results[key] = known
        for key in sorted(results):
            self._challenge(current.individuals[key], results[key], number)
        if self._viewer is not None:
            places = [key for key in current.individuals if key not in current.survivors]
            self._viewer.begin_generation(number, places, current.species)
        self._show_in_viewer(current)

        def take(result: Result) -> None:
            if again == "average" and result.id in before:
                result = _averaged(before[result.id], result)
            # The champion first: it is saved even if the journal cannot be written.
            individual = current.individuals[result.id]
            self._challenge(individual, result, number)
            self.folder.journal(number, individual, result)
            results[result.id] = replace(result, recording=None)  # the champion's is on the disk
            self._show_in_viewer(current)

        def should_stop() -> bool:
            self._terminal.update(lambda: self._status(current, evaluator))
            return self._stop

        # Rungs compare all individuals, also those whose results the journal has.
        rungs = self.config.plan.rungs
        new = [
            i
            for key, i in current.individuals.items()
            if key not in results or (rungs and key not in current.survivors)
        ]
        try:
            evaluator.evaluate(
                sorted(new, key=self._expected_frames, reverse=True),
                take,
                should_stop,
                generation=number,
                known={i.id: results[i.id] for i in new if i.id in results},
                spared=list(before),
            )
        except Exception:
            with contextlib.suppress(RunFolderError):  # the first error is the one to report
                if number >= self._written and results:
                    self.folder.add_individuals(current.rows())
            raise
        seconds, busy = current.seconds(), self._busy_share(evaluator, current)
        rows = current.rows()
        summary = summarise(number, rows, current.species, seconds, busy)
        if number >= self._written:
            self.folder.add_individuals(rows)
            self.folder.add_generation(summary)
            evaluated = [i for i in current.individuals.values() if i.id not in current.survivors]
            save_networks(self.folder, number, evaluated, run.networks * 1_000_000)
            self._written = number + 1
        self._frames += summary["frames"]
        self.strategy.tell(results.values())
        self._last, self._former = results, None
        reason = self._end_generation(summary)
        if self._tensorboard is not None:
            last = reason is not None or bool(self._spent())
            self._tensorboard.generation(summary, rows, self.champion)
            self._tensorboard.video(number, self.champion, self._stopping, last=last)
        if reason is not None or number % run.log_interval == 0:
            self._line(summary, seconds, current.frames(evaluator))
        if reason is not None or self._spent():
            self._terminal.draw(self._status(current, evaluator))
        return reason

    def _status(self, current: _Generation, evaluator: Evaluator) -> Status:
        done, left = self._done_and_left(current)
        best, mean = current.best_and_mean() or (None, None)
        return Status(
            generation=current.number,
            generations=self.config.run.generations,
            done=len(current.results),
            individuals=len(current.individuals),
            species=current.species,
            best=best,
            mean=mean,
            frames=evaluator.steps * self.config.environment.frame_skip,
            busy_seconds=evaluator.busy_seconds,
            workers=self.config.run.workers,
            seconds_left=self._seconds_left(done, left),
            champion=self.champion,
            fastest_lap=self._fastest_lap,
        )

    def _done_and_left(self, current: _Generation) -> tuple[int, int]:
        """Return how many individuals of all generations are done, and are left."""
        size = len(current.individuals)
        done = current.number * size + len(current.results)
        return done, self.config.run.generations * size - done

    def _show_in_viewer(self, current: _Generation) -> None:
        if self._viewer is not None:
            done, left = self._done_and_left(current)
            champion = None if self.champion is None else self.champion.fitness
            self._viewer.update(champion, left, self._seconds_left(done, left))

    def _end_generation(self, summary: Mapping[str, Any]) -> str | None:
        """Save champion and checkpoint; return the reason if the run ends with the generation."""
        finished = summary["finished"] > 0 and self.config.run.stop_when == "finish"
        champion = self.champion
        self.folder.keep_recording(summary["generation"], champion)
        if champion is not None and (finished or champion.generation == summary["generation"]):
            self.folder.save_champion(champion)
        if finished or self.strategy.solved:
            return "finished" if finished else "solved"
        if self.strategy.generation % self.config.run.checkpoint_every == 0:
            self._checkpoint()
        return None

    def _line(self, summary: Mapping[str, Any], seconds: float, frames: int) -> None:
        text = (
            f"generation {summary['generation']:3d}: best {summary['best']:.1f}, "
            f"mean {summary['mean']:.1f}, "
            + (f"{summary['species']} species, " if summary["species"] else "")
            + (f"{summary['finished']} finished, " if summary["finished"] else "")
            + f"{frames / seconds:.0f} frames/s, {seconds:.1f} s"
        )
        self._terminal.hide()
        self._say(text)

    @property
    def _champion_kwargs(self) -> dict[str, Any]:
        """The arguments of a champion's environment, with the course of its first episode."""
        return {**self.config.env_kwargs, **self.config.plan.first_course}

    def _challenge(self, individual: Individual, result: Result, generation: int) -> None:
        self._fastest_lap = min(
            (lap for lap in (self._fastest_lap, *result.record.lap_times) if lap is not None),
            default=None,
        )
        old = self.champion
        if old is not None and old.id == individual.id:
            return
        new = Champion(
            id=individual.id,
            generation=generation,
            fitness=result.fitness,
            strategy=self.strategy.name,
            genome=individual.genome,
            network=individual.network,
            env_id=self.config.env_id,
            env_kwargs=self._champion_kwargs,
            seed=self.config.plan.seed(self.config.run.seed, individual.id, 0, generation),
            record=result.record,
            rom_sha1="" if self._cartridge is None else self._cartridge.sha1,
            start=self.config.plan.first_start,
            episodes=max(1, len(result.episodes)),
        )
        if old is None or new.rank > old.rank:
            self.champion = new
            if result.recording is not None:
                self.folder.save_recording(new, result.recording)

    def _expected_frames(self, individual: Individual) -> int:
        """Guess the length of an episode: the longest begin first, and all workers end together."""
        parents = [self._last[key].record.frames for key in individual.parents if key in self._last]
        return max(parents, default=0)

    def _checkpoint(self) -> None:
        self.folder.save_checkpoint(
            Checkpoint(
                self.strategy.generation,
                self.strategy.state(),
                self.champion,
                self._last,
                self._reason,
                self.config.sections,
                _origin(self.config),
                self.folder.tables(self._written),
            )
        )

    def _rescue(self) -> None:
        """Save the champion after an error."""
        if self.champion is None:
            return
        try:
            self.folder.save_champion(self.champion)
        except OSError as error:
            _LOG.error("the champion could not be saved either: %s", error)

    def _busy_share(self, evaluator: Evaluator, current: _Generation) -> float:
        """Return the workers' busy share since the last call, or in this generation at first."""
        now, busy = time.perf_counter(), evaluator.busy_seconds
        then, before = self._measured or (now - current.seconds(), 0.0)
        self._measured = now, busy
        return min(1.0, (busy - before) / (self.config.run.workers * (now - then)))

    def _seconds_left(self, done: int, left: int) -> float | None:
        """Return the time for the individuals left, at the pace since the first call."""
        now = time.perf_counter()
        if self._pace is None:
            self._pace = (now, done)
        then, before = self._pace
        return (now - then) * left / (done - before) if done > before else None


def _averaged(before: Result, now: Result) -> Result:
    """Return a result with the mean fitness of all evaluations of a survivor."""
    count = before.evaluations + 1
    fitness = (before.fitness * before.evaluations + now.fitness) / count
    return replace(now, fitness=fitness, evaluations=count)


def _origin(config: Config) -> dict[str, str]:
    """Return what races start from: the cartridge, and the savestate if there is one."""
    found: dict[str, str] = {}
    cartridge, state = config.environment.cartridge, config.env_kwargs.get("state")
    if cartridge is not None:
        found["rom"] = str(cartridge.path)
        found["rom_title"], found["rom_sha1"] = cartridge.title, cartridge.sha1
    if isinstance(state, str) and is_file(state):
        data = read_file(
            state, f"state {shown(state)}", StateError, limit=MAX_SIZE, remedy="put the file back"
        )
        found["state_sha256"] = hashlib.sha256(data).hexdigest()
    return found


def _check_origin(folder: RunFolder, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Refuse another cartridge or savestate than that of a checkpoint."""
    run = f"the run in {str(folder.path)!r} was driven"
    if old.get("rom_sha1") != new.get("rom_sha1"):
        (title, rom, sha1), (now, path, other) = (
            (each.get("rom_title"), each.get("rom"), each.get("rom_sha1")) for each in (old, new)
        )
        raise RunFolderError(
            f"{run} on {title} ({rom!r}, SHA-1 {sha1}), but the cartridge is now {now} ({path!r}, "
            f"SHA-1 {other}), and results would not be comparable; restore the old one (rom in the "
            "folder's config.ini, or MKDS_ROM), or start a new run"
        )
    if old.get("state_sha256") != new.get("state_sha256"):
        raise RunFolderError(
            f"{run} from a savestate with the SHA-256 {old.get('state_sha256')}, but state in "
            f"[environment] now leads to {new.get('state_sha256')}, and results would not be "
            "comparable; put the old file back, or start a new run"
        )

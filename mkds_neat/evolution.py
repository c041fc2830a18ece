"""The loop of a run: strategy, evaluator and run folder, generation after generation."""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from mkds_neat.config import Config
from mkds_neat.evaluation import Evaluator, Stopped, episode_seed
from mkds_neat.individual import Individual, Result
from mkds_neat.report import write_fitness_plot
from mkds_neat.results import Champion, Row, RunFolder
from mkds_neat.strategies import Strategy
from mkds_neat.viewer import RunViewer, open_viewer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        reason: ``finished`` (a driver finished the race), ``solved`` (the strategy's threshold
            was met), ``generations`` (all generations are done) or ``stopped`` (on request).
        champion: The best driver; None if no driver was evaluated.
        generation: The generation to evaluate next.
    """

    reason: str
    champion: Champion | None
    generation: int


class Evolution:
    """One run, new or resumed.

    An individual that survives unchanged (same id as in the generation before) keeps its result.
    Episodes are deterministic: a second evaluation would give the same result.

    Args:
        config: The config.
        folder: The folder to write to.
        state: State of a checkpoint to resume from; None for a new run.
        say: Receives lines of output; None logs them.
        progress: Show a progress bar if the standard error is a terminal.

    Attributes:
        champion: The best driver so far.
        strategy: The strategy.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        *,
        state: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
        progress: bool = True,
    ) -> None:
        self.config = config
        self.folder = folder
        self._cartridge = config.environment.cartridge
        self._say = say or _LOG.info
        self._progress = progress
        self._stop = False
        self._known: dict[tuple[int, int], Result] = {}
        self.champion: Champion | None = None
        self._last: dict[int, Result] = {}
        self._reason: str | None = None
        self._viewer: RunViewer | None = None
        self._pace: tuple[float, int] | None = None
        if state is None:
            self.strategy: Strategy = config.make_strategy()
        else:
            self.strategy = state["strategy"]
            self.champion = state["champion"]
            self._last = state["last"]
            self._reason = state["reason"]
            if self._reason == "finished" and config.run.stop_when == "never":
                self._reason = None
            self._known = folder.rewind(self.strategy.generation)
        self._saved: int | None = None if state is None else self.strategy.generation

    def stop(self) -> None:
        """Ask the run to stop at the next step. Safe in a signal handler."""
        self._stop = True

    def _stopping(self) -> bool:
        return self._stop

    def begin(self) -> None:
        """Save the first checkpoint of a new run, so that it can be resumed. `run` calls this."""
        if self._saved is None:
            if self._cartridge is not None:
                self.folder.save_cartridge(self._cartridge)
            self._checkpoint()

    def run(self) -> Outcome:
        """Run to the end.

        On every way out, including an exception, the workers are ended and the results so far
        are on the disk, unless the disk fails.
        """
        run = self.config.run
        self.begin()
        try:
            with (
                open_viewer(self.config, self.folder.path.name, self._say) as self._viewer,
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
                ) as evaluator,
            ):
                reason = self._generations(evaluator)
        except Stopped:
            reason = "stopped"
        except BaseException:
            self._rescue()
            raise
        # A stopped run resumes from the last checkpoint and the results in the journal.
        if reason != "stopped":
            self._reason = None if reason == "generations" else reason
            self._checkpoint()
        if self.champion is not None:
            self.folder.save_champion(self.champion)
        write_fitness_plot(self.folder)
        return Outcome(reason, self.champion, self.strategy.generation)

    def _generations(self, evaluator: Evaluator) -> str:
        run = self.config.run
        size = len(self.strategy.ask())
        # Before the bar, whose clock measures evaluation only.
        if self._reason is None and self.strategy.generation < run.generations:
            evaluator.start(self._stopping)
        # Workers are forked, which must not happen beside tqdm's monitor thread.
        tqdm.monitor_interval = 0
        with tqdm(
            total=run.generations * size,
            initial=self.strategy.generation * size,
            unit="driver",
            disable=None if self._progress else True,
            file=sys.stderr,
            smoothing=0.05,
            dynamic_ncols=True,
        ) as bar:
            while self._reason is None and self.strategy.generation < run.generations:
                reason = self._generation(evaluator, bar)
                if reason is not None:
                    return reason
        return self._reason or "generations"

    def _generation(self, evaluator: Evaluator, bar: tqdm[Any]) -> str | None:
        run, generation = self.config.run, self.strategy.generation
        started, frames = time.perf_counter(), evaluator.frames
        individuals = {i.id: i for i in self.strategy.ask()}
        results = {key: self._last[key] for key in individuals if key in self._last}
        survivors = set(results)
        for key in individuals:
            if key not in results and (generation, key) in self._known:
                results[key] = self._known[generation, key]
        bar.update(len(results))
        species = len({i.species for i in individuals.values()} - {None})
        base = f"gen {generation}" + (f" | {species} species" if species else "")

        def show() -> None:
            scores = [r.fitness for r in results.values()]
            rate = (evaluator.frames - frames) / (time.perf_counter() - started)
            best = (
                f" | best {max(scores):.0f} | mean {statistics.fmean(scores):.0f}" if scores else ""
            )
            bar.set_postfix_str(f"{base}{best} | {rate:.0f} frames/s", refresh=False)
            if self._viewer is not None:
                done = generation * len(individuals) + len(results)
                left = run.generations * len(individuals) - done
                champion = None if self.champion is None else self.champion.fitness
                self._viewer.update(champion, left, self._seconds_left(done, left))

        def take(result: Result) -> None:
            # The champion first: it is saved even if the journal cannot be written.
            self._challenge(individuals[result.id], result, generation)
            self.folder.journal(generation, result)
            results[result.id] = replace(result, recording=None)  # the champion's is on the disk
            show()
            bar.update()

        for key in sorted(results):
            self._challenge(individuals[key], results[key], generation)
        if self._viewer is not None:
            places = [key for key in individuals if key not in survivors]
            self._viewer.begin_generation(generation, places, species)
        show()
        new = [i for key, i in individuals.items() if key not in results]
        evaluator.evaluate(
            sorted(new, key=self._expected_frames, reverse=True), take, self._stopping
        )
        seconds = time.perf_counter() - started
        rows = [
            Row(generation, i, key not in survivors, results[key])
            for key, i in sorted(individuals.items())
        ]
        self.strategy.tell({key: r.fitness for key, r in results.items()})
        self._last = results
        summary = _summary(generation, rows, species, seconds)
        reason = self._save_generation(rows, summary)
        if reason is not None or generation % run.log_interval == 0:
            self._line(bar, summary, seconds, evaluator.frames - frames)
        return reason

    def _save_generation(self, rows: list[Row], summary: Mapping[str, Any]) -> str | None:
        """Write the results of a generation; return the reason if the run ends with it."""
        finished = summary["finished"] > 0 and self.config.run.stop_when == "finish"
        self.folder.add_individuals(rows)
        self.folder.add_generation(summary)
        champion = self.champion
        if champion is not None and (finished or champion.generation == summary["generation"]):
            self.folder.save_champion(champion)
        if finished or self.strategy.solved:
            return "finished" if finished else "solved"
        if self.strategy.generation % self.config.run.checkpoint_every == 0:
            self._checkpoint()
        return None

    def _line(
        self, bar: tqdm[Any], summary: Mapping[str, Any], seconds: float, frames: int
    ) -> None:
        text = (
            f"generation {summary['generation']:3d}: best {summary['best']:.1f}, "
            f"mean {summary['mean']:.1f}, "
            + (f"{summary['species']} species, " if summary["species"] else "")
            + (f"{summary['finished']} finished, " if summary["finished"] else "")
            + f"{frames / seconds:.0f} frames/s, {seconds:.1f} s"
        )
        bar.clear()
        self._say(text)
        bar.refresh()

    def _challenge(self, individual: Individual, result: Result, generation: int) -> None:
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
            env_kwargs=self.config.env_kwargs,
            seed=episode_seed(self.config.run.seed, individual.id),
            record=result.record,
            rom_sha1="" if self._cartridge is None else self._cartridge.sha1,
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
        generation = self.strategy.generation
        self.folder.save_checkpoint(
            generation,
            {
                "strategy": self.strategy,
                "champion": self.champion,
                "last": self._last,
                "reason": self._reason,
            },
        )
        self._saved = generation

    def _rescue(self) -> None:
        """Save the champion after an error."""
        if self.champion is None:
            return
        try:
            self.folder.save_champion(self.champion)
        except OSError as error:
            _LOG.error("the champion could not be saved either: %s", error)

    def _seconds_left(self, done: int, left: int) -> float | None:
        """Return the time for the individuals left, at the pace since the first call."""
        now = time.perf_counter()
        if self._pace is None:
            self._pace = (now, done)
        then, before = self._pace
        return (now - then) * left / (done - before) if done > before else None


def _summary(generation: int, rows: list[Row], species: int, seconds: float) -> dict[str, Any]:
    scores = [row.result.fitness for row in rows]
    best = max(rows, key=lambda row: (row.result.fitness, -row.result.id))
    return {
        "generation": generation,
        "individuals": len(rows),
        "evaluated": sum(row.evaluated for row in rows),
        "best": max(scores),
        "mean": statistics.fmean(scores),
        "median": statistics.median(scores),
        "worst": min(scores),
        "best_id": best.result.id,
        "species": species,
        "finished": sum(row.result.record.finished for row in rows),
        "frames": sum(row.result.record.frames for row in rows if row.evaluated),
        "seconds": round(seconds, 3),
    }

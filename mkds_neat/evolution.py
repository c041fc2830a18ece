"""The loop: a strategy, an evaluator and a run folder, generation after generation."""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from mkds_neat.audience import RunAudience, audience_of
from mkds_neat.config import Config
from mkds_neat.evaluation import Evaluator, Result, Stopped, episode_seed
from mkds_neat.report import write_fitness_plot
from mkds_neat.results import Champion, Row, RunFolder
from mkds_neat.strategies import Individual, Strategy

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        reason: ``finished`` (a driver finished the race), ``solved`` (the strategy's own
            threshold), ``generations`` (all done) or ``stopped`` (asked to).
        champion: the best driver; None when none was evaluated.
        generation: the generation to be evaluated next.
    """

    reason: str
    champion: Champion | None
    generation: int


class Evolution:
    """One run, new or resumed.

    An individual that survives unchanged (same id as in the generation before) keeps its result:
    episodes hold no chance, so that evaluating it again would say the same.

    Args:
        config: the checked config.
        folder: where everything goes.
        state: a checkpoint's state, to resume from.
        say: receives lines for people; None logs them.
        progress: show a progress bar, if the standard error is a terminal.
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
        self._say = say or _LOG.info
        self._progress = progress
        self._stop = False
        self._known: dict[tuple[int, int], Result] = {}
        self.champion: Champion | None = None
        self._last: dict[int, Result] = {}
        self._reason: str | None = None
        self._audience: RunAudience | None = None
        self._clock = _Clock()
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
        """Ask the run to stop at the next step; safe in a signal handler."""
        self._stop = True

    def _stopping(self) -> bool:
        return self._stop

    def begin(self) -> None:
        """Save the first checkpoint of a new run, so that it can be resumed; `run` does so too."""
        if self._saved is None:
            if self.config.cartridge is not None:
                self.folder.save_cartridge(self.config.cartridge)
            self._checkpoint()

    def run(self) -> Outcome:
        """Run to the end.

        Returns:
            How it ended. On every way out, also by an exception, the workers are ended and
            what was earned is on the disk, as far as it takes it.
        """
        run = self.config.run
        self.begin()
        try:
            with (
                audience_of(self.config, self.folder.path.name, self._say) as self._audience,
                Evaluator(
                    self.config.env_id,
                    self.config.env_kwargs,
                    workers=run.workers,
                    seed=run.seed,
                    scorer=self.config.scorer,
                    start_method=run.start_method,
                    vectorization=run.vectorization,
                    retries=self.config.evaluation.retries,
                    audience=self._audience,
                ) as evaluator,
            ):
                reason = self._generations(evaluator)
        except Stopped:
            reason = "stopped"
        except BaseException:
            self._rescue()
            raise
        # A stopped run resumes from the last checkpoint and the journal, which has all since.
        if reason != "stopped":
            self._reason = None if reason == "generations" else reason
            self._checkpoint()
        if self.champion is not None:
            self.folder.save_champion(self.champion)
        write_fitness_plot(self.folder)
        return Outcome(reason, self.champion, self.strategy.generation)

    # Within -----------------------------------------------------------------------------------

    def _generations(self, evaluator: Evaluator) -> str:
        run = self.config.run
        size = len(self.strategy.ask())
        # Started before the bar, whose clock shall measure evaluation only.
        if self._reason is None and self.strategy.generation < run.generations:
            evaluator.start(self._stopping)
        # The bar's monitor thread would be in the way of forking workers.
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
            if self._audience is not None:
                done = generation * len(individuals) + len(results)
                left = run.generations * len(individuals) - done
                champion = None if self.champion is None else self.champion.fitness
                self._audience.stands(champion, left, self._clock.left(done, left))

        def take(result: Result) -> None:
            # The champion first: it is what is saved should the disk be full.
            self._challenge(individuals[result.id], result, generation)
            self.folder.journal(generation, result)
            results[result.id] = replace(result, recording=None)  # kept, if anybody's, on the disk
            show()
            bar.update()

        for key in sorted(results):
            self._challenge(individuals[key], results[key], generation)
        if self._audience is not None:
            born = [key for key in individuals if key not in survivors]
            self._audience.evaluates(generation, born, species)
        show()
        evaluator.evaluate(
            [i for key, i in individuals.items() if key not in results], take, self._stopping
        )
        seconds = time.perf_counter() - started
        rows = [
            Row(generation, i.species, i.parents, key not in survivors, results[key])
            for key, i in sorted(individuals.items())
        ]
        summary = _summary(generation, rows, species, seconds)
        self.strategy.tell({key: r.fitness for key, r in results.items()})
        self._last = results
        finished = summary["finished"] > 0 and run.stop_when == "finish"
        self.folder.add_individuals(rows)
        self.folder.add_generation(summary)
        if self.champion is not None and (finished or self.champion.generation == generation):
            self.folder.save_champion(self.champion)
        reason = "finished" if finished else "solved" if self.strategy.solved else None
        if reason is None and self.strategy.generation % run.checkpoint_every == 0:
            self._checkpoint()
        if reason is not None or generation % run.log_interval == 0:
            self._line(bar, summary, seconds, evaluator.frames - frames)
        return reason

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
            rom_sha1=self.config.cartridge.sha1 if self.config.cartridge is not None else "",
        )
        if old is None or new.rank > old.rank:
            self.champion = new
            if result.recording is not None:
                self.folder.save_recording(new, result.recording)

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
        """Keep the champion, whatever went wrong; if even that fails, only say so."""
        if self.champion is None:
            return
        try:
            self.folder.save_champion(self.champion)
        except OSError as error:
            _LOG.error("the champion could not be saved either: %s", error)


class _Clock:
    """Tells how long the rest takes."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def left(self, done: int, left: int) -> float | None:
        """Seconds for what is left, at the pace since the first call; None before there is one."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (now, done)
        then, before = self._first
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

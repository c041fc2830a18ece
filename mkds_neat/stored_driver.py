"""Drivers of run folders, to be driven again. Nothing that a folder names is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast, get_args

import gymnasium as gym

from mkds_gym.recording.format import is_object_note
from mkds_gym.utils.arguments import escaped, file_path, shown
from mkds_gym.utils.files import is_file, is_folder
from mkds_gym.utils.reading import parse_ini, read_text
from mkds_neat.errors import RunFolderError
from mkds_neat.networks import NetworkSpec, Policy, compile_network
from mkds_neat.plan import Plan, Seeds
from mkds_neat.results import RunFolder, load_champion
from mkds_neat.results.population import load_network

CHAMPION: Final = "champion"
_PATHS: Final = ("rom", "state")
"""Arguments of the environment that are paths, in which a colon means nothing."""


@dataclass(frozen=True)
class StoredDriver:
    """A driver of a run.

    Attributes:
        name: Its name, for captions and tables.
        network: Its network.
        env_id: The environment of the run.
        env_kwargs: The arguments of the environment.
        seed: Seed of its first episode in the run.
        start: Where along the course this episode started, in laps; None for the start of the race.
    """

    name: str
    network: NetworkSpec
    env_id: str
    env_kwargs: Mapping[str, Any]
    seed: int
    start: float | None = None

    def policy(self, observations: gym.Space[Any], actions: gym.Space[Any]) -> Policy:
        """Return a new policy, which a network with memory needs for each episode.

        Args:
            observations: The space of the environment's observations.
            actions: The space of its actions.

        Raises:
            RunFolderError: The network has other inputs or outputs.
        """
        for name, space, nodes in (
            ("observations", observations, self.network.inputs),
            ("actions", actions, self.network.outputs),
        ):
            if not isinstance(space, gym.spaces.Box) or space.shape != (len(nodes),):
                raise RunFolderError(
                    f"{self.name} does not fit {self.env_id}: expected {name} of {len(nodes)} "
                    f"numbers, got {shown(str(space))}"
                )
        return compile_network(self.network, cast(gym.spaces.Box, actions))

    def names_of_code(self) -> list[str]:
        """Return what making the environment would import: names such as ``module:object``."""
        found = [self.env_id] if ":" in self.env_id else []
        kwargs = {key: value for key, value in self.env_kwargs.items() if key not in _PATHS}
        return [*found, *(text for text in _texts(kwargs) if is_object_note(text))]

    def check_trusted(self, trusted: bool) -> None:
        """Refuse a driver whose environment needs code that the run folder names.

        Args:
            trusted: The user has allowed the imports.

        Raises:
            RunFolderError: The environment needs code, and ``trusted`` is False.
        """
        names = self.names_of_code()
        if names and not trusted:
            raise RunFolderError(
                f"{self.name} names code that driving would import and run: "
                f"{', '.join(map(shown, names[:5]))}; if you trust the run folder, add --trust"
            )


def load_driver(
    path: str | os.PathLike[str], individual: str = CHAMPION, generation: int | None = None
) -> StoredDriver:
    """Return a driver of a run.

    Args:
        path: Folder of the run, or a ``champion.json``.
        individual: ``"champion"``, or the id of an individual.
        generation: With ``"champion"``: take the best individual of this generation instead.

    Raises:
        RunFolderError: The folder, the generation or the individual is missing or damaged.
        ChampionFormatError: ``champion.json`` is missing or damaged.
        ValueError: The individual is not an id, or a generation was given as well.
    """
    run = file_path("path", path, "a run folder")
    if is_file(run) or run.suffix == ".json":
        champion, name = load_champion(run), escaped(run.stem)
        if individual != CHAMPION or generation is not None:
            raise ValueError(
                f"{str(run)!r} holds one driver: give the folder of a run to choose another"
            )
    else:
        _check_folder(run)
        champion, name = load_champion(run / "champion.json"), escaped(run.resolve().name)
    driver = StoredDriver(
        name,
        champion.network,
        champion.env_id,
        champion.env_kwargs,
        champion.seed,
        champion.start,
    )
    if individual == CHAMPION and generation is None:
        return driver
    if individual != CHAMPION:
        if generation is not None:
            raise ValueError("give an individual or a generation, not both: an id is unique")
        if not individual.isdecimal() or len(individual) > 15:
            raise ValueError(
                f"individual {shown(individual)}: expected an id of individuals.csv, or {CHAMPION}"
            )
        key = int(individual)
    else:
        assert generation is not None
        key = _best_of(run, generation)
    if key == champion.id and (generation is None or generation >= champion.generation):
        return driver
    evaluated, network = load_network(run, key, generation)
    seed = Plan(seeds=_seeds(run)).seed(RunFolder(run).info().seed, key, 0, evaluated)
    return replace(driver, name=f"{name} {key}", network=network, seed=seed)


def _check_folder(run: Path) -> None:
    if not is_folder(run):
        problem = "is not a folder" if os.path.lexists(run) else "does not exist"
        raise RunFolderError(
            f"{shown(str(run))} {problem}: expected the folder of a run, such as "
            "runs/first_finish, or a champion.json"
        )


def _seeds(run: Path) -> Seeds:
    """Return ``seeds`` of ``[evaluation]``, without looking at anything else in the config."""
    path = run / "config.ini"
    name = repr(str(path))
    text = read_text(path, name, RunFolderError, remedy="put the file of the run back")
    found = parse_ini(text, name, RunFolderError).get("evaluation", "seeds", fallback="individual")
    for seeds in get_args(Seeds):
        if found == seeds:
            return cast(Seeds, seeds)
    raise RunFolderError(f"{name}: [evaluation] seeds = {shown(found)} is unknown")


def _best_of(run: Path, generation: int) -> int:
    rows = RunFolder(run).generations()
    for row in rows:
        if row.get("generation") == generation and "best_id" in row:
            if row["best_id"].is_integer():
                return int(row["best_id"])
            raise RunFolderError(
                f"{str(run / 'generations.csv')!r} is damaged: best_id = {row['best_id']}"
            )
    raise RunFolderError(
        f"generation {generation} is not in {str(run / 'generations.csv')!r}, which has "
        f"{len(rows)} generation{'s'[: len(rows) != 1]}"
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):  # read as a list, a mapping is its keys
        yield from map(str, value)
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)

"""A strategy of the user's own: the class that ``module:Class`` names, with its calls checked."""

from __future__ import annotations

import contextlib
import inspect
import json
import numbers
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mkds_gym.utils.arguments import shown
from mkds_gym.utils.imports import imported
from mkds_gym.utils.portable_errors import describe
from mkds_neat.errors import StrategyError, StrategyStateError
from mkds_neat.individual import Individual, Result
from mkds_neat.networks import NetworkSpec
from mkds_neat.strategies.base import Strategy, check_results

METHODS: Final = ("ask", "tell", "state", "restore")
ATTRIBUTES: Final = ("generation", "solved")


def import_strategy(spec: str) -> type:
    """Import a class of strategies, and check that it has the methods of `Strategy`.

    Args:
        spec: ``module:Class``.

    Raises:
        ValueError: The class cannot be imported, or lacks a method. The message starts with a verb
            and does not name the class.
    """
    try:
        found = imported("strategy", spec)
    except ValueError as error:
        raise ValueError(str(error).removeprefix(f"strategy {shown(spec)} ")) from error
    if not isinstance(found, type):
        raise ValueError(f"is of type {type(found).__name__}: expected module:Class")
    missing = [name for name in METHODS if not callable(getattr(found, name, None))]
    if missing:
        names = " and ".join(f"{name}()" for name in missing)
        raise ValueError(
            f"lacks the method{'s'[: len(missing) > 1]} {names}: expected "
            f"{', '.join(f'{name}()' for name in METHODS)} of mkds_neat.strategies.Strategy"
        )
    return found


class CustomStrategy:
    """A strategy of a class that mkds_neat does not know.

    The class is made as ``Class(inputs, outputs, seed=seed, **arguments)``. Each call is
    checked: a mistake of the class is one clear error.

    Args:
        spec: ``module:Class``.
        inputs: Components of an observation.
        outputs: Components of an action.
        seed: Seed of all chance.
        arguments: Further arguments of the class.

    Attributes:
        name: The spec.
        strategy: The object of the class.

    Raises:
        ValueError: The class cannot be imported, lacks a method, or refuses an argument.
    """

    def __init__(
        self,
        spec: str,
        inputs: int,
        outputs: int,
        *,
        seed: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = spec
        self._sizes = inputs, outputs
        self._asked: list[Individual] | None = None
        self._before: dict[int, NetworkSpec] = {}  # networks of the generation before
        found: Any = import_strategy(spec)
        try:
            inspect.signature(found).bind(inputs, outputs, seed=seed, **(arguments or {}))
        except TypeError as error:
            raise ValueError(
                f"does not take its arguments: {error}; it is made as Class(inputs, outputs, "
                "seed=seed, **options), with the options of [strategy]"
            ) from error
        try:
            self.strategy: Strategy = found(inputs, outputs, seed=seed, **(arguments or {}))
        except (Exception, SystemExit) as error:
            raise ValueError(f"cannot be made: {type(error).__name__}: {error}") from error
        for name in ATTRIBUTES:
            if not hasattr(self.strategy, name):
                raise ValueError(
                    f"lacks the attribute {name}: expected {' and '.join(ATTRIBUTES)} of "
                    "mkds_neat.strategies.Strategy"
                )
        generation: object = self.strategy.generation
        if not isinstance(generation, numbers.Integral):
            raise ValueError(f"has generation = {shown(generation)}: expected an integer")

    @property
    def generation(self) -> int:
        """Number of the generation that `ask` returns, from 0."""
        return int(self.strategy.generation)

    @property
    def solved(self) -> bool:
        """Whether the last `tell` met the strategy's goal."""
        return bool(self.strategy.solved)

    def ask(self) -> list[Individual]:
        """Return the current generation in order of id.

        Raises:
            StrategyError: The strategy fails, or returns something else than individuals with
                different ids and networks of the environment's inputs and outputs, or another
                network for an id of the generation before.
        """
        with self._call("ask"):
            asked = list(self.strategy.ask())
        for each in asked:
            if not (isinstance(each, Individual) and isinstance(each.network, NetworkSpec)):
                raise self._error(
                    f"ask() returned {shown(each)}: expected an Individual with a NetworkSpec"
                )
            sizes = len(each.network.inputs), len(each.network.outputs)
            if sizes != self._sizes:
                raise self._error(
                    f"ask() returned a network of {sizes[0]} inputs and {sizes[1]} outputs: "
                    f"expected {self._sizes[0]} and {self._sizes[1]}, those of the environment"
                )
        if not asked or len({each.id for each in asked}) < len(asked):
            raise self._error(
                f"ask() returned {len(asked)} individuals with the ids "
                f"{sorted(each.id for each in asked)[:8]}: expected at least 1, and different ids"
            )
        for each in asked:
            if self._before.get(each.id, each.network) != each.network:
                raise self._error(
                    f"ask() returned another network for the id {each.id} of the generation "
                    "before, whose individual would keep its result: expected a new id for each "
                    "new individual"
                )
        try:
            json.dumps(asked[0].genome, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._error(f"ask() returned a genome that JSON cannot hold: {error}") from error
        self._asked = sorted(asked, key=lambda each: each.id)
        return self._asked

    def tell(self, results: Iterable[Result]) -> None:
        """Give the result of each individual, in order of id, and make the next generation.

        Raises:
            StrategyError: `ask` was not called, the ids are not those that it returned, or the
                strategy fails or does not advance its generation.
            ValueError: A fitness is not a finite number.
        """
        asked = None if self._asked is None else [each.id for each in self._asked]
        by_id = check_results(asked, results)
        generation = self.generation
        with self._call("tell"):
            self.strategy.tell([by_id[key] for key in sorted(by_id)])
        if not self.solved and self.generation != generation + 1:
            raise self._error(
                f"tell() led from generation {generation} to {self.generation}: expected "
                f"{generation + 1}"
            )
        self._before = {each.id: each.network for each in self._asked or ()}
        self._asked = None

    def state(self) -> dict[str, Any]:
        """Return everything that later generations depend on.

        Raises:
            StrategyError: The strategy fails, or returns something else than plain data.
        """
        with self._call("state"):
            state = self.strategy.state()
        try:
            text = json.dumps(state, allow_nan=False)
            plain = isinstance(state, dict) and json.loads(text) == _lists(state)
        except (TypeError, ValueError, RecursionError) as error:
            raise self._error(f"state() is not plain data: {error}") from error
        if not plain:
            raise self._error(
                "state() is not plain data: expected a dict with strings as keys, of dicts, "
                "lists, strings, finite numbers, booleans and None"
            )
        return {"strategy": self.name, "state": state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where another strategy of the class was.

        Raises:
            StrategyStateError: The state is of another class, or the strategy refuses it.
        """
        if set(state) != {"strategy", "state"} or state["strategy"] != self.name:
            raise StrategyStateError(
                f"expected a state of {self.name}, got one of {shown(state.get('strategy'))}"
            )
        try:
            self.strategy.restore(state["state"])
        except StrategyStateError:
            raise
        except Exception as error:
            raise StrategyStateError(
                f"restore() of {self.name} refuses the state: {type(error).__name__}: {error}"
            ) from error
        self._asked, self._before = None, {}

    @contextlib.contextmanager
    def _call(self, method: str) -> Iterator[None]:
        """Turn an exception of the class into a StrategyError with the line of its file."""
        try:
            yield
        except StrategyError:
            raise
        except Exception as error:
            file = inspect.getsourcefile(type(self.strategy))
            lines = [
                f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file
            ]
            place = f" (line {lines[-1]} of {Path(file).name})" if file and lines else ""
            raise self._error(f"{method}() failed{place}: {describe(error)}") from error

    def _error(self, problem: str) -> StrategyError:
        return StrategyError(f"the strategy {self.name} is faulty: {problem}")


def _lists(value: Any) -> Any:
    """Return plain data with lists instead of tuples, as they are after a journey through JSON."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    return value

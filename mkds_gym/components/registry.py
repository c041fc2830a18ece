"""Named parts: how ``"rays:9"`` becomes a sensor and ``"clock:3600"`` an event.

A part is asked for by name, by ``"name:argument"`` (one number, in the unit that the part's
documentation gives), or by passing an object that already is one. Parts of one's own are named by
the place that they are imported from, ``"my.module.Bearing"`` or ``"my.module.Bearing:9"``: a
class, which is called, or an object, which is copied. So they can be written on a command line.
"""

from __future__ import annotations

import copy
import difflib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Factories of one kind of part, by name.

    Args:
        kind: what the parts are, in the singular, for messages ("sensor").
        protocol: what a part that is imported must be, a class for ``isinstance``; None lets the
            caller see to that.
    """

    def __init__(self, kind: str, protocol: Any = None) -> None:
        self.kind = kind
        self._protocol = protocol
        self._factories: dict[str, Callable[..., T]] = {}

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Add a factory, called with no argument or with the one number of ``"name:number"``.

        Args:
            name: a new name, without a colon or white space.
            factory: a class or function that returns a part.

        Raises:
            ValueError: the name is taken or malformed.
        """
        if not name or ":" in name or any(c.isspace() for c in name):
            raise ValueError(f"{name!r} cannot name a {self.kind}: no colon, no white space")
        if name in self._factories:
            raise ValueError(f"a {self.kind} named {name!r} exists already; choose another name")
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._factories)

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(self._factories)

    def make(self, spec: str) -> T:
        """Build the part that ``spec`` asks for.

        Args:
            spec: "name", "name:number", or a part of one's own, "module.Class" likewise. (The
                module is imported, with all that this does: no such spec from strangers.)

        Raises:
            TypeError: ``spec`` is no string.
            ValueError: unknown name (the message lists the known ones and the nearest), a module
                that cannot be imported, something else in it than such a part, or an argument
                that is not a number or that the part does not take.
        """
        if not isinstance(spec, str):
            raise TypeError(
                f"{self.kind}={spec!r}: it is asked for by name; known: "
                f"{', '.join(self._factories)}"
            )
        name, colon, argument = spec.partition(":")
        if "." in name and name not in self._factories:
            factory = self._imported(spec, name)
        elif name not in self._factories:
            near = difflib.get_close_matches(name, self._factories, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self._factories)
            raise ValueError(
                f"unknown {self.kind} {name!r}.{hint} Known: {known}; one of your own is written "
                "module.Class"
            )
        else:
            factory = self._factories[name]
        if not colon:
            return factory()
        try:
            number: Any = int(argument)
        except ValueError:
            try:
                number = float(argument)
            except ValueError:
                raise ValueError(
                    f"{self.kind} {spec!r}: {argument!r} is not a number; write {name}:NUMBER"
                ) from None
        try:
            return factory(number)
        except TypeError as error:
            raise ValueError(f"{self.kind} {spec!r}: {name!r} takes no such argument") from error

    def _imported(self, spec: str, name: str) -> Callable[..., T]:
        """A factory of what is imported by a dotted name."""
        module, _, attribute = name.rpartition(".")
        try:
            found: Any = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # whatever a module raises that is run for the first time
            raise ValueError(
                f"{self.kind} {spec!r} cannot be imported: {type(error).__name__}: {error}; "
                f"write module.Class, or one of {', '.join(self._factories)}"
            ) from error

        def make(*arguments: Any) -> T:
            if not isinstance(found, type) and arguments:
                raise TypeError
            try:
                part: T = found(*arguments) if isinstance(found, type) else copy.deepcopy(found)
            except TypeError as error:
                if arguments:
                    raise
                raise ValueError(f"{self.kind} {spec!r} cannot be made: {error}") from error
            if self._protocol is not None and not isinstance(part, self._protocol):
                raise ValueError(f"{spec!r} is no {self.kind}; see {self._protocol.__name__}")
            return part

        return make

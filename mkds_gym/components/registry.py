"""`Registry`: components by name, such as the sensor ``"rays:9"`` and the event ``"clock:3600"``.

A component is given as

* a name, ``"seed6"``, or a name and one number, ``"rays:9"``, in the unit that its documentation
  states;
* an object;
* for a custom component, its import path, ``"my.module.Bearing"`` or
  ``"my.module.Bearing:9"``: a class, which is called, or an object, which is copied. This form
  works on command lines and in config files. It imports the module, so do not accept such names
  from untrusted sources.
"""

from __future__ import annotations

import copy
import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from mkds_gym.utils.arguments import as_list

T = TypeVar("T")


class Registry(Generic[T]):
    """Factories of one kind of component, by name.

    Args:
        kind: the kind of the components, for messages, such as "sensor".
        protocol: a class for ``isinstance`` that components are checked with; None checks nothing.
        interface: what an object must have, for messages.
    """

    def __init__(self, kind: str, protocol: Any = None, interface: str = "") -> None:
        self.kind = kind
        self._a_kind = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        self._protocol = protocol
        self._interface = (
            interface or f"the methods of {getattr(protocol, '__name__', 'a component')}"
        )
        self._factories: dict[str, Callable[..., T]] = {}

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Add a component.

        Args:
            name: a new name, without colon and white space.
            factory: a class or function that returns the component. It is called without
                arguments, or with the number of ``"name:number"``.

        Raises:
            ValueError: the name is taken or malformed.
        """
        if not name or ":" in name or any(c.isspace() for c in name):
            raise ValueError(
                f"{name!r} is not a valid name of {self._a_kind}: expected a name without colon "
                "and white space"
            )
        if name in self._factories:
            raise ValueError(f"{self._a_kind} named {name!r} already exists: choose another name")
        self._factories[name] = factory

    def names(self) -> tuple[str, ...]:
        """Return all names, in the order of registration."""
        return tuple(self._factories)

    def __contains__(self, name: object) -> bool:
        return name in self._factories

    def __iter__(self) -> Iterator[str]:
        return iter(self._factories)

    def make(self, spec: str) -> T:
        """Return a new component.

        Args:
            spec: ``"name"``, ``"name:number"``, ``"module.Class"`` or ``"module.Class:number"``.

        Raises:
            TypeError: ``spec`` is not a string.
            ValueError: unknown name (the message lists all names and suggests the nearest), a
                failed import, an imported object that is not such a component, or a bad number.
        """
        if not isinstance(spec, str):
            raise TypeError(f"{self.kind}={spec!r} is not a name: expected one of {self._known()}")
        name, colon, argument = spec.partition(":")
        if name in self._factories:
            factory = self._factories[name]
        elif "." in name:
            factory = self._import(spec, name)
        else:
            near = difflib.get_close_matches(name, self._factories, n=1)
            hint = f"did you mean {near[0]!r}? Expected" if near else "expected"
            raise ValueError(
                f"unknown {self.kind} {name!r}: {hint} one of {self._known()}, or "
                f"module.Class for a custom {self.kind}"
            )
        if not colon:
            return factory()
        try:
            number = _number(argument)
        except ValueError:
            raise ValueError(
                f"{self.kind} {spec!r}: {argument!r} is not a number: expected {name}:NUMBER"
            ) from None
        try:
            return factory(number)
        except TypeError as error:
            raise ValueError(f"{self.kind} {spec!r}: {name!r} takes no number") from error

    def make_all(self, argument: str, components: Any, *, unique: bool = True) -> list[T]:
        """Return components, given one name or object, or several of them.

        Args:
            argument: name of the argument, for messages.
            components: a name or an object, or an iterable of names and objects. Objects are
                returned as they are.
            unique: refuse two components with the same ``name``.

        Raises:
            TypeError: an item is not a name or a component.
            ValueError: unknown name, failed import, bad number, or the same component twice.
        """
        made: list[T] = []
        for item in as_list(argument, components, (str, self._protocol)):
            if isinstance(item, str):
                made.append(self.make(item))
            elif isinstance(item, self._protocol) and not isinstance(item, type):
                made.append(item)
            else:
                raise TypeError(
                    f"{argument}: {item!r} is not {self._a_kind}: expected a name "
                    f"({self._known()}) or an object with {self._interface}"
                )
        if unique:
            self.check_unique(made)
        return made

    def check_unique(self, components: Iterable[Any]) -> None:
        """Check that no two components have the same name.

        Raises:
            ValueError: two components have the same name.
        """
        names = [component.name for component in components]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{self.kind} {name!r} is given twice: pass each {self.kind} once")

    def _known(self) -> str:
        return ", ".join(self._factories)

    def _import(self, spec: str, name: str) -> Callable[..., T]:
        """Return a factory of the class or object with a dotted name."""
        module, _, attribute = name.rpartition(".")
        try:
            found: Any = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # a module may raise anything when it is imported
            raise ValueError(
                f"{self.kind} {spec!r} cannot be imported: {type(error).__name__}: {error}; "
                f"expected module.Class, or one of {self._known()}"
            ) from error

        def make(*arguments: Any) -> T:
            if not isinstance(found, type) and arguments:
                raise TypeError
            try:
                component: T = (
                    found(*arguments) if isinstance(found, type) else copy.deepcopy(found)
                )
            except TypeError as error:
                if arguments:
                    raise
                raise ValueError(f"{self.kind} {spec!r} cannot be made: {error}") from error
            if self._protocol is not None and not isinstance(component, self._protocol):
                raise ValueError(
                    f"{spec!r} is not {self._a_kind}: expected an object with {self._interface}"
                )
            return component

        return make


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return float(text)

"""`Registry`: components by name, such as the sensor ``"rays:9"`` and the event ``"clock:3600"``.

A component is given as

* a name, ``"seed6"``, or a name and one number, ``"rays:9"``, in the unit that its documentation
  states;
* an object;
* for a custom component, its import path, ``"my.module:Bearing"`` or
  ``"my.module:Bearing:9"``: a class, which is called, or an object, which is copied. This form
  works on command lines and in config files. It imports the module, so do not accept such names
  from untrusted sources.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from mkds_gym.utils.arguments import as_list, shown, similar
from mkds_gym.utils.imports import has_methods, imported, takes

T = TypeVar("T")

MAX_NAME: Final = 64
"""Most characters of a component's name."""


class Registry(Generic[T]):
    """Factories of one kind of component, by name.

    Args:
        kind: the kind of the components, for messages, such as "sensor".
        protocol: a class for ``isinstance`` that components are checked with.
        interface: what an object must have, for messages.
        functions: whether an imported function of one argument is such a component as well.
    """

    def __init__(
        self, kind: str, protocol: Any = object, interface: str = "", *, functions: bool = False
    ) -> None:
        self.kind = kind
        self._a_kind = f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
        self._protocol = protocol
        self._functions = functions
        self._interface = (
            interface or f"the methods of {getattr(protocol, '__name__', 'a component')}"
        )
        self._factories: dict[str, Callable[..., T]] = {}

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Add a component.

        Args:
            name: a new name, 1 to 64 characters without colon and white space.
            factory: a class or function that returns the component. It is called without
                arguments, or with the number of ``"name:number"``.

        Raises:
            TypeError: the name is not a string, or the factory is not callable.
            ValueError: the name is taken or malformed.
        """
        if not isinstance(name, str):
            raise TypeError(f"name={shown(name)} of {self._a_kind} is not a string")
        if not callable(factory):
            raise TypeError(
                f"factory={shown(factory)} of {self.kind} {shown(name)} is not callable: expected "
                "a class, or a function that returns the component"
            )
        if not 0 < len(name) <= MAX_NAME or ":" in name or any(c.isspace() for c in name):
            raise ValueError(
                f"{shown(name)} is not a valid name of {self._a_kind}: expected 1 to {MAX_NAME} "
                "characters without colon and white space"
            )
        if name in self._factories:
            raise ValueError(
                f"{self._a_kind} named {shown(name)} already exists: choose another name"
            )
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
            spec: ``"name"``, ``"name:number"``, ``"module:Class"`` or ``"module:Class:number"``.

        Raises:
            TypeError: ``spec`` is not a string.
            ValueError: unknown name (the message lists all names and suggests the nearest), a
                failed import, an imported object that is not such a component, or a bad number.
        """
        if not isinstance(spec, str):
            raise TypeError(
                f"{self.kind}={shown(spec)} is not a name: expected one of {self._known()}"
            )
        name, colon, argument = spec.partition(":")
        if name in self._factories:
            factory = self._factories[name]
        elif _is_place(argument):
            attribute, colon, argument = argument.partition(":")
            name = f"{name}:{attribute}"
            factory = self._import(name)
        else:
            near = similar(name, self._factories)
            hint = "expected" if near is None else f"did you mean {near!r}? Expected"
            raise ValueError(
                f"unknown {self.kind} {shown(name)}: {hint} one of {self._known()}, or "
                f"module:Class for a custom {self.kind}"
            )
        if not colon:
            return factory()
        try:
            number = _number(argument)
        except ValueError:
            raise ValueError(
                f"{self.kind} {shown(spec)}: {shown(argument)} is not a number: expected "
                f"{shown(name)[1:-1]}:NUMBER"
            ) from None
        try:
            return factory(number)
        except TypeError as error:
            raise ValueError(f"{self.kind} {shown(spec)}: {shown(name)} takes no number") from error

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
                    f"{argument}: {shown(item)} is not {self._a_kind}: expected a name "
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
                raise ValueError(
                    f"{self.kind} {shown(name)} is given twice: pass each {self.kind} once"
                )

    def _known(self) -> str:
        return ", ".join(self._factories)

    def _import(self, name: str) -> Callable[..., T]:
        """Return a factory of the class or object of ``module:object``, which is not called yet."""
        found = imported(self.kind, name)
        is_class = isinstance(found, type)
        if isinstance(found, type):
            fits = has_methods(found, self._protocol)
        else:
            fits = isinstance(found, self._protocol) or (self._functions and takes(found, 1))
        if not fits:
            raise ValueError(
                f"{shown(name)} is not {self._a_kind}: expected an object with {self._interface}"
            )

        def make(*arguments: Any) -> T:
            if not is_class and arguments:
                raise TypeError
            try:
                component: T = found(*arguments) if is_class else copy.deepcopy(found)
            except TypeError as error:
                if arguments:
                    raise
                raise ValueError(f"{self.kind} {shown(name)} cannot be made: {error}") from error
            if is_class and not isinstance(component, self._protocol):
                raise ValueError(
                    f"{shown(name)} is not {self._a_kind}: expected an object with "
                    f"{self._interface}"
                )
            return component

        return make


def _is_place(text: str) -> bool:
    """Whether a text is ``object`` or ``object:number``, of ``module:object``."""
    return all(part.isidentifier() for part in text.partition(":")[0].split("."))


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return float(text)

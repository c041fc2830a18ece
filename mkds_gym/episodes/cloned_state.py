"""States of an environment: kept in memory, gone back to exactly, carried to another process.

`MKDSEnv.clone_state` makes a `ClonedState`, and `MKDSEnv.restore_state` takes one. It holds the
console as what differs from the race start (`Difference`), which the states of
one race share, and the environment's own bookkeeping.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np

from mkds_gym.course import Course
from mkds_gym.emulator.snapshot import Difference, Snapshot
from mkds_gym.emulator.state_file import pack_state, unpack_state
from mkds_gym.errors import StateError
from mkds_gym.utils.caches import LRUCache

_VERSION: Final = 1
"""Of what a pickled state holds; one of another version is refused."""

_bases: weakref.WeakValueDictionary[str, Base] = weakref.WeakValueDictionary()
_bases_lock: Final = threading.Lock()


class Base:
    """A race start that states are kept as differences from; one object a start and process.

    Get one with `base_of`. States are pickled with it, and those that are pickled together share
    it there too; where the process has it already, unpickling gives that one.

    Attributes:
        snapshot: the console there.
        digest: SHA-256 of it.
    """

    def __init__(self, snapshot: Snapshot, digest: str) -> None:
        self.snapshot = snapshot
        self.digest = digest

    @functools.cached_property
    def _packed(self) -> bytes:
        return pack_state(self.snapshot)

    def __reduce__(self) -> tuple[Callable[..., Base], tuple[Any, ...]]:
        """Deflated; a start of this process is not made twice."""
        return _unpack_base, (self.digest, self._packed)


def base_of(snapshot: Snapshot) -> Base:
    """The base for states of a race that starts at ``snapshot``."""
    digest = hashlib.sha256(snapshot.data).hexdigest()
    with _bases_lock:
        base = _bases.get(digest)
        if base is None:
            base = _bases[digest] = Base(snapshot, digest)
        return base


def _unpack_base(digest: str, packed: bytes) -> Base:
    with _bases_lock:
        base = _bases.get(digest)
    if base is not None:
        return base
    base = base_of(unpack_state(packed, "the start of the state"))
    if base.digest != digest:
        raise StateError("the start of the state is damaged; clone the state again")
    return base


class ClonedState:
    """An environment's whole state: opaque, picklable, some 50 to 110 KiB on Kartlab.

    Of `MKDSEnv.clone_state`, for `MKDSEnv.restore_state`, or for the option ``state`` of
    `MKDSEnv.reset`.
    """

    _PICKLED: Final = ("_difference", "arguments", "base", "course", "course_seed", "parts")
    __slots__ = (*_PICKLED, "_saved")

    def __init__(
        self,
        base: Base,
        difference: Difference,
        *,
        arguments: Mapping[str, Any],
        course: int,
        course_seed: int | None,
        parts: bytes,
    ) -> None:
        self.base = base
        self._difference = difference
        self.arguments = dict(arguments)
        self.course = course
        self.course_seed = course_seed
        self.parts = parts
        self._saved: LRUCache[str, tuple[bytes, str]] = LRUCache(1)

    @property
    def rom(self) -> str:
        """SHA-1 of the ROM."""
        return self._difference.rom

    @property
    def build_id(self) -> str:
        """The emulator build."""
        return self._difference.build_id

    @property
    def frame_count(self) -> int:
        """Frames since power-on."""
        return self._difference.frame_count

    @property
    def nbytes(self) -> int:
        """Bytes that it takes up, without the race start, which the states of a race share."""
        return self._difference.nbytes + len(self.parts)

    def snapshot(self, *, lasting: bool = True) -> Snapshot:
        """The console; ``lasting`` as for `Difference.apply`."""
        return self._difference.apply(self.base.snapshot, lasting=lasting)

    def saved(self) -> tuple[bytes, str]:
        """The console as the contents of a state file, and SHA-256 of its snapshot's data.

        Every recorded episode that starts here wants them, and they take 60 ms: they are kept
        from then on, some 400 KiB, for as long as the state is there.
        """
        (saved,) = self._saved.get([""], lambda _: [("", self._save())])
        return saved

    def _save(self) -> tuple[bytes, str]:
        snapshot = self.snapshot(lasting=False)
        return pack_state(snapshot), hashlib.sha256(snapshot.data).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds."""
        return {"version": _VERSION, **{name: getattr(self, name) for name in self._PICKLED}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what a pickle holds.

        Raises:
            StateError: it is of another version of this package.
        """
        version = state.get("version", 0)
        if version != _VERSION:
            raise StateError(
                f"a pickled state has version {version}, and this mkds-gym reads {_VERSION}; "
                "clone it again with this version"
            )
        for name in self._PICKLED:
            setattr(self, name, state[name])
        self._saved = LRUCache(1)

    def __repr__(self) -> str:
        return f"<ClonedState of frame {self.frame_count}, {self.nbytes} bytes>"


class _Pickler(pickle.Pickler):
    """Keeps what belongs to the environment and not to a state out of the pickle."""

    def __init__(self, file: io.BytesIO, functions: list[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._functions = functions

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
        """The course, and functions that pickle does not find by name: lambdas and the like."""
        if isinstance(obj, Course):
            return ("course", 0)
        if isinstance(obj, types.FunctionType) and "<" in obj.__qualname__:
            for number, function in enumerate(self._functions):
                if function is obj:
                    return ("function", number)
            self._functions.append(obj)
            return ("function", len(self._functions) - 1)
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, course: Course, functions: list[Any]) -> None:
        super().__init__(file)
        self._course = course
        self._functions = functions

    def persistent_load(self, pid: tuple[str, int]) -> Any:
        """The other way round."""
        kind, number = pid
        return self._course if kind == "course" else self._functions[number]


class Parts:
    """Writes and reads the bookkeeping of one environment.

    Functions that pickle does not find by name (a lambda as the reward) are numbered in the order
    in which they are met, which is the same for every environment of the same arguments.
    """

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._known = False

    def dump(self, parts: object) -> bytes:
        """The parts as bytes; shared functions and the course are left to the environment.

        Raises:
            StateError: a part cannot be pickled.
        """
        stream = io.BytesIO()
        try:
            _Pickler(stream, self._functions).dump(parts)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise StateError(
                f"a metric, event or reward of this environment cannot be pickled ({error}); "
                "make it of a class at the top level of a module, holding plain data"
            ) from error
        self._known = True
        return stream.getvalue()

    def load(self, data: bytes, own: object, course: Course) -> Any:
        """The parts, new objects each time.

        Args:
            data: of `dump`.
            own: the parts of the environment that they are for, which know its functions.
            course: that of the environment.

        Raises:
            StateError: they cannot be made here.
        """
        if not self._known:
            self.dump(own)
        try:
            return _Unpickler(io.BytesIO(data), course, self._functions).load()
        except (pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
            raise StateError(
                f"the state needs a metric, event or reward that is not here: {error}"
            ) from error


def check_arguments(state: ClonedState, arguments: Mapping[str, Any]) -> None:
    """Refuse a state of an environment with other arguments.

    Raises:
        StateError: the message names the first argument that differs, and both values.
    """
    for name, value in arguments.items():
        other = state.arguments.get(name)
        if other != value:
            raise StateError(
                f"the state is of an environment with {name}={other!r}, and this one has "
                f"{name}={value!r}; make it with the same arguments, or start an episode at the "
                "state with reset(options={'state': state})"
            )


def describe(argument: Any) -> Any:
    """An argument that may be names, objects or a list of both, so that it can be compared.

    Names as they are. An object by its class and all that it holds, so that ``Clock(100)`` is not
    ``Clock(200)``; a function by its name, and one without a name of its own (a lambda, or made
    within a function) by its code and what it has taken from there as well.
    """
    if argument is None or isinstance(argument, str):
        return argument
    if isinstance(argument, list | tuple):
        return tuple(describe(one) for one in argument)
    return _describe(argument, ())


_PLAIN: Final = (type(None), bool, int, float, complex, str, bytes)
_LONG: Final = 80
"""Characters beyond which a value is given by its digest."""
_DEPTH: Final = 8
"""Objects within one another that are looked into."""


def _describe(value: Any, within: tuple[Any, ...]) -> str:
    """A value in words that are the same for the same value in every process.

    Args:
        value: anything.
        within: what it is part of, outermost first; some of that may be met again.
    """
    if isinstance(value, _PLAIN):
        return _short(repr(value))
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype}{list(value.shape)} {_short(repr(value.tobytes()))}"
    for number, outer in enumerate(within):
        if outer is value:
            return f"<{number}>"
    if len(within) == _DEPTH:
        return f"{type(value).__module__}.{type(value).__qualname__}"
    within = (*within, value)

    def each(values: Iterable[Any]) -> list[str]:
        return [_describe(one, within) for one in values]

    if isinstance(value, list | tuple):
        return f"[{', '.join(each(value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(each(value)))}}}"
    if isinstance(value, Mapping):
        pairs = zip(each(value), each(value.values()), strict=True)
        return f"{{{', '.join(map(': '.join, pairs))}}}"
    if isinstance(value, type | types.BuiltinFunctionType | types.ModuleType):
        return getattr(value, "__qualname__", value.__name__)
    if isinstance(value, types.FunctionType):
        name = f"{value.__module__}.{value.__qualname__}"
        if "<" not in name:
            return name
        empty = types.CellType()
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != empty]
        taken = each((value.__defaults__, value.__kwdefaults__, cells))
        return f"{name} {_digest(_code(value.__code__), *taken)}"
    if isinstance(value, types.MethodType):
        return f"{_describe(value.__func__, within)} of {_describe(value.__self__, within)}"
    held = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                held[name] = getattr(value, name)
    if isinstance(value, functools.partial):
        held |= {"func": value.func, "args": value.args, "keywords": value.keywords}
    arguments = [f"{name}={_describe(one, within)}" for name, one in held.items()]
    return f"{type(value).__module__}.{type(value).__qualname__}({', '.join(arguments)})"


def _code(code: types.CodeType) -> str:
    """What a function does, without where it stands."""
    constants = [
        _code(one) if isinstance(one, types.CodeType) else _describe(one, ())
        for one in code.co_consts
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars))


def _short(text: str) -> str:
    return text if len(text) <= _LONG else _digest(text)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]

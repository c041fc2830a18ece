"""`ClonedState`: the whole state of an environment, kept in memory or carried to another process.

`MKDSEnv.clone_state` makes one and `MKDSEnv.restore_state` takes it. A state holds the console as a
difference from a race start, which the states of one race share, and the pickled bookkeeping of
the episode.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import threading
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from mkds_gym.course import Course
from mkds_gym.emulator.states.snapshot import Difference, Snapshot
from mkds_gym.emulator.states.state_file import pack_state, unpack_state
from mkds_gym.episodes.driver_state import DriverState
from mkds_gym.errors import StateError
from mkds_gym.race.reader import Progress
from mkds_gym.utils.arguments import shown

VERSION: Final = 3
"""Version of the contents of a pickled state."""

_bases: weakref.WeakValueDictionary[str, Base] = weakref.WeakValueDictionary()
_bases_lock: Final = threading.Lock()


class Base:
    """A race start that states are stored as differences from; one object a start and process.

    `base_of` returns it. States that are pickled together share it in the pickle as well, and
    unpickling returns the object of the process, if there is one.

    Attributes:
        snapshot: the console at the start.
        digest: SHA-256 of the snapshot.
    """

    def __init__(self, snapshot: Snapshot, digest: str) -> None:
        self.snapshot = snapshot
        self.digest = digest

    @functools.cached_property
    def _packed(self) -> bytes:
        return pack_state(self.snapshot)

    def __reduce__(self) -> tuple[Callable[..., Base], tuple[Any, ...]]:
        return _unpack_base, (self.digest, self._packed)


def base_of(snapshot: Snapshot) -> Base:
    """Return the base for states of a race that starts at `snapshot`."""
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
        raise StateError("the start of the state is damaged: clone the state again")
    return base


class ClonedState:
    """An environment's whole state: opaque, picklable, hashable, 50 to 110 KiB on Kartlab.

    Pass it to `MKDSEnv.restore_state`, or as the option ``state`` to `MKDSEnv.reset`. The state of
    an environment that shares its console (``drivers_per_console``) is that of one driver. It
    fits all environments that share a console with the same race, and no others.

    Two states are equal if they hold the same console, byte for byte, and the same episode, and
    agree in the arguments of the environment.

    Attributes:
        base: the race start that the state is stored as a difference from.
        difference: the difference of the console from the race start; or the state of a driver.
        arguments: the arguments of the environment that a state must agree in.
        course: fingerprint of the course.
        course_seed: seed of a random course, else None.
        parts: pickled bookkeeping of the episode; empty for a state from a file, which can only
            start episodes.
        progress: what the reader of the race remembers, where the game's memory lacks the
            checkpoints; else None.
    """

    _PICKLED: Final = (
        *("difference", "arguments", "base", "course", "course_seed", "parts"),
        "progress",
    )

    def __init__(
        self,
        base: Base,
        difference: Difference | DriverState,
        *,
        arguments: Mapping[str, Any],
        course: int,
        course_seed: int | None,
        parts: bytes,
        progress: Progress | None = None,
    ) -> None:
        self.base = base
        self.difference = difference
        self.arguments = dict(arguments)
        self.course = course
        self.course_seed = course_seed
        self.parts = parts
        self.progress = progress

    @property
    def kind(self) -> str:
        """``"console"``: a whole console; ``"driver"``: one driver of a shared console."""
        return "driver" if isinstance(self.difference, DriverState) else "console"

    @property
    def foreign(self) -> bool:
        """Whether the state comes from a file that nobody vouches for; see `Snapshot.foreign`."""
        own = self.difference.foreign
        return self.base.snapshot.foreign if own is None else own

    def vouch(self) -> None:
        """Note that a console has tried and loaded the state."""
        self.difference.foreign = False

    @property
    def rom(self) -> str:
        """SHA-1 of the ROM."""
        return self.difference.rom

    @property
    def build_id(self) -> str:
        """The emulator build."""
        return self.difference.build_id

    @property
    def frame_count(self) -> int:
        """Frames since power-on."""
        return self.difference.frame_count

    @property
    def nbytes(self) -> int:
        """Size in bytes, without the race start."""
        return self.difference.nbytes + len(self.parts)

    def snapshot(self, *, lasting: bool = True) -> Snapshot:
        """Return the console's snapshot; ``lasting`` as for `Difference.apply`."""
        return self.difference.apply(self.base.snapshot, lasting=lasting)

    @functools.cached_property
    def saved(self) -> tuple[bytes, str]:
        """The console as a state file, and SHA-256 of its snapshot; takes 60 ms at first."""
        snapshot = self.snapshot(lasting=False)
        return pack_state(snapshot), hashlib.sha256(snapshot.data).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClonedState):
            return NotImplemented
        return self._identity == other._identity and (
            self.parts == other.parts
            or (bool(self.parts and other.parts) and _content(self.parts) == _content(other.parts))
        )

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[Any, ...]:
        """Everything apart from the bookkeeping."""
        start = (self.base.digest, self.course, self.course_seed, self.progress)
        return (*start, tuple(self.arguments.items()), self.difference.identity)

    def __getstate__(self) -> dict[str, Any]:
        return {"version": VERSION, **{name: getattr(self, name) for name in self._PICKLED}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what a pickle holds.

        Raises:
            StateError: another version of this package made the pickle.
        """
        version = state.pop("version", 0)
        if version != VERSION:
            raise StateError(
                f"a pickled state has version {version}: expected version {VERSION}; clone the "
                "state again with this version of mkds-gym"
            )
        vars(self).update(state)

    def __repr__(self) -> str:
        return f"<ClonedState of a {self.kind}, frame {self.frame_count}, {self.nbytes} bytes>"


class _Pickler(pickle.Pickler):
    """Replaces what an environment has anyway: the course, and functions without a global name."""

    def __init__(self, file: io.BytesIO, functions: list[Any]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._functions = functions

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
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
    def __init__(self, data: bytes, course: Course | None, functions: list[Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._course = course
        self._functions = functions

    def persistent_load(self, pid: tuple[str, int]) -> Any:
        kind, number = pid
        return self._course if kind == "course" else self._functions[number]


class _References(pickle.Unpickler):
    """Leaves references to what an environment has as they are."""

    def persistent_load(self, pid: tuple[str, int]) -> Any:
        return pid


def _content(parts: bytes) -> bytes:
    """Return bytes that are equal for equal bookkeeping.

    The bytes of an ordinary pickle depend on which equal strings are the same object. A `fast`
    pickler writes each object in full.
    """
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, pickle.HIGHEST_PROTOCOL)
    pickler.fast = True
    try:
        pickler.dump(_References(io.BytesIO(parts)).load())
    except (RecursionError, ValueError):  # an object contains itself
        return parts
    return stream.getvalue()


def _dump(value: object, functions: list[Any]) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, functions).dump(value)
    return stream.getvalue()


class Bookkeeping:
    """Pickles the bookkeeping of one environment's episodes: metrics, events, reward and so on.

    Functions without a global name (a lambda as the reward) are numbered in the order in which
    they are met, which is the same in all environments with the same arguments.
    """

    def __init__(self) -> None:
        self._functions: list[Any] = []
        self._complete = False

    def dump(self, parts: object) -> bytes:
        """Pickle the parts.

        Raises:
            StateError: a part cannot be pickled.
        """
        try:
            data = _dump(parts, self._functions)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise StateError(
                f"a metric, event or reward of this environment cannot be pickled ({error}): use "
                "a class at the top level of a module that holds plain data"
            ) from error
        self._complete = True
        return data

    def load(self, data: bytes, own: object, course: Course) -> Any:
        """Unpickle parts; each call makes new objects.

        Args:
            data: the result of `dump`.
            own: the parts of the environment itself, which hold its functions.
            course: the course of the race.

        Raises:
            StateError: the parts need something that is missing here.
        """
        if not self._complete:
            self.dump(own)
        try:
            return _Unpickler(data, course, self._functions).load()
        except (pickle.UnpicklingError, AttributeError, ImportError, IndexError) as error:
            raise StateError(
                f"the state needs a metric, event or reward that is missing here: {error}"
            ) from error


def check_arguments(state: ClonedState, arguments: Mapping[str, Any]) -> None:
    """Refuse a state from a file, and one of an environment with other arguments.

    Raises:
        StateError: the message names the first argument that differs, and both values.
    """
    if not state.parts:
        raise StateError(
            "the state was loaded from a file, which holds no metrics, events or reward: start an "
            "episode at the state with reset(options={'state': state})"
        )
    for name, value in arguments.items():
        other = state.arguments.get(name)
        if other != value:
            raise StateError(
                f"the state was cloned with {name}={shown(other)}, but this environment has "
                f"{name}={shown(value)}: make the environment with the same arguments, or start an "
                "episode at the state with reset(options={'state': state})"
            )


def argument_key(argument: Any) -> Any:
    """Return a value that is equal for equal arguments, in every process.

    Names and numbers stay as they are, and a list becomes a tuple of keys. The key of a function
    has its name, the line of one without a global name, and a digest of its defaults and closure.
    The key of another object has the name of its class and a digest of its pickle.
    """
    if argument is None or isinstance(argument, str | int | float):
        return argument
    if isinstance(argument, list | tuple):
        return tuple(map(argument_key, argument))
    if isinstance(argument, types.FunctionType):
        name = f"{argument.__module__}.{argument.__qualname__}"
        if "<" not in argument.__qualname__:
            return name
        cells = [cell.cell_contents for cell in argument.__closure__ or ()]
        values = (argument.__code__.co_firstlineno, argument.__defaults__, cells)
        return f"{name}:{_digest(values)}"
    kind = argument if isinstance(argument, type) else type(argument)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if kind is argument else f"{name}:{_digest(argument)}"


def _digest(value: object) -> str:
    """Return a digest of a value's pickle; of nothing where the value cannot be pickled."""
    functions: list[Any] = []
    try:
        # Twice, because a pickle depends on which equal strings are the same object.
        copied = _Unpickler(_dump(value, functions), None, functions).load()
        data = _dump((copied, [function.__qualname__ for function in functions]), functions)
    except Exception:  # clone_state() reports objects that cannot be pickled
        data = b""
    return hashlib.sha256(data).hexdigest()[:16]

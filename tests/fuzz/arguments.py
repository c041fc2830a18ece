"""Arguments of the public functions: a case is a call, with Python expressions as arguments."""

from __future__ import annotations

import collections
import functools
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .kinds import Kind


class BadRepr:
    """An object without a repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(depth: int) -> list[Any]:
    """Return a list in lists."""
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def itself() -> list[Any]:
    """Return a list that contains itself."""
    made: list[Any] = []
    made.append(made)
    return made


ODD = (
    *("None", "True", "False", "0", "1", "-1", "2", "5", "2**31", "2**40", "2**63", "-2**63"),
    *("10**400", "10**5000", "-10**5000", "0.5", "1.0", "-0.0", "float('nan')", "float('inf')"),
    *("-float('inf')", "1e308", "1j", "''", "'x'", "' '", "':'", "'.'", "'a.b'", "'a:b'", "'\\0'"),
    *("'\\ud800'", "'x' * 10**6", "'9' * 5000", "'os.system'", "'os.abort'", "'sys.exit'"),
    *(
        "'sys:exit'",
        "'os:abort'",
        "'os:getcwd'",
        "'os:environ'",
        "'builtins:input'",
        "'time:sleep'",
    ),
    *("'builtins.input'", "'builtins.exit'", "'mkds_gym.env.MKDSEnv'", "'mkds_gym.env:MKDSEnv'"),
    *("'json:loads'", "'this:x'", "'os'", "'os:'", "':os'", "'..'", "'os..path'", "'os:path:1'"),
    *("'threshold:0'", "'threshold:99'", "'threshold:nan'", "'threshold:1e400'", "'keys:1'"),
    *("'threshold:' + '9' * 5000", "'clock:nan'", "'clock:-1'", "'clock:1e400'", "'stuck:inf'"),
    *(
        "'kartlab'",
        "'random'",
        "'train'",
        "'/dev/zero'",
        "'/dev/null'",
        "'.'",
        "'fifo'",
    ),
    *(
        "b''",
        "b'x'",
        "b'x' * 10**6",
        "b'discrete'",
        "bytearray(3)",
        "memoryview(b'x')",
        "[]",
        "[[]]",
    ),
    *("()", "{}", "{'x': 1}", "{1: 2}", "set()", "{'discrete'}", "object()", "type", "int", "len"),
    *("print", "lambda: 0", "lambda m: 1 / 0", "lambda m: float('nan')", "lambda m: 10**400"),
    *("lambda m: 'x'", "lambda m: m['missing']", "lambda m: exit()", "lambda m: m.clear() or 0.0"),
    *("(x for x in ())", "(x for x in 'ab')", "iter([])", "range(3)", "range(10**9)", "[None]"),
    *(
        "['x']",
        "['finish', 'finish']",
        "['x'] * 10**5",
        "[1, 'x', None]",
        "np.int64(3)",
        "np.int8(-1)",
    ),
    *("np.float32(1)", "np.float64('nan')", "np.bool_(True)", "np.str_('discrete')", "np.array(3)"),
    *(
        "np.zeros((11, 1))",
        "np.zeros(11)",
        "np.zeros((1, 11))",
        "np.full(11, np.nan)",
        "np.array([])",
    ),
    *("np.array(['a'])", "np.array([object()])", "np.zeros(11, 'M8[s]')", "np.zeros(2, 'V4')"),
    *("np.array([10**400])", "np.zeros(2, complex)", "np.zeros(10**6)", "np.array(1e400)"),
    *("np.ma.masked", "Path('.')", "Path('missing')", "Path('x' * 10**5)", "Path('/dev/zero')"),
    *("BadRepr()", "itself()", "nested(900)", "nested(10**5)"),
    *("itertools.count()", "itertools.repeat('finish')", "collections.UserDict()", "Ellipsis"),
    *(
        "NotImplemented",
        "Exception('x')",
        "slice(3)",
        "frozenset({1})",
        "{'state': None}",
        "itself",
    ),
    *(
        "{'state': 'missing'}",
        "{'state': b'x'}",
        "{'course_seed': -1}",
        "{'progress': float('nan')}",
    ),
    *(
        "[[]]",
        "'time:sleep'",
        "np.int8(-1)",
        "np.array([])",
        "{'progress': 1e300}",
        "{'state': BadRepr()}",
    ),
    *("{'progress': float('nan')}", "{'x' * 10**6: 1}", "{BadRepr: 1}"),
    *("{'reset_mask': [True]}", "{'per_env': 3}", "[{'progress': 1}]", "{'progress': 10**400}"),
)
"""Expressions of odd values; ``None`` and the like are right in many places."""

_NAMES = {
    "np": None,
    "itertools": itertools,
    "collections": collections,
    "Path": Path,
    "BadRepr": BadRepr,
    "itself": itself,
    "nested": nested,
}

Call = tuple[Callable[..., Any], tuple[str, ...]]
"""A function of this module and its parameters; those that are left out have a default."""


def _make_env(**arguments: Any) -> None:
    import copy

    import gymnasium as gym

    import mkds_gym  # noqa: F401

    try:
        repr(copy.deepcopy(arguments))
    except Exception:  # gym.make copies and shows the arguments
        return _make_env_directly(**arguments)
    gym.make("MKDS-v0", disable_env_checker=True, **arguments).close()
    return None


def _make_env_directly(**arguments: Any) -> None:
    from mkds_gym.env import MKDSEnv

    MKDSEnv(**arguments).close()


def _make_vector(**arguments: Any) -> None:
    from mkds_gym.vector.env import MKDSVectorEnv

    MKDSVectorEnv(**arguments).close()


def _make_parallel(**arguments: Any) -> None:
    from mkds_gym.multi_agent import parallel_env

    parallel_env(**arguments).close()


@functools.cache
def _parameters(name: str) -> tuple[str, ...]:
    import inspect

    from mkds_gym.env import MKDSEnv
    from mkds_gym.multi_agent.env import MKDSParallelEnv
    from mkds_gym.vector.env import MKDSVectorEnv

    made: dict[str, Any] = {
        "env": MKDSEnv,
        "env_directly": MKDSEnv,
        "vector": MKDSVectorEnv,
        "parallel": MKDSParallelEnv,
    }
    found = [p for p in inspect.signature(made[name]).parameters if p != "kwargs"]
    return tuple(found) + (("laps", "reward", "sensors") if name == "vector" else ())


_CONSTRUCTORS: dict[str, Callable[..., None]] = {
    "env": _make_env,
    "env_directly": _make_env_directly,
    "vector": _make_vector,
    "parallel": _make_parallel,
}


def _change_constructor(rng: random.Random, data: bytes) -> bytes:
    case = json.loads(data)
    names = _parameters(case["call"])
    for _ in range(rng.choice((1, 1, 1, 2))):
        case["arguments"][rng.choice(names)] = rng.choice(ODD)
    if "render_mode" in case["arguments"] and "human" in case["arguments"]["render_mode"]:
        case["arguments"]["render_mode"] = "'rgb_array'"
    return json.dumps(case).encode()


def _values(case: Any) -> dict[str, Any]:
    import numpy as np

    names = {**_NAMES, "np": np, "_vector": _vector}
    return {name: eval(text, names) for name, text in case["arguments"].items()}


def _use_constructor(payload: bytes, folder: Path) -> None:
    import os

    case = json.loads(payload)
    os.mkfifo(folder / "fifo")
    _CONSTRUCTORS[case["call"]](**_values(case))


# Methods, of an environment that has been reset --------------------------------------------------

ACTION_TYPES = ("discrete", "discrete_items", "keys", "threshold", "threshold:2", "keymask")


@functools.cache
def _env(action_type: str = "discrete") -> Any:
    from mkds_gym.env import MKDSEnv

    env = MKDSEnv(action_type=action_type, course="random", course_seed=3)
    env.reset(seed=0)
    return env


@functools.cache
def _vector() -> Any:
    from mkds_gym.vector.env import MKDSVectorEnv

    envs = MKDSVectorEnv(2, num_threads=1)
    envs.reset(seed=0)
    return envs


@functools.cache
def _parallel() -> Any:
    from mkds_gym.multi_agent import parallel_env

    env = parallel_env()
    env.reset(seed=0)
    return env


def _step(action: Any, action_type: str) -> None:
    _env(action_type).step(action)


def _registers(name: Any, kind: str) -> None:
    from mkds_gym.components.events import EVENTS
    from mkds_gym.components.metrics import METRICS
    from mkds_gym.components.scorers import SCORERS, register_scorer

    if kind == "scorer":
        register_scorer(name, lambda metrics: 0.0)
    else:
        registry: Any = {"event": EVENTS, "metric": METRICS}[kind]
        registry.register(name, lambda: None)
    assert (isinstance(name, str) and name in SCORERS.names()) or kind != "scorer"


def _made(name: Any, kind: str) -> None:
    from mkds_gym.components.actions import ACTION_TYPES as TYPES
    from mkds_gym.components.events import EVENTS
    from mkds_gym.components.metrics import METRICS
    from mkds_gym.components.rewards import make_reward
    from mkds_gym.components.sensors import SENSORS

    tables: dict[str, Any] = {
        "action": TYPES,
        "event": EVENTS,
        "metric": METRICS,
        "sensor": SENSORS,
    }
    if kind == "reward":
        make_reward(name)
    else:
        tables[kind].make(name)


def _scorer(expression: Any) -> None:
    from mkds_neat.scorers import make_scorer

    if isinstance(expression, str):
        make_scorer(expression)


def _starts(**arguments: Any) -> None:
    from mkds_gym.wrappers import StartStates

    StartStates.collect(_env(), **{"count": 1, "laps": 0.01, **arguments})


def _sample(generator: Any) -> None:
    from mkds_gym.wrappers import RandomStarts, StartStates

    StartStates([_env().clone_state()]).sample(generator)
    RandomStarts(_env(), generator)


def _console(**arguments: Any) -> None:
    _env().console.step(**{"frames": 1, **arguments})


def _recorder(label: Any) -> None:
    from mkds_gym.recording.recorder import Recorder

    Recorder(_env(), label=label).close()


def _load_recording(path: Any) -> None:
    from mkds_gym.recording.format import Recording

    Recording.load(path)


def _load_state(state: Any) -> None:
    _env().console.load_state(state)


def _load_files(path: Any) -> None:
    from mkds_gym.wrappers import StartStates

    StartStates.load(path)


def _cartridge(rom: Any) -> None:
    from mkds_gym.emulator.cartridge import Cartridge

    Cartridge.open(rom)


def _set_attr(name: Any, values: Any) -> None:
    _vector().set_attr(name, values)


def _open_console(**arguments: Any) -> None:
    from mkds_gym.emulator.console import Console

    Console(**arguments).close()


@functools.cache
def _recording() -> Any:
    from recordings import record

    return record(3)


def _replay(**arguments: Any) -> None:
    from mkds_gym.replay import Replay

    with Replay(_recording(), **{"pictures": False, **arguments}) as replay:
        next(iter(replay))


def _write_movie(path: Any) -> None:
    from mkds_gym.replay.dsm import write_movie

    write_movie(_recording(), path)


def _driver(pace: Any) -> None:
    from mkds_gym.drivers import PurePursuit

    PurePursuit(pace=pace)


def _course_bytes(data: Any, kind: str) -> None:
    from mkds_gym.course.archive import read_carc
    from mkds_gym.course.kcl import KCL
    from mkds_gym.course.nkm import NKM

    readers: dict[str, Any] = {"carc": read_carc, "kcl": KCL.from_bytes, "nkm": NKM.from_bytes}
    readers[kind](data)


def _random_course(seed: Any, difficulty: Any) -> None:
    from mkds_gym.kartlab.generator import random_course_data

    random_course_data(seed, difficulty)


def _compile(path: Any) -> None:
    from mkds_gym.kartlab.compiler import compile_course

    compile_course(path)


def _keep_start(console: Any) -> None:
    from mkds_gym.starts import keep_start

    keep_start(console)


def _kept(rom: Any) -> None:
    from mkds_gym.starts import kept_starts

    kept_starts(rom)


_METHODS: dict[str, tuple[Callable[..., Any], dict[str, tuple[str, ...]]]] = {
    "step": (_step, {"action": ODD, "action_type": tuple(map(repr, ACTION_TYPES))}),
    "reset": (lambda **kw: _env().reset(**kw), {"seed": ODD, "options": ODD}),
    "reset_into": (lambda **kw: _env().reset_into(**kw), {"out": ODD}),
    "step_into": (lambda **kw: _env().step_into(0, **kw), {"out": ODD}),
    "restore_state": (lambda **kw: _env().restore_state(**kw), {"state": ODD}),
    "clone_along": (lambda **kw: _env().clone_along(**kw), {"progress": ODD}),
    "vector_reset": (lambda **kw: _vector().reset(**kw), {"seed": ODD, "options": ODD}),
    "vector_step": (lambda **kw: _vector().step(**kw), {"actions": ODD, "step_mask": ODD}),
    "vector_restore": (lambda **kw: _vector().restore_states(**kw), {"states": ODD, "mask": ODD}),
    "vector_clone": (lambda **kw: _vector().clone_states(**kw), {"mask": ODD}),
    "vector_replace": (lambda **kw: _vector().replace(**kw), {"index": ODD, "seed": ODD}),
    "vector_set_attr": (_set_attr, {"name": ("'frame_skip'", *ODD), "values": ODD}),
    "vector_call": (lambda name: _vector().call(name), {"name": ODD}),
    "parallel_step": (lambda **kw: _parallel().step(**kw), {"actions": ODD}),
    "parallel_reset": (lambda **kw: _parallel().reset(**kw), {"seed": ODD, "options": ODD}),
    "register": (_registers, {"name": ODD, "kind": ("'scorer'", "'event'", "'metric'")}),
    "make": (
        _made,
        {"name": ODD, "kind": ("'action'", "'event'", "'metric'", "'sensor'", "'reward'")},
    ),
    "scorer": (_scorer, {"expression": ODD}),
    "collect": (_starts, {"count": ODD, "laps": ODD, "policy": ODD, "seed": ODD}),
    "sample": (_sample, {"generator": ODD}),
    "console_step": (_console, {"keys": ODD, "frames": ODD[:30], "draw": ODD}),
    "screen": (lambda **kw: _env().console.screen(**kw), {"which": ODD, "out": ODD}),
    "frame_skip": (lambda value: setattr(_env(), "frame_skip", value), {"value": ODD}),
    "recorder": (_recorder, {"label": ODD}),
    "load_recording": (_load_recording, {"path": ODD}),
    "load_state": (_load_state, {"state": ODD}),
    "load_starts": (_load_files, {"path": ODD}),
    "cartridge": (_cartridge, {"rom": ODD}),
    "console": (_open_console, {"rom": ODD, "jit": ODD, "on_power_on": ODD}),
    "replay": (_replay, {"rom": ODD, "state": ODD, "overlays": ODD, "every": ODD}),
    "save_recording": (lambda path: _recording().save(path), {"path": ODD}),
    "save_state": (lambda path: _env().console.save_state(path), {"path": ODD}),
    "write_movie": (_write_movie, {"path": ODD}),
    "driver": (_driver, {"pace": ODD}),
    "course_bytes": (_course_bytes, {"data": ODD, "kind": ("'carc'", "'kcl'", "'nkm'")}),
    "random_course": (_random_course, {"seed": ODD, "difficulty": ("0.5", *ODD)}),
    "compile": (_compile, {"path": ODD}),
    "keep_start": (_keep_start, {"console": ODD}),
    "kept_starts": (_kept, {"rom": ODD}),
    "add_observer": (lambda observer: _env().add_observer(observer), {"observer": ODD}),
}


_WHOLE = ("step", "vector_set_attr", "register", "make", "course_bytes", "random_course")
"""Calls that need all their parameters."""


def _change_method(rng: random.Random, data: bytes) -> bytes:
    case = json.loads(data)
    parameters = _METHODS[case["call"]][1]
    names = list(parameters)
    if case["call"] not in _WHOLE and len(names) > 1:
        names = rng.sample(names, rng.choice((1, 1, 2)))
    required = {"vector_step": ("actions", "[0, 0]"), "vector_replace": ("index", "0")}
    required["vector_restore"] = ("states", "_vector().clone_states()")
    if case["call"] in required:
        name, value = required[case["call"]]
        case["arguments"][name] = value
    for name in names:
        case["arguments"][name] = rng.choice(parameters[name])
    return json.dumps(case).encode()


def _use_method(payload: bytes, folder: Path) -> None:
    """Call a method."""
    import os

    case = json.loads(payload)
    os.mkfifo(folder / "fifo")
    _METHODS[case["call"]][0](**_values(case))


def _recover(payload: bytes = b"") -> None:
    """Step and reset, as the next case expects; whatever was raised, this must be possible."""
    call = json.loads(payload)["call"] if payload else ""
    for action_type in ACTION_TYPES:
        env = _env(action_type)
        if env.episode_over or env.frame_skip != 4:
            env.frame_skip = 4
            env.reset(seed=0)
    if call.startswith("vector"):
        _vector().set_attr("frame_skip", 4)
        _vector().reset(seed=0)
    if call.startswith("parallel"):
        _parallel().reset(seed=0)


def _prepare() -> None:
    _recover()
    _vector()
    _parallel()
    _recording()


def _calls(names: Any) -> Callable[[Path], list[bytes]]:
    return lambda _: [json.dumps({"call": name, "arguments": {}}).encode() for name in names]


KINDS = (
    Kind(
        "constructor",
        "arguments",
        14,
        _calls(("env", "env", "env_directly", "vector", "parallel")),
        _change_constructor,
        _use_constructor,
        before=lambda: _make_env(),
    ),
    Kind(
        "method",
        "arguments",
        10,
        _calls(_METHODS),
        _change_method,
        _use_method,
        before=_prepare,
        after=_recover,
        seconds=10.0,
    ),
)

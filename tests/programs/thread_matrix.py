"""Call every public method and attribute of an environment while another thread steps it.

Arguments: ``env``, ``vector``, ``shared``, ``wrapped``, ``parallel`` or ``console``; seconds for
each call; and ``pairs`` to let two threads make each pair of calls meanwhile. Prints the number of
calls that worked and of those that were refused, or the first error that is not documented.
"""

import faulthandler
import itertools
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import mkds_gym
from mkds_gym.emulator import Console, Keys
from mkds_gym.emulator.frame_copies import FrameCopies
from mkds_gym.errors import MKDSError
from mkds_gym.kartlab.boot import BootParameters
from mkds_gym.observer import EnvObserver
from mkds_gym.recording.recorder import Recorder
from mkds_gym.viewer import Viewer

DOCUMENTED = (MKDSError, gym.error.Error, gym.error.ClosedEnvironmentError, ValueError)
Call = Callable[[Any], Any]

# Parts of a call, for vector environments; see `EpisodeEnv`.
INTERNAL = {"begin_reset", "finish_reset", "begin_step", "finish_step", "take_seat"}
INTERNAL |= {"copy_np_random", "without_viewer", "step_async", "step_wait", "reset_async"}
INTERNAL |= {"reset_wait", "on_power_on"}


def view(env: Any) -> None:
    with Viewer(env, window=False):
        pass


def add_and_remove(env: Any) -> None:
    observer = EnvObserver()
    env.add_observer(observer)
    env.remove_observer(observer)


def record(env: Any) -> None:
    recorder = Recorder(env)
    try:
        recorder.recording()
    finally:
        recorder.close()


def single(env: Any) -> tuple[Call, dict[str, Call]]:
    """The step of an `MKDSEnv`, and the calls that need arguments."""
    out = np.empty(env.observation_space.shape, np.float32)
    state = env.clone_state()
    return lambda env: env.step(1), {
        "step": lambda env: env.step(1),
        "step_into": lambda env: env.step_into(1, out),
        "reset_into": lambda env: env.reset_into(out),
        "restore_state": lambda env: env.restore_state(state),
        "clone_along": lambda env: env.clone_along([0.01]),
        "add_observer": add_and_remove,
        "remove_observer": lambda env: env.remove_observer(EnvObserver()),
        "get_wrapper_attr": lambda env: env.get_wrapper_attr("frame_skip"),
        "has_wrapper_attr": lambda env: env.has_wrapper_attr("frame_skip"),
        "set_wrapper_attr": lambda env: env.set_wrapper_attr("frame_skip", 4),
        "frame_skip=": lambda env: setattr(env, "frame_skip", 4),
        "viewer=": lambda env: setattr(env, "viewer", None),
        "Recorder": record,
        "Viewer": view,
        "recording_start": lambda env: env.recording_start(),
        "starts.close": lambda env: env.starts.close(),
        "console.close": lambda env: env.console.close(),
        "console.step": lambda env: env.console.step(),
        "__exit__": lambda env: env.__exit__(None, None, None),
    }


def vector(envs: Any) -> tuple[Call, dict[str, Call]]:
    """The step of an `MKDSVectorEnv`, and the calls that need arguments."""
    actions = np.ones(envs.num_envs, np.int64)
    states = envs.clone_states()
    last = envs.num_envs - 1
    return lambda envs: envs.step(actions), {
        "step": lambda envs: envs.step(actions),
        "call": lambda envs: envs.call("collect_metrics"),
        "get_attr": lambda envs: envs.get_attr("frame_skip"),
        "set_attr": lambda envs: envs.set_attr("frame_skip", 4),
        "restore_states": lambda envs: envs.restore_states(states),
        "replace": lambda envs: envs.replace(last),
        "Viewer": view,
        **{
            f"envs[{last}].{name}": lambda envs, call=call: call(envs.envs[last])
            for name, call in {
                "step": lambda env: env.step(1),
                "reset": lambda env: env.reset(),
                "close": lambda env: env.close(),
                "render": lambda env: env.render(),
                "clone_state": lambda env: env.unwrapped.clone_state(),
                "full_info": lambda env: env.unwrapped.full_info(),
                "starts.close": lambda env: env.unwrapped.starts.close(),
            }.items()
        },
    }


def parallel(env: Any) -> tuple[Call, dict[str, Call]]:
    """The step of a `parallel_env`, and the calls that need arguments."""
    agent = env.possible_agents[0]

    def step(env: Any) -> None:
        env.step(dict.fromkeys(env.agents, 1))

    return step, {
        "step": step,
        "race": lambda env: env.race(agent),
        **{
            name: lambda env, name=name: getattr(env, name)(agent)
            for name in ("event_names", "observation_space", "action_space")
        },
        "view=": lambda env: setattr(env, "view", agent),
        "starts.close": lambda env: env.starts.close(),
    }


def of_console(console: Any) -> tuple[Call, dict[str, Call]]:
    """The step of a `Console`, and the calls that need arguments."""
    start, state = console.snapshot(), console.save_state()
    copies = FrameCopies(console.ram, [(0, 4)], [])
    return lambda console: console.step(Keys.A, 4), {
        "run": lambda console: console.run(0, 1, int),
        "run_and_copy": lambda console: console.run_and_copy(0, 1, copies),
        "difference": lambda console: console.difference(start),
        "restore": lambda console: console.restore(start),
        "load_state": lambda console: console.load_state(state),
        "hold": lambda console: console.hold(1),
        "turn": lambda console: console.turn("turn").__enter__,
        "__exit__": lambda console: console.__exit__(None, None, None),
    }


MAKERS: dict[str, tuple[Callable[[], Any], Callable[[Any], tuple[Call, dict[str, Call]]]]] = {
    "env": (lambda: gym.make("MKDS-v0", render_mode="rgb_array").unwrapped, single),
    "vector": (lambda: make_vec(), vector),
    "shared": (lambda: make_vec(drivers_per_console=2), vector),
    "wrapped": (
        lambda: make_vec(drivers_per_console=2, env_wrappers=[gym.wrappers.FlattenObservation]),
        vector,
    ),
    "parallel": (lambda: mkds_gym.parallel_env(render_mode="rgb_array"), parallel),
    "console": (lambda: Console(on_power_on=BootParameters().write), of_console),
}


def make_vec(**arguments: Any) -> Any:
    kind = "vector_entry_point"
    return gym.make_vec("MKDS-v0", 2, vectorization_mode=kind, num_threads=2, **arguments)


def public_calls(target: Any, calls: dict[str, Call]) -> dict[str, Call]:
    """Return a call for each public name."""
    names = {name for name in (*dir(type(target)), *vars(target)) if not name.startswith("_")}

    def call(target: Any, name: str) -> None:
        found = getattr(target, name)
        if callable(found) and not isinstance(found, type):
            found()

    found = {name: lambda target, name=name: call(target, name) for name in names - INTERNAL}
    return {**found, **calls, "turn": lambda _: None}


class Target:
    """What is called: made again once it was closed."""

    def __init__(self, kind: str) -> None:
        self._make, describe = MAKERS[kind]
        self.now = self.new()
        self.step, calls = describe(self.now)
        self.calls = public_calls(self.now, calls)

    def new(self) -> Any:
        self.now = self._make()
        self.now.reset()
        return self.now

    def mend(self) -> None:
        """Begin an episode, or make the target again."""
        for begin in (self.now.reset, self.new):
            for _ in range(100):
                try:
                    begin()
                    return
                except mkds_gym.errors.ConcurrentCallError:
                    time.sleep(0.001)
                except DOCUMENTED:
                    break


def run(kind: str, seconds: float, pairs: bool) -> Counter[str]:
    target = Target(kind)
    done = threading.Event()
    counts: Counter[str] = Counter()
    wrong: list[str] = []

    def attempt(name: str, call: Call) -> bool:
        try:
            call(target.now)
        except DOCUMENTED as error:
            counts[type(error).__name__] += 1
            return False
        except BaseException as error:
            wrong.append(f"{name}: {error!r}\n{traceback.format_exc()}")
            return False
        counts["worked"] += 1
        return True

    def step() -> None:
        while not done.is_set() and not wrong:
            if not attempt("the step", target.step):
                target.mend()

    def repeat(name: str) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not wrong:
            attempt(f"{kind}.{name}", target.calls[name])

    stepper = threading.Thread(target=step)
    stepper.start()
    names = sorted(target.calls)
    for one, other in itertools.combinations(names, 2) if pairs else ((name, "") for name in names):
        faulthandler.dump_traceback_later(60, exit=True)
        second = threading.Thread(target=repeat, args=(other,)) if other else None
        if second:
            second.start()
        repeat(one)
        if second:
            second.join()
        if wrong:
            break
    done.set()
    stepper.join()
    assert not wrong, wrong[0]
    return counts


def main() -> None:
    warnings.simplefilter("ignore")  # of calls without a render_mode
    kinds, seconds = sys.argv[1].split(","), float(sys.argv[2])
    for kind in kinds:
        print(kind, dict(run(kind, seconds, "pairs" in sys.argv)), flush=True)


main()

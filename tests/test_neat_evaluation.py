"""The evaluator over real workers: order, independence, crashes, and no process left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from neat_envs import DRAWN
from waiting import until

from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_gym.roms.__main__ import main as roms
from mkds_neat.episode import Ended
from mkds_neat.errors import EvaluationError
from mkds_neat.evaluation import Evaluator, Stopped
from mkds_neat.individual import Individual
from mkds_neat.lanes import LanesFactory
from mkds_neat.networks import NetworkSpec, Node, compile_network
from mkds_neat.plan import episode_seed
from mkds_neat.workers import ProcessPool

FRAMES = 200
ENV = {
    "action_type": "threshold:2",
    "truncate_on": [f"clock:{FRAMES}", "stuck:60"],
    "reward": "none",
    "info_every_step": False,
}


def driver(key: int, right: float, left: float) -> Individual:
    """Presses right and left as given, with a small influence of the first sensors.

    The drivers 5 and 12 press left in every other step, because they remember.
    """
    nodes = (Node(0, bias=right), Node(1, bias=left))
    connections: tuple[tuple[int, int, float], ...] = ((-1, 0, 0.01 * key), (-2, 1, 0.02))
    if recurrent := key in (5, 12):
        connections += ((1, 1, -3.0 * left),)
    inputs = tuple(range(-1, -7, -1))
    return Individual(key, NetworkSpec(inputs, (0, 1), nodes, connections, recurrent), {})


# Some stand still and are stuck early; some drive straight, some turn.
DRIVERS = [
    driver(key, right=1.0 if key % 3 else -1.0, left=1.0 if key % 4 else -1.0)
    for key in (5, 12, 8, 3, 6)
]
IDS = sorted(d.id for d in DRIVERS)


def evaluator(workers: int = 2, *, env: dict | None = None, **kwargs) -> Evaluator:
    arguments = {"scorer": lambda m: m["progress"], **kwargs}
    return Evaluator("MKDS-v0", {**ENV, **(env or {})}, workers=workers, seed=1, **arguments)


def small(workers: int = 2, **kwargs) -> Evaluator:
    """An evaluator whose worker processes run no emulator."""
    arguments = {"start_method": "fork", **kwargs}
    return Evaluator(DRAWN, workers=workers, seed=1, **arguments)


def content(results):
    """The results without the time that the episodes took."""
    return [
        (r.id, r.fitness, r.record.metrics, r.record.steps, r.record.frames, r.record.events)
        for r in results
    ]


@pytest.fixture(scope="module")
def expected():
    with evaluator(1, vectorization="native") as one:
        return content(one.evaluate(DRIVERS))


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def drawn():
    with small(1) as one:
        return content(one.evaluate(DRIVERS))


both = pytest.mark.parametrize("vectorization", ["async", "native"])


def test_results_equal_driving_by_hand(expected):
    env = gym.make("MKDS-v0", disable_env_checker=True, **ENV)
    by_id = {e[0]: e for e in expected}
    for individual in DRIVERS[:3]:
        policy = compile_network(individual.network)
        observation, _ = env.reset(seed=episode_seed(1, individual.id))
        over, steps = False, 0
        while not over:
            action = np.clip(policy(observation.tolist()), -1, 1).astype(np.float32)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            steps += 1
        metrics = env.unwrapped.full_info()["metrics"]
        frames = steps * env.unwrapped.frame_skip
        assert by_id[individual.id][1:5] == (metrics["progress"], metrics, steps, frames)
    env.close()
    assert len({e[3] for e in expected}) > 1


@pytest.mark.parametrize(("workers", "method"), [(2, "forkserver"), (2, "spawn"), (10, "fork")])
def test_results_of_worker_processes_do_not_depend_on_their_number(workers, method, drawn):
    with small(workers, start_method=method) as pool:
        assert content(pool.evaluate(DRIVERS)) == drawn
        assert len(pool.processes) == workers


def test_episode_is_seeded_by_its_individual(drawn):
    env = gym.make(DRAWN)
    for individual, (key, fitness, *_) in zip(
        sorted(DRIVERS, key=lambda d: d.id), drawn, strict=True
    ):
        policy = compile_network(individual.network)
        observation, _ = env.reset(seed=episode_seed(1, individual.id))
        score, over = 0.0, False
        while not over:
            action = np.clip(policy(observation.tolist()), -1, 1).astype(np.float32)
            observation, reward, over, _, _ = env.step(action)
            score += reward
        assert (key, fitness) == (individual.id, score)


@pytest.mark.parametrize(
    ("method", "workers", "lanes"),
    [("forkserver", 2, 1), ("native", 3, 1), ("forkserver", 1, 8), ("native", 2, 2)],
)
def test_results_do_not_depend_on_workers_and_lanes(method, workers, lanes, expected):
    how = {"vectorization": "native"} if method == "native" else {"start_method": method}
    reported = []
    with evaluator(workers, lanes=lanes, **how) as pool:
        results = pool.evaluate(DRIVERS, lambda r: reported.append(r.id))
        assert content(results) == expected
        # Workers that have driven before give the same results.
        assert content(pool.evaluate(DRIVERS[:2:-1])) == expected[:1] + expected[2:3]
        assert len(pool.processes) == (0 if method == "native" else workers)
    assert sorted(reported) == IDS


def test_free_worker_takes_the_next_individual_at_once():
    long, short = driver(1, 1.0, 1.0), [driver(k, -1.0, -1.0) for k in range(2, 6)]
    order = []
    env = {"truncate_on": ["clock:1200", "stuck:60"]}
    with evaluator(2, env=env, vectorization="native") as two:
        two.evaluate([driver(k, -1.0, -1.0) for k in (6, 7)])  # both consoles boot
        results = two.evaluate([long, *short], lambda r: order.append(r.id))
    steps = {r.id: r.record.steps for r in results}
    assert steps[1] >= 5 * steps[2], steps
    # While the first individual drove, the other worker had time for several.
    assert order.index(1) >= 2


class FailsOnce:
    """A metric that fails once, in a reset or in the middle of a race."""

    name = "fails"
    fails_in = ""

    def reset(self):
        self.frames = 0
        self.fail("reset")

    def update(self, state, course):
        self.frames += 1
        if self.frames > 50:
            self.fail("step")

    def collect(self):
        return {}

    def fail(self, where):
        if FailsOnce.fails_in == where:
            FailsOnce.fails_in = ""
            raise ZeroDivisionError("the metric broke")


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("where", ["reset", "step"])
def test_failed_environment_is_replaced_and_its_episodes_repeated(where, lanes, expected, caplog):
    reported = []
    env = {"metrics": [*DEFAULT_METRICS, FailsOnce()]}
    with evaluator(2, env=env, lanes=lanes, vectorization="native") as two:
        two.start()
        FailsOnce.fails_in = where
        assert content(two.evaluate(DRIVERS, lambda r: reported.append(r.id))) == expected
        assert not FailsOnce.fails_in
        assert two.restarts == 0  # the thread goes on
    assert sorted(reported) == IDS
    (text,) = caplog.messages
    assert "ZeroDivisionError: the metric broke" in text


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_killed_workers_are_started_again_and_their_episodes_repeated(method, drawn):
    reported = []
    with small(2, start_method=method, env_kwargs={"delay": 0.01}) as two:

        def kill_all(result):
            reported.append(result.id)
            if len(reported) in (1, 3):
                for process in two.processes:
                    process.kill()

        assert content(two.evaluate(DRIVERS, kill_all)) == drawn
        assert two.restarts in (3, 4)
    assert sorted(reported) == IDS  # each exactly once


def test_killed_worker_does_not_disturb_the_others():
    with small(2, env_kwargs={"delay": 0.01}) as two:
        two.start()
        first = list(two.processes)
        first[0].kill()
        assert len(two.evaluate(DRIVERS)) == len(DRIVERS)
        assert two.restarts == 1
        assert [old is new for old, new in zip(first, two.processes, strict=True)] == [False, True]


@pytest.mark.parametrize(("method", "times"), [("fork", 10), ("forkserver", 10), ("spawn", 3)])
def test_worker_that_is_terminated_again_and_again_prints_nothing(method, times, capfd):
    """A signal at the end of the interpreter, which only *spawn* reaches, printed a traceback."""
    for _ in range(times):
        pool = small(1, start_method=method)
        pool.start()
        (process,) = pool.processes
        while process.is_alive():
            process.terminate()
        pool.close()
    assert capfd.readouterr().err == ""


def test_hanging_worker_counts_as_dead(expected):
    reported = []
    with evaluator(2, lanes=2, start_method="fork") as two:

        def stop_once(result):
            reported.append(result.id)
            if len(reported) == 1:
                two.timeout = 3.0
                os.kill(two.processes[0].pid, signal.SIGSTOP)

        assert content(two.evaluate(DRIVERS, stop_once)) == expected
        assert two.restarts >= 1


class FailsLater:
    """A metric that fails after a second of driving."""

    name = "fails"

    def reset(self):
        self.frames = 0

    def update(self, state, course):
        self.frames += 1
        if self.frames > 60:
            raise ZeroDivisionError("the metric broke")

    def collect(self):
        return {"fails": 0.0}


@both
def test_worker_that_always_fails_is_an_error(vectorization):
    if vectorization == "native":
        arguments = {"vectorization": vectorization, "retries": 1}
        pool = evaluator(2, env={"metrics": ["progress", FailsLater()]}, **arguments)
    else:
        pool = small(2, retries=1, env_kwargs={"fails_after": 5})
    with (
        pool,
        pytest.raises(EvaluationError, match=r"failed 2 times.*ZeroDivisionError.*broke"),
    ):
        pool.evaluate([driver(1, 1.0, 1.0), driver(2, 1.0, 1.0)])


def test_workers_that_always_die_are_an_error():
    with evaluator(2, retries=1, start_method="fork") as two:
        two.start()
        done = threading.Event()

        def kill_all():
            while not done.is_set():
                for process in two.processes:
                    with contextlib.suppress(ProcessLookupError, TypeError):
                        os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.05)

        thread = threading.Thread(target=kill_all)
        thread.start()
        try:
            with pytest.raises(EvaluationError, match=r"failed 2 times|do not start"):
                two.evaluate(DRIVERS)
        finally:
            done.set()
            thread.join()


@pytest.fixture(scope="module")
def start_state(tmp_path_factory):
    state = tmp_path_factory.mktemp("state") / "start.state"
    env = gym.make("MKDS-v0")
    env.reset()
    env.unwrapped.console.save_state(state)
    env.close()
    return state


@both
def test_missing_file_of_the_environment_is_an_error(tmp_path, start_state, vectorization):
    state = shutil.copy(start_state, tmp_path / "gone.state")
    arguments = {"vectorization": vectorization, "start_method": "fork"}
    with evaluator(2, env={"state": str(state)}, **arguments) as two:
        assert len(two.evaluate(DRIVERS[:1])) == 1
        two.close()
        state.unlink()
        with pytest.raises(EvaluationError, match=r"gone\.state"):
            two.evaluate(DRIVERS)


@pytest.mark.parametrize("method", ["forkserver", "fork", "spawn", "native"])
def test_workers_that_do_not_start_are_an_error(method, tmp_path, capfd):
    rom = shutil.copy(BUNDLED_ROM, tmp_path / "k.nds")
    how = {"vectorization": "native"} if method == "native" else {"start_method": method}
    broken = evaluator(2, env={"rom": str(rom)}, **how)
    rom.unlink()
    with pytest.raises(EvaluationError, match=r"do not start: CartridgeError.*k\.nds.*fewer work"):
        broken.evaluate(DRIVERS)
    assert not multiprocessing.active_children()
    # A stop on request is not an error.
    with pytest.raises(Stopped):
        broken.evaluate(DRIVERS, should_stop=lambda: True)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("method", ["forkserver", "fork", "spawn"])
def test_workers_have_the_environment_variables_of_their_start(
    method, expected, tmp_path, monkeypatch
):
    """A fork server, which lives on for later runs, has those of the first run."""
    with small(1, start_method="forkserver") as earlier:
        earlier.start()
    monkeypatch.setenv("MKDS_HOME", str(tmp_path))
    assert roms(["import", str(BUNDLED_ROM), "--name", "mine"]) == 0
    with evaluator(1, env={"rom": "mine"}, start_method=method) as one:
        results = one.evaluate(DRIVERS[:1])
    assert content(results) == [each for each in expected if each[0] == DRIVERS[0].id]


def test_workers_that_find_no_file_in_their_process_are_an_error(tmp_path, capfd):
    rom = shutil.copy(BUNDLED_ROM, tmp_path / "k.nds")
    found = gym.make("MKDS-v0", rom=rom, **ENV)  # as the parent's first environment does
    found.close()
    pool = ProcessPool(LanesFactory("MKDS-v0", {**ENV, "rom": str(rom)}), 1, "spawn")
    rom.unlink()
    try:
        messages = []
        until(lambda: messages or messages.extend(pool.receive(0.1)))
        ((worker, message),) = messages
        assert worker == 0
        assert isinstance(message, Ended)
        assert "k.nds" in message.error
    finally:
        pool.shut_down()
    assert "Traceback" not in capfd.readouterr().err


def test_workers_killed_while_starting_are_an_error(monkeypatch):
    receive = ProcessPool.receive

    def kill_first(self, timeout):
        self.processes[1].kill()
        return receive(self, timeout)

    monkeypatch.setattr(ProcessPool, "receive", kill_first)
    with pytest.raises(EvaluationError, match=r"do not start.*exit code -9"):
        small(2, start_method="spawn").start()


@both
def test_stop_and_interrupt_leave_no_process(vectorization):
    calls = 0

    def soon():
        nonlocal calls
        calls += 1
        return calls > 5

    two = small(2) if vectorization == "async" else evaluator(2, vectorization="native")
    with pytest.raises(Stopped):
        two.evaluate(DRIVERS, should_stop=soon)
    assert not multiprocessing.active_children()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two.evaluate(DRIVERS, should_stop=interrupt)
    assert not multiprocessing.active_children()
    two.close()


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda m: m["none"], r"individual 0.*Drawn-v0 gave no metrics: write .*scorer = rewards"),
        (lambda _: float("nan"), "finite"),
    ],
)
def test_failing_scorer_is_an_error(scorer, message):
    with (
        small(1, scorer=scorer) as one,
        pytest.raises(EvaluationError, match=message),
    ):
        one.evaluate([driver(0, -1.0, -1.0)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers=0"),
        ({"lanes": 0}, "lanes=0"),
        ({"retries": -1}, "retries=-1"),
        ({"start_method": "thread"}, "forkserver"),
        ({"vectorization": "threads"}, "async or native"),
    ],
)
def test_argument_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluator(**arguments)


def test_equal_ids_are_refused():
    with evaluator(1) as one, pytest.raises(ValueError, match="same id"):
        one.evaluate([DRIVERS[0]] * 2)


@pytest.mark.slow
def test_script_that_starts_again_in_each_worker_is_told_so(tmp_path):
    """A worker imports the main module. Without a guard, each would begin the evolution again."""
    script = tmp_path / "script.py"
    script.write_text(
        "from mkds_neat.evaluation import Evaluator\n"
        "from mkds_neat.results import RunFolder\n"
        "RunFolder.create('run', '')\n"
        "with Evaluator('Pendulum-v1', workers=1, seed=1, start_method='spawn') as evaluator:\n"
        "    evaluator.start()\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    errors = [line for line in done.stderr.splitlines() if "EvaluationError: " in line]
    assert done.returncode == 1
    assert "script.py starts an evolution when a worker process imports it" in errors[0]
    assert "the workers do not start: " in errors[-1]
    assert "call the function under `if __name__ == '__main__':`" in errors[-1]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["run"]

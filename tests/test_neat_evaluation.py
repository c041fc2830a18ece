"""The evaluator over real workers: order, company, crashes, and leaving nothing behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from mkds_gym.emulator.cartridge import BUNDLED_ROM
from mkds_neat.episode import EnvironmentFactory
from mkds_neat.errors import EvaluationError
from mkds_neat.evaluation import Evaluator, episode_seed
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.workers import Stopped, ThreadPool

FRAMES = 200
ENV = {
    "action_type": "threshold:2",
    "truncate_on": [f"clock:{FRAMES}", "stuck:60"],
    "reward": "none",
    "info_every_step": False,
}


def driver(key: int, right: float, left: float) -> Individual:
    """Holds right and left as told, with a little of the first sensors mixed in."""
    nodes = (Node(0, bias=right), Node(1, bias=left))
    connections = ((-1, 0, 0.01 * key), (-2, 1, 0.02))
    return Individual(key, NetworkSpec(tuple(range(-1, -7, -1)), (0, 1), nodes, connections), {})


def drivers() -> list[Individual]:
    # Some stand still, and are stuck at once; some drive straight, some turn.
    return [
        driver(key, right=1.0 if key % 3 else -1.0, left=1.0 if key % 4 else -1.0)
        for key in (5, 12, 8, 3, 6)
    ]


def evaluator(workers: int = 2, **kwargs) -> Evaluator:
    return Evaluator(
        "MKDS-v0", ENV, workers=workers, seed=1, scorer=lambda m: m["progress"], **kwargs
    )


def content(results):
    """All of the results but how long it took."""
    return [
        (r.id, r.fitness, r.record.metrics, r.record.steps, r.record.frames, r.record.events)
        for r in results
    ]


@pytest.fixture(scope="module")
def expected():
    with evaluator(1) as one:
        return content(one.evaluate(drivers()))


def no_workers_left() -> bool:
    return not multiprocessing.active_children()


def test_results_are_what_driving_alone_gives(expected):
    """Against the environment driven by hand, without workers and batches."""
    import gymnasium as gym
    import numpy as np

    from mkds_neat.networks import GenomeNetwork

    env = gym.make("MKDS-v0", disable_env_checker=True, **ENV)
    by_id = {e[0]: e for e in expected}
    for individual in drivers()[:3]:
        network = GenomeNetwork(individual.network)
        observation, _ = env.reset(seed=episode_seed(1, individual.id))
        over, steps = False, 0
        while not over:
            action = np.clip(network.act(observation), -1, 1).astype(np.float32)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            steps += 1
        assert by_id[individual.id][1:4] == (info["metrics"]["progress"], info["metrics"], steps)
    env.close()


@pytest.mark.parametrize(
    ("workers", "method"), [(2, "forkserver"), (3, "fork"), (2, "spawn"), (10, "fork")]
)
def test_results_do_not_depend_on_workers(workers, method, expected):
    got = []
    with evaluator(workers, start_method=method) as many:
        results = many.evaluate(drivers(), lambda r: got.append(r.id))
        assert content(results) == expected
        # And again, by workers with a past.
        assert content(many.evaluate(drivers()[:2:-1])) == expected[:1] + expected[2:3]
    assert [r.id for r in results] == sorted(d.id for d in drivers())
    assert sorted(got) == [r.id for r in results]
    assert len({r.record.steps for r in results}) > 1
    assert no_workers_left()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_do_not_depend_on_where_the_emulators_are(workers, expected):
    got = []
    with evaluator(workers, vectorization="native") as lanes:
        results = lanes.evaluate(drivers(), lambda r: got.append(r.id))
        assert content(results) == expected
        assert content(lanes.evaluate(drivers()[:2:-1])) == expected[:1] + expected[2:3]
        assert lanes.processes == []
    assert sorted(got) == [r.id for r in results]
    assert no_workers_left()


def test_a_failing_lane_costs_nothing_but_time(expected):
    reported, before = [], []
    with evaluator(3, vectorization="native") as lanes:

        def break_once(result):
            reported.append(result.id)
            if len(reported) == 1:
                before.extend(lanes.pool.envs.get_attr("console"))
                before[1].close()

        assert content(lanes.evaluate(drivers(), break_once)) == expected
        assert lanes.restarts == 0
        # The other two have gone on.
        after = lanes.pool.envs.get_attr("console")
        assert [old is new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert sorted(reported) == sorted(d.id for d in drivers())


class Fails:
    """A metric that fails once the kart has driven for a second."""

    name = "fails"

    def reset(self):
        self.frames = 0

    def update(self, state, course):
        self.frames += 1
        if self.frames > 60:
            raise ZeroDivisionError("the metric broke")

    def collect(self):
        return {"fails": 0.0}


@pytest.mark.parametrize("vectorization", ["async", "native"])
def test_a_lane_that_always_fails_is_an_error(vectorization):
    arguments = {"workers": 2, "seed": 1, "vectorization": vectorization, "retries": 1}
    with (
        Evaluator("MKDS-v0", {**ENV, "metrics": ["progress", Fails()]}, **arguments) as two,
        pytest.raises(EvaluationError, match=r"failed 2 times.*ZeroDivisionError.*metric broke"),
    ):
        two.evaluate([driver(1, 1.0, 1.0), driver(2, 1.0, 1.0)])
    assert no_workers_left()


class FailsToBegin:
    """A metric whose next reset fails, where it is told to."""

    name = "begins"
    armed = False

    def reset(self):
        if FailsToBegin.armed:
            FailsToBegin.armed = False
            raise ZeroDivisionError("the metric broke")

    def update(self, state, course): ...

    def collect(self):
        return {"begins": 0.0}


def test_a_replaced_lane_is_not_blamed_for_what_fails_later():
    metrics = ["progress", FailsToBegin()]
    threads = ThreadPool(EnvironmentFactory("MKDS-v0", {**ENV, "metrics": metrics}), [None, None])
    try:
        FailsToBegin.armed = True
        threads.begin([1, 2], np.array([True, True]))
        assert not FailsToBegin.armed
        assert threads.failed() == set()
        threads.advance(np.zeros((2, *threads.single_action_space.shape), np.float32), [0, 1])
    finally:
        FailsToBegin.armed = False
        threads.shut_down()


def test_a_free_worker_takes_the_next_at_once():
    long, short = driver(1, 1.0, 1.0), [driver(k, -1.0, -1.0) for k in range(2, 6)]
    order = []
    with evaluator(2) as two:
        results = two.evaluate([long, *short], lambda r: order.append(r.id))
    steps = {r.id: r.record.steps for r in results}
    assert steps[1] >= 3 * steps[2], steps
    # While the first was driving, the other worker had time for at least three.
    assert order.index(1) >= 3


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_a_killed_worker_costs_nothing_but_time(method, expected):
    reported = []
    with evaluator(2, start_method=method) as two:

        def kill_once(result):
            reported.append(result.id)
            if len(reported) in (1, 3):
                os.kill(two.processes[len(reported) % 2].pid, signal.SIGKILL)

        assert content(two.evaluate(drivers(), kill_once)) == expected
        assert two.restarts == 2
    assert sorted(reported) == sorted(d.id for d in drivers())  # each exactly once
    assert no_workers_left()


def test_a_worker_that_always_dies_is_an_error():
    with evaluator(2, retries=1) as two:
        two.start()
        done = threading.Event()

        def murder():
            while not done.is_set():
                for process in two.processes:
                    with contextlib.suppress(ProcessLookupError, TypeError):
                        os.kill(process.pid, signal.SIGKILL)
                time.sleep(0.05)

        thread = threading.Thread(target=murder)
        thread.start()
        try:
            with pytest.raises(EvaluationError, match=r"failed 2 times|do not start"):
                two.evaluate(drivers())
        finally:
            done.set()
            thread.join()
    assert no_workers_left()


@pytest.mark.parametrize("vectorization", ["async", "native"])
def test_an_environment_that_fails_in_its_workers_is_an_error(tmp_path, vectorization):
    state = tmp_path / "gone.state"
    import gymnasium as gym

    env = gym.make("MKDS-v0")
    env.reset()
    env.unwrapped.console.save_state(state)
    env.close()
    arguments = {"workers": 2, "seed": 1, "vectorization": vectorization}
    with Evaluator("MKDS-v0", {**ENV, "state": str(state)}, **arguments) as two:
        two.start()
        assert len(two.evaluate(drivers()[:1])) == 1
        two.close()
        state.unlink()
        with pytest.raises(EvaluationError, match=r"gone\.state"):
            two.evaluate(drivers())
    assert no_workers_left()


@pytest.mark.parametrize("method", ["forkserver", "fork", "spawn"])
def test_workers_that_do_not_start_are_an_error(method, tmp_path, monkeypatch, capfd):
    rom = tmp_path / "k.nds"
    shutil.copy(BUNDLED_ROM, rom)
    broken = Evaluator("MKDS-v0", {**ENV, "rom": str(rom)}, workers=2, seed=1, start_method=method)
    # The parent finds the cartridge, the workers do not.
    make = EnvironmentFactory.__call__

    def make_and_remove(self):
        lane = make(self)
        rom.unlink(missing_ok=True)
        return lane

    monkeypatch.setattr(EnvironmentFactory, "__call__", make_and_remove)
    with pytest.raises(EvaluationError, match=r"do not start: CartridgeError.*k\.nds.*fewer work"):
        broken.start()
    assert no_workers_left()
    monkeypatch.undo()
    # Without it from the beginning.
    with pytest.raises(EvaluationError, match=r"do not start: CartridgeError.*k\.nds"):
        broken.evaluate(drivers())
    # And when someone has asked to stop anyway.
    with pytest.raises(Stopped):
        broken.evaluate(drivers(), should_stop=lambda: True)
    assert no_workers_left()
    assert "Traceback" not in capfd.readouterr().err


def test_workers_killed_while_starting_are_an_error(monkeypatch):
    from gymnasium.vector import AsyncVectorEnv

    two = evaluator(2, start_method="spawn")
    ask = AsyncVectorEnv.call_async

    def kill_first(self, *args, **kwargs):
        self.processes[1].kill()
        ask(self, *args, **kwargs)

    monkeypatch.setattr(AsyncVectorEnv, "call_async", kill_first)
    with pytest.raises(EvaluationError, match=r"do not start.*exit code -9"):
        two.start()
    assert no_workers_left()


def test_a_worker_that_hangs_counts_as_dead(expected):
    reported = []
    with evaluator(2, timeout=15.0) as two:

        def stop_once(result):
            reported.append(result.id)
            if len(reported) == 1:
                os.kill(two.processes[0].pid, signal.SIGSTOP)

        assert content(two.evaluate(drivers(), stop_once)) == expected
        assert two.restarts == 1
    assert no_workers_left()


@pytest.mark.parametrize("vectorization", ["async", "native"])
def test_stop_and_exceptions_leave_no_process(vectorization):
    steps = 0

    def soon():
        nonlocal steps
        steps += 1
        return steps > 5

    two = evaluator(2, vectorization=vectorization)
    with pytest.raises(Stopped):
        two.evaluate(drivers(), should_stop=soon)
    assert no_workers_left()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two.evaluate(drivers(), should_stop=interrupt)
    assert no_workers_left()
    two.close()


def test_a_scorer_that_fails_is_named():
    with (
        Evaluator("MKDS-v0", ENV, workers=1, seed=1, scorer=lambda m: m["none"]) as one,
        pytest.raises(EvaluationError, match="individual 0"),
    ):
        one.evaluate([driver(0, 1.0, 1.0)])
    with (
        Evaluator("MKDS-v0", ENV, workers=1, seed=1, scorer=lambda _: float("nan")) as one,
        pytest.raises(EvaluationError, match="finite"),
    ):
        one.evaluate([driver(0, 1.0, 1.0)])
    assert no_workers_left()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="workers=0"):
        evaluator(0)
    with pytest.raises(ValueError, match="forkserver"):
        evaluator(1, start_method="thread")
    with pytest.raises(ValueError, match="async or native"):
        evaluator(1, vectorization="threads")
    with evaluator(1) as one, pytest.raises(ValueError, match="same id"):
        one.evaluate([driver(1, 1.0, 1.0)] * 2)

"""The loop of a worker, and the evaluator's decisions, with lanes and workers that are scripted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from mkds_gym.errors import VectorEnvError
from mkds_neat import evaluation
from mkds_neat.episode import EpisodeRecord, Failed, Finished, Message, Progress, Started, Task
from mkds_neat.errors import EvaluationError
from mkds_neat.individual import Individual
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.rollout import HEARTBEAT, drive

NETWORK = NetworkSpec((-1,), (0,), (Node(0),), ((-1, 0, 1.0),))
SKIP = 4


class ScriptedLanes:
    """Two lanes with episodes of three steps; the second lane fails in chosen steps."""

    def __init__(self, failing: set[int]) -> None:
        self.failing = failing
        self.envs: Any = [SimpleNamespace(unwrapped=SimpleNamespace(frame_skip=SKIP))] * 2
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.observations = np.zeros((2, 1))
        self.actions = np.zeros((2, 1), np.float32)
        self.steps = [0, 0]
        self.closed = False

    def reset(self, seeds: Mapping[int, int], start: float | None = None) -> None:
        for lane in seeds:
            self.steps[lane] = 0

    def step(self, lanes: Sequence[int]) -> tuple[Sequence[float], dict[int, dict[str, Any]]]:
        if 1 in lanes and self.failing and self.steps[1] in self.failing:
            self.failing.clear()
            error = ZeroDivisionError("lane 1 broke")
            raise VectorEnvError("environment 1 failed", {1: error}) from error
        for lane in lanes:
            self.steps[lane] += 1
        over = [lane for lane in lanes if self.steps[lane] == 3]
        return [0.5, 0.5], {lane: {"metrics": {"progress": 7}} for lane in over}

    def failed(self, error: Exception) -> set[int]:
        return set(error.failures) if isinstance(error, VectorEnvError) else set()

    def close(self) -> None:
        self.closed = True


class ScriptedFactory:
    course: Any = {}  # noqa: RUF012

    def __init__(self, failing: Sequence[int] = ()) -> None:
        self.failing = set(failing)
        self.made: list[ScriptedLanes] = []

    def make(self, worker: int, course: Any) -> tuple[ScriptedLanes, list[None], list[None]]:
        self.made.append(ScriptedLanes(self.failing))
        return self.made[-1], [None, None], [None, None]


def messages_of(factory: Any, ids: Sequence[int]) -> list[Message]:
    """Return what a worker answers to tasks that it gets at once."""
    batches = [[Task(key, NETWORK, seed=key) for key in ids]]
    messages: list[Message] = []

    def receive(wait: bool) -> Sequence[Task]:
        if batches:
            return batches.pop()
        if wait:
            raise EOFError
        return ()

    drive(factory, 0, receive, messages.append)
    return messages


def test_worker_answers_with_the_facts_of_each_episode() -> None:
    factory = ScriptedFactory()
    messages = messages_of(factory, [5, 6, 7])
    assert messages[0] == Started(2)
    finished = [each for each in messages if isinstance(each, Finished)]
    assert sorted(each.id for each in finished) == [5, 6, 7]
    for each in finished:
        record = each.record
        assert (record.steps, record.frames, record.score) == (3, 3 * SKIP, 1.5)
        assert record.metrics == {"progress": 7.0}
        assert 0 <= record.seconds < 60  # the clock of the process does not begin at 0
        assert each.recording is None
    assert [each.closed for each in factory.made] == [True]


def test_worker_reports_steps_while_it_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(np.arange(0, 100, HEARTBEAT / 2).tolist())
    monkeypatch.setattr("mkds_neat.rollout.time.perf_counter", lambda: next(now))
    messages = messages_of(ScriptedFactory(), [5, 6, 7, 8])
    beats = [each.steps for each in messages if isinstance(each, Progress)]
    assert len(beats) > 2
    assert sum(beats) <= 4 * 3


@pytest.mark.parametrize("step", [0, 2])
def test_failing_lane_is_blamed_alone_and_the_lanes_are_made_again(step: int) -> None:
    factory = ScriptedFactory([step])
    messages = messages_of(factory, [5, 6, 7, 8])
    (failed,) = (each for each in messages if isinstance(each, Failed))
    assert sorted(failed.lost) == [(5, 0), (6, 0)]
    assert failed.culprits == ((6, 0),)
    assert failed.error == "ZeroDivisionError: lane 1 broke"
    # The waiting episodes are driven in the new lanes.
    assert sorted(each.id for each in messages if isinstance(each, Finished)) == [7, 8]
    assert [each.closed for each in factory.made] == [True, True]


# The evaluator ----------------------------------------------------------------------------------

RECORD = EpisodeRecord({}, 1, 1, 1.0, False, (), 0.0, (), 0.1)


class ScriptedPool:
    """Workers whose messages come from a script: one list for each call of `receive`."""

    processes: Sequence[Any] = ()
    needs_all = True
    look_ahead = 1

    def __init__(self, script: Sequence[Any]) -> None:
        self.script = list(script)
        self.sent: list[tuple[int, int]] = []
        self.restarted: list[int] = []

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        self.sent += [(worker, task.id) for task in tasks]

    def receive(self, timeout: float) -> list[tuple[int, Message]]:
        following = self.script.pop(0)
        messages: list[tuple[int, Message]] = following() if callable(following) else following
        return messages

    def restart(self, worker: int) -> None:
        self.restarted.append(worker)

    def shut_down(self) -> None:
        pass


def evaluate(
    monkeypatch: pytest.MonkeyPatch, script: Sequence[Any], ids: Sequence[int], **kwargs: Any
) -> tuple[ScriptedPool, list[int]]:
    """Evaluate individuals with scripted workers, two if not told otherwise."""
    arguments = {"workers": 2, **kwargs}
    started = [[(number, Started(1)) for number in range(arguments["workers"])]]
    pool = ScriptedPool([*started, *script])
    monkeypatch.setattr(evaluation, "ProcessPool", lambda *_: pool)
    with evaluation.Evaluator("Scripted-v0", seed=1, **arguments) as evaluator:
        results = evaluator.evaluate([Individual(key, NETWORK, {}) for key in ids])
        assert evaluator.restarts == len(pool.restarted)
    return pool, [each.id for each in results]


def finished(worker: int, key: int) -> tuple[int, Message]:
    return worker, Finished(key, RECORD, None)


def ended(worker: int) -> tuple[int, Message]:
    return worker, evaluation.Ended("killed")


def test_last_individuals_wait_for_the_first_free_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [[finished(1, 2)], [finished(1, 3)], [finished(0, 1)]]
    pool, ids = evaluate(monkeypatch, script, [1, 2, 3])
    assert pool.sent == [(0, 1), (1, 2), (1, 3)]
    assert ids == [1, 2, 3]


def test_all_episodes_of_a_dead_worker_are_blamed_and_driven_again_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But those that the worker had not begun are not blamed."""
    restarted = (0, Started(2))
    everything = [finished(0, key) for key in range(1, 9)]
    script = [[ended(0)], [restarted], everything]
    pool, ids = evaluate(monkeypatch, script, range(1, 9), workers=1, lanes=2, retries=1)
    assert pool.sent[:6] == [(0, 1), (0, 2), (0, 3), (0, 1), (0, 2), (0, 3)]
    assert ids == list(range(1, 9))
    # The second lane's individual is to blame as much as the first lane's.
    script = [[ended(0)], [restarted], [finished(0, 1)], [ended(0)]]
    with pytest.raises(EvaluationError, match="worker of individual 2 failed 2 times"):
        evaluate(monkeypatch, script, range(1, 9), workers=1, lanes=2, retries=1)


def test_silent_worker_is_dead_only_while_it_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(evaluation.time, "monotonic", lambda: clock.now)

    def pass_time(seconds: float, *messages: tuple[int, Message]) -> Any:
        def receive() -> list[tuple[int, Message]]:
            clock.now += seconds
            return list(messages)

        return receive

    # Worker 1 has nothing to do.
    script = [*[pass_time(0.1, (0, Progress(1)))] * 20, [finished(0, 1)]]
    assert evaluate(monkeypatch, script, [1], timeout=1)[0].restarted == []
    # Worker 0 drives. Worker 1, which was silent as long, then gets its task.
    script = [*[pass_time(0.1)] * 12, [], [(0, Started(1))], [finished(1, 1)]]
    assert evaluate(monkeypatch, script, [1], timeout=1)[0].restarted == [0]
    # The evaluator was suspended, and so were the workers.
    script = [pass_time(3600.0), [finished(0, 1)]]
    assert evaluate(monkeypatch, script, [1], timeout=1)[0].restarted == []


@pytest.mark.parametrize("heartbeat", [0.0, 60.0])
def test_busy_seconds_are_counted_once(heartbeat: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mkds_neat.rollout.HEARTBEAT", heartbeat)
    slept = 0.0
    step = ScriptedLanes.step

    def slow(lanes: ScriptedLanes, numbers: Sequence[int]) -> Any:
        nonlocal slept
        begin = time.perf_counter()
        time.sleep(0.002)
        slept += time.perf_counter() - begin
        return step(lanes, numbers)

    monkeypatch.setattr(ScriptedLanes, "step", slow)
    begin = time.perf_counter()
    messages = messages_of(ScriptedFactory(), range(8))
    elapsed = time.perf_counter() - begin
    busy = sum(m.busy for m in messages if isinstance(m, Progress | Finished))
    assert 0 < slept <= busy <= elapsed

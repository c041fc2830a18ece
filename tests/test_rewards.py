"""A reward is the change of a score."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import pytest

from mkds_gym.components.rewards import REWARDS, ScoreChange, make_reward, metrics_read
from mkds_gym.components.scorers import OFFROAD_COST, SCORERS
from mkds_gym.race.lengths import REWARD_PER_UNIT, WALL_HIT_COST

METRICS = {"progress": 0.0, "offroad_path": 0.0, "wall_hits": 0.0, "distance": 0.0}


def at(**values: float) -> dict[str, float]:
    return {**METRICS, **values}


def test_the_default_pays_progress_and_charges_grass_and_walls() -> None:
    reward = make_reward("driving")
    reward.reset(at(progress=500.0))
    assert reward.step(at(progress=520.0)) == pytest.approx(20 * REWARD_PER_UNIT)
    assert reward.step(at(progress=520.0, offroad_path=8.0)) == pytest.approx(
        -8 * OFFROAD_COST * REWARD_PER_UNIT
    )
    last = at(progress=520.0, offroad_path=8.0, wall_hits=1.0)
    assert reward.step(last) == pytest.approx(-REWARD_PER_UNIT * WALL_HIT_COST)
    assert reward.step(last) == 0.0


def test_going_back_takes_back_what_was_paid() -> None:
    reward = make_reward("progress")
    reward.reset(at(progress=0.0))
    way = [10.0, 35.0, 5.0, -20.0, 0.0]
    assert sum(reward.step(at(progress=p)) for p in way) == pytest.approx(0.0)


def test_a_reset_forgets_the_last_episode() -> None:
    reward = make_reward("progress")
    reward.reset(at())
    reward.step(at(progress=900.0))
    reward.reset(at())
    assert reward.step(at(progress=100.0)) == pytest.approx(100 * REWARD_PER_UNIT)


def test_a_callable_is_paid_unscaled() -> None:
    def scorer(metrics: Mapping[str, float]) -> float:
        return 3.0 * metrics["distance"]

    reward = make_reward(scorer)
    reward.reset(at(distance=1.0))
    assert reward.step(at(distance=3.0)) == pytest.approx(6.0)


def test_every_scorer_is_a_reward_and_none_pays_nothing() -> None:
    assert set(SCORERS) <= set(REWARDS)
    reward = make_reward("none")
    reward.reset({})
    assert reward.step({"progress": 5.0}) == 0.0


def test_custom_reward_object_is_not_copied() -> None:
    class Constant:
        def reset(self, metrics: Mapping[str, float]) -> None:
            pass

        def step(self, metrics: Mapping[str, float]) -> float:
            return 0.25

    reward = Constant()
    assert make_reward(reward) is reward
    with pytest.raises(TypeError, match=r"Constant\(\)"):
        make_reward(Constant)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_infinite_scale_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        ScoreChange(lambda metrics: metrics["distance"], scale)


def test_rewards_pickle_for_worker_processes() -> None:
    reward = make_reward("driving")
    reward.reset(at(progress=5.0))
    again = pickle.loads(pickle.dumps(reward))
    assert again.step(at(progress=105.0)) == pytest.approx(100 * REWARD_PER_UNIT)


def test_metric_that_collects_no_dict_is_named() -> None:
    class Number:
        name = "number"

        def reset(self) -> None: ...

        def update(self, state: Any, course: Any) -> None: ...

        def collect(self) -> Any:
            return 3.0

    with pytest.raises(TypeError, match=r"metric 'number': collect\(\) returned 3\.0"):
        metrics_read(make_reward("none"), [Number()], "none")

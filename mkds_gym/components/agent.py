"""`Agent`: what one agent of an environment sees, does and earns, and when its episode ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mkds_gym.components.actions import ACTION_TYPES, ActionMap
from mkds_gym.components.episode_stats import EpisodeStats
from mkds_gym.components.events import Event, make_events
from mkds_gym.components.info import NumericInfo, full_info
from mkds_gym.components.metrics import DEFAULT_METRICS, Metric, make_metrics
from mkds_gym.components.observations import (
    ObservationBuilder,
    SensorLike,
    make_observation_builder,
)
from mkds_gym.components.rewards import Reward, make_reward, metrics_read
from mkds_gym.course import Course
from mkds_gym.race.state import RaceState
from mkds_gym.utils.arguments import copied


class Agent:
    """One agent of an environment: a driver's observations, actions, metrics, reward and events.

    An agent knows no console, and nothing of where episodes start. `MKDSEnv` has one agent, the
    parallel environment has one for each kart. All objects among the arguments are copied.

    Args:
        obs_type: as for `MKDSEnv`, like all arguments.
        sensors: as for `MKDSEnv`.
        screens: as for `MKDSEnv`.
        action_type: as for `MKDSEnv`.
        reward: as for `MKDSEnv`.
        metrics: as for `MKDSEnv`.
        terminate_on: as for `MKDSEnv`.
        truncate_on: as for `MKDSEnv`.

    Attributes:
        actions: maps actions to keys.
        observation_builder: makes the observations.
        stats: metrics and events of the episode.
        reward: computes the rewards.
        reward_terms: names of the metrics that the reward reads.
        last_reward: reward of the last step; 0 after `begin`.
        last_metrics: the metrics before and after the last step.

    Raises:
        ValueError, TypeError: an argument is wrong.
    """

    def __init__(
        self,
        obs_type: str | Sequence[SensorLike],
        sensors: SensorLike | Sequence[SensorLike] | None,
        screens: str,
        action_type: str,
        reward: str | Reward | Callable[[Mapping[str, float]], float],
        metrics: str | Metric | Sequence[str | Metric] | None,
        terminate_on: str | Event | Sequence[str | Event],
        truncate_on: str | Event | Sequence[str | Event],
    ) -> None:
        self.actions: Final[ActionMap] = ACTION_TYPES.make(action_type)
        self.observation_builder: ObservationBuilder = make_observation_builder(
            obs_type, sensors, screens
        )
        self.stats = EpisodeStats(
            make_metrics(DEFAULT_METRICS if metrics is None else copied("metrics", metrics)),
            make_events("terminate_on", terminate_on),
            make_events("truncate_on", truncate_on),
        )
        self._numeric = NumericInfo(self.stats.events)
        self.reward = make_reward(copied("reward", reward))
        self.reward_terms: Final = metrics_read(self.reward, self.stats.metrics, reward)
        self.last_reward = 0.0
        self.last_metrics: tuple[dict[str, float], dict[str, float]] = ({}, {})

    @property
    def parts(self) -> tuple[Any, ...]:
        """What a cloned state holds of the agent; set it to return to that state."""
        return self.stats, self.reward, self.last_reward, self.last_metrics

    @parts.setter
    def parts(self, parts: Sequence[Any]) -> None:
        self.stats, self.reward, self.last_reward, self.last_metrics = parts
        self._numeric = NumericInfo(self.stats.events)

    def begin(self, race: RaceState, course: Course) -> None:
        """Begin an episode with the race at its start."""
        metrics = self.stats.reset(race, course)
        self.reward.reset(metrics)
        self.last_reward, self.last_metrics = 0.0, (metrics, metrics)

    def advance(self, states: Sequence[RaceState], course: Course) -> tuple[Event, ...]:
        """Process the frames of a step: metrics, events and reward.

        Args:
            states: the race after each frame, in order; at least one.
            course: the course of the race.

        Returns:
            The events that happened. The episode is over if there is one.
        """
        events = self.stats.update(states, course)
        metrics = self.stats.collect()
        self.last_reward = self.reward.step(metrics)
        self.last_metrics = (self.last_metrics[1], metrics)
        return events

    def ends(self, events: Sequence[Event]) -> tuple[bool, bool]:
        """Return whether events terminate, and whether they truncate the episode."""
        stats = self.stats
        return (
            any(event in stats.terminate_on for event in events),
            any(event in stats.truncate_on for event in events),
        )

    def last_reward_terms(self) -> dict[str, float]:
        """Return the change in the last step of each metric that the reward reads."""
        before, now = self.last_metrics
        return {name: now.get(name, 0.0) - before.get(name, 0.0) for name in self.reward_terms}

    def info(
        self,
        form: str,
        race: RaceState,
        course: Course,
        course_name: str,
        course_seed: int | None,
        events: Sequence[Event],
    ) -> dict[str, Any]:
        """Return the info of a step or reset, as `MKDSEnv` describes it.

        Args:
            form: ``"numeric"`` or ``"full"``.
            race: the race at the end of the step.
            course: the course of the race.
            course_name: name of the course, for the full form.
            course_seed: seed of a random course, else None.
            events: the events that ended the episode.
        """
        metrics = self.last_metrics[1]
        if form == "full":
            return full_info(race, course, course_name, course_seed, metrics, events)
        return self._numeric.make(race, course, course_seed, metrics, events)

"""Sensors, actions, observations, metrics, scorers, events and rewards, by name."""

from mkds_gym.components.actions import ACTION_TYPES, DISCRETE_ACTIONS, ITEM_ACTIONS, KEY_ORDER
from mkds_gym.components.events import EVENTS, Event, register_event
from mkds_gym.components.metrics import METRICS, Metric, register_metric
from mkds_gym.components.observations import OBS_TYPES
from mkds_gym.components.place import Place
from mkds_gym.components.registry import Registry
from mkds_gym.components.rewards import REWARDS, Reward
from mkds_gym.components.scorers import SCORERS, FitnessScorer, register_scorer
from mkds_gym.components.sensors import SENSORS, Sensor, register_sensor

__all__ = [
    "ACTION_TYPES",
    "DISCRETE_ACTIONS",
    "EVENTS",
    "ITEM_ACTIONS",
    "KEY_ORDER",
    "METRICS",
    "OBS_TYPES",
    "REWARDS",
    "SCORERS",
    "SENSORS",
    "Event",
    "FitnessScorer",
    "Metric",
    "Place",
    "Registry",
    "Reward",
    "Sensor",
    "register_event",
    "register_metric",
    "register_scorer",
    "register_sensor",
]

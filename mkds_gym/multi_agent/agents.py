"""`make_agents`: the agents of a race, from arguments that may differ between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mkds_gym.components.agent import Agent
from mkds_gym.components.metrics import DEFAULT_METRICS
from mkds_gym.utils.arguments import shortened, shown

AGENT_ARGUMENTS: Final = (
    "obs_type",
    "sensors",
    "action_type",
    "reward",
    "metrics",
    "terminate_on",
    "truncate_on",
)
"""Arguments of `MKDSParallelEnv` that take one value for all agents, or a dict by agent."""


def make_agents(names: Sequence[str], arguments: Mapping[str, Any]) -> dict[str, Agent]:
    """Return an agent for each name.

    Args:
        names: names of all agents.
        arguments: arguments of `MKDSParallelEnv`. Only `AGENT_ARGUMENTS` are read.

    Raises:
        ValueError: an argument is wrong, or a dict has other names than ``names``.
        TypeError: an argument is wrong.
    """
    return {name: _make_agent(name, names, arguments) for name in names}


def _make_agent(name: str, names: Sequence[str], arguments: Mapping[str, Any]) -> Agent:
    own = {
        argument: _value_for(name, names, argument, arguments[argument])
        for argument in AGENT_ARGUMENTS
    }
    obs_type = own["obs_type"]
    if isinstance(obs_type, str) and obs_type in ("pixels", "ram"):
        raise ValueError(
            f"obs_type={obs_type!r} is not available for several agents, which share one "
            "console: expected 'sensors', 'dict', a sensor, or a list of sensors"
        )
    if isinstance(obs_type, str) and obs_type == "sensors" and own["sensors"] is None:
        own["sensors"] = ("seed6", "opponents")
    if own["metrics"] is None:
        own["metrics"] = (*DEFAULT_METRICS, "place")
    return Agent(screens="top", **own)


def _value_for(name: str, names: Sequence[str], argument: str, value: Any) -> Any:
    """Return an agent's value of an argument that may be a dict by agent."""
    if not isinstance(value, Mapping):
        return value
    if set(value) != set(names):
        given = shortened(", ".join(map(shown, value)))
        raise ValueError(
            f"{argument} has values for {given or 'no agent'}: expected {', '.join(names)}"
        )
    return value[name]

"""Races of several agents, for tests."""

from __future__ import annotations

import hashlib
from typing import Any

import mkds_gym


def drive(env: Any, steps: int) -> list[Any]:
    """Step with actions that the steps and agents determine; return all results."""
    results = []
    for step in range(steps):
        if not env.agents:
            break
        actions = {
            agent: (step // 5 * 7 + 3 * int(agent[-1])) % 5 % env.action_space(agent).n
            for agent in env.agents
        }
        results.append(env.step(actions))
    return results


def digest_of_race() -> str:
    """Drive two episodes with items, CPU karts and a random grid; return a digest of the RAM."""
    env = mkds_gym.parallel_env(
        agents=3,
        opponents=2,
        items=True,
        laps=1,
        random_grid=True,
        frame_skip=6,
    )
    digest = hashlib.sha256()
    for seed in (5, None):
        env.reset(seed=seed)
        results = drive(env, 15)
        digest.update(env.console.ram)
        digest.update(repr([(step[1], step[4]) for step in results]).encode())
    env.close()
    return digest.hexdigest()

"""Train two policies against each other with PPO of Stable-Baselines3.

    python examples/versus_sb3.py --steps 60000

Each policy drives one of the two karts of every race, and learns from its own kart only. Print how
the policies drive before and after, and how each drives against the other one untrained.
"""

from __future__ import annotations

import argparse
import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv

import mkds_gym

ARGUMENTS: dict[str, Any] = {
    "agents": 2,
    "laps": 1,
    # Distances to obstacles, the kart's own motion, the bends ahead, and the other kart.
    "sensors": ["seed6", "kinematics", "curvature", "opponents:1"],
    "action_type": "discrete",
    "frame_skip": 6,
    # Each policy starts in front in half of the races.
    "random_grid": True,
    # Early in training, episodes that end soon after a mistake save time.
    "truncate_on": ["clock:2400", "stuck:120", "wrong_way:60"],
}
AGENTS = ("kart_0", "kart_1")
ROLLOUT = 256
"""Steps of each race between two updates of the policies."""


class Spaces(gym.Env[Any, Any]):
    """The spaces of one agent, which are all that a policy is made from."""

    def __init__(self, env: Any, agent: str) -> None:
        self.observation_space = env.observation_space(agent)
        self.action_space = env.action_space(agent)


class Races:
    """Several races at the same time, each in a thread; a race that is over starts again.

    Arrays have the agents first, then the races. An agent that has ended sees zeros, and every
    step is the end of an episode, until its race is over.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.envs = [mkds_gym.parallel_env(**ARGUMENTS) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count)
        size = self.envs[0].observation_space(AGENTS[0]).shape[0]
        self.observations = np.zeros((len(AGENTS), count, size), np.float32)
        for race, env in enumerate(self.envs):
            self._see(race, env.reset(seed=seed + race)[0])

    def _see(self, race: int, observations: dict[str, Any]) -> None:
        for number, agent in enumerate(AGENTS):
            self.observations[number, race] = observations.get(agent, 0.0)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Step all races. Return rewards, and which episodes have ended."""
        rewards = np.zeros(actions.shape, np.float32)
        ended = np.ones(actions.shape, bool)

        def step(race: int) -> None:
            env = self.envs[race]
            live = [number for number, agent in enumerate(AGENTS) if agent in env.agents]
            observations, earned, terminated, truncated, _ = env.step(
                {AGENTS[number]: actions[number, race] for number in live}
            )
            for number in live:
                agent = AGENTS[number]
                rewards[number, race] = earned[agent]
                ended[number, race] = terminated[agent] or truncated[agent]
            if not env.agents:
                observations = env.reset()[0]
            else:
                observations = {agent: observations[agent] for agent in env.agents}
            self._see(race, observations)

        list(self._threads.map(step, range(len(self.envs))))
        return rewards, ended

    def close(self) -> None:
        self._threads.shutdown()
        for env in self.envs:
            env.close()


def make_model(env: Any, agent: str, races: int, seed: int) -> PPO:
    """Return an untrained PPO for one agent of several races."""
    model = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: Spaces(env, agent)] * races),
        n_steps=ROLLOUT,
        batch_size=256,
        gamma=0.98,
        ent_coef=0.01,
        learning_rate=5e-4,
        seed=seed,
        device="cpu",
    )
    model.set_logger(Logger(None, []))
    return model


def train(models: list[PPO], races: Races, steps: int) -> int:
    """Let the models drive against each other and learn. Return the steps that each has made."""
    count = len(races.envs)
    starts = np.ones((len(models), count), bool)
    made = 0
    while made < steps:
        for model in models:
            model.policy.set_training_mode(False)
            model.rollout_buffer.reset()
        for _ in range(ROLLOUT):
            observations = races.observations.copy()
            with torch.no_grad():
                outputs = [
                    model.policy(torch.from_numpy(seen))
                    for model, seen in zip(models, observations, strict=True)
                ]
            rewards, ended = races.step(np.stack([output[0].numpy() for output in outputs]))
            for number, (model, (action, value, log_prob)) in enumerate(
                zip(models, outputs, strict=True)
            ):
                model.rollout_buffer.add(
                    observations[number],
                    action[:, None].numpy(),
                    rewards[number],
                    starts[number],
                    value,
                    log_prob,
                )
            starts = ended
        for number, model in enumerate(models):
            with torch.no_grad():
                last = model.policy.predict_values(torch.from_numpy(races.observations[number]))
            model.rollout_buffer.compute_returns_and_advantage(last, starts[number])
            model.train()
        made += ROLLOUT * count
    return made


def compete(policies: list[BasePolicy], races: int = 4, seed: int = 1000) -> str:
    """Let two policies race without learning. Return what each achieved, as text."""
    env = mkds_gym.parallel_env(**ARGUMENTS)
    laps, finished, won = np.zeros((3, len(AGENTS)))
    for race in range(races):
        observations, infos = env.reset(seed=seed + race)
        ends: dict[str, dict[str, Any]] = {}
        while env.agents:
            actions = {
                agent: int(policies[AGENTS.index(agent)].predict(observations[agent])[0])
                for agent in env.agents
            }
            observations, _, _, _, infos = env.step(actions)
            ends.update(infos)
        # A finisher beats all who did not finish; of two finishers, the faster one wins.
        score = [
            1000.0 - info["total_time"] if info["is_success"] else info["progress"]
            for info in (ends[agent] for agent in AGENTS)
        ]
        laps += [ends[agent]["progress"] for agent in AGENTS]
        finished += [ends[agent]["is_success"] for agent in AGENTS]
        won[int(np.argmax(score))] += 1
    env.close()
    return "; ".join(
        f"{agent}: {laps[i] / races:.2f} laps, finished {finished[i]:.0f}, won {won[i]:.0f}"
        for i, agent in enumerate(AGENTS)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--steps", type=int, default=60_000, help="steps that each policy is trained for"
    )
    parser.add_argument("--races", type=int, default=4, help="races at the same time")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness")
    parser.add_argument("--output", type=Path, default=Path("runs"), help="folder of the models")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # the networks are small, and the races use the other cores
    races = Races(arguments.races, arguments.seed)
    try:
        models = [
            make_model(races.envs[0], agent, arguments.races, arguments.seed + number)
            for number, agent in enumerate(AGENTS)
        ]
        untrained = [copy.deepcopy(model.policy) for model in models]
        print(f"untrained: {compete(untrained)}")
        made = train(models, races, arguments.steps)
    finally:
        races.close()
    trained = [model.policy for model in models]
    print(f"after {made} steps each: {compete(trained)}")
    print(f"trained kart_0, untrained kart_1: {compete([trained[0], untrained[1]])}")
    print(f"untrained kart_0, trained kart_1: {compete([untrained[0], trained[1]])}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for agent, model in zip(AGENTS, models, strict=True):
        model.save(arguments.output / f"versus_{agent}.zip")
    print(f"models: {arguments.output}/versus_kart_0.zip and versus_kart_1.zip")


if __name__ == "__main__":
    main()

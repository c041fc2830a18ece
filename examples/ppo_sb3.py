"""Learn to drive MKDS-v0 with PPO of Stable-Baselines3.

    python examples/ppo_sb3.py --steps 60000 --envs 16

Print how far the untrained and the trained driver get in the same time, and save the model. Up to
eight environments share a console. Sharing is several times as fast as a process for each
environment.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import VecMonitor

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.integrations.stable_baselines3 import MKDSVecEnv

ARGUMENTS: dict[str, Any] = {
    # Distances to obstacles, the kart's own motion, and the bends ahead.
    "obs_type": ["seed6", "kinematics", "curvature"],
    "action_type": "discrete",
    "frame_skip": 6,
    # Early in training, episodes that end soon after a mistake save time.
    "truncate_on": ["clock:2400", "stuck:120", "wrong_way:60"],
}

ROLLOUT = 64
"""Steps of each environment between two updates of the policy."""


def evaluate(model: PPO, episodes: int = 1) -> float:
    """Return the mean progress of the deterministic driver, in laps."""
    env = gym.make("MKDS-v0", **ARGUMENTS)
    laps = []
    for _ in range(episodes):
        observation, info = env.reset()
        done = False
        while not done:
            action, _ = model.predict(observation, deterministic=True)
            observation, _, terminated, truncated, info = env.step(int(action))
            done = terminated or truncated
        laps.append(info["progress"])
    env.close()
    return float(np.mean(laps))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--steps",
        type=int,
        default=60_000,
        help=f"environment steps to train for, rounded up to a multiple of {ROLLOUT} x --envs",
    )
    parser.add_argument("--envs", type=int, default=16, help="environments, some in a console")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness")
    parser.add_argument("--output", type=Path, default=Path("runs/ppo_mkds.zip"), help="model file")
    arguments = parser.parse_args()

    check_env(gym.make("MKDS-v0", **ARGUMENTS).unwrapped)
    # Up to eight environments share a console; all consoles have the same number.
    drivers = max(number for number in range(1, 9) if arguments.envs % number == 0)
    vector = VecMonitor(MKDSVecEnv(arguments.envs, drivers_per_console=drivers, **ARGUMENTS))
    try:
        model = PPO(
            "MlpPolicy",
            vector,
            n_steps=ROLLOUT,
            batch_size=min(256, ROLLOUT * arguments.envs),
            gamma=0.98,
            ent_coef=0.01,
            learning_rate=5e-4,
            seed=arguments.seed,
            device="cpu",
        )
        print(f"untrained: {evaluate(model):.2f} laps")
        model.learn(arguments.steps, progress_bar=False)
        print(f"after {model.num_timesteps} steps: {evaluate(model):.2f} laps")
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        model.save(arguments.output)
        print(f"model: {arguments.output}")
    finally:
        vector.close()


if __name__ == "__main__":
    main()

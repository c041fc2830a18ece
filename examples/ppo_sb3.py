"""Learn to drive MKDS-v0 with PPO of Stable-Baselines3.

    python examples/ppo_sb3.py --steps 60000 --envs 2

Print how far the untrained and the trained driver get in the same time, and save the model.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

import mkds_gym  # noqa: F401  registers MKDS-v0

ARGUMENTS: dict[str, Any] = {
    # Distances to obstacles, the kart's own motion, and the bends ahead.
    "obs_type": ["seed6", "kinematics", "curvature"],
    "action_type": "discrete",
    "frame_skip": 6,
    # Early in training, episodes that end soon after a mistake save time.
    "truncate_on": ["clock:2400", "stuck:120", "wrong_way:60"],
}


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
        help="environment steps to train for, rounded up to a multiple of 512 x --envs",
    )
    parser.add_argument("--envs", type=int, default=2, help="environments, each in its own process")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness")
    parser.add_argument("--output", type=Path, default=Path("runs/ppo_mkds.zip"), help="model file")
    arguments = parser.parse_args()

    check_env(gym.make("MKDS-v0", **ARGUMENTS).unwrapped)
    vector = make_vec_env(
        "MKDS-v0",
        n_envs=arguments.envs,
        seed=arguments.seed,
        env_kwargs=ARGUMENTS,
        vec_env_cls=SubprocVecEnv,
    )
    try:
        model = PPO(
            "MlpPolicy",
            vector,
            n_steps=512,
            batch_size=256,
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

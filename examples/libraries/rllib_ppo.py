"""Train PPO of RLlib's new API stack: ``python examples/libraries/rllib_ppo.py [STEPS]``.

The environments run in remote processes, which have not imported `mkds_gym`. The name of the
environment therefore names the package. A function that makes the environment works as well.
"""

import sys
from typing import Any

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune import register_env


def make_env(config: dict[str, Any]) -> gym.Env:
    return gym.make("mkds_gym:MKDS-v0", **config)


def train(name: str, steps: int) -> None:
    config = (
        PPOConfig()
        .environment(name, env_config={"truncate_on": ["clock:600"]})
        .env_runners(num_env_runners=1, num_envs_per_env_runner=2)
        .training(train_batch_size=500, minibatch_size=100, num_epochs=4)
    )
    algorithm = config.build_algo()
    trained = 0
    while trained < steps:
        result = algorithm.train()
        trained = result["num_env_steps_sampled_lifetime"]
        mean = result["env_runners"].get("episode_return_mean")
        print(f"{name}: {trained} steps, mean return {mean}")
    algorithm.stop()


steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
train("mkds_gym:MKDS-v0", steps)

register_env("mkds_race", make_env)
train("mkds_race", 500)
ray.shutdown()

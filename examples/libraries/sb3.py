"""Train PPO, DQN and SAC of Stable-Baselines3: ``python examples/libraries/sb3.py [STEPS]``."""

import sys

import gymnasium as gym
from stable_baselines3 import DQN, PPO, SAC

import mkds_gym  # noqa: F401  registers MKDS-v0

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000

for algorithm, arguments in (
    (PPO, {"n_steps": 256}),
    (DQN, {"learning_starts": 100}),
    (SAC, {"learning_starts": 100}),
):
    # SAC needs continuous actions.
    action_type = "threshold" if algorithm is SAC else "discrete"
    env = gym.make("MKDS-v0", action_type=action_type)
    model = algorithm("MlpPolicy", env, device="cpu", **arguments)
    model.learn(total_timesteps=steps)

    vec_env = model.get_env()
    obs = vec_env.reset()
    for _ in range(100):
        action, _states = model.predict(obs, deterministic=True)
        obs, rewards, dones, infos = vec_env.step(action)
    print(f"{algorithm.__name__}: {model.num_timesteps} steps, progress {infos[0]['progress']:.2f}")
    vec_env.close()

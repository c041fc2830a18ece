"""Record a Minari dataset, and train on the dataset with d3rlpy.

``python examples/libraries/minari_d3rlpy.py [STEPS]``. Minari writes the dataset into the folder
``MINARI_DATASETS_PATH``.
"""

import sys

import d3rlpy
import gymnasium as gym
import minari
from minari import DataCollector

import mkds_gym  # noqa: F401  registers MKDS-v0

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000

env = DataCollector(gym.make("MKDS-v0", truncate_on=["clock:600"]), record_infos=True)
for episode in range(3):
    env.reset(seed=episode)
    done = False
    while not done:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        done = terminated or truncated
dataset = env.create_dataset(
    dataset_id="mkds/random-v0",
    algorithm_name="random policy",
    author="Ada",
    author_email="ada@example.org",
    code_permalink="https://example.org",
)
env.close()
print(f"{dataset.total_episodes} episodes, {dataset.total_steps} steps")
print(f"infos of an episode: {sorted(next(iter(dataset.iterate_episodes())).infos)}")

episodes = [
    d3rlpy.dataset.Episode(
        observations=each.observations[:-1],
        actions=each.actions.reshape(-1, 1),
        rewards=each.rewards.reshape(-1, 1).astype("float32"),
        terminated=bool(each.terminations[-1]),
    )
    for each in dataset.iterate_episodes()
]
replay_buffer = d3rlpy.dataset.create_infinite_replay_buffer(episodes)
cql = d3rlpy.algos.DiscreteCQLConfig().create(device="cpu")
cql.fit(replay_buffer, n_steps=steps, n_steps_per_epoch=steps, show_progress=False)

env = minari.load_dataset("mkds/random-v0").recover_environment()
observation, info = env.reset()
for _ in range(100):
    action = int(cql.predict(observation[None])[0])
    observation, reward, terminated, truncated, info = env.step(action)
print(f"progress {info['progress']:.2f}")
env.close()

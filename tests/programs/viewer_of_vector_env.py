"""Step a vector environment with a window until a signal comes."""

import gymnasium as gym
import numpy as np

import mkds_gym  # noqa: F401  registers MKDS-v0
from mkds_gym.viewer import Viewer

if __name__ == "__main__":
    envs = gym.make_vec("MKDS-v0", num_envs=2, vectorization_mode="async")
    with Viewer(envs) as viewer:
        envs.reset(seed=0)
        print(viewer.folder, viewer.window.pid, flush=True)
        while True:
            envs.step(np.zeros(2, np.int64))

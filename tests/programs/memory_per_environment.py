"""Print the memory that an environment in a vector adds, in MiB, as a mean of three."""

from pathlib import Path

import gymnasium as gym

import mkds_gym  # noqa: F401


def proportional_mib() -> float:
    """Memory of this process. Pages shared with a file, or mapped several times, count once."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise AssertionError


def begin(count: int) -> gym.vector.VectorEnv:
    envs = gym.make_vec("MKDS-v0", num_envs=count)
    envs.reset(seed=0)
    for _ in range(10):
        envs.step([0] * count)
    envs.reset(seed=0)
    return envs


few = begin(1)
before = proportional_mib()
more = begin(3)
print((proportional_mib() - before) / 3)

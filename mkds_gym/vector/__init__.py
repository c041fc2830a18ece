"""Many environments in one process."""

from mkds_gym.vector.async_worker import async_worker
from mkds_gym.vector.env import MKDSVectorEnv

__all__ = ["MKDSVectorEnv", "async_worker"]

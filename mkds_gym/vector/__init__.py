"""Many environments in one process."""

from mkds_gym.vector.env import MKDSVectorEnv

__all__ = ["MKDSVectorEnv"]

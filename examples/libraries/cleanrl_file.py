"""Run a single file of CleanRL: ``python examples/libraries/cleanrl_file.py FILE [ARGUMENTS]``.

FILE is the name of a file of the package, such as ``ppo``. The environment is ``MKDS-v0`` for files
with discrete actions and ``MKDSContinuous-v0`` for those with continuous actions::

    python examples/libraries/cleanrl_file.py ppo --env-id MKDS-v0
    python examples/libraries/cleanrl_file.py sac_continuous_action --env-id MKDSContinuous-v0

Some of the files import Gym 0.23, the predecessor of Gymnasium, so both know these names here.
"""

import runpy
import sys
from typing import Any

import gym
import gymnasium

import mkds_gym  # noqa: F401  registers MKDS-v0 with Gymnasium

STEERING = {"action_type": "threshold:2"}
"""Two continuous actions: right and left."""

gymnasium.register("MKDSContinuous-v0", "mkds_gym.env:make_env", kwargs=STEERING)


class OldGymEnv(gym.Env):
    """A Gymnasium environment with the methods of Gym 0.23."""

    def __init__(self, **arguments: Any) -> None:
        self.env = gymnasium.make("MKDS-v0", **arguments)
        observations, actions = self.env.observation_space, self.env.action_space
        self.observation_space = gym.spaces.Box(observations.low, observations.high)
        if isinstance(actions, gymnasium.spaces.Discrete):
            self.action_space = gym.spaces.Discrete(int(actions.n))
        else:
            self.action_space = gym.spaces.Box(actions.low, actions.high)
        self._seed: int | None = None

    def seed(self, seed: int | None = None) -> list[int | None]:
        self._seed = seed
        return [seed]

    def reset(self) -> Any:
        seed, self._seed = self._seed, None
        return self.env.reset(seed=seed)[0]

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated or truncated, info

    def close(self) -> None:
        self.env.close()


gym.register("MKDS-v0", entry_point=OldGymEnv)
gym.register("MKDSContinuous-v0", entry_point=OldGymEnv, kwargs=STEERING)

del sys.argv[0]
runpy.run_module(f"cleanrl.{sys.argv[0]}", run_name="__main__", alter_sys=True)

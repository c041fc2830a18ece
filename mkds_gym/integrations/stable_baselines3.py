"""`MKDSVecEnv`: many races in one process, for Stable-Baselines3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from mkds_gym.utils.arguments import shown
from mkds_gym.vector.env import MKDSVectorEnv

try:
    from stable_baselines3.common.env_util import is_wrapped
    from stable_baselines3.common.vec_env import VecEnv
    from stable_baselines3.common.vec_env.base_vec_env import (
        VecEnvIndices,
        VecEnvObs,
        VecEnvStepReturn,
    )
except ImportError as error:
    raise ImportError(
        "mkds_gym.integrations.stable_baselines3 needs Stable-Baselines3: "
        "pip install 'mkds-gym[sb3]'"
    ) from error


class MKDSVecEnv(VecEnv):
    """`MKDSVectorEnv` as a `VecEnv`, for the algorithms and wrappers of Stable-Baselines3.

    Observations, rewards, ends of episodes and infos are those of SB3's `DummyVecEnv` over the
    same environments. `VecMonitor` around this object logs the episodes; SB3's `Monitor` also fits
    as one of the ``env_wrappers``.

    Args:
        num_envs: number of environments.
        arguments: the other arguments of `MKDSVectorEnv`, such as ``drivers_per_console`` and
            ``num_threads``, and those of `MKDSEnv`.

    Attributes:
        vector_env: the vector environment.

    Raises:
        TypeError, ValueError: an argument is wrong, or is ``autoreset_mode`` or ``copy``, which
            SB3 determines.
    """

    def __init__(self, num_envs: int = 1, **arguments: Any) -> None:
        for name in ("autoreset_mode", "copy"):
            if name in arguments:
                raise TypeError(
                    f"{name}={shown(arguments[name])} cannot be chosen: Stable-Baselines3 needs "
                    "copies of observations, and a reset in the step that ends an episode"
                )
        self.vector_env = MKDSVectorEnv(
            num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **arguments
        )
        space = self.vector_env.single_observation_space
        super().__init__(num_envs, space, self.vector_env.single_action_space)
        self.metadata = self.vector_env.metadata
        self._actions: NDArray[Any] | None = None

    def reset(self) -> VecEnvObs:
        """Begin an episode in each environment, with the seeds and options that were set.

        Returns:
            Observations: an array ``(num_envs, ...)``, or a dict of such arrays.
        """
        options = [each or None for each in self._options]
        observations, _ = self.vector_env.reset(seed=self._seeds, options=options)
        self.reset_infos = self.vector_env.env_infos
        self._reset_seeds()
        self._reset_options()
        self._actions = None
        result: VecEnvObs = observations
        return result

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions of the next `step_wait`.

        Args:
            actions: array ``(num_envs, ...)``. The policies of SB3 return 0.0 and 1.0 for keys.
        """
        self._actions = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments, and reset those whose episodes end.

        Returns:
            Observations, rewards (float32), ends of episodes (bool), and an info for each
            environment. The info has ``TimeLimit.truncated``, and at the end of an episode
            ``terminal_observation``.

        Raises:
            gymnasium.error.ResetNeeded: no call of `step_async` or `reset` precedes.
            ValueError: the actions are not in the action space.
            VectorEnvError: environments failed.
        """
        actions, self._actions = self._actions, None
        if actions is None:
            raise gym.error.ResetNeeded("call step_async(actions) before step_wait()")
        if isinstance(self.action_space, gym.spaces.MultiBinary) and actions.dtype.kind == "f":
            whole = actions.astype(np.int8)
            actions = whole if np.array_equal(whole, actions) else actions
        observations, rewards, terminated, truncated, _ = self.vector_env.step(actions)
        dones = terminated | truncated
        infos = []
        for index, info in enumerate(self.vector_env.env_infos):
            if dones[index]:
                observation, final = info.pop("final_obs"), info.pop("final_info")
                self.reset_infos[index] = info
                info = {**final, "terminal_observation": observation}
            else:
                info = dict(info)
            info["TimeLimit.truncated"] = bool(truncated[index] and not terminated[index])
            infos.append(info)
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Close all consoles and end the threads."""
        self.vector_env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return the picture of each environment; None without the render mode ``rgb_array``."""
        return self.vector_env.render()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of environments, or of their wrappers."""
        return [env.get_wrapper_attr(attr_name) for env in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of environments, such as ``frame_skip``, or of their wrappers."""
        for env in self._chosen(indices):
            env.set_wrapper_attr(attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of environments, or of their wrappers, and return the results."""
        methods: list[Callable[..., Any]] = self.get_attr(method_name, indices)
        return [method(*method_args, **method_kwargs) for method in methods]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return whether each environment has a wrapper of a class."""
        return [is_wrapped(env, wrapper_class) for env in self._chosen(indices)]

    def _chosen(self, indices: VecEnvIndices) -> list[gym.Env[Any, Any]]:
        chosen: Iterable[int] = self._get_indices(indices)
        return [self.vector_env.envs[index] for index in chosen]

"""Adapters for libraries that do not take Gymnasium's interface as it is.

- `mkds_gym.integrations.stable_baselines3`: many environments as a `VecEnv`. It needs
  Stable-Baselines3: ``pip install 'mkds-gym[sb3]'``.
"""

from __future__ import annotations

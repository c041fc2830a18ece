"""Train PPO of skrl: ``python examples/libraries/skrl_ppo.py [STEPS]``."""

import sys
import tempfile

import gymnasium as gym
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.trainers.torch import SequentialTrainer
from skrl.utils.model_instantiators.torch import categorical_model, deterministic_model

import mkds_gym  # noqa: F401  registers MKDS-v0

ROLLOUTS = 128

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 2000

env = wrap_env(gym.make_vec("MKDS-v0", num_envs=2))
spaces = {
    "observation_space": env.observation_space,
    "state_space": env.state_space,
    "action_space": env.action_space,
    "device": env.device,
}
layers = [{"name": "net", "input": "OBSERVATIONS", "layers": [64, 64], "activations": "elu"}]
models = {
    "policy": categorical_model(**spaces, network=layers, output="ACTIONS"),
    "value": deterministic_model(**spaces, network=layers, output="ONE"),
}

cfg = PPO_CFG(rollouts=ROLLOUTS, learning_rate=3e-4)
cfg.experiment.directory = tempfile.mkdtemp()
agent = PPO(
    models=models,
    memory=RandomMemory(memory_size=ROLLOUTS, num_envs=env.num_envs, device=env.device),
    cfg=cfg,
    observation_space=env.observation_space,
    state_space=env.state_space,
    action_space=env.action_space,
    device=env.device,
)
trainer = SequentialTrainer(
    cfg={"timesteps": steps // 2, "disable_progressbar": True},
    env=env,
    agents=agent,
)
trainer.train()
_, info = env.reset()
print(f"progress {info['progress']}")
env.close()

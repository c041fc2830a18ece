"""Train PPO of TorchRL: ``python examples/libraries/torchrl_ppo.py [STEPS]``."""

import sys

import torch
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential
from tensordict.nn import TensorDictModule as Module
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer, SamplerWithoutReplacement
from torchrl.envs import GymEnv, RewardSum, TransformedEnv, check_env_specs
from torchrl.modules import MLP, OneHotCategorical, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import mkds_gym  # noqa: F401  registers MKDS-v0

FRAMES_PER_BATCH = 500


def main(steps: int) -> None:
    # Two races in one vector environment, each in its own process.
    env = TransformedEnv(GymEnv("MKDS-v0", num_envs=2), RewardSum())

    inputs = env.observation_spec["observation"].shape[-1]
    actions = env.action_spec.shape[-1]
    logits = Module(MLP(inputs, actions, num_cells=[64, 64]), ["observation"], ["logits"])
    choose = ProbabilisticTensorDictModule(
        ["logits"], ["action"], distribution_class=OneHotCategorical, return_log_prob=True
    )
    actor = ProbabilisticTensorDictSequential(logits, choose)
    critic = ValueOperator(MLP(inputs, 1, num_cells=[64, 64]), in_keys=["observation"])
    loss_module = ClipPPOLoss(actor, critic)
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic)
    optimizer = torch.optim.Adam(loss_module.parameters(), lr=3e-4)
    replay_buffer = ReplayBuffer(
        storage=LazyTensorStorage(FRAMES_PER_BATCH),
        sampler=SamplerWithoutReplacement(),
        batch_size=100,
    )

    collector = Collector(env, actor, frames_per_batch=FRAMES_PER_BATCH, total_frames=steps)
    for data in collector:
        for _ in range(4):
            advantage(data)
            replay_buffer.extend(data.reshape(-1))
            for batch in replay_buffer:
                losses = loss_module(batch)
                loss = sum(value for name, value in losses.items() if name.startswith("loss_"))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        print(f"loss {loss:.3f}, best reward {data['next', 'episode_reward'].max():.2f}")
    collector.shutdown()

    # An info reader adds the numbers of the info to the data.
    test_env = GymEnv("MKDS-v0").auto_register_info_dict()
    check_env_specs(test_env)
    rollout = test_env.rollout(100, actor)
    print(f"progress {rollout['next', 'progress'][-1].item():.2f}")
    test_env.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)

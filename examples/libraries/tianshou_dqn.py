"""Train DQN of Tianshou: ``python examples/libraries/tianshou_dqn.py [STEPS]``."""

import sys

import gymnasium as gym
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, SubprocVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import Net

import mkds_gym  # noqa: F401  registers MKDS-v0


def make_env() -> gym.Env:
    return gym.make("MKDS-v0", truncate_on=["clock:600"])


def main(steps: int) -> None:
    training_envs = SubprocVectorEnv([make_env] * 2)
    test_envs = DummyVectorEnv([make_env])

    env = make_env()
    net = Net(state_shape=env.observation_space.shape, action_shape=int(env.action_space.n))
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.1)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3), target_update_freq=300)

    training_collector = Collector[CollectStats](
        algorithm, training_envs, VectorReplayBuffer(20_000, 2), exploration_noise=True
    )
    test_collector = Collector[CollectStats](algorithm, test_envs)
    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=training_collector,
            test_collector=test_collector,
            max_epochs=2,
            epoch_num_steps=steps // 2,
            collection_step_num_env_steps=20,
            update_step_num_gradient_steps_per_sample=0.1,
            test_step_num_episodes=1,
            show_progress=False,
        )
    )
    best = float(training_collector.buffer.info.progress.max())
    print(f"{result.train_step} steps, best reward {result.best_reward:.2f}, progress {best:.2f}")
    training_envs.close()
    test_envs.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)

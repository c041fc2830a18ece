"""Clone and restore a state on an emulator build without known internals."""

from trajectories import assert_same_trajectory, drive

from mkds_gym.env import MKDSEnv

env = MKDSEnv()
env.reset()
assert not env.console.capabilities.known_build
drive(env, [0] * 3)
state = env.clone_state()
assert state.nbytes < 1 << 20
first = drive(env, [1, 2, 3])
env.restore_state(state)
assert_same_trajectory(first, drive(env, [1, 2, 3]))
env.close()

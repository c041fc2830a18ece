"""Restore a pickled state, drive from there, and compare with the pickled trajectory."""

import pickle
import sys
from pathlib import Path

from trajectories import assert_same_trajectory, drive

from mkds_gym.env import MKDSEnv

arguments, state, actions, expected = pickle.loads(Path(sys.argv[1]).read_bytes())
env = MKDSEnv(**arguments)
env.restore_state(state)
assert_same_trajectory(expected, drive(env, actions))
env.close()

"""Evolve a policy with EvoTorch: ``python examples/libraries/evotorch_pgpe.py [STEPS]``.

An environment step is an interaction; the search ends after that many.
"""

import sys

from evotorch.algorithms import PGPE
from evotorch.logging import StdOutLogger
from evotorch.neuroevolution import GymNE

import mkds_gym  # noqa: F401  registers MKDS-v0

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3000

problem = GymNE(
    "MKDS-v0",
    "Linear(obs_length, 16) >> Tanh() >> Linear(16, act_length)",
    env_config={"truncate_on": ["clock:600", "stuck:60"]},
    observation_normalization=True,
)
searcher = PGPE(
    problem,
    popsize=10,
    center_learning_rate=0.2,
    stdev_learning_rate=0.1,
    stdev_init=0.3,
    ranking_method="centered",
)
StdOutLogger(searcher)
while problem.status.get("total_interaction_count", 0) < steps:
    searcher.step()
problem.save_solution(searcher.status["center"], "evotorch_policy.pickle")

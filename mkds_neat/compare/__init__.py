"""Strategies compared on equal budgets of frames: ``python -m mkds_neat.compare``.

A comparison is a folder:

=====================  =============================================================================
file                   content
=====================  =============================================================================
``comparison.json``    the settings: configs, competitors, courses, seeds, budget
``runs/NAME/``         each run, an ordinary folder of `mkds_neat.run`
``results/NAME.json``  the measures of a run that is complete (`Measures`), the race times of the
                       scripted driver and the opponents (``reference-*``), and the races on unseen
                       courses (``unseen-*``)
``logs/``              what each job printed
``table.md``           the table of the measures; ``table.csv`` has the same numbers
``runs.csv``           the measures of each run
``curves.svg``         curves over frames; ``curves.png`` is the same picture
=====================  =============================================================================

A run ends with the generation that reaches the budget. An individual counts if its last frame is
within the budget, when the individuals drive in order of id, one after another. The measures
therefore do not depend on the number of workers, and not on how far a last generation goes.
"""

from __future__ import annotations

from mkds_neat.compare.measures import Measures, measure
from mkds_neat.compare.plan import Plan, PlannedRun, make_plan
from mkds_neat.compare.unseen import Unseen, drive_unseen

__all__ = [
    "Measures",
    "Plan",
    "PlannedRun",
    "Unseen",
    "drive_unseen",
    "make_plan",
    "measure",
]

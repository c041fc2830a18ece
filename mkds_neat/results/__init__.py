"""What a run writes to its folder, and how it is read back.

===================  ===============================================================================
file                 content
===================  ===============================================================================
``config.ini``       the whole config: overrides applied, defaults written out, absolute paths
``run.json``         where the run comes from: strategy, seed, path, title and SHA-1 of the
                     cartridge, and each process that drove it, with versions and git commit
``individuals.csv``  a row for every individual of every generation, in order of id; ``courses`` are
                     those of its episodes, in order: names, or the seeds of random courses
``generations.csv``  a row for every generation; ``busy`` is the share of its time (from the end of
                     the evaluation before) in which the workers drove
``journal.jsonl``    results since the last checkpoint, in order of arrival, for ``--resume``
``checkpoints/``     the last three states of the run, for ``--resume``: JSON with a checksum
``champion.json``    the best driver so far, see `Champion`
``champion.pt``      its network for PyTorch, see `mkds_neat.networks.load_pt`
``champion.mkr``     its race, for ``python -m mkds_gym.replay``
``recordings/``      the race of every driver that was the best when it was evaluated, by generation
                     and id
``networks/``        the networks of all individuals, for ``python -m mkds_neat.watch``: JSON lines
                     in gzip format, a file for those that a generation evaluated
``champion.gif``     the champion's race; ``champion.png`` shows pictures of it side by side
``fitness.png``      fitness over the generations
``tensorboard/``     curves and videos for TensorBoard, of a run with ``tensorboard = yes``
``report.html``      the page that ``python -m mkds_neat.report`` writes
``run.log``          the log
``run.lock``         empty; locked by the process that writes to the folder
===================  ===============================================================================

Tables and the journal grow by appending, and are flushed to the disk. Every other file is written
to a temporary file (``.partial-*``) and renamed, and is therefore never incomplete. The next start
removes temporary files that are left over. A symbolic link in the folder is followed and stays.
"""

from __future__ import annotations

from mkds_neat.results.champion import Champion, load_champion
from mkds_neat.results.checkpoint import Checkpoint
from mkds_neat.results.run_folder import RunFolder
from mkds_neat.results.run_info import RunInfo, Session
from mkds_neat.results.tables import Row

__all__ = [
    "Champion",
    "Checkpoint",
    "Row",
    "RunFolder",
    "RunInfo",
    "Session",
    "load_champion",
]

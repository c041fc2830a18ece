"""What a run writes to its folder, and how it is read back.

===================  ===============================================================================
file                 content
===================  ===============================================================================
``config.ini``       the whole config: overrides applied, defaults written out, absolute paths
``run.json``         the cartridge: its path, title and SHA-1
``individuals.csv``  a row for every individual of every generation, in order of id
``generations.csv``  a row for every generation
``journal.jsonl``    results since the last checkpoint, in order of arrival, for ``--resume``
``checkpoints/``     the last few states of the run, for ``--resume``. They are pickles: resume
                     only folders that you trust
``champion.json``    the best driver so far, see `Champion`
``champion.pt``      its network for PyTorch, see `mkds_neat.networks.load_pt`
``champion.mkr``     its race, for ``python -m mkds_gym.replay``
``recordings/``      the race of every driver that was the best when it was evaluated, by generation
                     and id
``champion.gif``     the champion's race; ``champion.png`` shows pictures of it side by side
``fitness.png``      fitness over the generations
``run.log``          the log
===================  ===============================================================================

Tables and the journal grow by appending, and are flushed to the disk. Every other file is written
to a temporary file and renamed, and is therefore never incomplete. A symbolic link in the folder is
followed and stays.
"""

from __future__ import annotations

from mkds_neat.results.champion import Champion, load_champion
from mkds_neat.results.run_folder import RunFolder
from mkds_neat.results.tables import Row

__all__ = ["Champion", "Row", "RunFolder", "load_champion"]

"""Print a digest of a race of agents, for comparison with other processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from multi_agent_races import digest_of_race

if __name__ == "__main__":
    print(digest_of_race())

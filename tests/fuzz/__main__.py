"""Run a campaign, or one case again: ``python -m tests.fuzz``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .campaign import Campaign, shares
from .kinds import all_kinds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="number of cases in all")
    parser.add_argument("--kinds", nargs="+", default=[], choices=sorted(all_kinds()))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="FOLDER")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a failing case again")
    options = parser.parse_args()
    campaign = Campaign(options.findings, seed=options.seed, workers=options.workers, say=print)
    if options.replay is not None:
        print(campaign.replay(options.replay))
        return 0
    seconds = None if options.minutes is None else 60 * options.minutes
    report = campaign.run(shares(options.cases, options.kinds), seconds=seconds)
    print(f"\nseed {options.seed}\n\n{report.table()}")
    return int(report.bad > 0)


if __name__ == "__main__":
    sys.exit(main())

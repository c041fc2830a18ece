"""Check the installation and a cartridge: ``python -m mkds_gym.doctor``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mkds_gym.doctor.examination import examine
from mkds_gym.doctor.finding import BAD, without_home
from mkds_gym.doctor.running import FRAMES
from mkds_gym.errors import MKDSError
from mkds_gym.utils.arguments import shown
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)
from mkds_gym.utils.files import write_bytes


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="python -m mkds_gym.doctor",
        description="Check the machine, a cartridge, its courses and its race starts. Every line "
        "says ok, odd or bad, and what to do. The page contains no data of the game: attach it to "
        "a bug report. The exit status is 1 if something is bad.",
    )
    parser.add_argument(
        "rom",
        type=path_or_name,
        nargs="?",
        metavar="ROM",
        help="path or name of a cartridge (default: MKDS_ROM, else Kartlab)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="savestates to read besides the kept starts",
    )
    parser.add_argument(
        "--frames",
        type=_positive,
        default=FRAMES,
        help=f"frames whose speed is measured (default: {FRAMES})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings to a file")
    return parser


def _positive(text: str) -> int:
    if not (text.isdecimal() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{shown(text)}: expected an integer of 1 or more")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 if something is bad.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    findings = []
    try:
        for finding in examine(options.rom, options.state, options.frames):
            print_line(finding)
            findings.append(finding)
        counts = Counter(finding.level for finding in findings)
        print_line(f"{counts['ok']} ok, {counts['odd']} odd, {counts['bad']} bad")
        if options.json is not None:
            entries = [asdict(finding) for finding in findings]
            text = json.dumps({"version": 1, "findings": entries}, indent=2)
            write_bytes(options.json, (without_home(text) + "\n").encode(), MKDSError)
    except MKDSError as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if counts[BAD] else 0


if __name__ == "__main__":
    run_command(main)

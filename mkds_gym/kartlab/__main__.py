"""Command line of Kartlab: ``python -m mkds_gym.kartlab build [--check] [-o FILE]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mkds_gym.errors import MKDSError
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.build import COMPILER_VERSION, build_rom, check_rom, compiler_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words behind the command; None takes the process's own.

    Returns:
        0, or 1 when the build failed or ``--check`` found a difference.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mkds_gym.kartlab", description="The free cartridge of mkds_gym."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="rebuild the cartridge from its sources")
    build.add_argument(
        "--check", action="store_true", help="write nothing; compare FILE with what would be built"
    )
    build.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROM_PATH,
        metavar="FILE",
        help="file to write or to compare; default: the cartridge in the package",
    )
    options = parser.parse_args(arguments)
    try:
        return _check(options.output) if options.check else _build(options.output)
    except (MKDSError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _build(output: Path) -> int:
    data = build_rom()
    output.write_bytes(data)
    print(f"{output}: {len(data)} bytes")
    _name_compiler()
    return 0


def _check(path: Path) -> int:
    difference = check_rom(path)
    same_compiler = _name_compiler()
    if difference is None:
        print(f"{path.name} is what the sources give, byte for byte")
        return 0
    print(difference)
    return 1 if same_compiler else 0


def _name_compiler() -> bool:
    version = compiler_version()
    if version != COMPILER_VERSION:
        print(
            f"compiled with version {version}; the cartridge in the package was compiled with "
            f"{COMPILER_VERSION}, so bytes may differ"
        )
    return version == COMPILER_VERSION


if __name__ == "__main__":
    sys.exit(main())

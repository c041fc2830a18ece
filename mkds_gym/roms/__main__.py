"""Import your own cartridges: ``python -m mkds_gym.roms``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mkds_gym.emulator.cartridge import REGIONS
from mkds_gym.errors import CartridgeError, MKDSError
from mkds_gym.roms import library
from mkds_gym.roms.importing import Outcome, forget, import_path
from mkds_gym.starts import kept_starts
from mkds_gym.utils.arguments import escaped
from mkds_gym.utils.command_line import ArgumentParser, print_error, print_line, run_command


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="python -m mkds_gym.roms",
        description="Import dumps of your own cartridges, for rom=NAME and MKDS_ROM. Only the path "
        "and the SHA-1 of a file are kept; the file stays where it is.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    import_ = commands.add_parser("import", help="recognise cartridges and keep their paths")
    import_.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="a .nds file, a .zip or .gz file with one, or a folder; archives are unpacked into "
        "the user's cache folder",
    )
    import_.add_argument(
        "--name", help="name for rom= (default: made from the header, such as mkds-usa)"
    )
    import_.add_argument(
        "--region",
        choices=tuple(dict.fromkeys(REGIONS.values())),
        help="import a ROM hack with an unknown game code, with the memory layout of this region",
    )
    commands.add_parser("list", help="show the imported cartridges")
    remove = commands.add_parser("remove", help="forget cartridges; their files stay")
    remove.add_argument("names", nargs="+", metavar="NAME", help="name of an imported cartridge")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 after an error, or if one of the files and folders gave no cartridge.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "import":
            return _import(options)
        if options.command == "list":
            return _list()
        for name in options.names:
            forget(name)
            print_line(f"{name} is removed from the list; your files stay")
    except MKDSError as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _import(options: argparse.Namespace) -> int:
    found: list[library.ImportedRom] = []
    status = 0
    for path in options.files:
        before, seen = len(found), False
        for outcome in import_path(path, name=options.name, region=options.region):
            seen = True
            _report(outcome)
            if outcome.rom is not None:
                found.append(outcome.rom)
        if not seen:
            print_error(f"'{path}' contains no .nds, .zip or .gz file")
        if len(found) == before:  # a folder may hold other files too
            status = 1
    if not found:
        print_error("no cartridge was imported")
        return 1
    name = found[0].name
    if starts := kept_starts(found[0].sha1):
        course = starts[0].course
        print_line(f'drive it with gymnasium.make("MKDS-v0", rom="{name}", course="{course}")')
    else:
        print_line(
            f'drive it with gymnasium.make("MKDS-v0", rom="{name}"); first keep a race start:'
        )
        print_line(f"  python -m mkds_gym.play --rom {name}")
    return status


def _report(outcome: Outcome) -> None:
    rom = outcome.rom
    if rom is None:
        print_error(f"refused: {outcome.problem}")
        return
    print_line(f"{'known' if outcome.known else 'imported'}: {_line(rom)}")
    if rom.archive:
        print_line(f"  unpacked to {rom.path}")


def _line(rom: library.ImportedRom) -> str:
    described = f"{rom.title}, {rom.game_code} revision {rom.revision}, {rom.region}"
    return escaped(f"{rom.name}  {described}, SHA-1 {rom.sha1}, {rom.archive or rom.path}")


def _list() -> int:
    names = library.names()
    for name in names:
        try:
            rom = library.find(name)
            if rom is not None:
                print_line(_line(rom))
                rom.check()
        except CartridgeError as error:
            print_line(f"  {escaped(str(error))}")
    if not names:
        print_line(f"no cartridge is imported: run `{library.IMPORT_COMMAND} FILE`")
    return 0


if __name__ == "__main__":
    run_command(main)

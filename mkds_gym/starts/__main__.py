"""Keep race starts of your own cartridges: ``python -m mkds_gym.starts``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mkds_gym.emulator.cartridge import ROM_VARIABLE, Cartridge
from mkds_gym.errors import CartridgeError, MKDSError
from mkds_gym.roms.library import names
from mkds_gym.starts import library
from mkds_gym.starts.importing import Outcome, import_state
from mkds_gym.utils.command_line import (
    ArgumentParser,
    path_or_name,
    print_error,
    print_line,
    run_command,
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ArgumentParser(
        prog="python -m mkds_gym.starts",
        description="Keep the starts of races on your own cartridges, for course=NAME. "
        "`python -m mkds_gym.play` keeps them too, with the key K on the grid.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    import_ = commands.add_parser("import", help="keep starts from savestates")
    import_.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="a savestate of the desktop emulator (.dst) or of Console.save_state, on the grid",
    )
    import_.add_argument(
        "--replace", action="store_true", help="replace kept starts of the same race"
    )
    list_ = commands.add_parser("list", help="show the kept starts")
    remove = commands.add_parser("remove", help="delete kept starts")
    remove.add_argument("names", nargs="+", metavar="NAME", help="name of a kept start")
    for command in (import_, list_, remove):
        command.add_argument(
            "--rom",
            type=path_or_name,
            metavar="NAME",
            help="name or path of the cartridge (default: MKDS_ROM, else all imported cartridges)",
        )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command-line arguments; None takes those of the process.

    Returns:
        0; 1 after an error, or if a file was neither kept nor a duplicate.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        cartridges = _cartridges(options.rom)
        if options.command == "import":
            for cartridge in cartridges.values():
                _readable(cartridge)
            outcomes = [_import(path, cartridges, options.replace) for path in options.files]
            return int(any(outcome.start is None for outcome in outcomes))
        if options.command == "list":
            for name, cartridge in cartridges.items():
                _list(name, cartridge)
            return 0
        if len(cartridges) != 1:
            raise CartridgeError(f"expected --rom, one of {', '.join(cartridges) or 'none'}")
        (cartridge,) = cartridges.values()
        for name in options.names:
            library.remove(cartridge.sha1, name)
            print_line(f"{name} is deleted")
    except MKDSError as error:
        print_error(f"{parser.prog}: error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _cartridges(rom: str | None) -> dict[str, Cartridge]:
    """Return the cartridges to work on, by name."""
    named = rom or os.environ.get(ROM_VARIABLE)
    if named:
        return {named: Cartridge.open(rom)}
    found, known = {}, names()
    if not known:
        raise CartridgeError(
            "no cartridge is imported: run `python -m mkds_gym.roms import FILE` first"
        )
    for name in known:
        try:
            found[name] = Cartridge.open(name)
        except CartridgeError as error:
            print_error(f"left out: {error}")
    if not found:
        raise CartridgeError("no imported cartridge can be read")
    return found


def _import(path: Path, cartridges: dict[str, Cartridge], replace: bool) -> Outcome:
    outcome = import_state(path, list(cartridges.values()), replace=replace)
    text = str(outcome.start or outcome.problem.removeprefix(f"{outcome.kind}: "))
    if outcome.kind == "duplicate":
        text = f"the same race is kept as {outcome.start}; --replace replaces it"
    elif outcome.kind == "wrong cartridge":
        text += "; import its cartridge with `python -m mkds_gym.roms import FILE`"
    print_line(f"{outcome.kind}: {path}: {text}")
    return outcome


def _list(name: str, cartridge: Cartridge) -> None:
    starts = _readable(cartridge)
    print_line(f"{name}: {len(starts)} start{'s'[: len(starts) != 1]}")
    for start in starts:
        print_line(f"  {start}")


def _readable(cartridge: Cartridge) -> list[library.KeptStart]:
    """Return the kept starts of a cartridge; say which are left out."""
    entries = library.read_entries(cartridge.sha1).values()
    for entry in entries:
        if isinstance(entry, MKDSError):
            print_error(f"left out: {entry}")
    return [entry for entry in entries if isinstance(entry, library.KeptStart)]


if __name__ == "__main__":
    run_command(main)

"""Command line of Kartlab: ``python -m mkds_gym.kartlab``.

``build [--check] [-o FILE]`` rebuilds the cartridge from its sources. ``compile COURSE.toml ... -o
FILE`` adds custom courses to a cartridge, and ``preview COURSE.toml -o FILE.png`` (or ``.svg``)
draws a course from above; both work without a C compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.errors import MKDSError, reason
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.kartlab.build import (
    COMPILER_VERSION,
    BuildError,
    build_rom,
    check_rom,
    compiler_version,
    with_courses,
)
from mkds_gym.kartlab.compiler import compile_course
from mkds_gym.kartlab.preview import check_suffix, draw
from mkds_gym.utils.arguments import shortened
from mkds_gym.utils.command_line import ArgumentParser, print_error, print_line, run_command
from mkds_gym.utils.files import replacing, same_file, why_unwritable, write_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: command line arguments; None for those of the process.

    Returns:
        0; or 1 after an error, or when ``--check`` found a difference.
    """
    parser = ArgumentParser(
        prog="python -m mkds_gym.kartlab", description="The free cartridge of mkds_gym."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="rebuild the cartridge from its sources")
    build.add_argument(
        "--check", action="store_true", help="compare FILE with a new build instead of writing"
    )
    build.add_argument(
        "-o",
        "--output",
        type=Path,
        default=ROM_PATH,
        metavar="FILE",
        help="file to write or compare (default: the bundled cartridge)",
    )
    compile_ = commands.add_parser(
        "compile", help="make a cartridge with custom courses (no C compiler needed)"
    )
    compile_.add_argument(
        "courses", type=Path, nargs="+", metavar="COURSE.toml", help="a course description"
    )
    compile_.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="ROM file to write"
    )
    compile_.add_argument(
        "--base",
        type=Path,
        default=ROM_PATH,
        metavar="ROM",
        help="Kartlab ROM to add the courses to (default: the bundled cartridge)",
    )
    preview = commands.add_parser("preview", help="draw a course from above")
    preview.add_argument("course", type=Path, metavar="COURSE.toml", help="a course description")
    preview.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="picture to write, .png or .svg",
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "preview":
            return _preview(options.course, options.output)
        if options.command == "compile":
            return _compile(options.courses, options.output, options.base)
        return _check(options.output) if options.check else _build(options.output)
    except MKDSError as error:
        message = str(error)
    except OSError as error:  # other files raise errors that name them
        message = f"{options.output}: {reason(error)}"
    print_error(f"{parser.prog}: error: {shortened(message, 2000)}")
    return 1


def _build(output: Path) -> int:
    data = build_rom()
    write_bytes(output, data, BuildError)
    print_line(f"{output}: {len(data)} bytes")
    _name_compiler()
    return 0


def _compile(paths: list[Path], output: Path, base: Path) -> int:
    if problem := why_unwritable(output):
        raise BuildError(f"-o {output}: {problem}")
    for source in (ROM_PATH, base, *paths):
        if same_file(output, source):
            role = "the bundled cartridge" if source == ROM_PATH else "an input"
            raise BuildError(f"-o {output} would overwrite {role}: name another file")
    cartridge = Cartridge.open(base)
    if not cartridge.boot_parameters:
        raise BuildError(f"--base {base} is {cartridge.title!r}: expected a Kartlab cartridge")
    data, courses = with_courses(cartridge.contents(), paths)
    write_bytes(output, data, BuildError)
    for course in courses:
        print_line(
            f"{course.title}: {course.name} (id {course.course_id}), {course.length:,.0f} units, "
            f"{len(course.triangles):,} triangles, {course.model.polygons:,} polygons"
        )
    print_line(f"{output}: {len(data):,} bytes. To drive it:")
    print_line(f'  gymnasium.make("MKDS-v0", rom="{output}", course="{courses[-1].name}")')
    return 0


def _preview(path: Path, output: Path) -> int:
    check_suffix(output)
    course = compile_course(path)
    with replacing(output, BuildError) as partial:
        draw(course).save(partial)
    print_line(f"{output}: {course.title}, {course.length:,.0f} units per lap")
    return 0


def _check(path: Path) -> int:
    difference = check_rom(path)
    same_compiler = _name_compiler()
    if difference is None:
        print_line(f"{path.name} equals a new build, byte for byte")
        return 0
    print_line(difference)
    return 1 if same_compiler else 0


def _name_compiler() -> bool:
    version = compiler_version()
    if version != COMPILER_VERSION:
        print_line(
            f"compiled with version {version}; the bundled cartridge was compiled with "
            f"{COMPILER_VERSION}: bytes may differ"
        )
    return version == COMPILER_VERSION


if __name__ == "__main__":
    run_command(main)

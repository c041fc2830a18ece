"""Run the examples of README.md and docs/ as tests.

Python blocks of a page run in order, in one namespace and a folder of their own. Shell blocks are
parsed by the commands' own argument parsers, but not run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "docs"))

from doc_tables import parser_of  # noqa: E402

OTHERS = ("pip", "git", "cd", ".", "export", "xvfb-run", "sudo", "ray", "sbatch")
"""Commands that are not of this project."""


def check_command(example: Any) -> None:
    """Parse each line of a shell block."""
    for line in example.parsed.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert f"\n{words[1]}:" in makefile, f"the Makefile has no target {words[1]!r}"
        elif words[0] == "bash":
            assert (ROOT / words[1]).exists(), line
        elif words[0] == "python":
            command, *arguments = words[2:] if words[1] == "-m" else words[1:]
            if command not in ("venv", "http.server"):
                parse(command, arguments)
        else:
            assert words[0] in OTHERS, line


def parse(command: str, arguments: list[str]) -> None:
    """Parse the arguments of a command of ours."""
    try:
        parser_of(command).parse_args(arguments)
    except SystemExit as error:
        raise AssertionError(f"{command} refuses {shlex.join(arguments)}") from error


def begin_page(namespace: dict[str, Any]) -> None:
    """Give a page a working directory, and a cartridge that is Kartlab."""
    folder = tempfile.TemporaryDirectory()
    namespace["_restore"] = Path.cwd(), folder, os.environ.pop("MKDS_ROM", None)
    os.chdir(folder.name)


def end_page(namespace: dict[str, Any]) -> None:
    """Restore the working directory and the environment variable."""
    where, folder, rom = namespace["_restore"]
    os.chdir(where)
    folder.cleanup()
    if rom is not None:
        os.environ["MKDS_ROM"] = rom


def pytest_configure(config: Any) -> None:
    """Keep the tests out of the user's folders. Worker processes share the folder of the first."""
    if "MKDS_HOME" not in os.environ:
        os.environ["MKDS_HOME"] = config.mkds_home = tempfile.mkdtemp(prefix="mkds-home-")


def pytest_unconfigure(config: Any) -> None:
    """Remove the folder."""
    if hasattr(config, "mkds_home"):
        shutil.rmtree(config.mkds_home, ignore_errors=True)


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=PythonEvaluator()),
        CodeBlockParser(language="sh", evaluator=check_command),
    ],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=begin_page,
    teardown=end_page,
).pytest()

"""Type checkers see the package and accept the components of the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
_PROTOCOLS = {
    "Height": "mkds_gym.components.sensors.Sensor",
    "TopSpeed": "mkds_gym.components.metrics.Metric",
    "OffRoad": "mkds_gym.components.events.Event",
    "Bearing": "mkds_gym.overlays.Overlay",
    "Jumps": "mkds_gym.observer.EnvObserver",
}
"""Classes of docs/how-to/custom_components.md, and what they must be accepted as."""


def mypy(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", *options, "user.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_components_of_the_documentation_fit_their_protocols(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/custom_components.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    classes = [
        found
        for block in blocks
        for found in re.findall(r"^(?:import|from) .*|^class .*(?:\n(?: .*|$))*", block, re.M)
    ]
    uses = [f"{name.lower()}: {place} = {name}()" for name, place in _PROTOCOLS.items()]
    imports = {f"import {place.rpartition('.')[0]}" for place in _PROTOCOLS.values()}
    text = "\n".join([*sorted(imports), *classes, *uses, "wrong: int = height", ""])
    (tmp_path / "user.py").write_text(text, encoding="utf-8")
    # The examples are not annotated.
    errors = mypy(tmp_path, "--allow-untyped-defs", "--allow-untyped-calls")
    assert re.findall(r"error: (.*)", errors) == [
        'Incompatible types in assignment (expression has type "Sensor", variable has type "int")'
        "  [assignment]"
    ], errors


def test_type_checker_finds_an_editable_install(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", ROOT]
    subprocess.run(install, check=True, capture_output=True)
    code = """
        from mkds_gym.errors import StateError
        from mkds_neat.errors import EvaluationError

        wrong: int = StateError("a")
        too: int = EvaluationError("a")
    """
    (tmp_path / "user.py").write_text(textwrap.dedent(code), encoding="utf-8")
    errors = mypy(tmp_path, f"--python-executable={python}")
    assert re.findall(r'has type "(\w+)", variable', errors) == ["StateError", "EvaluationError"]

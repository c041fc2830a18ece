"""The examples of other libraries run as they stand, in virtual environments of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "libraries"
REQUIREMENTS = sorted(EXAMPLES.glob("requirements*.txt"))
PAGE = ROOT / "docs" / "how-to" / "libraries.md"

TRAINED = {
    "sb3.py": r"SAC: 1000 steps, progress -?\d",
    "torchrl_ppo.py": r"progress -?\d",
    "skrl_ppo.py": r"progress \[",
    "tianshou_dqn.py": r"2000 steps, best reward",
    "evotorch_pgpe.py": r"total_interaction_count : [3-9]\d{3}",
    "rllib_ppo.py": r"2000\.0 steps, mean return -?\d",
    "minari_d3rlpy.py": r"progress -?\d",
}
"""What each example prints at its end."""


def pins(requirements: Path) -> dict[str, str]:
    """Return the exact versions that a requirements file names."""
    return dict(re.findall(r"^([\w-]+)(?:\[.*\])?==(\S+)", requirements.read_text(), re.MULTILINE))


def pip(python: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_environment(folder: Path, requirements: str) -> str:
    """Make a virtual environment that also sees the packages of this one, such as PyTorch.

    Returns:
        The interpreter.
    """
    venv.create(folder, symlinks=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    (Path(site) / "shared.pth").write_text(sysconfig.get_path("purelib"))
    python = str(folder / "bin" / "python")
    pip(python, "-r", str(EXAMPLES / requirements))
    return python


def run(command: list[str], folder: Path, expected: str) -> str:
    """Run a program in an empty folder, and search what it prints.

    Returns:
        What went wrong, or nothing.
    """
    folder.mkdir()
    variables = {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MINARI_DATASETS_PATH": str(folder / "data"),
    }
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True
    )
    if done.returncode == 0 and re.search(expected, done.stdout):
        return ""
    return (
        f"{folder.name} ends with {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}\n"
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stable_baselines3_trains(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "sb3.py")]
    failure = run(command, tmp_path / "sb3", TRAINED["sb3.py"])
    assert not failure, failure


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("requirements", "examples"),
    [
        (
            "requirements.txt",
            ["torchrl_ppo", "skrl_ppo", "tianshou_dqn", "evotorch_pgpe", "rllib_ppo"],
        ),
        ("requirements-d3rlpy.txt", ["minari_d3rlpy"]),
    ],
)
def test_libraries_train(requirements: str, examples: list[str], tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv", requirements)
    failures = "".join(
        run([python, str(EXAMPLES / f"{name}.py")], tmp_path / name, TRAINED[f"{name}.py"])
        for name in examples
    )
    assert not failures, failures


CLEANRL = {
    "requirements-cleanrl.txt": {
        "dqn": "MKDS-v0 --total-timesteps 1500 --learning-starts 500",
        "ppo": "MKDS-v0 --total-timesteps 1500",
        "ppo_continuous_action": "MKDSContinuous-v0 --total-timesteps 2100",
        "rpo_continuous_action": "MKDSContinuous-v0 --total-timesteps 2100",
        "ddpg_continuous_action": "MKDSContinuous-v0 --total-timesteps 1500 --learning-starts 900",
    },
    "requirements-cleanrl-gym.txt": {
        "c51": "MKDS-v0 --total-timesteps 1500 --learning-starts 500",
        "sac_continuous_action": "MKDSContinuous-v0 --total-timesteps 1500 --learning-starts 1000",
        "td3_continuous_action": "MKDSContinuous-v0 --total-timesteps 1500 --learning-starts 900",
    },
}
"""Environment and arguments for each of CleanRL's files, by the versions that the file needs."""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("requirements", CLEANRL)
def test_cleanrl_trains(requirements: str, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv", requirements)
    pip(python, "--no-deps", "--ignore-requires-python", "cleanrl==1.2.0")
    program = [python, str(EXAMPLES / "cleanrl_file.py")]
    failures = "".join(
        run(
            [*program, file, "--env-id", *arguments.split(), "--cuda", "False"],
            tmp_path / file,
            r"SPS: \d",
        )
        for file, arguments in CLEANRL[requirements].items()
    )
    assert not failures, failures


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*TRAINED, "cleanrl_file.py"}
    assert {path.name for path in REQUIREMENTS if "cleanrl" in path.name} == set(CLEANRL)
    page = PAGE.read_text(encoding="utf-8")
    for files in CLEANRL.values():
        for name in files:
            assert f"`{name}`" in page, name


def test_page_names_the_versions_that_are_run() -> None:
    page = PAGE.read_text(encoding="utf-8")
    versions = {name: version for path in REQUIREMENTS for name, version in pins(path).items()}
    # Dependencies of CleanRL; the example of Stable-Baselines3 runs with the installed version.
    del versions["gym"], versions["gymnasium"], versions["stable-baselines3"]
    versions["cleanrl"] = "1.2.0"
    for name, version in versions.items():
        assert re.search(rf"^\| {re.escape(name)} \| {re.escape(version)} \|", page, re.M), name

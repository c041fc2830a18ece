"""Every strategy survives deaths in every phase, and ends alike with all kinds of workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import started


def run_matrix(kind: str, tmp_path: Path, timeout: float) -> str:
    with started("evolution_matrix.py", tmp_path, kind) as process:
        out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + err
    return out


def test_killed_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    out = run_matrix("few-kills", tmp_path, 120)
    assert "| neat recurrent | native | main process |  |  |  | resumed |  |" in out
    assert "| own_strategy:HillClimber | fork | worker |  | continued |  |  |  |" in out


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("kills", ("neat", "cma_me", "own_strategy:HillClimber")),
        ("evaluations", ("neat with replace", "cma_es with replace and rungs")),
        ("engines", ("neat", "cma_me", "own_strategy:HillClimber")),
        ("ray", ("neat", "cma_me", "own_strategy:HillClimber", "truncation with average")),
    ],
)
def test_every_strategy_ends_alike_after_kills_and_with_all_engines(
    kind: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    if kind == "ray":
        pytest.importorskip("ray")
    out = run_matrix(kind, tmp_path, 2300)
    print(out)
    assert "WRONG" not in out
    assert all(f"| {name} " in out for name in names)

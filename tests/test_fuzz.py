"""The campaign of damaged files and odd arguments; `python -m tests.fuzz` runs more of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from fuzz.campaign import OUTCOMES, Campaign, shares

FAST = (
    "course_map",
    "collision",
    "course_archive",
    "rom_library",
    "start_library",
    "constructor",
)
"""Kinds whose cases need no emulator and no race."""


def test_campaign_notices_each_outcome_and_replays_a_case(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=43, workers=1, deadline=3.0)
    report = campaign.run({"check": 6})
    assert report.counts["check"] == dict.fromkeys(OUTCOMES, 1), report.table()
    assert {path.suffix[1:] for path, _ in report.findings} == set(OUTCOMES[2:])
    (raw,) = {
        path.read_bytes(): path for path, _ in report.findings if path.suffix == ".raw"
    }.values()
    assert "raised by no code of this project" in campaign.replay(raw)


def run(cases: dict[str, int], folder: Path, workers: int) -> None:
    report = Campaign(folder, seed=13, workers=workers).run(cases)
    print(report.table())
    lines = [f"{path}: {text}" for path, text in report.findings]
    assert not lines, "\n".join([*lines, report.table()])
    assert sum(report.counts.values(), Counter()).total() == sum(cases.values())


def test_few_cases_of_fast_kinds_end_in_documented_errors(tmp_path: Path) -> None:
    run(shares(200, FAST), tmp_path, workers=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_20000_cases_end_in_documented_errors(tmp_path: Path) -> None:
    run(shares(20_000), tmp_path, workers=2)

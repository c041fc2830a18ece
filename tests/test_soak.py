"""Memory is constant while races run (``python -m benchmarks.soak`` runs longer)."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.soak import Sample, Soak, growth, main, report, samples
from mkds_gym.env import MKDSEnv


def sample(frames: int, mib: float) -> Sample:
    return Sample(frames, 1, 1.0, mib, 10, 4)


def test_growth_ignores_warm_up() -> None:
    # Memory fills for a third and is then constant, or grows by 2 MiB in 100,000 frames.
    flat = [sample(10_000 * n, min(100.0 + 50 * n, 250.0)) for n in range(12)]
    assert growth(flat) == pytest.approx(0.0, abs=1e-9)
    leaking = [sample(s.frames, s.resident_mib + s.frames * 2e-5) for s in flat]
    assert growth(leaking) == pytest.approx(2.0)
    # Temporary states in some samples are not growth.
    passing = [
        replace(s, resident_mib=s.resident_mib + 11 * (n in (7, 10))) for n, s in enumerate(flat)
    ]
    assert growth(passing) == pytest.approx(0.0, abs=1e-9)
    assert report(flat).count("\n") == len(flat) + 1
    with pytest.raises(ValueError, match="too few to measure growth"):
        growth(flat[:3])


def test_growth_detects_a_leak_of_a_kibibyte_per_step() -> None:
    flat = [sample(10_000 * n, min(100.0 + 50 * n, 250.0)) for n in range(12)]
    steps = 4
    leaking = [replace(s, resident_mib=s.resident_mib + s.frames / steps / 1024) for s in flat]
    assert growth(leaking) == pytest.approx(100_000 / steps / 1024)
    assert growth(leaking) > LIMIT


@pytest.mark.slow
def test_turn_drives_every_kind_of_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[MKDSEnv] = []

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def counted(env: MKDSEnv, *arguments: Any, **named: Any) -> Any:
            begun.append(env)
            return method(env, *arguments, **named)

        return counted

    for name in ("reset", "reset_into"):
        monkeypatch.setattr(MKDSEnv, name, counting(getattr(MKDSEnv, name)))
    with closing(Soak(envs=2, seed=0)) as soak:
        assert soak.episodes == len(begun) == 4
        soak.turn()
        assert soak.frames == 1_504  # whole steps of two environments
        # Two in a vector that was closed, and some single ones that were reset early.
        assert soak.episodes == len(begun) > 4 + 2
        assert len(set(begun)) == 4 + 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--frames", "100"], "--frames 100 must be at least 45000"),
        (["--envs", "0"], "--envs 0 is outside 1..64"),
        (["--seed", "-1"], "--seed -1 must not be negative"),
        (["--limit", "nan"], "--limit nan must be greater than 0"),
    ],
)
def test_command_line_refuses_bad_arguments(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


class Leaking(Soak):
    """Leaks a kibibyte per step while ``leaks`` is set."""

    def __init__(self, envs: int, seed: int) -> None:
        super().__init__(envs, seed)
        self.leaks = False
        self._kept: list[bytes] = []

    def turn(self) -> None:
        before = self.frames
        super().turn()
        if self.leaks:
            self._kept.append(b"x" * (1024 * (self.frames - before) // 4))


CLEAN, LEAKY, LIMIT = 400_000, 100_000, 5.0
"""Frames without and with a leak, and accepted growth in MiB per 100,000 frames.

A third of the clean frames is warm-up: caches fill, and a heap grows once by 7 MiB after 127,000
frames.
"""


def soaked() -> tuple[list[Sample], list[Sample]]:
    """Drive without and then with a leak, in a fresh process."""
    with closing(Leaking(envs=2, seed=0)) as soak:
        clean = list(samples(soak, CLEAN))
        soak.leaks = True
        return clean, list(samples(soak, LEAKY))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_constant_and_a_leak_is_detected() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        clean, leaking = pool.apply(soaked)
    assert growth(clean) < LIMIT, report(clean)
    assert growth(leaking) > LIMIT, report(leaking)
    files, threads = {s.files for s in clean[5:]}, {s.threads for s in clean[5:]}
    assert len(files) == len(threads) == 1, report(clean)

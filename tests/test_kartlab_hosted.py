"""Drivers of a VS race whose keys the host writes into Kartlab's host block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from kartlab_race import KartlabRace

from mkds_gym.drivers.pure_pursuit import PurePursuit
from mkds_gym.emulator.console import Keys
from mkds_gym.errors import ConsoleError
from mkds_gym.kartlab.host_drivers import NOBODY, HostDrivers

PROFILE = 0x3FE040
FRAME_CYCLES = 560_190
"""Bus cycles of a frame on a real console."""


@pytest.fixture(scope="module")
def started() -> Iterator[KartlabRace]:
    field = KartlabRace.boot_vs(drivers=6, hosted=3, laps=1)
    yield field
    field.close()


@pytest.fixture
def field(started: KartlabRace) -> KartlabRace:
    return started.restart()


def test_hosted_drivers_are_players_and_start_behind_the_others(field: KartlabRace) -> None:
    assert field.order() == [3, 4, 5, 0, 1, 2, -1, -1]
    assert field.kinds() == ["player"] * 3 + ["CPU"] * 3
    assert [int(kind) for kind in field.config["drivers"]["type"]] == [0, 0, 0, 1, 1, 1, 0, 0]
    flags = field.status["drivers"]["flags"]
    assert [int(flag) & 1 for flag in flags] == [1, 1, 1, 0, 0, 0, 0, 0]
    grid = KartlabRace.boot_vs(drivers=6, hosted=2, grid=1)
    assert grid.order()[:6] == [2, 0, 1, 3, 4, 5]
    grid.close()


def test_each_hosted_driver_obeys_its_own_keys(field: KartlabRace) -> None:
    host = HostDrivers(field.ram)
    assert not host.keys.any()
    assert host.shown == 0
    host.keys[:3] = Keys.A, Keys.A | Keys.LEFT, Keys.START
    before = [state.heading for state in field.states()]
    field.step(Keys.B | Keys.RIGHT, 30)
    first, second, third = field.states()[:3]
    assert min(first.speed, second.speed) > 0.5
    assert abs(first.heading - before[0]) < 0.02
    assert second.heading > before[1] + 0.2
    assert third.speed == 0, "START does nothing, and no key reaches another driver"
    assert all(state.speed > 0.5 for state in field.states()[3:])


def test_race_clock_runs_until_all_hosted_drivers_have_finished() -> None:
    field = KartlabRace.boot_vs(drivers=2, hosted=2, laps=1)
    host = HostDrivers(field.ram)
    host.shown = NOBODY
    driver = PurePursuit()
    for _ in range(2700):
        host.keys[0] = driver.keys(field.state, field.course)
        field.step()
        if field.state.finished:
            break
    first, second = field.states()
    assert first.finished
    assert first.clock_running
    host.keys[0] = Keys.A
    field.step(0, 60)
    after = field.states()
    assert after[0].total_time == first.total_time
    assert after[1].frame == second.frame + 60
    assert after[1].total_time == pytest.approx(second.total_time + 60 * 0.016715, abs=0.003)
    assert after[0].speed < first.speed, "a finished driver coasts"
    field.close()


def test_work_of_eight_hosted_drivers_fits_into_a_frame() -> None:
    field = KartlabRace.boot_vs(hosted=8, items=True, skip_countdown=False)
    host = HostDrivers(field.ram)
    field.ram[PROFILE : PROFILE + 4] = np.frombuffer(b"KLPR", np.uint8)
    drivers = [PurePursuit() for _ in range(8)]
    work = {}
    for shown in (7, NOBODY):
        host.shown = shown
        field.step(0, 2)
        worst = 0
        for _ in range(400):
            for index, state in enumerate(field.states()):
                host.keys[index] = drivers[index].keys(state, field.course)
            field.console.step(0, 1, draw=False)
            worst = max(worst, field.word(0x023FE050))
        work[shown] = worst
    assert work[7] < FRAME_CYCLES
    assert work[NOBODY] < 0.8 * work[7]
    field.close()


def test_race_without_hosted_drivers_has_no_host_block() -> None:
    field = KartlabRace.boot_vs(drivers=2)
    with pytest.raises(ConsoleError, match="no hosted drivers"):
        HostDrivers(field.ram)
    field.close()

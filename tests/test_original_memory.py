"""Memory and files as the original has them, written by us after ``docs/reference/memory.md``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from race_memory import RaceMemory, drive, fx

from mkds_gym.course.archive import decompress, write_narc
from mkds_gym.emulator.cartridge import Cartridge
from mkds_gym.kartlab import ROM_PATH
from mkds_gym.overlays.projection import Projection
from mkds_gym.race import memory_layout
from mkds_gym.race.memory import WORD, struct_view
from mkds_gym.race.reader import CameraState

OBJECTS, BOX = 0x02250000, 0x02260000
FOV = 5500
LENGTH = 0.965


def original_race(drivers: int = 1) -> RaceMemory:
    """Return a time trial with the words of the original."""
    race = RaceMemory(drivers=drivers)
    race.drivers["kind"] = 0x08000011
    race.drivers["state_bits"] = 0x01001410
    race.drivers["flags2"] = 0x00008000
    race.config["lap_override"] = -1
    return race


def original_camera(race: RaceMemory, eye: NDArray[Any], target: NDArray[Any]) -> None:
    """Write a camera as the original writes cameras."""
    back = (eye - target) / np.linalg.norm(eye - target)
    right = np.cross((0.0, 1.0, 0.0), back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    camera = race.camera
    camera["position"], camera["target"] = fx(eye), fx(target)
    camera["up"], camera["left"] = fx(LENGTH * up), fx(-LENGTH * right)
    camera["look_direction"] = fx(-LENGTH * back)
    axes = fx(np.stack([right, up, back], axis=1)) / 4096
    camera["matrix"] = fx(np.vstack([axes, -(eye / 16) @ axes]))
    angle = FOV * math.tau / 65536
    camera["fov"] = camera["target_fov"] = FOV
    camera["fov_sine"], camera["fov_cosine"] = fx(math.sin(angle)), fx(math.cos(angle))
    camera["aspect"], camera["near"], camera["far"] = fx(4 / 3), fx(0.25), fx(1600)
    top = 0.25 * math.tan(angle)
    camera["frustum_top"], camera["frustum_bottom"] = fx(top), fx(-top)
    camera["frustum_right"], camera["frustum_left"] = fx(top * 4 / 3), fx(-top * 4 / 3)


def by_sine_and_cosine(camera: np.void, points: NDArray[Any]) -> NDArray[Any]:
    """Project as scripts for the original do: (N, 2) column and row."""
    matrix = camera["matrix"] / 4096.0
    x, y, z = (points / 16 @ matrix[:3] + matrix[3]).T
    cotangent = int(camera["fov_cosine"]) / int(camera["fov_sine"])
    across, up = cotangent / (camera["aspect"] / 4096.0) * x / -z, cotangent * y / -z
    return np.stack([128 + 128 * across, 96 - 96 * up], axis=1)


def by_near_plane(camera: np.void, points: NDArray[Any]) -> NDArray[Any]:
    """Project through the corners of the near plane: (N, 2) column and row."""
    matrix = camera["matrix"] / 4096.0
    view = points / 16 @ matrix[:3] + matrix[3]
    on_plane = view[:, :2] * (int(camera["near"]) / 4096.0) / -view[:, 2:]
    left, right, bottom, top = (
        int(camera[f"frustum_{side}"]) / 4096.0 for side in ("left", "right", "bottom", "top")
    )
    return np.stack(
        [
            256 * (on_plane[:, 0] - left) / (right - left),
            192 * (top - on_plane[:, 1]) / (top - bottom),
        ],
        axis=1,
    )


def check_projections(
    record: np.void, state: CameraState, points: NDArray[Any]
) -> NDArray[np.float64]:
    """Compare our projection with two others, and return the pixels on the screen."""
    pixels, visible = Projection(state).points(points)
    on_screen = visible & ((pixels >= 0) & (pixels <= (256, 192))).all(axis=1)
    assert on_screen.sum() >= 5
    ours = pixels[on_screen]
    for other in (by_sine_and_cosine, by_near_plane):
        assert np.abs(other(record, points[on_screen]) - ours).max() < 1
    return ours


def test_points_of_the_original_s_camera_fall_on_their_pixels() -> None:
    race = original_race()
    eye, target = np.array([-732.9, 63.0, 1210.4]), np.array([-652.9, 41.0, 1190.4])
    original_camera(race, eye, target)
    state = race.reader.read_camera()
    assert state.is_set_up
    assert state.matrix[3] == pytest.approx(-eye @ state.matrix[:3], abs=0.05)
    assert (state.near, state.far) == (4.0, 25600.0)
    points = eye + (target - eye) * 3 + np.random.default_rng(0).normal(0, 40, (200, 3))
    pixels = check_projections(race.camera, state, points)
    assert np.ptp(pixels, axis=0).min() > 100  # all over the screen, not in its middle
    middle, _ = Projection(state).points(target[None])
    assert middle[0] == pytest.approx((128, 96), abs=0.5)


def test_kartlab_s_camera_is_like_the_original_s() -> None:
    lap = drive()
    spread = []
    for record, state, position in lap.cameras:
        points = np.array(position) + np.random.default_rng(len(spread)).normal(0, 30, (60, 3))
        spread.append(np.ptp(check_projections(record, state, points), axis=0))
        matrix = record["matrix"] / 4096.0
        for name, column, sign in (("up", 1, 1), ("left", 0, -1), ("look_direction", 2, -1)):
            assert record[name] / 4096.0 == pytest.approx(
                sign * LENGTH * matrix[:3, column], abs=1e-3
            )
        assert record["target_fov"] == record["fov"]
        assert math.hypot(record["fov_sine"], record["fov_cosine"]) == pytest.approx(4096, abs=2)
        assert record["aspect"] / 4096 == pytest.approx(4 / 3, abs=1e-3)
    assert len(spread) > 10
    assert np.median(spread) > 100


def test_camera_without_matrix_is_not_set_up() -> None:
    race = original_race()
    original_camera(race, np.array([0.0, 10.0, 0.0]), np.array([0.0, 0.0, 50.0]))
    race.camera["matrix"] = 0
    assert not race.reader.read_camera().is_set_up
    with pytest.raises(ValueError, match="no direction"):
        Projection(race.reader.read_camera())


def test_unknown_bits_change_no_state() -> None:
    plain, race = RaceMemory(drivers=2), original_race(drivers=2)
    properties = (
        *("on_floor", "drifting", "touching_wall", "touching_driver", "touching_object"),
        *("going_backwards", "spinning_out", "boosting", "respawning", "finished", "controllable"),
    )
    one, other = plain.frame(), race.frame()
    assert [getattr(one, name) for name in properties] == [
        getattr(other, name) for name in properties
    ]
    assert [kart.driver for kart in other.opponents] == [1]
    race.drivers[1]["kind"] |= memory_layout.KIND_GHOST
    assert race.frame().opponents == ()


def test_driver_of_the_object_table_counts_once() -> None:
    race = original_race()
    table = struct_view(race.ram, race.layout.object_table, memory_layout.OBJECT_TABLE)[0]
    table["count"], table["entries"] = 4, OBJECTS
    driver = int(struct_view(race.ram, race.layout.drivers_pointer, WORD)["value"][0])
    position = driver + memory_layout.DRIVER.fields["position"][1]
    struct_view(race.ram, BOX, WORD)["value"] = 101
    entries = struct_view(race.ram, OBJECTS, memory_layout.OBJECT_ENTRY, 5)
    for entry, flags, radius, thing in zip(
        entries,
        (0x0800, 0x2400, 0x8000, 0, 0x0800),
        (64, 20, 8, 0, 30),
        (driver, BOX, driver, 0, BOX + 64),
        strict=True,
    ):
        entry["flags"], entry["radius"] = flags, fx(radius)
        entry["object"], entry["position"] = thing, position if thing else 0
    found = race.reader.read_objects()
    assert [(o.kind, o.radius, o.active, o.type_id) for o in found] == [
        ("map_object", 20.0, True, 101),
        ("driver", 8.0, True, None),
        ("other", 30.0, True, None),  # no driver
    ]


def test_kartlab_s_drivers_have_two_entries() -> None:
    entries = drive().object_entries
    first, second = entries[:2]
    assert (first["object"], first["position"]) == (second["object"], second["position"])
    assert (int(first["flags"]), int(second["flags"])) == (0x8000, 0x0800)
    assert second["radius"] == fx(64)
    assert [thing.kind for thing in drive().objects] == ["driver"]


def test_kartlab_s_words_are_those_of_the_original() -> None:
    for driver, _ in drive().records.values():
        assert driver["kind"] == 0x08000011
        assert driver["state_bits"] & 0x01001400 == 0x01001400
        assert driver["flags2"] & 0x8000
    assert drive().before_stage == b"STAG"


def test_course_archives_have_the_original_s_byte_order_mark() -> None:
    mark = bytes([0xFE, 0xFF, 0x00, 0x01])
    assert write_narc({"a.bin": b"1"})[4:8] == mark
    cartridge = Cartridge.open(ROM_PATH)
    for name in cartridge.course_names():
        assert decompress(cartridge.file(f"data/Course/{name}.carc"))[4:8] == mark

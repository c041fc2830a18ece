import re
from pathlib import Path

import numpy as np
import pytest
from race_memory import RaceMemory, drive

import mkds_gym
from mkds_gym.errors import NoRaceError
from mkds_gym.race import memory_layout
from mkds_gym.race.memory_layout import MemoryLayout


@pytest.mark.parametrize("dtype", memory_layout.TABLES, ids=lambda dtype: ",".join(dtype.names[:2]))
def test_fields_lie_within_their_structure_and_do_not_overlap(dtype):
    used = np.zeros(dtype.itemsize, int)
    for field in memory_layout.TABLES[dtype]:
        size = dtype.fields[field.name][0].itemsize
        assert field.offset + size <= dtype.itemsize
        assert field.unit
        used[field.offset : field.offset + size] += 1
    # next_course_id lies in what is otherwise the next race's copy of the same fields.
    assert used.max() == 1


def test_sizes_are_those_of_the_game():
    assert memory_layout.DRIVER.itemsize == 0x5A8
    assert memory_layout.RACE_STATUS.itemsize == 0x528
    assert memory_layout.DRIVER_STATUS.itemsize == 0x8C
    assert memory_layout.RACE_STATE.itemsize == 0x48
    assert memory_layout.CAMERA.itemsize == 0x270
    assert memory_layout.MAP_DATA.itemsize == 0x110
    assert memory_layout.COLLISION_HEADER.itemsize == 0x3C
    assert memory_layout.OBJECT_ENTRY.itemsize == 0x1C


def test_the_cartridge_in_c_and_the_reader_in_python_agree_on_offsets():
    header = Path(mkds_gym.__file__).parent / "kartlab" / "src" / "platform" / "memory_map.h"
    text = header.read_text()
    structures = {
        "driver": memory_layout.DRIVER,
        "driver_status": memory_layout.DRIVER_STATUS,
        "race_status": memory_layout.RACE_STATUS,
        "camera": memory_layout.CAMERA,
        "collision_header": memory_layout.COLLISION_HEADER,
        "scene_state": memory_layout.SCENE,
    }
    agreed = 0
    for name, field, offset in re.findall(r"^AT\((\w+), (\w+), (\w+)\);", text, re.MULTILINE):
        dtype = structures.get(name)
        if dtype is not None and field in dtype.fields:
            assert dtype.fields[field][1] == int(offset, 0), f"{name}.{field}"
            agreed += 1
    assert agreed >= 40
    for name, size in re.findall(r"sizeof\((\w+)\) == (0x\w+)", text):
        if name in structures:
            assert structures[name].itemsize == int(size, 0), name


def test_layout_moves_every_address_by_what_the_region_word_says():
    usa, moved = (
        MemoryLayout.detect(RaceMemory().ram),
        MemoryLayout.detect(RaceMemory(0x6C0).ram, "Europe"),
    )
    assert usa == MemoryLayout()
    assert usa.drivers_pointer == 0x0217ACF8
    assert moved.region == "Europe"
    assert moved.shift == 0x6C0
    for field in MemoryLayout.__dataclass_fields__:
        if field not in ("region", "shift"):
            assert getattr(moved, field) - getattr(usa, field) == 0x6C0, field


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF, 0x0216F322, 0x0316F320, 0xE7FFDEFF])
def test_a_word_of_no_release_is_no_race(word):
    race = RaceMemory()
    race.word(memory_layout.REGION_WORD_ADDRESS, word)
    with pytest.raises(NoRaceError, match=f"{word:#010x}"):
        MemoryLayout.detect(race.ram)


def test_korea_is_known_to_keep_its_checkpoints_elsewhere():
    assert MemoryLayout.detect(RaceMemory().ram, "Europe").checkpoint_fields
    assert not MemoryLayout.detect(RaceMemory().ram, "Korea").checkpoint_fields


def test_an_unknown_region_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'Mars'.*USA.*Korea"):
        MemoryLayout.detect(RaceMemory().ram, "Mars")


@pytest.mark.parametrize("pointer", [0, 0x01FFFFFF, 0x023FFFFD, 0x02400000, 0xFFFFFFFF])
def test_pointers_out_of_main_ram_are_refused_by_name(pointer):
    with pytest.raises(NoRaceError, match=f"the moon is {pointer:#010x}"):
        memory_layout.check_pointer(pointer, 4, "the moon")


def test_structures_at_both_ends_of_ram():
    ram = np.zeros(memory_layout.RAM_SIZE, np.uint8)
    for address in (memory_layout.RAM_START, memory_layout.RAM_END - 4):
        memory_layout.struct_view(ram, address, memory_layout.WORD)["value"] = 0x12345678
        assert memory_layout.read_struct(ram, address, memory_layout.WORD)["value"] == 0x12345678
    assert ram[0] == ram[-4] == 0x78
    with pytest.raises(NoRaceError):
        memory_layout.struct_view(ram, memory_layout.RAM_END - 4, memory_layout.WORD, 2)
    with pytest.raises(ValueError, match="uint8"):
        memory_layout.read_struct(ram[:100], memory_layout.RAM_START, memory_layout.WORD)


def test_a_copy_stays_and_a_view_follows():
    race = RaceMemory()
    copy = memory_layout.read_struct(race.ram, 0x02230000, memory_layout.DRIVER)
    view = memory_layout.struct_view(race.ram, 0x02230000, memory_layout.DRIVER)[0]
    race.driver["speed"] = 77
    assert copy["speed"] == 0
    assert view["speed"] == 77


def test_pointers_are_followed():
    race = RaceMemory()
    layout = race.layout
    assert (
        memory_layout.read_pointer(race.ram, layout.drivers_pointer, 0x5A8, "drivers") == 0x02230000
    )
    race.word(layout.drivers_pointer, 0x023FFF00)
    with pytest.raises(NoRaceError, match="drivers is 0x023fff00"):
        memory_layout.read_pointer(race.ram, layout.drivers_pointer, 0x5A8, "drivers")


def test_courses_characters_and_surfaces():
    assert len(memory_layout.COURSES) == 54
    assert memory_layout.COURSES[25] == "mario_course"
    assert len(set(memory_layout.COURSES.values())) == 54
    assert len(memory_layout.CHARACTERS) == 13
    assert {memory_layout.SURFACES[i] for i in memory_layout.OFFROAD_SURFACES} == {
        "weak_offroad",
        "offroad",
        "heavy_offroad",
    }
    assert memory_layout.SURFACES[10] == "out_of_bounds"
    assert memory_layout.SURFACES[22] == "force_recalculation"


def test_a_frame_lasts_as_the_console_says():
    assert pytest.approx(59.8261, abs=1e-4) == memory_layout.FRAMES_PER_SECOND
    assert pytest.approx(1.6715, abs=1e-4) == memory_layout.CENTISECONDS_PER_FRAME


def test_kartlab_keeps_its_race_where_the_layout_says():
    for driver, status in drive().records.values():
        assert driver["sphere_radius"] == 6 * memory_layout.FX32_ONE
        assert (driver["delta"] == driver["position"] - driver["previous_position"]).all()
        matrix = driver["matrix"] / memory_layout.FX32_ONE
        assert matrix[:3] @ matrix[:3].T == pytest.approx(np.eye(3), abs=0.01)
        assert matrix[2] == pytest.approx(driver["forward"] / memory_layout.FX32_ONE, abs=0.01)
        assert status["drivers"][0]["flags"] & memory_layout.STATUS_FLAG_PLAYER
        assert list(status["driver_by_place"][:1]) == [0]

import numpy as np
import pytest
from race_memory import RaceMemory, drive

from mkds_gym.emulator.hardware import RAM_END, RAM_SIZE, RAM_START
from mkds_gym.errors import NoRaceError
from mkds_gym.kartlab import memory_header
from mkds_gym.race import memory_layout, names
from mkds_gym.race.memory import WORD, check_pointer, read_pointer, read_struct, struct_view
from mkds_gym.race.memory_layout import STRUCTURES, MemoryLayout


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES)
def test_fields_lie_within_their_structure_and_do_not_overlap(structure):
    used = np.zeros(structure.dtype.itemsize, int)
    for field in structure.fields:
        size = structure.dtype.fields[field.name][0].itemsize
        assert field.offset + size <= structure.dtype.itemsize
        used[field.offset : field.offset + size] += 1
    assert used.max() == 1


def test_structures_have_the_sizes_of_the_game():
    assert {name: structure.dtype.itemsize for name, structure in STRUCTURES.items()} == {
        "race_time": 4,
        "driver": 0x5A8,
        "driver_status": 0x8C,
        "race_status": 0x528,
        "race_state": 0x48,
        "scene_state": 0x110,
        "config_driver": 0x30,
        "race_config": 0x3D4,
        "camera": 0x270,
        "map_list": 8,
        "map_data": 0x110,
        "collision_header": 0x3C,
        "object_entry": 0x1C,
        "object_table": 0x14,
        "input_unit": 0x5C,
    }


def test_c_header_has_every_field_bit_and_address():
    header = memory_header.header()
    for structure in STRUCTURES.values():
        for field in structure.fields:
            assert f"offsetof({structure.name}, {field.name}) == {field.offset:#x}" in header
    for prefix in memory_layout.BIT_FIELDS:
        for name, value in memory_layout.bits(prefix).items():
            assert f"    {name} = {value:#x},\n" in header
    for name, address in MemoryLayout.addresses().items():
        assert f"#define {name.upper()} " in header
        assert f"{address:#010x}" in header


def test_layout_shifts_every_address_by_the_region_word():
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
def test_detect_with_implausible_region_word_raises(word):
    race = RaceMemory()
    race.word(memory_layout.REGION_WORD_ADDRESS, word)
    with pytest.raises(NoRaceError, match=f"{word:#010x}"):
        MemoryLayout.detect(race.ram)


def test_checkpoint_fields_are_invalid_for_korea_only():
    assert MemoryLayout.detect(RaceMemory().ram, "Europe").checkpoint_fields
    assert not MemoryLayout.detect(RaceMemory().ram, "Korea").checkpoint_fields


def test_unknown_region_error_lists_the_regions():
    with pytest.raises(ValueError, match=r"'Mars'.*USA.*Korea"):
        MemoryLayout.detect(RaceMemory().ram, "Mars")


@pytest.mark.parametrize("pointer", [0, 0x01FFFFFF, 0x023FFFFD, 0x02400000, 0xFFFFFFFF])
def test_check_pointer_outside_main_ram_names_the_target(pointer):
    with pytest.raises(NoRaceError, match=f"the moon is {pointer:#010x}"):
        check_pointer(pointer, 4, "the moon")


def test_struct_view_accepts_both_ends_of_ram_and_nothing_beyond():
    ram = np.zeros(RAM_SIZE, np.uint8)
    for address in (RAM_START, RAM_END - 4):
        struct_view(ram, address, WORD)["value"] = 0x12345678
        assert read_struct(ram, address, WORD)["value"] == 0x12345678
    assert ram[0] == ram[-4] == 0x78
    with pytest.raises(NoRaceError):
        struct_view(ram, RAM_END - 4, WORD, 2)
    with pytest.raises(ValueError, match="uint8"):
        read_struct(ram[:100], RAM_START, WORD)


def test_read_struct_copies_and_struct_view_is_live():
    race = RaceMemory()
    copy = read_struct(race.ram, 0x02230000, memory_layout.DRIVER)
    view = struct_view(race.ram, 0x02230000, memory_layout.DRIVER)[0]
    race.driver["speed"] = 77
    assert copy["speed"] == 0
    assert view["speed"] == 77


def test_read_pointer_follows_and_checks_the_pointer():
    race = RaceMemory()
    layout = race.layout
    assert read_pointer(race.ram, layout.drivers_pointer, 0x5A8, "drivers") == 0x02230000
    race.word(layout.drivers_pointer, 0x023FFF00)
    with pytest.raises(NoRaceError, match="drivers is 0x023fff00"):
        read_pointer(race.ram, layout.drivers_pointer, 0x5A8, "drivers")


def test_names_have_the_game_s_numbers():
    assert len(names.COURSES) == 54
    assert names.COURSES[25] == "mario_course"
    assert len(set(names.COURSES.values())) == 54
    assert len(names.CHARACTERS) == 13
    assert {names.SURFACES[i] for i in names.OFFROAD_SURFACES} == {
        "weak_offroad",
        "offroad",
        "heavy_offroad",
    }
    assert names.SURFACES[10] == "out_of_bounds"
    assert names.SURFACES[22] == "force_recalculation"


def test_frame_rate_is_that_of_the_console():
    assert pytest.approx(59.8261, abs=1e-4) == memory_layout.FRAMES_PER_SECOND
    assert pytest.approx(1.6715, abs=1e-4) == memory_layout.CENTISECONDS_PER_FRAME


def test_kartlab_race_has_the_layout():
    for driver, status in drive().records.values():
        assert driver["sphere_radius"] == 8 * memory_layout.FX32_ONE
        assert (driver["delta"] == driver["position"] - driver["previous_position"]).all()
        matrix = driver["matrix"] / memory_layout.FX32_ONE
        assert matrix[:3] @ matrix[:3].T == pytest.approx(np.eye(3), abs=0.01)
        assert matrix[2] == pytest.approx(driver["forward"] / memory_layout.FX32_ONE, abs=0.01)
        assert status["drivers"][0]["flags"] & memory_layout.STATUS_FLAG_PLAYER
        assert list(status["driver_by_place"][:1]) == [0]

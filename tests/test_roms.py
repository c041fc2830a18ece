"""Cartridges imported by ``python -m mkds_gym.roms``, and found by name."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge
from mkds_gym.errors import CartridgeError
from mkds_gym.roms import find, imported, importing
from mkds_gym.roms.__main__ import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user; nothing is imported."""
    monkeypatch.delenv("MKDS_ROM", raising=False)
    monkeypatch.setenv("MKDS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def rom_data(code: str = "AMCE", title: str = "MARIOKARTDS", last: int = 0) -> bytes:
    """Return Kartlab with another header."""
    data = bytearray(BUNDLED_ROM.read_bytes())
    data[:12] = title.encode().ljust(12, b"\0")
    data[0x0C:0x10] = code.encode()
    data[-1] = last
    return bytes(data)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "dumps" / "my game.nds"
    path.parent.mkdir()
    path.write_bytes(rom_data())
    return path


COMPRESSIONS = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("_", "."), data)
    return path


def test_imported_cartridge_is_found_by_name(
    dump: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(dump)]) == 0
    assert "imported: mkds-usa  MARIOKARTDS, AMCE revision 0, USA" in capsys.readouterr().out
    cartridge = Cartridge.open("mkds-usa")
    assert cartridge.path == dump.resolve()
    assert not cartridge.boot_parameters
    monkeypatch.setenv("MKDS_ROM", "mkds-usa")
    assert Cartridge.open() == cartridge
    monkeypatch.setenv("MKDS_ROM", "mkds-asia")
    with pytest.raises(CartridgeError, match=r"environment variable MKDS_ROM.*roms import FILE"):
        Cartridge.open()
    assert Cartridge.open("kartlab").path == BUNDLED_ROM.resolve()
    # Only the path and hashes are kept.
    assert sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) < 1000
    assert main(["list"]) == 0
    assert cartridge.sha1 in capsys.readouterr().out
    assert main(["remove", "mkds-usa"]) == 0
    assert dump.is_file()
    assert main(["remove", "mkds-usa"]) == 1
    assert main(["list"]) == 0
    assert "no cartridge is imported: run" in capsys.readouterr().out


def test_names_come_from_the_header_and_stay(tmp_path: Path) -> None:
    files = {
        "mkds-usa": rom_data(),
        "mkds-usa-2": rom_data(last=1),
        "mkds-europe": rom_data("AMCP"),
        "mkds-japan": rom_data("AMCJ"),
        "mkds-korea": rom_data("AMCK"),
        "my-hack": rom_data(title="MY HACK"),
        "kartlab-klbe": rom_data("KLBE", "KARTLAB", 5),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.nds").write_bytes(data)
        for known in (False, True):
            (outcome,) = importing.import_path(tmp_path / f"{name}.nds")
            assert (outcome.rom and outcome.rom.name, outcome.known) == (name, known)
    assert [rom.name for rom in imported()] == sorted(files)
    assert Cartridge.open("mkds-korea").region == "Korea"


def test_cartridge_with_unknown_game_code_needs_a_region(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hack.nds"
    path.write_bytes(rom_data("HACK", "HACKED"))
    assert main(["import", str(path), "--name", "track-pack"]) == 1
    assert "game code 'HACK'" in capsys.readouterr().err
    assert main(["import", str(path), "--name", "track-pack", "--region", "Europe"]) == 0
    assert Cartridge.open("track-pack").region == "Europe"


def test_name_of_another_cartridge_is_not_taken(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.nds"
    other.write_bytes(rom_data(last=9))
    assert main(["import", str(dump), "--name", "mine"]) == 0
    assert main(["import", str(other), "--name", "mine"]) == 1
    assert "'mine' belongs to another cartridge" in capsys.readouterr().err
    for name in ("kartlab", "My Game", "../x", "", "a.nds"):
        assert main(["import", str(other), "--name", name]) == 1
        assert "name" in capsys.readouterr().err
    assert main(["remove", "../x"]) == 1


def test_moved_or_changed_file_names_the_command(dump: Path) -> None:
    main(["import", str(dump)])
    os.utime(dump, ns=(1, 1))
    assert Cartridge.open("mkds-usa").path == dump.resolve()  # the contents are the same
    dump.write_bytes(rom_data(last=1))
    with pytest.raises(CartridgeError, match=r"have changed: run `python -m mkds_gym\.roms import"):
        Cartridge.open("mkds-usa")
    moved = dump.rename(dump.with_name("moved.nds"))
    with pytest.raises(CartridgeError, match=r"No such file.*run `python.*--name mkds-usa"):
        Cartridge.open("mkds-usa")
    moved.write_bytes(rom_data())
    assert main(["import", str(moved)]) == 0
    assert Cartridge.open("mkds-usa").path == moved.resolve()


def test_archives_are_unpacked_into_the_cache(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zipped(tmp_path / "a.zip", game_nds=rom_data(), readme_txt=b"hello")
    (tmp_path / "b.nds.gz").write_bytes(gzip.compress(rom_data("AMCP"), 1))
    assert main(["import", "a.zip", "b.nds.gz"]) == 0
    assert capsys.readouterr().out.count("unpacked to") == 2
    cartridge = Cartridge.open("mkds-usa")
    assert cartridge.path.parent == home / "cache" / "roms"
    assert cartridge.path.read_bytes() == rom_data()
    cartridge.path.unlink()
    with pytest.raises(CartridgeError, match=r"import \S*a\.zip --name mkds-usa"):
        Cartridge.open("mkds-usa")
    assert main(["remove", "mkds-usa", "mkds-europe"]) == 0
    assert list((home / "cache" / "roms").iterdir()) == []
    assert (tmp_path / "a.zip").is_file()


def test_unpacked_copy_of_an_archive_goes_with_its_cartridge(dump: Path, home: Path) -> None:
    zipped(dump.with_name("a.zip"), game_nds=rom_data())
    assert main(["import", str(dump.with_name("a.zip")), str(dump)]) == 0
    assert Cartridge.open("mkds-usa").path == dump.resolve()
    assert main(["remove", "mkds-usa"]) == 0
    assert list((home / "cache" / "roms").iterdir()) == []
    assert dump.is_file()


def test_folder_is_searched(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zipped(dump.with_name("x.zip"), europe_nds=rom_data("AMCP"), other_nds=b"no", empty_nds=b"")
    (dump.parent / "notes.txt").write_text("not looked at")
    (dump.parent / "deep").mkdir()
    (dump.parent / "deep" / "tetris.nds").write_bytes(rom_data("ATRE"))
    (dump.parent / "deep" / "broken.gz").write_bytes(b"\x1f\x8b\x08broken")
    (dump.parent / "loop").symlink_to(dump.parent)
    os.mkfifo(dump.parent / "pipe.nds")
    assert main(["import", str(dump.parent)]) == 0
    out, err = capsys.readouterr()
    assert [rom.name for rom in imported()] == ["mkds-europe", "mkds-usa"]
    assert (out.count("imported:"), err.count("refused:")) == (2, 5)
    (tmp_path / "empty").mkdir()
    assert main(["import", "empty"]) == 1
    assert "contains no .nds" in capsys.readouterr().err


def bad_zip(compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("game.nds", rom_data())
    data = bytearray(stream.getvalue())
    data[200:-300:97] = bytes(byte ^ 0x5A for byte in data[200:-300:97])
    return bytes(data)


def bad_zip_checksum() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.nds", rom_data())
    data = bytearray(stream.getvalue())
    data[0x10000] ^= 1
    return bytes(data)


def bomb() -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as out:
        out.write(rom_data())
        for _ in range(8):
            out.write(bytes(1 << 20))
    return stream.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_archive_of_any_compression_is_read_in_bounded_pieces(
    compression: int, tmp_path: Path
) -> None:
    path = tmp_path / "game.zip"
    data = rom_data()
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("readme.txt", "x")
        archive.writestr("game.nds", data)
    (outcome,) = importing.import_path(path)
    assert outcome.rom is not None
    assert outcome.rom.sha1 == hashlib.sha1(data).hexdigest()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_archive_that_would_fill_memory_is_refused(
    compression: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "MAX_ROM_SIZE", 6 << 20)
    path = tmp_path / "game.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("game.nds", rom_data() + bytes(20 << 20))
    tracemalloc.start()
    (outcome,) = importing.import_path(path)
    assert tracemalloc.get_traced_memory()[1] < 12 << 20
    tracemalloc.stop()
    assert "larger than 6,291,456 bytes when unpacked" in outcome.problem


def test_archive_of_too_many_names_is_refused(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 1 << 30, 0, 0)
    (tmp_path / "game.zip").write_bytes(b"PK\3\4" + bytes(100) + end)
    (outcome,) = importing.import_path(tmp_path / "game.zip")
    assert "has too many files: unpack the .nds file" in outcome.problem


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"", "not a Nintendo DS ROM"),
        (lambda: b"PK\x03\x04 not really", "cannot unpack"),
        (bad_zip_checksum, "cannot unpack .*CRC"),
        *((functools.partial(bad_zip, kind), "cannot unpack") for kind in COMPRESSIONS),
        (lambda: gzip.compress(rom_data(), 1)[:5000], "cannot read .*ended"),
        (lambda: gzip.compress(b"hello"), "not a Nintendo DS ROM"),
        (lambda: gzip.compress(gzip.compress(rom_data(), 1)), "compressed archive"),
        (lambda: gzip.compress(rom_data()[:-0x1000], 1), "truncated"),
        (bomb, "larger than"),
    ],
    ids=[
        "empty",
        "not-zip",
        "zip-crc",
        "deflate",
        "bzip2",
        "lzma",
        "gzip-cut",
        "text",
        "twice",
        "truncated",
        "bomb",
    ],
)
def test_bad_file_is_refused_and_leaves_nothing(
    tmp_path: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: Callable[[], bytes],
    message: str,
) -> None:
    monkeypatch.setattr(importing, "MAX_ROM_SIZE", 6 << 20)
    path = tmp_path / "bad.nds"
    path.write_bytes(data())
    (outcome,) = importing.import_path(path)
    assert outcome.rom is None
    with pytest.raises(CartridgeError, match=message):
        raise CartridgeError(outcome.problem)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_device_pipe_and_missing_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "is a pipe"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / "gone.zip", "does not exist"),
    ):
        (outcome,) = importing.import_path(path)
        assert message in outcome.problem


def test_damaged_entry_names_the_command(dump: Path, home: Path) -> None:
    main(["import", str(dump)])
    entry = home / "roms" / "mkds-usa.json"
    good = json.loads(entry.read_text())
    changed: list[Any] = [
        {"version": 99},
        {"path": 5},
        {"path": "a\0b"},
        {"sha1": ["x"]},
        {"size": -1},
        {"size": 2**70},
        {"modified": 1.5},
        {"region": "Mars"},
        {"archive": None},
        {"extra": 1},
    ]
    texts = ["", "{", "[]", '{"version": 1}', "[" * 5000, "\xff", '{"size": ' + "9" * 5000 + "}"]
    for text in [*texts, *(json.dumps({**good, **each}) for each in changed)]:
        entry.write_bytes(text.encode("latin-1"))
        with pytest.raises(CartridgeError, match=r"mkds-usa\.json.*roms remove mkds-usa"):
            find("mkds-usa")
    entry.write_text(json.dumps({**good, "path": os.fsdecode(b"/tmp/\xff.nds")}))
    found = find("mkds-usa")
    assert found is not None
    assert os.fsencode(found.path) == b"/tmp/\xff.nds"
    entry.unlink()
    os.mkfifo(entry)
    with pytest.raises(CartridgeError, match=r"is a pipe: run .*roms remove mkds-usa"):
        find("mkds-usa")
    entry.unlink()
    entry.write_text("{")
    assert main(["list"]) == 0
    assert main(["remove", "mkds-usa"]) == 0


def test_folder_that_cannot_be_written_is_named(dump: Path, home: Path) -> None:
    home.write_text("in the way")
    assert stat.S_ISREG(home.stat().st_mode)
    (outcome,) = importing.import_path(dump)
    assert "cannot make the folder" in outcome.problem

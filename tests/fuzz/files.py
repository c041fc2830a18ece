"""Kinds of files that need no emulator: recordings, networks, configs, courses, cartridges."""

from __future__ import annotations

import functools
import gzip
import io
import itertools
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .kinds import Change, Kind, RefusedError
from .mutations import (
    ODD_WORDS,
    change_bytes,
    change_json,
    change_json_lines,
    change_text,
    change_value,
    dump,
)

_SPECIAL = ("fifo", "zero", "folder", "missing", "loop", "sparse", "empty")
_MARK = b"\0special file: "
_ROOT = Path(__file__).parents[2]


def with_special(change: Change) -> Change:
    """Return a change that sometimes yields a payload for `placed` that is no regular file."""

    def changed(rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.03:
            return _MARK + rng.choice(_SPECIAL).encode()
        return change(rng, data)

    return changed


def placed(payload: bytes, folder: Path, name: str) -> Path:
    """Write a payload to a file, or make the special file that it names."""
    path = folder / name
    if not payload.startswith(_MARK):
        path.write_bytes(payload)
        return path
    special = payload[len(_MARK) :].decode()
    if special == "fifo":
        os.mkfifo(path)
    elif special == "zero":
        path.symlink_to("/dev/zero")
    elif special == "folder":
        path.mkdir()
    elif special == "loop":
        path.symlink_to(path)
    elif special == "sparse":
        with path.open("wb") as file:
            file.truncate(20 << 30)
    elif special == "empty":
        path.touch()
    return path


@functools.cache
def bomb(compress: Callable[[], Any] = zlib.compressobj) -> bytes:
    """Return half a gigabyte of zeros, compressed."""
    packer = compress()
    parts = [packer.compress(bytes(1 << 20)) for _ in range(512)]
    return b"".join([*parts, packer.flush()])


# Recordings ------------------------------------------------------------------------------------

_MKR = struct.Struct("<4sHHIIII")


def _recordings(_: Path) -> list[bytes]:
    from dataclasses import replace

    from recordings import record

    race = record(20)
    power_on = replace(race, start=replace(race.start, kind="power_on", race=None, digest=""))
    state = replace(race, start=replace(race.start, kind="state"), state=b"MKDSGYM\0" + bytes(900))
    return [each.to_bytes() for each in (race, power_on, state)]


def change_recording(rng: random.Random, data: bytes) -> bytes:
    """Change the header, the keys or the state of a recording, with the right checksum."""
    if rng.random() < 0.25:
        return change_bytes(rng, data)
    magic, version, reserved, *lengths, _ = _MKR.unpack_from(data)
    ends = [_MKR.size + sum(lengths[:number]) for number in range(4)]
    header, keys, state = (data[a:b] for a, b in itertools.pairwise(ends))
    kind = rng.randrange(8)
    if kind <= 4:
        header = dump(change_value(rng, json.loads(header)))
    elif kind == 5:
        keys = zlib.compress(change_bytes(rng, zlib.decompress(keys)))
    elif kind == 6:
        keys = rng.choice((bomb(), change_bytes(rng, keys), b"", zlib.compress(b"\xff" * 6000)))
    else:
        state = rng.choice((bomb(), change_bytes(rng, state), b""))
        header = change_bytes(rng, header)
    lengths = [len(header), len(keys), len(state)]
    if rng.random() < 0.05:
        lengths[rng.randrange(3)] = rng.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF))
    body = header + keys + state
    return _MKR.pack(magic, version, reserved, *lengths, zlib.crc32(body)) + body


def _use_recording(payload: bytes, folder: Path) -> None:
    from mkds_gym.recording.format import Recording

    recording = Recording.load(placed(payload, folder, "run.mkr"))
    recording.describe()
    repr(recording)
    Recording.from_bytes(recording.to_bytes())


def _movies(_: Path) -> list[bytes]:
    from dataclasses import replace

    from recordings import record

    from mkds_gym.emulator.cartridge import BUNDLED_ROM, Cartridge
    from mkds_gym.replay.dsm import movie_bytes

    race = record(20)
    text = movie_bytes(race, "kartlab.nds", zlib.crc32(BUNDLED_ROM.read_bytes()), "NTR-KLBE")
    start = replace(race.start, kind="power_on", race=None, digest="")
    plain = movie_bytes(replace(race, start=start), Cartridge.open().path.name)
    foreign = b"".join(line for line in plain.splitlines(True) if b"comment" not in line)
    return [text, plain, foreign]


def change_movie(rng: random.Random, data: bytes) -> bytes:
    """Change lines, or the recording that a comment holds."""
    at = data.find(b"{")
    if at < 0 or rng.random() < 0.5:
        return change_text(rng, data)
    end = data.index(b"\n", at)
    return data[:at] + change_json(rng, data[at:end]) + data[end:]


def _use_movie(payload: bytes, folder: Path) -> None:
    from mkds_gym.replay.dsm import read_movie

    read_movie(placed(payload, folder, "run.dsm")).to_bytes()


# Evolution ---------------------------------------------------------------------------------------


def _config_seed() -> bytes:
    return (_ROOT / "benchmarks" / "evolution.ini").read_bytes()


def _truncation_config() -> bytes:
    from neat_config import config_text

    text = config_text(run__strategy="truncation", run__seed=3)
    return (text + "\n[truncation]\npopulation = 8\ntop_k = 0.5\nsigma = 0.2\n").encode()


def champion() -> Any:
    """Return a champion that was not evolved."""
    from mkds_neat.config import parse_config
    from mkds_neat.episode import EpisodeRecord
    from mkds_neat.results import Champion

    config = parse_config(_config_seed().decode())
    individual = config.make_strategy().ask()[0]
    record = EpisodeRecord(
        {"distance": 10.0, "progress": 9.0}, 20, 80, 1.5, True, (1.0, 2.0), 3.0, ("finish",), 0.1
    )
    return Champion(
        individual.id,
        0,
        10.0,
        "neat",
        individual.genome,
        individual.network,
        "MKDS-v0",
        config.env_kwargs,
        5,
        record,
        "ab" * 20,
    )


def _champions(_: Path) -> list[bytes]:
    return [json.dumps(champion().to_json()).encode()]


def _use_champion(payload: bytes, folder: Path) -> None:
    from mkds_neat.networks import GenomeNetwork, compile_network
    from mkds_neat.results import load_champion

    loaded = load_champion(placed(payload, folder, "champion.json"))
    loaded.describe()
    assert loaded.rank
    compile_network(loaded.network)([0.5] * len(loaded.network.inputs))
    GenomeNetwork(loaded.network)
    json.dumps(loaded.to_json())


def _networks(_: Path) -> list[bytes]:
    from mkds_neat.networks import pt_bytes

    return [pt_bytes(champion().network)]


def change_network(rng: random.Random, data: bytes) -> bytes:
    """Change a member of the archive."""
    if rng.random() < 0.2:
        return change_bytes(rng, data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    pickled = "archive/data.pkl"
    if rng.random() < 0.5 and (at := members[pickled].find(b'{"')) >= 0:
        (size,) = struct.unpack_from("<I", members[pickled], at - 4)
        text = change_json(rng, members[pickled][at : at + size])
        old = members[pickled]
        members[pickled] = old[: at - 4] + struct.pack("<I", len(text)) + text + old[at + size :]
    elif rng.random() < 0.2:
        members[pickled] = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."
    else:
        members[name] = rng.choice((b"", change_bytes(rng, members[name]), bytes(300 << 20)))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((0, 0, 8))) as archive:
        for each, contents in members.items():
            archive.writestr(each, contents[: 1 << 20] if archive.compression == 0 else contents)
    return packed.getvalue()


def _use_network(payload: bytes, folder: Path) -> None:
    import torch

    from mkds_neat.networks import load_pt

    network = load_pt(placed(payload, folder, "champion.pt"))
    network(torch.zeros(1, len(network.spec.inputs)))


def change_config(rng: random.Random, data: bytes) -> bytes:
    """Change the value of a key, or lines."""
    if rng.random() < 0.3:
        return change_text(rng, data)
    lines = data.decode().splitlines()
    places = [number for number, line in enumerate(lines) if "=" in line and line[0] not in "#;"]
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.choice(places)
        key, value = lines[at].split("=", 1)
        words = (*ODD_WORDS, value * 2, f"-{value.strip()}", f"{value}, x", f"[{value}]", "0.5")
        lines[at] = f"{key}={rng.choice(words)}"
    return "\n".join(lines).encode("utf-8", "replace")


def _use_config(payload: bytes, folder: Path) -> None:
    from mkds_neat.config import load_config, parse_config

    config = load_config(placed(payload, folder, "run.ini"))
    # Large populations are the user's wish.
    if config.population <= 500:
        config.make_strategy().ask()
    parse_config(config.text)


# Courses and cartridges -------------------------------------------------------------------------


def _descriptions(_: Path) -> list[bytes]:
    folder = _ROOT / "mkds_gym" / "kartlab" / "courses"
    return [path.read_bytes() for path in sorted(folder.glob("*.toml"))]


def _use_description(payload: bytes, folder: Path) -> None:
    from mkds_gym.kartlab.compiler import compile_description
    from mkds_gym.kartlab.compiler.parser import read_description

    description = read_description(placed(payload, folder, "course.toml"))
    if zlib.crc32(payload) % 8 == 0:  # takes half a second
        compile_description(description)


def _course_files() -> dict[str, bytes]:
    from mkds_gym.course import read_course_archive
    from mkds_gym.emulator.cartridge import Cartridge

    cartridge = Cartridge.open()
    return read_course_archive(cartridge, cartridge.course_names()[0])


def _use_course(payload: bytes, name: str) -> None:
    from mkds_gym.course import Course

    files = dict(_undamaged_course()) | {name: payload}
    course = Course.from_files(files["course_collision.kcl"], files["course_map.nkm"])
    assert course.track
    if name.endswith("kcl"):
        assert course.mesh
        course.kcl.heights_at(0.0, 0.0)


@functools.cache
def _undamaged_course() -> dict[str, bytes]:
    return _course_files()


def _use_archive(payload: bytes, _: Path) -> None:
    from mkds_gym.course.archive import read_carc

    read_carc(payload)


def _archives(_: Path) -> list[bytes]:
    from mkds_gym.course.archive import write_carc, write_narc

    files = {name: data[:5000] for name, data in _course_files().items()}
    return [write_carc(files), write_narc(files)]


def _roms(_: Path) -> list[bytes]:
    from mkds_gym.emulator.cartridge import BUNDLED_ROM

    data = bytearray(BUNDLED_ROM.read_bytes())
    other = bytearray(data)
    other[:0x10] = b"MARIOKARTDS\0AMCE"
    return [bytes(data), bytes(other)]


def change_rom(rng: random.Random, data: bytes) -> bytes:
    """Change the header, the file table or the file names, with the right checksum or not."""
    made = bytearray(data)
    names, files = struct.unpack_from("<II", data, 0x40), struct.unpack_from("<II", data, 0x48)
    kind = rng.randrange(5)
    if kind == 0:
        return change_bytes(rng, data)
    at, size = {1: (0, 0x160), 2: names, 3: files, 4: (0x20, 0x60)}[kind]
    for _ in range(rng.choice((1, 1, 3))):
        place = at + rng.randrange(max(1, size))
        if rng.random() < 0.5:
            made[place] = rng.choice((0, 1, 0xFF, made[place] ^ 1 << rng.randrange(8)))
        else:
            odd = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(data), rng.randrange(1 << 32)))
            struct.pack_into("<I", made, place // 4 * 4, odd)
    if rng.random() < 0.6:
        from mkds_gym.emulator.cartridge import header_crc16

        struct.pack_into("<H", made, 0x15E, header_crc16(made[:0x15E]))
    return bytes(made)


def _use_rom(payload: bytes, folder: Path) -> None:
    from mkds_gym.course import Course
    from mkds_gym.emulator.cartridge import Cartridge

    cartridge = Cartridge.open(placed(payload, folder, "game.nds"))
    assert cartridge.sha1
    names = cartridge.course_names()
    if names:
        Course.from_cartridge(cartridge, names[0])


def _rom_archives(_: Path) -> list[bytes]:
    rom = _roms(_)[1][:200_000]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "x")
        archive.writestr("game.nds", rom)
    return [gzip.compress(rom), packed.getvalue(), rom]


def change_rom_archive(rng: random.Random, data: bytes) -> bytes:
    """Change bytes, or pack a bomb behind a good header."""
    if rng.random() < 0.9:
        if data.startswith(b"PK") and rng.random() < 0.5:  # the directory at the end
            cut = len(data) - rng.choice((22, 150, 300))
            return data[:cut] + change_bytes(rng, data[cut:])
        return change_bytes(rng, data)
    return _rom_bomb(zipped=data.startswith(b"PK"))


@functools.cache
def _rom_bomb(*, zipped: bool) -> bytes:
    rom = _roms(Path())[0][:512] + bytes(300 << 20)
    if not zipped:
        return gzip.compress(rom, 1)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("game.nds", rom)
    return packed.getvalue()


def _use_rom_archive(payload: bytes, folder: Path) -> None:
    from mkds_gym.roms.importing import import_path

    problems = []
    with _home(folder):
        for outcome in import_path(placed(payload, folder, "game.zip")):
            if outcome.problem:
                problems.append(outcome.problem)
    if problems:
        raise RefusedError("\n".join(problems))


# The user's folder -------------------------------------------------------------------------------


class _home:  # noqa: N801 - used as a function
    """A user's folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "home"

    def __enter__(self) -> Path:
        self._old = os.environ.get("MKDS_HOME")
        os.environ["MKDS_HOME"] = str(self._folder)
        return self._folder

    def __exit__(self, *_: object) -> None:
        if self._old is None:
            del os.environ["MKDS_HOME"]
        else:
            os.environ["MKDS_HOME"] = self._old


_ROM = "/path of the ROM"
"""Stands for the path of the ROM file in payloads."""


def _rom_entries(folder: Path) -> list[bytes]:
    from mkds_gym.roms.importing import import_path

    with _home(folder) as home:
        source = placed(_roms(folder)[1], folder, "game.nds")
        assert [outcome.rom for outcome in import_path(source)]
        (entry,) = (home / "roms").glob("*.json")
        values = json.loads(entry.read_bytes())
        return [json.dumps({**values, "path": _ROM, "modified": 10**18}).encode()]


def _use_rom_entry(payload: bytes, folder: Path) -> None:
    from mkds_gym.emulator.cartridge import Cartridge
    from mkds_gym.roms import imported

    with _home(folder) as home:
        (home / "roms").mkdir(parents=True)
        file = Path(_foreign_cartridge().path)
        os.utime(file, ns=(10**18, 10**18))
        payload = payload.replace(_ROM.encode(), str(file).encode())
        placed(payload, home / "roms", "mine.json")
        list(imported())
        Cartridge.open("mine")


def _start_entries(_: Path) -> list[bytes]:
    return [
        json.dumps(
            {
                "version": 1,
                "course": "cross_course",
                "mode": "time_trial",
                "engine_class": 100,
                "mirror": False,
                "character": 1,
                "kart": 1,
                "drivers": 1,
                "laps": 3,
                "digest": "0" * 64,
            }
        ).encode()
    ]


def _use_start_entry(payload: bytes, folder: Path) -> None:
    from mkds_gym.episodes.race_config import RaceArguments, choose_kept
    from mkds_gym.starts import kept_starts

    cartridge = _foreign_cartridge()
    with _home(folder) as home:
        place = home / "starts" / cartridge.sha1
        place.mkdir(parents=True)
        placed(payload, place, "cross_course.json")
        for start in kept_starts(cartridge.sha1):
            str(start)
            assert start.race
        choose_kept(cartridge, RaceArguments(laps=2))


@functools.cache
def _foreign_cartridge() -> Any:
    from mkds_gym.emulator.cartridge import Cartridge

    path = Path(os.environ["HOME"]) / f"foreign-{os.getpid()}.nds"
    path.write_bytes(_roms(path)[1])
    return Cartridge.open(path)


def _import_all() -> None:
    import mkds_gym.env
    import mkds_gym.replay  # noqa: F401


def _import_torch() -> None:
    import neat_envs  # noqa: F401
    import torch  # noqa: F401

    import mkds_neat.networks.files  # noqa: F401


def _kind(name: str, share: float, seeds: Any, change: Change, use: Any, **more: Any) -> Kind:
    arguments = {"group": "files", "before": _import_all, **more}
    return Kind(name, share=share, seeds=seeds, change=with_special(change), use=use, **arguments)


def _course_kind(name: str, share: float, file: str) -> Kind:
    return Kind(
        name,
        "files",
        share,
        lambda _: [_course_files()[file]],
        change_bytes,
        lambda payload, _: _use_course(payload, file),
        before=_undamaged_course,
    )


def _stored_networks(folder: Path) -> list[bytes]:
    from mkds_neat.individual import Individual
    from mkds_neat.networks import NetworkSpec, Node
    from mkds_neat.results import RunFolder
    from mkds_neat.results.population import save_networks

    network = NetworkSpec((-1, -2), (0,), (Node(0), Node(1)), ((-1, 0, 0.5), (-2, 1, 2.0)))
    run = folder / "run"
    run.mkdir()
    save_networks(RunFolder(run), 0, [Individual(key, network, {}) for key in (1, 2, 3)], 10_000)
    return [(run / "networks" / "000000.jsonl.gz").read_bytes()]


def change_stored_networks(rng: random.Random, data: bytes) -> bytes:
    """Change the packed bytes, or the JSON lines in them; or pack a bomb."""
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    if rng.random() < 0.02:
        return _rom_bomb(zipped=False)
    return gzip.compress(change_json_lines(rng, gzip.decompress(data)), 1)


def _use_stored_networks(payload: bytes, folder: Path) -> None:
    from mkds_neat.results.population import load_network

    (folder / "networks").mkdir()
    placed(payload, folder / "networks", "000000.jsonl.gz")
    load_network(folder, 2)


KINDS = (
    _kind("recording", 10, _recordings, change_recording, _use_recording),
    _kind("movie", 8, _movies, change_movie, _use_movie),
    _kind(
        "champion", 8, _champions, change_json, _use_champion, group="neat", before=_import_torch
    ),
    _kind(
        "network", 3, _networks, change_network, _use_network, group="neat", before=_import_torch
    ),
    _kind("stored_networks", 3, _stored_networks, change_stored_networks, _use_stored_networks),
    _kind(
        "config",
        6,
        lambda _: [_config_seed(), _truncation_config()],
        change_config,
        _use_config,
        group="neat",
        before=_import_torch,
    ),
    _kind("course_description", 3, _descriptions, change_text, _use_description, seconds=10.0),
    _kind("rom", 3, _roms, change_rom, _use_rom),
    _kind("rom_archive", 1, _rom_archives, change_rom_archive, _use_rom_archive, seconds=20.0),
    _course_kind("course_map", 6, "course_map.nkm"),
    _course_kind("collision", 4, "course_collision.kcl"),
    Kind("course_archive", "files", 8, _archives, change_bytes, _use_archive),
    _kind(
        "rom_library",
        6,
        _rom_entries,
        change_json,
        _use_rom_entry,
        before=_foreign_cartridge,
    ),
    _kind(
        "start_library", 6, _start_entries, change_json, _use_start_entry, before=_foreign_cartridge
    ),
)

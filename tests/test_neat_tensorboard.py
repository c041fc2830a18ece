"""Curves and videos for TensorBoard, read back with its own reader."""

from __future__ import annotations

import importlib
import importlib.util
import io
import logging
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from neat_config import config_text
from neat_runs import QUICK, everything, resume, start
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

import mkds_neat
from mkds_gym.errors import ConsoleError
from mkds_neat.config import parse_config
from mkds_neat.episode import EpisodeRecord
from mkds_neat.errors import ConfigError
from mkds_neat.networks import NetworkSpec, Node
from mkds_neat.results import Champion, RunFolder
from mkds_neat.tensorboard_log import TensorBoardLog

NETWORK = NetworkSpec((-1,), (0,), (Node(0),), ())


def read(folder: RunFolder) -> EventAccumulator:
    events = EventAccumulator(str(folder.path / "tensorboard"), size_guidance={IMAGES: 0})
    return events.Reload()


@pytest.mark.slow
def test_resumed_run_continues_its_curves(tmp_path: Path) -> None:
    changes = {**QUICK, "run__generations": 4}
    run = start(tmp_path, **changes, run__tensorboard="yes", run__checkpoint_every=2)
    plain = start(tmp_path / "plain", **changes)
    threads = threading.active_count()
    saved = run.folder.add_generation

    def stop_after_third(cells: Any) -> None:
        saved(cells)
        if cells["generation"] == 2:
            run.stop()

    run.folder.add_generation = stop_after_third  # type: ignore[method-assign]
    assert run.run().reason == "stopped"
    assert threading.active_count() <= threads, "workers are forked"
    # The checkpoint is that of generation 2, which is told again.
    again = resume(run.folder, checkpoint_every="1")
    assert again.strategy.generation == 2
    again.run()
    plain.run()
    assert everything(run.folder) == everything(plain.folder), "the curves change no result"
    events = read(run.folder)
    rows = again.folder.generations()
    for tag, column in (
        ("fitness/best", "best"),
        ("speed/busy", "busy"),
        ("fitness/worst", "worst"),
    ):
        scalars = events.Scalars(tag)
        assert [event.step for event in scalars] == [0, 1, 2, 3]
        assert [event.value for event in scalars] == pytest.approx([row[column] for row in rows])
    tags = events.Tags()["scalars"]
    assert {"fitness/q25", "population/species", "speed/frames_per_second"} < set(tags)
    assert "champion_metrics/distance" in tags
    videos = events.Images("champion/race")
    assert len(videos) == len({event.step for event in videos}) >= 1
    gif: Any = Image.open(io.BytesIO(videos[-1].encoded_image_string))
    assert (gif.format, gif.size) == ("GIF", (256, 192))
    assert gif.n_frames > 1
    assert len(list((run.folder.path / "tensorboard").iterdir())) == 2


def test_strategy_without_species_has_no_curve_of_them(tmp_path: Path) -> None:
    names = ("generation", "best", "mean", "worst", "species", "finished", "busy", "seconds")
    with TensorBoardLog(tmp_path, 0) as log:
        log.generation({**dict.fromkeys((*names, "frames"), 1), "species": 0}, [], None)
    tags = read(RunFolder(tmp_path)).Tags()["scalars"]
    assert "population/finished" in tags
    assert "population/species" not in tags


def test_full_disk_ends_the_curves_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mkds_neat")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "tensorboard").write_text("in the way")
    names = ("generation", "best", "mean", "worst", "species", "finished", "busy", "seconds")
    summary = dict.fromkeys((*names, "frames"), 1)
    with TensorBoardLog(tmp_path / "file", 0) as log:
        log.generation(summary, [], None)
        assert log.failed
    with TensorBoardLog(tmp_path, 0) as log:
        assert not log.failed
        (events,) = (tmp_path / "tensorboard").iterdir()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (events.stat().st_size + 10, limits[1]))
        try:
            for _ in range(3):
                log.generation(summary, [], None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert log.failed
    assert [r.message.split(":")[0] for r in caplog.records] == [
        "the run continues without TensorBoard"
    ] * 2


def test_race_that_fails_costs_its_video_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    races: list[int] = []

    def replay(champion: Champion, *_: object) -> None:
        races.append(champion.id)
        raise ConsoleError("no memory")

    monkeypatch.setattr("mkds_neat.tensorboard_log.replay", replay)
    champion = Champion(7, 0, 1.0, "neat", {}, NETWORK, "MKDS-v0", {}, 1, EpisodeRecord())
    with TensorBoardLog(tmp_path, 0) as log:
        for generation in range(3):
            log.video(generation, champion, lambda: False, last=True)
        assert not log.failed
    assert races == [7]
    assert [r.message for r in caplog.records] == [
        "no video of the champion's race for TensorBoard: ConsoleError: no memory"
    ]


@pytest.mark.parametrize("name", ["filelock", "jinja2", "matplotlib", "neat", "rich"])
def test_missing_package_of_the_extra_neat_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda each: None if each == name else found(each)
    )
    message = rf"mkds_neat needs {name}: pip install 'mkds-gym\[neat\]'"
    with pytest.raises(ModuleNotFoundError, match=message):
        importlib.reload(mkds_neat)


def test_missing_package_is_refused_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tensorboard.*pip install 'mkds-gym\[tensorboard\]'"):
        parse_config(config_text(run__tensorboard="yes"))

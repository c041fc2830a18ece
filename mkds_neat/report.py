"""Pictures of a run: fitness over the generations, and the champion's race."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mkds_gym.memory import FRAMES_PER_SECOND
from mkds_neat.networks import GenomeNetwork
from mkds_neat.results import Champion, RunFolder, race_clock

_LOG = logging.getLogger(__name__)

GIF_LIMIT: Final = 2_000_000
"""Bytes that a champion's GIF must stay below."""
_GIF_PICTURES: Final = 160
_GIF_COLOURS: Final = 48
_GIF_SECONDS: Final = 0.08  # per picture
_STRIP_COLUMNS: Final = 4
_STRIP_ROWS: Final = 2
_SCREEN: Final = (256, 192)


@dataclass(frozen=True)
class Picture:
    """A frame of a replay: uint8 RGB (384, 256, 3), both screens, and the info it came with."""

    pixels: NDArray[np.uint8]
    info: Mapping[str, Any]


def replay(
    champion: Champion,
    pictures: int = _GIF_PICTURES,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[list[Picture], Mapping[str, Any]]:
    """Drive a champion's race again, with pictures.

    Args:
        champion: who drives.
        pictures: about how many to take, evenly spread; the first and last are always there.
        should_stop: asked at every step; True ends the replay early.

    Returns:
        The pictures, and the info at the end.
    """
    kwargs = {**champion.env_kwargs, "render_mode": "rgb_array", "screens": "both"}
    kwargs["info_every_step"] = True
    network = GenomeNetwork(champion.network)
    every = max(1, champion.record.steps // max(1, pictures))
    taken: list[Picture] = []
    env = gym.make(champion.env_id, disable_env_checker=True, **kwargs)
    try:
        space = env.action_space
        assert isinstance(space, gym.spaces.Box)
        observation, info = env.reset(seed=champion.seed)
        over, step = False, 0
        while not over:
            if step % every == 0:
                taken.append(_picture(env, info))
            action = np.clip(network.act(observation), space.low, space.high)
            observation, _, terminated, truncated, info = env.step(action.astype(space.dtype))
            over = terminated or truncated or (should_stop is not None and should_stop())
            step += 1
        taken.append(_picture(env, info))
    finally:
        env.close()
    return taken, info


def _picture(env: gym.Env[Any, Any], info: Mapping[str, Any]) -> Picture:
    pixels: Any = env.render()
    return Picture(np.asarray(pixels, dtype=np.uint8), info)


def gif(pictures: Sequence[Picture], limit: int = GIF_LIMIT) -> bytes:
    """An animated GIF of the top screen, with as many of the pictures as fit in ``limit`` bytes."""
    count = min(len(pictures), _GIF_PICTURES + 1)
    while True:
        chosen = [pictures[i] for i in _spread(len(pictures), count)]
        images = [Image.fromarray(p.pixels[: _SCREEN[1]]) for p in chosen]
        # One palette for all, made from a few of them, keeps pictures alike and differences small.
        samples = [images[i] for i in _spread(len(images), min(6, len(images)))]
        sheet = Image.new("RGB", (_SCREEN[0], _SCREEN[1] * len(samples)))
        for i, sample in enumerate(samples):
            sheet.paste(sample, (0, i * _SCREEN[1]))
        palette = sheet.quantize(_GIF_COLOURS)
        frames = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
        data = io.BytesIO()
        frames[0].save(
            data,
            "GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(_GIF_SECONDS * 1000),
            loop=0,
        )
        size = len(data.getvalue())
        if size <= limit or count <= 2:
            return data.getvalue()
        count = max(2, min(count - 1, int(count * 0.95 * limit / size)))


def strip(
    pictures: Sequence[Picture], columns: int = _STRIP_COLUMNS, rows: int = _STRIP_ROWS
) -> bytes:
    """A PNG sheet of pictures spread evenly over a race, each with lap and race clock."""
    chosen = [pictures[i] for i in _spread(len(pictures), min(columns * rows, len(pictures)))]
    height = chosen[0].pixels.shape[0]
    margin, caption = 6, 16
    sheet = Image.new(
        "RGB",
        (
            columns * (_SCREEN[0] + margin) + margin,
            math.ceil(len(chosen) / columns) * (height + caption + margin) + margin,
        ),
        (24, 26, 32),
    )
    draw = ImageDraw.Draw(sheet)
    for i, picture in enumerate(chosen):
        x = margin + i % columns * (_SCREEN[0] + margin)
        y = margin + i // columns * (height + caption + margin)
        sheet.paste(Image.fromarray(picture.pixels), (x, y + caption))
        seconds = picture.info.get("total_time") or picture.info.get("frame", 0) / FRAMES_PER_SECOND
        text = f"lap {picture.info.get('lap', 0)}   {race_clock(float(seconds))}"
        draw.text((x + 2, y + 2), text, fill=(235, 235, 235))
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


def _spread(length: int, count: int) -> list[int]:
    """``count`` indices from 0 to ``length - 1``, both ends among them, evenly apart."""
    if count <= 1:
        return [0]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


def write_pictures(
    folder: RunFolder, champion: Champion, should_stop: Callable[[], bool] | None = None
) -> bool:
    """Replay a champion and write ``champion.gif`` and ``champion.png``.

    Logs a warning when the race is not the one that was evaluated: episodes hold no chance, so
    cartridge or program have changed since.

    Returns:
        They were written; False when ``should_stop`` ended the replay.
    """
    pictures, info = replay(champion, should_stop=should_stop)
    if should_stop is not None and should_stop():
        return False
    if info.get("metrics") != champion.record.metrics:
        _LOG.warning(
            "the champion's race went differently this time: cartridge or program have changed "
            "since it was evaluated"
        )
    folder.write("champion.gif", gif(pictures))
    folder.write("champion.png", strip(pictures))
    return True


def write_fitness_plot(folder: RunFolder) -> None:
    """Plot ``generations.csv`` to ``fitness.png``; nothing without a generation."""
    # Imported here, as it takes longer than the rest of a run's start together.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = folder.generations()
    if not rows:
        return
    x = [row["generation"] for row in rows]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.fill_between(
        x, [r["worst"] for r in rows], [r["best"] for r in rows], alpha=0.12, color="tab:blue"
    )
    for name, style in (("best", "-"), ("median", "--"), ("mean", ":")):
        axes.plot(x, [r[name] for r in rows], style, marker=".", label=name)
    done = [(r["generation"], r["best"]) for r in rows if r["finished"]]
    if done:
        axes.plot(*zip(*done, strict=True), "*", color="tab:red", markersize=11, label="finished")
    axes.set_xlabel("generation")
    axes.set_ylabel("fitness")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, dpi=120, format="png")
    folder.write("fitness.png", data.getvalue())

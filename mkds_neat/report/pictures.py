"""Pictures that a run writes: a plot of the fitness, and the champion's race."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mkds_gym.display.video import gif_bytes, race_caption, sheet_bytes, spread
from mkds_gym.emulator.hardware import FRAMES_PER_SECOND
from mkds_neat.networks import compile_network
from mkds_neat.results import Champion, RunFolder

_LOG = logging.getLogger(__name__)

GIF_LIMIT: Final = 2_000_000
"""Upper limit of the size of a champion's GIF in bytes."""
_GIF_PICTURES: Final = 160
_GIF_SECONDS: Final = 0.08  # per picture
_STRIP_COLUMNS: Final = 4
_STRIP_ROWS: Final = 2
_SCREEN: Final = (256, 192)


Picture = tuple[NDArray[np.uint8], Mapping[str, Any]]
"""Both screens, RGB (384, 256, 3), and the info of the same step."""


def replay(
    champion: Champion,
    pictures: int = _GIF_PICTURES,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[list[Picture], Mapping[str, Any]]:
    """Drive a champion's race again, with pictures: the first of several.

    Args:
        champion: The driver.
        pictures: Approximate number of pictures, evenly spread. The first and the last frame are
            always included.
        should_stop: Called at every step; True ends the replay early.

    Returns:
        The pictures, and the info of the last step.
    """
    kwargs = {**champion.env_kwargs, "render_mode": "rgb_array", "screens": "both"}
    kwargs |= {"info_every_step": True, "info_type": "full"}
    every = max(1, champion.record.steps // champion.episodes // max(1, pictures))
    taken: list[Picture] = []
    env = gym.make(champion.env_id, disable_env_checker=True, **kwargs)
    try:
        space = env.action_space
        assert isinstance(space, gym.spaces.Box)
        policy = compile_network(champion.network, space)
        start = None if champion.start is None else {"progress": champion.start}
        observation, info = env.reset(seed=champion.seed, options=start)
        over, step = False, 0
        while not over:
            if step % every == 0:
                taken.append((np.asarray(env.render(), dtype=np.uint8), info))
            action = np.array(policy(observation.tolist()), space.dtype)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated or (should_stop is not None and should_stop())
            step += 1
        taken.append((np.asarray(env.render(), dtype=np.uint8), info))
    finally:
        env.close()
    return taken, info


def gif(pictures: Sequence[Picture], limit: int = GIF_LIMIT) -> bytes:
    """Return an animated GIF of the top screen, with as many pictures as fit in ``limit`` bytes."""
    chosen = [pictures[i] for i in spread(len(pictures), min(len(pictures), _GIF_PICTURES + 1))]
    return gif_bytes([pixels[: _SCREEN[1]] for pixels, _ in chosen], _GIF_SECONDS, limit)


def strip(
    pictures: Sequence[Picture], columns: int = _STRIP_COLUMNS, rows: int = _STRIP_ROWS
) -> bytes:
    """Return a PNG sheet of pictures evenly spread over a race, with lap and race clock."""
    chosen = [pictures[i] for i in spread(len(pictures), min(columns * rows, len(pictures)))]
    captions = []
    for _, info in chosen:
        seconds = info.get("total_time") or info.get("frame", 0) / FRAMES_PER_SECOND
        captions.append(race_caption(info.get("lap", 0), float(seconds)))
    return sheet_bytes([pixels for pixels, _ in chosen], captions, columns)


def write_pictures(
    folder: RunFolder, champion: Champion, should_stop: Callable[[], bool] | None = None
) -> bool:
    """Replay a champion and write ``champion.gif`` and ``champion.png``.

    Logs a warning if the race differs from the one that was evaluated. Episodes are
    deterministic: a difference means that the cartridge or the program has changed. The summary of
    several races cannot be compared.

    Returns:
        Whether the pictures were written; False if ``should_stop`` ended the replay.
    """
    pictures, info = replay(champion, should_stop=should_stop)
    if should_stop is not None and should_stop():
        return False
    if champion.episodes == 1 and info.get("metrics") != champion.record.metrics:
        _LOG.warning(
            "the champion's race differs from the one that was evaluated: the cartridge or the "
            "program has changed since then"
        )
    folder.write("champion.gif", gif(pictures))
    folder.write("champion.png", strip(pictures))
    return True


def write_fitness_plot(folder: RunFolder) -> None:
    """Plot the fitness to ``fitness.png``, if there is a generation."""
    # Imported here: the import takes longer than the rest of a run's start.
    from mkds_neat.plots import PlotError, fitness
    from mkds_neat.report.figures import figure_of, png

    if folder.generations():
        with contextlib.suppress(PlotError):
            folder.write("fitness.png", png(figure_of(fitness, folder.path, (8.0, 4.5)), dots=120))

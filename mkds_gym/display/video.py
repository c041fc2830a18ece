"""Pictures of races as files: videos, animated GIFs and sheets of stills."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mkds_gym.errors import RecordingError
from mkds_gym.utils.files import replacing

VIDEO_SUFFIXES: Final = (".mp4", ".mkv", ".mov")
GIF_COLOURS: Final = 64
_REFINED: Final = 2
"""Rounds of k-means for a GIF's colours: without, thin lines of overlays lose theirs."""
_QUALITY: Final = "18"
"""libx264's constant rate factor: hardly told from the original."""
_INSTALL: Final = "pip install 'mkds-gym[video]', which brings imageio and an ffmpeg of its own"

Pixels = NDArray[np.uint8]
T = TypeVar("T")


def check_video(path: str | os.PathLike[str]) -> None:
    """See that a video can be written, before a race is driven for it.

    Raises:
        RecordingError: imageio or ffmpeg is missing, or the name has another suffix.
    """
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise RecordingError(
            f"cannot write video '{path}': allowed suffixes are {', '.join(VIDEO_SUFFIXES)}"
        )
    try:
        import imageio.v2  # noqa: F401
        import imageio_ffmpeg
    except ImportError as error:
        raise RecordingError(f"videos need {error.name}: {_INSTALL}") from error
    try:
        program: str = imageio_ffmpeg.get_ffmpeg_exe()
        missing = None if shutil.which(program) else f"'{program}' is no program"
    except RuntimeError as error:
        missing = str(error)
    if missing:
        raise RecordingError(
            f"videos need the program ffmpeg, which is not found ({missing}); {_INSTALL}, or name "
            "one in the environment variable IMAGEIO_FFMPEG_EXE"
        )


class VideoWriter:
    """Writes a video, picture by picture; a context manager, and the file is there at its end.

    Args:
        path: what to write: H.264 in ``.mp4``, ``.mkv`` or ``.mov``.
        fps: pictures a second.
        scale: pixels of the video per pixel of a picture, 1 and up.

    Raises:
        RecordingError: see `check_video`; or, at the end, it cannot be written, or there is no
            picture in it. What was there before, if anything, stays then.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float, scale: int = 2) -> None:
        check_video(path)
        self._path = path
        self._fps, self._scale = fps, scale
        self._written = 0
        self._partial = Path()
        self._stream: Any = None
        self._files = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        import imageio.v2

        with contextlib.ExitStack() as files:
            self._partial = files.enter_context(replacing(self._path))
            self._stream = imageio.v2.get_writer(
                self._partial,
                format="FFMPEG",
                mode="I",
                fps=self._fps,
                codec="libx264",
                pixelformat="yuv420p",
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-crf", _QUALITY],
            )
            files.push(self._finish)
            self._files = files.pop_all()
        return self

    def write(self, picture: Pixels) -> None:
        """Append a picture.

        Args:
            picture: uint8 RGB (height, width, 3); all have the same size.

        Raises:
            RecordingError: ffmpeg has failed.
        """
        try:
            self._stream.append_data(scaled(picture, self._scale))
        except OSError as error:  # ffmpeg is gone; it has said itself what it has to say
            raise RecordingError(
                f"cannot write '{self._path}': ffmpeg failed; see whether the disk is full"
            ) from error
        self._written += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.__exit__(kind, error, trace)

    def _finish(
        self,
        kind: type[BaseException] | None,  # noqa: ARG002
        error: BaseException | None,
        trace: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """End ffmpeg, and read what it wrote: imageio does not look at how it ended.

        Raises:
            RecordingError: not all of the pictures are in the video.
        """
        import imageio_ffmpeg

        if error is not None:  # which is the one to tell of
            with contextlib.suppress(OSError):
                self._stream.close()
            return
        self._stream.close()
        if not self._written:
            raise RecordingError(f"cannot write '{self._path}': there is no picture for it")
        try:
            readable, _ = imageio_ffmpeg.count_frames_and_secs(self._partial)
        except RuntimeError:  # with all that ffmpeg said
            readable = 0
        if readable < self._written:
            raise RecordingError(
                f"cannot write '{self._path}': ffmpeg failed, of {self._written} pictures "
                f"{readable} can be read again; see whether the disk is full"
            )


def scaled(picture: Pixels, scale: int) -> Pixels:
    """Enlarge a picture by a whole factor.

    Args:
        picture: uint8 RGB (height, width, 3).
        scale: how many times as wide and high each pixel becomes, 1 and up.

    Returns:
        uint8 RGB (height * scale, width * scale, 3); the picture itself for 1.
    """
    return picture if scale == 1 else picture.repeat(scale, axis=0).repeat(scale, axis=1)


def race_clock(seconds: float) -> str:
    """A time as m:ss.mmm."""
    milliseconds = round(seconds * 1000.0)
    return f"{milliseconds // 60000}:{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"


def race_caption(lap: int, seconds: float) -> str:
    """What stands by a picture of a race: the lap, and the race clock in seconds."""
    return f"lap {lap}  {race_clock(seconds)}"


def spread(length: int, count: int) -> list[int]:
    """``count`` indices from 0 to ``length - 1``, both ends among them, evenly apart.

    One index is the first, and of nothing (``length`` 0) there is none.
    """
    if length <= 0:
        return []
    if count <= 1:
        return [0]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


class Thinned(Generic[T]):
    """Things that come one after the other, of which some evenly apart are kept, and the last.

    However many come, at most twice ``limit`` are held.

    Args:
        limit: how many are wanted at least, where so many come.

    Attributes:
        stride: of those that came, each so manyth is kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 1)
        self._kept: list[T] = []
        self._last: list[T] = []
        self._count = 0
        self.stride = 1

    def add(self, thing: T) -> None:
        """The next one."""
        self._last = [thing]
        if self._count % self.stride == 0:
            if len(self._kept) == 2 * self._limit:
                del self._kept[1::2]
                self.stride *= 2
            self._kept.append(thing)
            self._last = []
        self._count += 1

    @property
    def kept(self) -> list[T]:
        """Those that are held, in order."""
        return self._kept + self._last


def _gif_durations(seconds: float, count: int) -> list[int]:
    """Milliseconds for each of a GIF's pictures, together as long as they should be.

    The format counts in hundredths of a second, and what cannot be shown of one picture's time is
    added to a later one's.

    Args:
        seconds: that each should be shown.
        count: of pictures.
    """
    ends = [round(100 * seconds * number) for number in range(count + 1)]
    return [10 * (end - begin) for begin, end in pairwise(ends)]


def gif_bytes(
    pictures: Sequence[Pixels], seconds: float, limit: int | None = None, scale: int = 1
) -> bytes:
    """An animated GIF that repeats for ever.

    Args:
        pictures: uint8 RGB, all of one size.
        seconds: that each is shown.
        limit: bytes that it must not exceed; of more pictures than fit, evenly spread ones stay.
        scale: pixels of the GIF per pixel of a picture.

    Raises:
        ValueError: there is no picture.
    """
    if not pictures:
        raise ValueError("a GIF needs a picture at least")
    count = len(pictures)
    while True:
        chosen = [pictures[i] for i in spread(len(pictures), count)]
        images = [Image.fromarray(scaled(pixels, scale)) for pixels in chosen]
        # One palette for all, made from a few of them, keeps pictures alike and differences small.
        samples = [images[i] for i in spread(len(images), min(6, len(images)))]
        width, height = images[0].size
        sheet = Image.new("RGB", (width, height * len(samples)))
        for i, sample in enumerate(samples):
            sheet.paste(sample, (0, i * height))
        palette = sheet.quantize(GIF_COLOURS, kmeans=_REFINED)
        frames = [i.quantize(palette=palette, dither=Image.Dither.NONE) for i in images]
        durations = _gif_durations(seconds, len(frames))
        data = io.BytesIO()
        frames[0].save(
            data,
            "GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations if len(durations) > 1 else durations[0],
            loop=0,
        )
        size = len(data.getvalue())
        if limit is None or size <= limit or count <= 2:
            return data.getvalue()
        count = max(2, min(count - 1, int(count * 0.95 * limit / size)))


def sheet_bytes(pictures: Sequence[Pixels], captions: Sequence[str], columns: int = 4) -> bytes:
    """A PNG of pictures in rows, each with a caption above it.

    Args:
        pictures: uint8 RGB (height, width, 3), all of one size.
        captions: one for each.
        columns: pictures in a row.

    Returns:
        The file's contents.

    Raises:
        ValueError: there is no picture, or not a caption for each.
    """
    if not pictures:
        raise ValueError("a sheet needs a picture at least")
    height, width = pictures[0].shape[:2]
    margin, caption = 6, 16
    sheet = Image.new(
        "RGB",
        (
            min(columns, len(pictures)) * (width + margin) + margin,
            math.ceil(len(pictures) / columns) * (height + caption + margin) + margin,
        ),
        (24, 26, 32),
    )
    draw = ImageDraw.Draw(sheet)
    for i, (pixels, text) in enumerate(zip(pictures, captions, strict=True)):
        x = margin + i % columns * (width + margin)
        y = margin + i // columns * (height + caption + margin)
        sheet.paste(Image.fromarray(pixels), (x, y + caption))
        draw.text((x + 2, y + 2), text, fill=(235, 235, 235))
    data = io.BytesIO()
    sheet.save(data, "PNG", optimize=True)
    return data.getvalue()


def tiles(pictures: Sequence[Pixels], captions: Sequence[str]) -> Pixels:
    """Pictures side by side, in a grid that is nearly square, each with a caption in it.

    Args:
        pictures: uint8 RGB (height, width, 3), one at least, all of one size.
        captions: one for each.

    Returns:
        uint8 RGB (rows * height, columns * width, 3); what the grid has over is black.

    Raises:
        ValueError: there is not a caption for each.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    whole = Image.new("RGB", (columns * width, rows * height))
    draw = ImageDraw.Draw(whole, "RGBA")
    for i, (pixels, text) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * width, i // columns * height
        whole.paste(Image.fromarray(pixels), (x, y))
        box = draw.textbbox((x + 4, y + height - 14), text)
        draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 2, box[3] + 2), fill=(0, 0, 0, 150))
        draw.text((x + 4, y + height - 14), text, fill=(255, 255, 255))
    return np.array(whole)

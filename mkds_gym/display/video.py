"""Videos, animated GIFs and sheets of pictures."""

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
"""Rounds of k-means for a GIF's colours, without which thin lines lose their colour."""
QUALITY: Final = 18
"""libx264's constant rate factor: nearly lossless."""
_INSTALL: Final = "pip install 'mkds-gym[video]', which includes imageio and ffmpeg"

Pixels = NDArray[np.uint8]
T = TypeVar("T")


def check_video(path: str | os.PathLike[str]) -> None:
    """Check that a video can be written.

    Raises:
        RecordingError: imageio or ffmpeg is missing, or the suffix is unknown.
    """
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise RecordingError(
            f"cannot write video '{path}': expected a suffix of {', '.join(VIDEO_SUFFIXES)}"
        )
    try:
        import imageio.v2  # noqa: F401
        import imageio_ffmpeg
    except ImportError as error:
        raise RecordingError(f"videos need {error.name}: {_INSTALL}") from error
    try:
        program: str = imageio_ffmpeg.get_ffmpeg_exe()
        missing = None if shutil.which(program) else f"'{program}' is not a program"
    except RuntimeError as error:
        missing = str(error)
    if missing:
        raise RecordingError(
            f"videos need the program ffmpeg, which was not found ({missing}): {_INSTALL}, or set "
            "the environment variable IMAGEIO_FFMPEG_EXE to its path"
        )


class VideoWriter:
    """Writes a video, picture by picture. A context manager, which writes the file at its end.

    If writing fails, an existing file stays.

    Args:
        path: H.264 file to write: ``.mp4``, ``.mkv`` or ``.mov``.
        fps: pictures per second.
        scale: pixels of the video per pixel of a picture, 1 and up.
        quality: libx264's constant rate factor, 0 to 51; a greater number gives a smaller file.
        preset: libx264's preset, such as ``veryfast``; a slower one gives a smaller file.

    Raises:
        RecordingError: as `check_video`; or, at the end, the file cannot be written, or the video
            has no pictures.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float,
        scale: int = 2,
        quality: int = QUALITY,
        preset: str = "medium",
    ) -> None:
        check_video(path)
        self._options = ["-crf", str(quality), "-preset", preset]
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
                output_params=self._options,
            )
            files.push(self._finish)
            self._files = files.pop_all()
        return self

    def write(self, picture: Pixels) -> None:
        """Append a picture.

        Args:
            picture: uint8 RGB (height, width, 3), of the same size as the others.

        Raises:
            RecordingError: ffmpeg failed.
        """
        try:
            self._stream.append_data(scaled(picture, self._scale))
        except OSError as error:  # ffmpeg printed the reason
            raise RecordingError(
                f"cannot write '{self._path}': ffmpeg failed: check whether the disk is full"
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
        """End ffmpeg and check its video, because imageio ignores ffmpeg's exit status.

        Raises:
            RecordingError: a picture is missing in the video.
        """
        import imageio_ffmpeg

        if error is not None:  # do not hide this error
            with contextlib.suppress(OSError):
                self._stream.close()
            return
        self._stream.close()
        if not self._written:
            raise RecordingError(f"cannot write '{self._path}': the video has no pictures")
        try:
            readable, _ = imageio_ffmpeg.count_frames_and_secs(self._partial)
        except RuntimeError:
            readable = 0
        if readable < self._written:
            raise RecordingError(
                f"cannot write '{self._path}': ffmpeg failed, and {readable} of {self._written} "
                "pictures can be read: check whether the disk is full"
            )


def scaled(picture: Pixels, scale: int) -> Pixels:
    """Enlarge a picture by an integer factor.

    Args:
        picture: uint8 RGB (height, width, 3).
        scale: the factor, 1 and up.

    Returns:
        uint8 RGB (height * scale, width * scale, 3); the same array for 1.
    """
    return picture if scale == 1 else picture.repeat(scale, axis=0).repeat(scale, axis=1)


def race_clock(seconds: float) -> str:
    """Return a time as m:ss.mmm, of at most 1,000 hours."""
    milliseconds = round(min(seconds, 3_600_000.0) * 1000.0)
    return f"{milliseconds // 60000}:{milliseconds // 1000 % 60:02d}.{milliseconds % 1000:03d}"


def race_caption(lap: int, seconds: float) -> str:
    """Return the caption of a picture: the lap, and the race clock (``seconds``)."""
    return f"lap {lap}  {race_clock(seconds)}"


def spread(length: int, count: int) -> list[int]:
    """Return ``count`` evenly spaced indices from 0 to ``length - 1``, with both ends.

    A count of 1 gives the first index, a length of 0 no index.
    """
    if length <= 0:
        return []
    if count <= 1:
        return [0]
    return [round(i * (length - 1) / (count - 1)) for i in range(count)]


class Thinned(Generic[T]):
    """A list of unknown length, thinned to evenly spaced items and the last one.

    It holds between ``limit`` and twice ``limit`` items, however many are added.

    Args:
        limit: smallest number of items to keep, if enough are added.

    Attributes:
        stride: distance of the items in the full list.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 1)
        self._items: list[T] = []
        self._last: list[T] = []
        self._count = 0
        self.stride = 1

    def add(self, item: T) -> None:
        """Append an item."""
        self._last = [item]
        if self._count % self.stride == 0:
            if len(self._items) == 2 * self._limit:
                del self._items[1::2]
                self.stride *= 2
            self._items.append(item)
            self._last = []
        self._count += 1

    @property
    def items(self) -> list[T]:
        """The items, in order."""
        return self._items + self._last


def _gif_durations(seconds: float, count: int) -> list[int]:
    """Return the duration of each of ``count`` pictures in milliseconds.

    The format counts hundredths of a second; rounding errors do not add up.

    Args:
        seconds: duration of a picture.
        count: number of pictures.
    """
    ends = [round(100 * seconds * number) for number in range(count + 1)]
    return [10 * (end - begin) for begin, end in pairwise(ends)]


def gif_bytes(
    pictures: Sequence[Pixels], seconds: float, limit: int | None = None, scale: int = 1
) -> bytes:
    """Return an animated GIF that repeats forever.

    Args:
        pictures: uint8 RGB, all of one size.
        seconds: duration of each picture.
        limit: largest size in bytes; pictures are dropped evenly until the GIF fits.
        scale: pixels of the GIF per pixel of a picture.

    Raises:
        ValueError: there are no pictures.
    """
    if not pictures:
        raise ValueError("pictures is empty: expected at least one picture")
    count = len(pictures)
    while True:
        chosen = [pictures[i] for i in spread(len(pictures), count)]
        images = [Image.fromarray(scaled(pixels, scale)) for pixels in chosen]
        # One palette for all pictures, from a sample, keeps the differences between them small.
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
    """Return a PNG file of pictures in rows, each with a caption above it.

    Args:
        pictures: uint8 RGB (height, width, 3), all of one size.
        captions: one for each picture.
        columns: pictures in a row.

    Raises:
        ValueError: there are no pictures, or not as many captions as pictures.
    """
    if not pictures:
        raise ValueError("pictures is empty: expected at least one picture")
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
    """Return pictures in a nearly square grid, each with a caption in it.

    Args:
        pictures: uint8 RGB (height, width, 3), at least one, all of one size.
        captions: one for each picture.

    Returns:
        uint8 RGB (rows * height, columns * width, 3); unused cells are black.

    Raises:
        ValueError: there are not as many captions as pictures.
    """
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    sheet = Image.new("RGB", (columns * width, rows * height))
    draw = ImageDraw.Draw(sheet, "RGBA")
    for i, (pixels, text) in enumerate(zip(pictures, captions, strict=True)):
        x, y = i % columns * width, i // columns * height
        sheet.paste(Image.fromarray(pixels), (x, y))
        box = draw.textbbox((x + 4, y + height - 14), text)
        draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 2, box[3] + 2), fill=(0, 0, 0, 150))
        draw.text((x + 4, y + height - 14), text, fill=(255, 255, 255))
    return np.array(sheet)

"""Animated GIFs of events in real time or slow motion: OFF is blue, ON is red, on white."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import SpikeloomError
from preprocess.files import whole_file
from preprocess.inspection.event_statistics import Chunks, Survey
from preprocess.inspection.plots import OFF_BLUE, ON_RED, brightest_count

if TYPE_CHECKING:
    from PIL import Image

_FRAME_US = 40_000  # GIFs store durations in hundredths of a second, and viewers slow down frames of less than two.
_SHORTEST_US = 20_000
_MOST_FRAMES = 250  # Ten seconds; for longer recordings, the interval with the most events.
_SIDE = 320  # Approximate length of the longer side in pixels.
_CAPTION = 16

# A colour is a pair of a share of ON events and an intensity: 15 x 16 of the 256 colours of a GIF.
_SHARES, _STRENGTHS = 15, 16
_INK = _SHARES * _STRENGTHS


@dataclass(frozen=True, eq=False)
class Film:
    """Frames of an animation.

    Attributes:
        frames: Counts, any unsigned type, shape (F, 2, H, W).
        frame_us: Duration of a frame in µs of the recording.
        start_us: Start of the first frame in µs after the first event.
    """

    frames: NDArray[Any]
    frame_us: float
    start_us: int = 0


def film_events(chunks: Chunks, survey: Survey, height: int, width: int, slower: float) -> Film:
    """Bin a stream of events into frames of 40 ms playing time, for at most ten seconds.

    If the stream is longer, the ten seconds with the most events are used.

    Args:
        chunks: All events.
        survey: Statistics of these events; at least one event.
        height: Sensor rows.
        width: Sensor columns.
        slower: Slow-motion factor.
    """
    frame_us = max(1, round(_FRAME_US / slower))
    start, end = survey.busiest(_MOST_FRAMES * frame_us)
    count = min(_MOST_FRAMES, -(-(end - start) // frame_us))
    # Pixels of large sensors are summed in blocks, which saves memory.
    block = max(1, -(-max(height, width) // _SIDE))
    rows, columns = -(-height // block), -(-width // block)
    frames = np.zeros((count, 2, rows, columns), np.uint32)
    for chunk in chunks():
        step = (chunk.t - start) // frame_us
        inside = (step >= 0) & (step < count)
        events = chunk[inside]
        np.add.at(frames, (step[inside], events.p, events.y // block, events.x // block), 1)
    return Film(frames, frame_us, start - survey.start_us)


def write_film(path: Path, film: Film, caption: str, slower: float) -> None:
    """Write a film as an animated GIF that repeats forever.

    Args:
        path: The GIF to write, atomically.
        film: The frames.
        caption: Text below the frames, next to the time.
        slower: Slow-motion factor.

    Raises:
        SpikeloomError: If the file cannot be written.
    """
    film = _merge(film, slower)
    shown_us = max(_SHORTEST_US, film.frame_us * slower)
    brightest = brightest_count(film.frames)
    images = [_draw(film, i, brightest, caption) for i in range(len(film.frames))]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rounded to hundredths of a second such that the total playing time is right.
        ends = np.round(np.arange(len(images) + 1) * shown_us / 10_000).astype(int)
        durations = (np.diff(ends) * 10).tolist()
        with whole_file(path) as temporary:
            images[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=images[1:],
                duration=durations,
                loop=0,
                optimize=False,
            )
    except OSError as error:
        raise SpikeloomError(f"{path}: cannot be written ({error.strerror or error}). Give another file.") from None


def _merge(film: Film, slower: float) -> Film:
    """Sum frames in groups if single frames are too short to be played."""
    group = -(-_SHORTEST_US // max(1, int(film.frame_us * slower)))
    if group == 1:
        return film
    starts = np.arange(0, len(film.frames), group)
    return Film(np.add.reduceat(film.frames, starts, dtype=np.uint32), group * film.frame_us, film.start_us)


def _draw(film: Film, i: int, brightest: float, caption: str) -> Image.Image:
    """Draw frame i, enlarged, in the colours of `_palette`, with the caption and time below."""
    from PIL import Image, ImageDraw

    counts = film.frames[i].astype(np.float64)
    total = counts.sum(axis=0)
    share = np.rint(counts[1] / np.maximum(total, 1) * (_SHARES - 1))
    strength = np.ceil(np.minimum(total / brightest, 1.0) ** 0.6 * (_STRENGTHS - 1))
    pixels = (share * _STRENGTHS + strength).astype(np.uint8)
    zoom = max(1, round(_SIDE / max(pixels.shape)))
    pixels = pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    image = Image.fromarray(np.pad(pixels, ((0, _CAPTION), (0, 0))))
    image.putpalette(_palette())
    pen = ImageDraw.Draw(image)
    height, width = pixels.shape
    pen.line([(0, height), (width, height)], fill=_INK + 1)
    seconds = (film.start_us + i * film.frame_us) / 1e6
    # The time needs about 60 pixels, a letter six.
    pen.text((4, height + 2), caption[: max(0, (width - 64) // 6)], fill=_INK)
    pen.text((width - 4, height + 2), f"{seconds:.2f} s", fill=_INK, anchor="ra")
    return image


def _palette() -> list[int]:
    """RGB values of the colours, followed by those of the text and the line."""
    off, on = (np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) for colour in (OFF_BLUE, ON_RED))
    share = np.linspace(0, 1, _SHARES)[:, None, None]
    strength = np.linspace(0, 1, _STRENGTHS)[None, :, None]
    colours = 255 - strength * (255 - (off + share * (on - off)))
    return [*np.rint(colours).astype(int).ravel().tolist(), 51, 51, 51, 187, 187, 187]

"""Inspect a recording or a cache: its facts as plain values, and functions that draw and animate it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from preprocess.building.time_unit_check import check_times
from preprocess.errors import CacheError, RecordingError
from preprocess.formats import NO_OPTIONS, ReadOptions, Recording, Size, open_recording
from preprocess.formats.column_recording import ColumnRecording
from preprocess.formats.recording import OUTSIDE, first_bytes
from preprocess.formats.registry import files_for
from preprocess.hdf5_heap import check_heap
from preprocess.inspection.event_statistics import Chunks, Survey, survey_events, take_excerpt
from preprocess.store.event_store import FORMAT as EVENTS_FORMAT
from preprocess.store.event_store import EventStore, open_events
from preprocess.store.frame_cache import FORMAT as FRAMES_FORMAT
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.store.image_store import FORMAT as IMAGES_FORMAT
from preprocess.store.image_store import ImageStore, open_images
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN, SampleTable
from preprocess.store.sealed_cache_file import CacheFile

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# The format of a cache is among the first bytes of its file, in its first attributes.
_OWN_FORMAT = b"spikeloom-"

_OPEN: dict[str, Callable[[Path], EventStore | FrameCache | ImageStore]] = {
    EVENTS_FORMAT: open_events,
    FRAMES_FORMAT: open_frames,
    IMAGES_FORMAT: open_images,
}

_SPLITS = {TRAIN: "train", TEST: "test", NO_SPLIT: "no split"}

# A plot shows this much of a stream: its duration, number of frames and maximum number of points.
_EXCERPT_US = 1_500_000
_EXCERPT_BINS = 8
_EXCERPT_EVENTS = 40_000
# Imported frames are shown for this long.
_FRAME_US = 50_000
# Images are drawn with about this many pixels on a side.
_SHOWN_SIDE = 256


@dataclass(frozen=True)
class Inspection:
    """The contents of an inspected file.

    Attributes:
        facts: Facts by name, as plain values for JSON.
        draw: Draws the file; called with the PNG to write.
        animate: Animates the file; called with the GIF to write and the slow-motion factor.
    """

    facts: dict[str, Any]
    draw: Callable[[Path], None]
    animate: Callable[[Path, float], None]


def inspect_file(
    path: Path, *, sample: int | None = None, size: Size | None = None, options: ReadOptions = NO_OPTIONS
) -> Inspection:
    """Inspect a recording, which is decoded completely, or the tables and one sample of a cache.

    Args:
        path: A raw recording, an event store or a frame cache.
        sample: Number of the sample of a cache; the first if None.
        size: Sensor rows and columns, for formats that do not store them.
        options: Columns, time unit and place of the events, for files that do not state them.

    Raises:
        RecordingError: If a recording is damaged or of an unknown format, or `sample` is given for a recording.
        CacheError: If a cache is damaged or of another format, or has no such sample.
    """
    cache = _cache_format(path)
    if cache is not None:
        return _inspect_cache(path, cache, sample or 0)
    recording = open_recording(path, size=size, options=options)
    unused = [name for name in options.given if name not in recording.OPTIONS]
    if unused:
        raise RecordingError(f"{path}: expected a {files_for(unused)}, found {recording.format}. Leave it out.")
    if sample is not None:
        raise RecordingError(f"{path}: expected a cache for --sample {sample}, found a recording. Leave out --sample.")
    survey = _survey(recording, size)
    facts = {
        "path": str(path),
        "kind": "recording",
        "format": recording.format,
        "bytes": recording.size,
        "header": list(recording.header),
        "height": recording.height,
        "width": recording.width,
        "orientation": recording.orientation,
        **_facts_of(survey),
        "notes": recording.notes,
        **_facts_of_unit(recording, survey),
    }
    is_emulated = any(line.startswith("# emulated") for line in recording.header)
    title = f"{path.name}{' (emulated)' if is_emulated else ''}\n{recording.format}, {_in_short(survey)}"
    if survey.events == 0:
        refuse = _refuse_to_draw(path)
        return Inspection(facts, refuse, refuse)
    height, width = recording.height, recording.width
    caption = f"emulated {path.stem}" if is_emulated else path.stem
    draw = _drawing(title, recording.chunks, survey, height, width)
    return Inspection(facts, draw, _animating(caption, recording.chunks, survey, height, width))


def _survey(recording: Recording, size: Size | None) -> Survey:
    try:
        return survey_events(recording.chunks)
    except RecordingError as error:
        if size is None and recording.STORES_SIZE != "always" and OUTSIDE in str(error):
            hint = "If the sensor is larger and the file does not store its size, give it: --sensor-size ROWS COLUMNS"
            raise RecordingError(*error.errors[:-1], f"{error.errors[-1]} {hint}") from None
        raise


def _facts_of_unit(recording: Recording, survey: Survey) -> dict[str, Any]:
    """The unit in which the times of columns were read, and a warning if the result is implausible."""
    if not isinstance(recording, ColumnRecording):
        return {}
    warning = None
    if survey.events:
        spans, events = np.array([survey.duration_us]), np.array([survey.events])
        warning = check_times(spans, events, recording.height * recording.width, recording.time_unit)
    return {
        "time_unit": recording.time_unit or "us",
        "time_unit_assumed": recording.time_unit is None,
        "warnings": [warning] if warning else [],
    }


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_HDF5_MAGIC)) == _HDF5_MAGIC
    except OSError:
        return False  # Opening it as a recording raises the right error.


def _cache_format(path: Path) -> str | None:
    """The format of a cache of these packages; None for recordings."""
    # A pipe would block; opening it as a recording raises the right error.
    if not path.is_file() or not _is_hdf5(path):
        return None
    try:
        check_heap(path)
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):
        # Opening it as an event store or as a recording raises the right error.
        return EVENTS_FORMAT if _OWN_FORMAT in first_bytes(path) else None
    return found if found in _OPEN else None


def _inspect_cache(path: Path, format: str, i: int) -> Inspection:
    cache = _OPEN[format](path)
    try:
        if i >= len(cache):
            expected = f"expected a sample number below {len(cache)}"
            raise CacheError(f"{path}: {expected}, found {i}. Give another --sample.")
        if isinstance(cache, ImageStore):
            return _inspect_image(cache, i)
        return _inspect_events(cache, i) if isinstance(cache, EventStore) else _inspect_frames(cache, i)
    finally:
        cache.close()


def _inspect_events(store: EventStore, i: int) -> Inspection:
    events = store.read(i)
    survey = survey_events(lambda: [events])
    facts = {
        **_facts_of_cache("event store", store),
        "source": store.attributes["source"],
        "sorted": store.is_sorted,
        "out_of_order": store.out_of_order,
        "sample": _facts_of_sample(store, i) | _facts_of(survey),
    }
    title = f"{_title_of(store, i)}\n{_in_short(survey)}"
    draw = _drawing(title, lambda: [events], survey, store.height, store.width)
    return Inspection(
        facts, draw, _animating(_caption_of(store, i), lambda: [events], survey, store.height, store.width)
    )


def _inspect_frames(cache: FrameCache, i: int) -> Inspection:
    length = int(cache.lengths[i])
    frames = cache.read(i)[:length]
    counts = frames.sum(axis=(2, 3), dtype=np.int64)
    if frames.dtype.kind == "f":
        # Imported values that are not counts: those that are not zero are counted.
        counts = (frames != 0).sum(axis=(2, 3), dtype=np.int64)
    on, events = int(counts[:, 1].sum()), int(counts.sum())
    sample = {
        "events": events,
        "on": on,
        "off": events - on,
        "on_share": round(on / max(1, events), 4),
        "events_of_frames": counts.sum(axis=1).tolist(),
        "largest_count": frames.max().item(),
        "length": length,
        "dropped": int(cache.dropped[i]),
    }
    binning = {
        **cache.binning.to_attributes(),
        "timesteps": cache.timesteps,
        "lengths": [int(cache.lengths.min()), int(cache.lengths.max())],
        "dropped": int(cache.dropped.sum()),
        "repeated": None if cache.repeated is None else int(cache.repeated.sum()),
        "dtype": str(cache.dtype),
    }
    if cache.binning.imported:
        binning |= {"source": cache.attributes["source"], "axes": cache.attributes["axes"]}
    facts = {**_facts_of_cache("frame cache", cache), **binning, "sample": _facts_of_sample(cache, i) | sample}
    title = f"{_title_of(cache, i)}\n{events:,} events in {length} frames by {cache.binning.split_by}"

    def draw(picture: Path) -> None:
        from preprocess.inspection.plots import draw_frames

        draw_frames(picture, title, frames)

    def animate(gif: Path, slower: float) -> None:
        from preprocess.inspection.animation import Film, write_film

        # Most rules do not determine the duration of a frame, so all frames share the duration of the sample equally.
        # The times of imported frames are not known.
        start, end = (0, _FRAME_US * length) if cache.binning.imported else cache.samples.interval_us[i]
        write_film(gif, Film(frames, max(1, int(end - start)) / length), _caption_of(cache, i), slower)

    return Inspection(facts, draw, animate)


def _inspect_image(store: ImageStore, i: int) -> Inspection:
    image = store.read(i)
    facts = {
        **{key: value for key, value in _facts_of_cache("image store", store).items() if not key.startswith("events")},
        "source": store.attributes["source"],
        "mean": list(store.mean),
        "deviation": list(store.deviation),
        "sample": _facts_of_sample(store, i) | {"mean_of_channels": image.mean((1, 2)).round(2).tolist()},
    }

    def draw(picture: Path) -> None:
        from PIL import Image

        # Small images are enlarged without smoothing.
        scale = max(1, _SHOWN_SIDE // max(store.height, store.width))
        Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).resize(
            (scale * store.width, scale * store.height), Image.Resampling.NEAREST
        ).save(picture)

    def animate(gif: Path, slower: float) -> None:
        raise CacheError(f"{store.path}: expected events or frames to animate, found images. Use --plot.")

    return Inspection(facts, draw, animate)


def _facts_of_cache(kind: str, cache: CacheFile) -> dict[str, Any]:
    samples = cache.samples
    per_class = {name: _by_split(samples, label) for label, name in enumerate(cache.classes)}
    return {
        "path": str(cache.path),
        "kind": kind,
        "format": f"{cache.FORMAT} {cache.VERSION}",
        "bytes": cache.path.stat().st_size,
        "dataset": cache.dataset,
        "height": cache.height,
        "width": cache.width,
        "samples": len(samples),
        "splits": _by_split(samples, None),
        "classes": per_class,
        "events": int(samples.offset[-1]),
        "events_of_smallest": int(samples.events.min()),
        "events_of_largest": int(samples.events.max()),
        "fingerprint": cache.fingerprint,
    }


def _by_split(samples: SampleTable, label: int | None) -> dict[str, int]:
    """Number of samples, of one class or of all, in each split of the data set."""
    mine = np.ones(len(samples), bool) if label is None else samples.label == label
    present = [(code, name) for code, name in _SPLITS.items() if np.any(samples.split == code)]
    return {name: int(np.sum(mine & (samples.split == code))) for code, name in present}


def _facts_of_sample(cache: CacheFile, i: int) -> dict[str, Any]:
    samples = cache.samples
    return {
        "number": i,
        "name": str(samples.name[i]),
        "class": cache.classes[samples.label[i]],
        "label": int(samples.label[i]),
        "split": _SPLITS[int(samples.split[i])],
        "index": int(samples.index[i]),
        "group": str(samples.group[i]),
        "interval_us": samples.interval_us[i].tolist(),
    }


def _facts_of(survey: Survey) -> dict[str, Any]:
    return {
        "events": survey.events,
        "on": survey.on,
        "off": survey.events - survey.on,
        "on_share": round(survey.on_share, 4),
        "start_us": survey.start_us,
        "end_us": survey.end_us,
        "duration_us": survey.duration_us,
        "mean_rate": round(survey.mean_rate, 1),
        "peak_rate": round(survey.peak_rate, 1),
        "rate_window_us": survey.window_us,
        "backwards": survey.backwards,
    }


def _title_of(cache: CacheFile, i: int) -> str:
    samples = cache.samples
    return f"{cache.dataset}, sample {i} '{samples.name[i]}' of class {cache.classes[samples.label[i]]}"


def _in_short(survey: Survey) -> str:
    seconds = survey.duration_us / 1e6
    return f"{survey.events:,} events in {seconds:,.3f} s, {100 * survey.on_share:.0f} % ON"


def _caption_of(cache: CacheFile, i: int) -> str:
    """Caption below an animation; the names of emulated data sets already say that they are emulated."""
    return f"{cache.dataset}: {cache.classes[cache.samples.label[i]]}"


def _refuse_to_draw(path: Path) -> Callable[..., None]:
    def draw(*_: Any) -> None:
        raise RecordingError(f"{path}: expected events to draw, found none. Leave out --plot and --animate.")

    return draw


def _drawing(title: str, chunks: Chunks, survey: Survey, height: int, width: int) -> Callable[[Path], None]:
    def draw(picture: Path) -> None:
        from preprocess.inspection.plots import draw_events

        start, end = survey.busiest(_EXCERPT_US)
        excerpt = take_excerpt(chunks, start, end, height, width, bins=_EXCERPT_BINS, most_events=_EXCERPT_EVENTS)
        draw_events(picture, title, survey, excerpt)

    return draw


def _animating(caption: str, chunks: Chunks, survey: Survey, height: int, width: int) -> Callable[[Path, float], None]:
    def animate(gif: Path, slower: float) -> None:
        from preprocess.inspection.animation import film_events, write_film

        write_film(gif, film_events(chunks, survey, height, width, slower), caption, slower)

    return animate

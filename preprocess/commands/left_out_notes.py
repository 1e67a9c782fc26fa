"""What preprocess leaves out, counts twice, reuses or assumes: fields of --json, and printed lines where it occurs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from preprocess.building.build_frame_cache import MOST_LOST
from preprocess.building.time_unit_check import first_without_unit
from preprocess.store.event_store import EventStore
from preprocess.store.frame_cache import FrameCache, open_frames
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout
    from preprocess.datasets.unread_files import Unread

_SPLITS = {"train": TRAIN, "test": TEST, "no split": NO_SPLIT}
_MOST_CLASSES = 12
_CUT_SHORT = "windows_cut_short"


@dataclass(frozen=True)
class Remark:
    """One remark about the result of preprocess.

    Attributes:
        field: Its name in --json.
        value: Its value in --json, of plain types.
        lines: The same as printed lines; none if there is nothing to remark.
    """

    field: str
    value: Any
    lines: tuple[str, ...] = ()


def remarks(
    layout: Layout, unread: Sequence[Unread], store: EventStore, frames: Sequence[Path], built: Sequence[Path]
) -> list[Remark]:
    """All remarks, in the order in which they are printed.

    Args:
        layout: The source of the event store.
        unread: Files of its folder that are not read.
        store: The event store.
        frames: The requested frame caches.
        built: The files that this run created; the others are reused.
    """
    return [
        _assumed(layout, store),
        _not_read(unread),
        *_classes(store),
        _notes(store),
        _order(store),
        _coverage(store, [open_frames(path) for path in frames]),
        _reused([store.path, *frames], built),
    ]


def _assumed(layout: Layout, store: EventStore) -> Remark:
    value = {
        "source": store.attributes["source"],
        "form": layout.form,
        "height": store.height,
        "width": store.width,
        "orientation": layout.orientation,
        "salvage": layout.salvage,
        "sorted": store.is_sorted,
    }
    if first_without_unit(layout) is None:
        return Remark("read_as", value)
    unit = layout.options.time_unit
    value |= {"columns": layout.options.columns, "time_unit": unit or "us", "time_unit_assumed": unit is None}
    line = "Times of files that do not state a unit were read as us, because no --time-unit was given."
    return Remark("read_as", value, () if unit else (line,))


def _not_read(unread: Sequence[Unread]) -> Remark:
    value = [dataclasses.asdict(kind) for kind in unread]
    total = sum(kind.files for kind in unread)
    listed = ", ".join(map(str, unread))
    return Remark("not_read", value, (f"Files not read: {total:,}: {listed}.",) if unread else ())


def _classes(store: EventStore) -> Iterator[Remark]:
    """Splits that are missing, and classes that are missing from a split or from all."""
    samples = store.samples
    counts = {name: np.bincount(samples.label[samples.split == code], minlength=len(store.classes))
              for name, code in _SPLITS.items()}  # fmt: skip
    sizes = {name: int(found.sum()) for name, found in counts.items() if found.any()}
    official = sizes.keys() & {"train", "test"}
    lines: tuple[str, ...] = ()
    if len(official) == 1:
        there, missing = ("train", "test") if "train" in official else ("test", "train")
        lines = (f"No {missing} split: all {sizes[there]:,} samples belong to the official {there} split.",)
    yield Remark("splits", sizes, lines)
    absent = [store.classes[c] for c in np.setdiff1d(np.arange(len(store.classes)), samples.label)]
    yield Remark("classes_without_samples", absent, (f"Classes without samples: {_few(absent)}.",) if absent else ())
    alone: dict[str, list[str]] = {}
    if len(official) == 2:
        only = {"train": (counts["test"] == 0) & (counts["train"] > 0), "test": (counts["train"] == 0)}
        only["test"] &= counts["test"] > 0
        alone = {split: [store.classes[c] for c in np.flatnonzero(of)] for split, of in only.items() if of.any()}
    lines = tuple(f"Classes in the {split} split only: {_few(names)}." for split, names in alone.items())
    yield Remark("classes_in_one_split", alone, lines)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_CLASSES
    return ", ".join(names[:_MOST_CLASSES]) + (f" and {more:,} more" if more > 0 else "")


def _notes(store: EventStore) -> Remark:
    """Counts of decoding and cutting: events outside all samples, special events, windows left out, damage, ..."""
    notes = json.loads(store.attributes["notes"])
    return Remark("notes", notes, tuple(f"{_title_of(note)}: {count:,}" for note, count in notes.items()))


def _title_of(note: str) -> str:
    # The name in the file would also fit shorter windows that were kept.
    return "windows left out because the recording ends within them" if note == _CUT_SHORT else note.replace("_", " ")


def _order(store: EventStore) -> Remark:
    found = store.out_of_order
    if found is None:
        line = "Events out of order were not counted when this event store was made; count them with spikeloom verify."
        return Remark("out_of_order", None, (line,))
    where = f"{found['samples']:,} of {len(store):,} samples"
    line = f"Events out of order (earlier than the event before): {found['events']:,} in {where}."
    return Remark("out_of_order", found, (line,) if found["events"] else ())


def _coverage(store: EventStore, caches: Sequence[FrameCache]) -> Remark:
    """Events that are in no frame of a cache, or in several."""
    total = int(store.samples.offset[-1])
    values, lines = [], []
    for cache in caches:
        dropped = int(cache.dropped.sum())
        repeated = None if cache.repeated is None else int(cache.repeated.sum())
        values.append({"path": str(cache.path), "events_in_no_frame": dropped, "events_in_several_frames": repeated})
        key = cache.path.stem
        if dropped or cache.binning.drops:
            warning = "Warning: " if dropped > MOST_LOST * total else ""
            share = 100 * dropped / total
            lines.append(f"{warning}{key}: {dropped:,} of {total:,} events ({share:.2f} %) are in no frame.")
        if repeated:
            why = (
                f"as requested by --overlap {cache.binning.overlap}"
                if cache.binning.overlap
                else "because they are out of order"
            )
            remedy = "" if cache.binning.overlap else "; use --sort to count each once"
            lines.append(f"{key}: {repeated:,} of {total:,} events are in several frames, {why}{remedy}.")
        if repeated is None and cache.binning.needs_times:
            lines.append(
                f"{key}: events in several frames were not counted when it was made; count them with spikeloom verify."
            )
    return Remark("frames", values, tuple(lines))


def _reused(paths: Sequence[Path], built: Sequence[Path]) -> Remark:
    """The reused caches; no lines, because the table of files shows it."""
    return Remark("reused", [str(path) for path in paths if path not in built])

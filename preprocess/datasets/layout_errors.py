"""The errors of a layout that a registered data set returned, found before anything is read or written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from preprocess.datasets.layout import Layout, Sample
from preprocess.formats.registry import FORMATS
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN


def layout_errors(layout: Layout) -> Iterator[str]:
    """Iterate over the errors, one line each, without the name of the data set in front."""
    if layout.format is not None and layout.format not in FORMATS:
        yield f"format: expected None or one of {', '.join(FORMATS)}, found '{layout.format}'"
    if not layout.classes:
        yield "classes: expected the name of every class, found none"
    if layout.height < 1 or layout.width < 1:
        yield f"height, width: expected at least 1, found {layout.height}, {layout.width}"
    for relative, count in Counter(recording.relative for recording in layout.recordings).items():
        if count > 1:
            yield f"relative: expected every path once, found '{relative}' {count} times"
    samples = [sample for recording in layout.recordings for sample in recording.samples]
    for name, count in Counter(sample.name for sample in samples).items():
        if count > 1:
            yield f"name: expected every name of a sample once, found '{name}' {count} times"
    for sample in samples:
        yield from _sample_errors(sample, len(layout.classes))


def _sample_errors(sample: Sample, classes: int) -> Iterator[str]:
    if classes and not 0 <= sample.label < classes:
        yield f"label of {sample.name}: expected 0 to {classes - 1}, the number of a class, found {sample.label}"
    if sample.split not in (TRAIN, TEST, NO_SPLIT):
        yield (
            f"split of {sample.name}: expected {TRAIN} (training), {TEST} (test) or {NO_SPLIT} (none), found "
            f"{sample.split}"
        )

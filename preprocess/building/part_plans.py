"""Parts: recordings decoded once into ``.parts/<id>.h5``, so that an interrupted build resumes where it stopped.

A part contains one recording, or several small ones. The id is a digest of everything that the part depends on, so
parts of other versions of the files are never used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preprocess.building import source_fingerprint
from preprocess.errors import RecordingError
from preprocess.store import event_store

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout, SourceRecording

# Recordings of a few kilobytes share a part: one file each would take longer than decoding them. Parts of large data
# sets are larger, because each takes as long as decoding dozens of recordings.
_PART_BYTES, _LARGE_PART_BYTES = 1 << 22, 1 << 24
_MANY_PARTS = 32

# Incremented when the contents of parts change, so that parts of earlier versions are never used.
_PART_VERSION = 3


@dataclass(frozen=True)
class PartPlan:
    """The recordings of a part that is to be built, and their total size in bytes."""

    id: str
    recordings: tuple[SourceRecording, ...]
    size: int

    def path(self, folder: Path) -> Path:
        """The part's HDF5 file in the folder of all parts."""
        return folder / f"{self.id}.h5"


def plan_parts(layout: Layout) -> list[PartPlan]:
    """Group the recordings, in source order, into parts of a few megabytes or of a single recording.

    Raises:
        RecordingError: If recordings are missing; lists all of them.
    """
    plans: list[PartPlan] = []
    errors: list[str] = []
    states: list[tuple[int, int]] = []
    found: list[SourceRecording] = []
    for recording in layout.recordings:
        try:
            states.append(source_fingerprint.stat_source(recording))
            found.append(recording)
        except RecordingError as error:
            errors += error.errors
    if errors:
        raise RecordingError(*errors)
    general = source_fingerprint.describe_layout(layout, event_store.VERSION)
    sizes = [size for size, _ in states]
    limit = min(max(_PART_BYTES, sum(sizes) // _MANY_PARTS), max(_PART_BYTES, _LARGE_PART_BYTES))
    for first, last in _group(sizes, limit):
        recordings = tuple(found[first:last])
        described = [source_fingerprint.describe_recording(r) for r in recordings]
        part_id = source_fingerprint.digest([_PART_VERSION, general, described, states[first:last]])
        plans.append(PartPlan(part_id, recordings, sum(sizes[first:last])))
    return plans


def _group(sizes: Sequence[int], limit: int) -> Iterator[tuple[int, int]]:
    """Divide recordings into consecutive groups [first, last) of at most `limit` bytes, or of a single recording."""
    first = total = 0
    for k, size in enumerate(sizes):
        if k > first and total + size > limit:
            yield first, k
            first, total = k, 0
        total += size
    if sizes:
        yield first, len(sizes)


def missing_parts(folder: Path, plans: Sequence[PartPlan]) -> list[PartPlan]:
    """The parts that an interrupted build did not finish. Files have their final names only when they are complete."""
    return [plan for plan in plans if not plan.path(folder).exists()]


def remove_other_parts(folder: Path, plans: Sequence[PartPlan]) -> None:
    """Remove unfinished files of killed builders, and parts of other versions of the recordings."""
    wanted = {plan.path(folder) for plan in plans}
    for found in folder.iterdir():
        if found not in wanted:
            found.unlink()

"""The fingerprint of an event store: a digest of its recordings and options, to detect changes."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import operator
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from preprocess.datasets.layout import Sample
from preprocess.errors import RecordingError
from preprocess.formats.aedat.aedat31 import INVALID_LEFT_OUT
from preprocess.store.hdf5_columns import read_column, write_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from preprocess.datasets.layout import Layout, SourceRecording


_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class Source:
    """The state of a recording when it was decoded.

    Attributes:
        relative: Path relative to the source folder.
        size: Size in bytes.
        mtime_ns: Modification time in ns.
        sha256: sha256 of the content, hexadecimal.
    """

    relative: str
    size: int
    mtime_ns: int
    sha256: str


def stat_source(recording: SourceRecording) -> tuple[int, int]:
    """Return the size in bytes and mtime in ns of a recording; RecordingError if its file is missing."""
    try:
        found = recording.path.stat()
    except OSError as error:
        raise RecordingError(f"{recording.path}: cannot be read ({error.strerror}). Copy it again.") from None
    return found.st_size, found.st_mtime_ns


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def hashing(path: Path, *, together: bool) -> Iterator[Callable[[], str]]:
    """Yield the function that returns the sha256 of a file.

    Args:
        path: The file.
        together: Whether another thread hashes the file while the block runs, instead of the function.
    """
    if not together:
        yield lambda: hash_file(path)
        return
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(_hash_unless, path, stop)
        try:
            yield found.result
        finally:
            stop.set()


def _hash_unless(path: Path, stop: threading.Event) -> str:
    """As `hash_file`, but end early if the result is not wanted any more."""
    content = hashlib.sha256()
    block = bytearray(_BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        while not stop.is_set() and (read := file.readinto(block)):
            content.update(memoryview(block)[:read])
    return content.hexdigest()


_sample_values = operator.attrgetter(*(field.name for field in dataclasses.fields(Sample)))


def describe_recording(recording: SourceRecording) -> list[object]:
    """Return a recording's path and samples as plain values."""
    # Without the numbers that most samples do not have, as in earlier versions.
    plain = [_sample_values(sample) for sample in recording.samples]
    return [recording.relative, [values if values[-1] is not None else values[:-1] for values in plain]]


def describe_layout(layout: Layout, version: int) -> dict[str, object]:
    """Return the settings that apply to all recordings, with the versions of the format and the decoder."""
    return {
        "format": version,
        "decoder": layout.decoder,
        "dataset": layout.dataset,
        "orientation": layout.orientation,
        "sensor": [layout.height, layout.width],
        "classes": list(layout.classes),
    }


def digest(values: object) -> str:
    """Return a digest of plain values, 32 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest_layout(layout: Layout, version: int) -> str:
    """Return a digest of all samples (labels, bounds, names), and of the versions of the decoder and the format."""
    return digest([describe_layout(layout, version), [describe_recording(r) for r in layout.recordings]])


def fingerprint(layout_digest: str, sources: Sequence[Source], notes: Collection[str] = ()) -> str:
    """Return the fingerprint of an event store: a digest of the layout and of each recording's path and content.

    Args:
        layout_digest: Made by `digest_layout`.
        sources: The recordings.
        notes: What was noted when they were decoded.
    """
    # Earlier versions kept these events: a store without them has another content, and needs other frames. All other
    # stores keep their fingerprints.
    left_out = [INVALID_LEFT_OUT] if INVALID_LEFT_OUT in notes else []
    return digest([layout_digest, [[s.relative, s.size, s.sha256] for s in sources], *left_out])


def write_sources(group: h5py.Group, sources: Sequence[Source]) -> None:
    """Write the sources as columns."""
    write_column(group, "relative", np.array([s.relative for s in sources]))
    for name in ("size", "mtime_ns"):
        write_column(group, name, np.array([getattr(s, name) for s in sources], np.int64))
    write_column(group, "sha256", np.array([s.sha256 for s in sources]).astype("S64"))


def read_sources(group: h5py.Group) -> list[Source]:
    """Read the columns that `write_sources` wrote."""
    columns = [read_column(group, name) for name in ("relative", "size", "mtime_ns", "sha256")]
    return [Source(r.decode(), int(s), int(m), h.decode()) for r, s, m, h in zip(*columns, strict=True)]


def find_change(layout: Layout, sources: Sequence[Source]) -> str | None:
    """Return what changed in the recordings since the sources were written, or None.

    Names, sizes and mtimes are compared first; a recording is hashed only if its mtime differs but not its size.
    """
    known = {source.relative: source for source in sources}
    wanted = {recording.relative: recording for recording in layout.recordings}
    added, gone = wanted.keys() - known.keys(), known.keys() - wanted.keys()
    if added or gone:
        example = min(added or gone)
        return f"{len(added)} recordings are new and {len(gone)} are missing, such as {example}"
    for relative, recording in wanted.items():
        source = known[relative]
        size, mtime_ns = stat_source(recording)
        if size != source.size:
            return f"{relative} had {source.size} bytes and has {size}"
        if mtime_ns != source.mtime_ns and hash_file(recording.path) != source.sha256:
            return f"the content of {relative} changed"
    return None

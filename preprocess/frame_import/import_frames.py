"""Import frames that other programs made as the frame cache of a data set without events.

Every file is read twice, so that memory stays flat: first for its shape, sum and checksum, then to be written.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.building.cache_lock import building
from preprocess.building.source_fingerprint import Source, digest, hash_file, read_sources, write_sources
from preprocess.building.worker_pool import DEFAULT_WORKERS, Workers
from preprocess.datasets.layout import first_errors
from preprocess.default_cache_folder import default_cache
from preprocess.errors import CacheError, CacheMismatchError, ConfigError, RecordingError
from preprocess.frame_import.frame_file import AXES, arrange, find_axes, read_frame_file
from preprocess.frame_import.frame_folder import FrameFile, FrameFolder, find_frame_folder
from preprocess.store.cache_file_names import events_path, frames_path
from preprocess.store.frame_cache import chunk_shape, create_frames, open_frames, pack_frames, write_frames
from preprocess.store.frame_lengths import Steps
from preprocess.store.imported_frames import find_imported
from preprocess.store.sample_table import SampleTable
from preprocess.store.sealed_cache_file import writing
from preprocess.terminal.progress import Progress

VERSION = 1
"""Part of the fingerprint; raised when files are read in another way."""


_MOST_EVENTS = 1 << 32
_LARGEST_VALUE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ImportedDataset:
    """The result of importing frames.

    Attributes:
        name: Name of the data set, `dataset.name` of a run.
        path: Its frame cache, for `open_frames`.
        built: Whether it was written now; False if it was there already.
        notes: What was left out or assumed, one line each.
    """

    name: str
    path: Path
    built: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Scan:
    """What the first pass finds in a file.

    Attributes:
        shape: (T, 2, H, W).
        label: The class number in the file, or None.
        total: Sum of the counts, or number of values that are not zero if they are not counts.
        largest: The largest value.
        counts: Whether all values are whole numbers of at least 0, and not so large that they are no counts.
        crc32: `frames_crc32`.
        source: The state of the file.
    """

    shape: tuple[int, int, int, int]
    label: int | None
    total: int
    largest: float
    counts: bool
    crc32: int
    source: Source


def import_frames(
    source: Path | str,
    name: str,
    cache: Path | str | None = None,
    *,
    axes: str | None = None,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
) -> ImportedDataset:
    """Import a folder of frames; the same as ``spikeloom preprocess frames``.

    An import whose files have not changed is reused.

    Args:
        source: A folder of frames by SpikingJelly (``.npz``), of pairs of tensors (``.pt``), or of tonic's
            DiskCachedDataset (``.hdf5``); or one or two levels above it.
        name: Name of the data set, `dataset.name` of a run.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        axes: Order of the axes of an array: the letters of ``tpyx`` (time, polarity, rows, columns); None recognises
            (T, 2, H, W), and (T, 2, W, H) for the sizes of known cameras.
        workers: Number of threads.
        progress: Where to report progress.

    Raises:
        LayoutError: If there are no such files.
        RecordingError: With a line for every file that is damaged or does not fit the others.
        CacheMismatchError: If the folder of this name has an event store or other frames.
        ConfigError: If the axes are not an order of ``tpyx``.
        CacheError: If the cache cannot be written.
    """
    if axes is not None and sorted(axes) != sorted(AXES):
        raise ConfigError(f"--axes: expected an order of the letters {AXES}, such as pyxt, found '{axes}'")
    progress = progress or Progress()
    found = find_frame_folder(Path(source).expanduser().absolute())
    folder = default_cache(None if cache is None else Path(cache)).absolute()
    with building(folder / name, progress):
        if events_path(folder, name).exists():
            raise CacheMismatchError(f"{folder / name}: expected no event store, found one. Give another --name.")
        return _import(found, name, folder, axes, workers, progress)


def _import(
    found: FrameFolder, name: str, cache: Path, axes: str | None, workers: int, progress: Progress
) -> ImportedDataset:
    used, note = _recognised_axes(found) if axes is None else (axes, "")
    notes = [note] if note else []
    if found.copies:
        notes.append(f"{found.copies:,} further copies of samples, which tonic augmented, were left out")
    present = find_imported(cache, name)
    if present is not None:
        change = _find_change(present, found, used)
        if change is None:
            return ImportedDataset(name, present, False, tuple(notes))
        progress.note(f"{present}: {change}; importing again")
    with Workers(min(workers, len(found.files)), "threads") as pool:
        scans = _scan_all(found, used, pool, name, progress)
        made = _Import(name, found, used, scans)
        path = frames_path(cache, name, made.binning, made.height, made.width)
        _write(made, path, pool, progress)
    if present is not None and present != path:
        present.unlink()
    empty = len(found.files) - len(made.files)
    if empty:
        notes.append(f"{empty:,} samples whose frames are all zero were left out")
    return ImportedDataset(name, path, True, tuple(notes))


def _recognised_axes(found: FrameFolder) -> tuple[str, str]:
    """The axes of the first file that can be read; reading all of them reports the damaged ones."""
    for file in found.files:
        try:
            content = read_frame_file(file.path)
        except RecordingError:
            continue
        return find_axes(file.path, content.frames.shape)
    return AXES, ""


def _find_change(path: Path, found: FrameFolder, axes: str) -> str | None:
    """What changed since an import, or None."""
    try:
        frames = open_frames(path)
        with h5py.File(path, "r") as file:
            sources = {source.relative: source for source in read_sources(file["sources"])}
    except (CacheError, OSError, KeyError, ValueError):
        return "it cannot be read"
    if frames.attributes.get("axes") != axes or frames.attributes.get("import_version") != VERSION:
        return "the axes or the version changed"
    if frames.attributes.get("source") != str(found.folder):
        return "its source is another folder"
    if {file.relative for file in found.files} != sources.keys():
        return "there are other files"
    for file in found.files:
        known = sources[file.relative]
        if _stat(file) != (known.size, known.mtime_ns):
            return f"{file.relative} changed"
    return None


def _stat(file: FrameFile) -> tuple[int, int]:
    state = file.path.stat()
    return state.st_size, state.st_mtime_ns


def frames_crc32(frames: NDArray[Any]) -> int:
    """The checksum of the frames of a sample, (T, 2, H, W): of their values as float64."""
    return zlib.crc32(np.ascontiguousarray(frames, "<f8").data)


def fingerprint_of(axes: str, classes: Sequence[str], samples: SampleTable, sources: Sequence[Source]) -> str:
    """The fingerprint of imported frames: of the files, and of how they became samples."""
    state = [[source.relative, source.size, source.sha256] for source in sources]
    return digest([VERSION, axes, list(classes), samples.label.tolist(), samples.split.tolist(), state])


def _scan(file: FrameFile, axes: str) -> _Scan | str:
    """Read a file; an error is returned, so that all of them are reported together."""
    try:
        content = read_frame_file(file.path)
        frames = arrange(file.path, content.frames, axes)
    except RecordingError as error:
        return str(error)
    if frames.dtype.kind == "f":
        if not np.isfinite(frames).all():
            return f"{file.path}: expected finite values, found NaN or infinity. Make the frames again."
        if max(float(frames.max()), -float(frames.min())) > _LARGEST_VALUE:
            return f"{file.path}: expected values that float32 can represent, found larger ones. Scale the frames."
        counts = bool((frames >= 0).all() and (frames == np.floor(frames)).all())
    else:
        counts = frames.dtype.kind != "i" or bool(frames.min() >= 0)
    counts = counts and float(frames.max()) < _MOST_EVENTS
    total = int(frames.sum(dtype=np.float64 if frames.dtype.kind == "f" else np.uint64)) if counts else 0
    size, mtime_ns = _stat(file)
    return _Scan(
        frames.shape,
        content.label,
        total if counts else int(np.count_nonzero(frames)),
        float(frames.max()),
        counts,
        frames_crc32(frames if counts else frames.astype(np.float32)),
        Source(file.relative, size, mtime_ns, hash_file(file.path)),
    )


def _scan_all(found: FrameFolder, axes: str, pool: Workers, name: str, progress: Progress) -> list[_Scan]:
    scans: list[_Scan] = []
    errors: list[str] = []
    with progress.task(f"{name}: reading", len(found.files), "files") as advance:
        for file, scan in zip(found.files, pool.map(lambda file: _scan(file, axes), found.files), strict=True):
            advance(1)
            if isinstance(scan, str):
                errors.append(scan)
                continue
            if not file.class_name and scan.label is None:
                errors.append(f"{file.path}: expected a class folder or a class number, found none. Move it.")
            scans.append(scan)
    common = Counter(scan.shape[2:] for scan in scans).most_common(1)
    for scan in scans:
        if scan.shape[2:] != common[0][0]:
            expected, other = ("x".join(map(str, sides)) for sides in (common[0][0], scan.shape[2:]))
            where = found.folder / scan.source.relative
            errors.append(f"{where}: expected {expected} pixels, as in most files, found {other}. Move it.")
    if errors:
        raise RecordingError(*first_errors(found.folder, errors))
    return scans


class _Import:
    """The contents of the frame cache to be written; what `FramesOrigin` describes.

    Samples whose frames are all zero are left out.
    """

    dataset = "frames"

    def __init__(self, name: str, found: FrameFolder, axes: str, scans: list[_Scan]) -> None:
        self.name, self.folder, self.axes = name, found.folder, axes
        kept = [(file, scan) for file, scan in zip(found.files, scans, strict=True) if scan.total]
        if not kept:
            raise RecordingError(f"{found.folder}: expected events in frames, found only zeros. Check the files.")
        self.files, self.scans = [file for file, _ in kept], [scan for _, scan in kept]
        self.sources = [scan.source for scan in scans]
        self.height, self.width = self.scans[0].shape[2:]
        self.classes, labels = self._labels()
        self.samples = self._table(labels)
        self.fingerprint = fingerprint_of(axes, self.classes, self.samples, self.sources)

    def _labels(self) -> tuple[tuple[str, ...], list[int]]:
        """Class names, and the class number of each sample: of folders in order, or the numbers in the files."""
        names = {file.class_name for file in self.files} - {""}
        if not names:
            labels = [scan.label or 0 for scan in self.scans]
            return tuple(map(str, range(max(labels) + 1))), labels
        numbers = all(name.isascii() and name.isdigit() for name in names)
        classes = tuple(sorted(names, key=int if numbers else None))
        return classes, [classes.index(file.class_name) for file in self.files]

    def _table(self, labels: list[int]) -> SampleTable:
        """Times are not known: a sample's interval is its number of frames, in us."""
        n = len(self.files)
        table = SampleTable.of(
            {
                "label": labels,
                "split": [file.split for file in self.files],
                "index": np.zeros(n),
                "group": [file.group for file in self.files],
                "name": [file.relative.removesuffix(file.path.suffix) for file in self.files],
                "start_us": np.zeros(n),
                "interval_us": [[0, scan.shape[0]] for scan in self.scans],
                "crc32": [scan.crc32 for scan in self.scans],
                "offset": np.concatenate([[0], np.cumsum([scan.total for scan in self.scans])]),
            }
        )
        return table.renumbered()

    @property
    def steps(self) -> Steps:
        lengths = np.array([scan.shape[0] for scan in self.scans], np.int64)
        return Steps(lengths, np.zeros_like(lengths), np.zeros_like(lengths))

    @property
    def binning(self) -> Binning:
        steps = {scan.shape[0] for scan in self.scans}
        return Binning(split_by="imported_varying") if len(steps) > 1 else Binning(steps.pop(), "imported")

    @property
    def dtype(self) -> Any:
        """The smallest unsigned type of the counts; float32 if the values are not counts."""
        if not all(scan.counts for scan in self.scans):
            return np.float32
        return np.min_scalar_type(int(max(scan.largest for scan in self.scans)))


def _write(made: _Import, path: Path, pool: Workers, progress: Progress) -> None:
    steps, dtype = made.steps, made.dtype
    chunk = chunk_shape(made, made.binning, steps, dtype)

    def pack(k: int) -> list[Any]:
        file = made.files[k]
        frames = arrange(file.path, read_frame_file(file.path).frames, made.axes)
        if frames.shape != made.scans[k].shape or frames_crc32(frames.astype(dtype)) != made.scans[k].crc32:
            raise RecordingError(f"{file.path}: it changed while it was imported. Run the same command again.")
        return pack_frames(np.ascontiguousarray(frames, dtype), steps.longest, chunk)

    more = {"source": str(made.folder), "axes": made.axes, "import_version": VERSION}
    with writing(path) as file, progress.task(f"{made.name}: writing", len(made.files), "samples") as advance:
        dataset = create_frames(file, made, made.binning, steps, dtype, **more)
        write_sources(file.create_group("sources"), made.sources)
        for k, packed in enumerate(pool.map(pack, range(len(made.files)), ahead=4 * pool.count)):
            write_frames(dataset, k, packed)
            file.check()
            advance(1)

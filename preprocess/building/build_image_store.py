"""Build the image store of a data set of static images.

Every file is read twice, so that memory stays flat: first for its labels and checksums, then to be written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from preprocess.building.cache_lock import building
from preprocess.building.source_fingerprint import Source, digest, hash_file, read_sources, write_sources
from preprocess.building.worker_pool import DEFAULT_WORKERS, Workers
from preprocess.datasets.images.image_layout import ImageFile, ImageLayout, Images
from preprocess.datasets.layout import first_errors
from preprocess.datasets.registry import find_image_layout
from preprocess.default_cache_folder import default_cache
from preprocess.errors import CacheError, CacheMismatchError, ConfigError, RecordingError
from preprocess.store.cache_file_names import events_path, images_path
from preprocess.store.image_store import (
    CHANNELS,
    create_images,
    image_crc32,
    open_images,
    pack_image,
    write_image,
)
from preprocess.store.imported_frames import find_imported
from preprocess.store.sample_table import TEST, TRAIN, SampleTable
from preprocess.store.sealed_cache_file import writing
from preprocess.terminal.progress import Progress

VERSION = 1
"""Part of the fingerprint; raised when files are read in another way."""


@dataclass(frozen=True)
class PreprocessedImages:
    """The image store of a data set.

    Attributes:
        name: Name of the caches, as given to `RunConfig` in `dataset.name`.
        path: The image store.
        built: Whether it was written now; False if it was there already.
        classes: Class names, by class number.
        height: Rows.
        width: Columns.
        train_samples: Number of images in the official training split.
        test_samples: Number of images in the official test split.
    """

    name: str
    path: Path
    built: bool
    classes: tuple[str, ...]
    height: int
    width: int
    train_samples: int
    test_samples: int


def preprocess_images(
    source: Path | str,
    dataset: str,
    cache: Path | str | None = None,
    *,
    name: str | None = None,
    workers: int = DEFAULT_WORKERS,
    progress: Progress | None = None,
) -> PreprocessedImages:
    """Read a data set of static images into an image store; what ``spikeloom preprocess cifar10`` does.

    A store that still matches its files is reused.

    Args:
        source: The folder of the data set, a folder above it, or the archive in which it was published.
        dataset: ``cifar10``, ``cifar100`` or ``tiny-imagenet``.
        cache: The folder of all caches; ``$SPIKELOOM_CACHE`` or ``./cache`` if None.
        name: Name of the caches; the data set's name if None.
        workers: Number of threads that decode.
        progress: Where to report progress; None prints only warnings and notes.

    Raises:
        LayoutError: If the folder or a file is missing.
        RecordingError: If files are damaged; lists all of them.
        CacheMismatchError: If the folder of this name has an event store, frames or another data set.
        CacheError: If the cache cannot be written.
    """
    if workers < 1:
        raise ConfigError(f"workers: expected at least 1, found {workers}")
    if name is not None and (not name or "/" in name or name.startswith(".")):
        raise ConfigError(f"name: expected the name of a folder, such as my-images, found '{name}'")
    progress = progress or Progress()
    layout = find_image_layout(dataset, Path(source).expanduser().absolute(), name=name, notify=progress.note)
    folder = default_cache(None if cache is None else Path(cache)).absolute()
    with building(folder / layout.name, progress):
        built = _build_if_stale(layout, folder, workers, progress)
    store = open_images(images_path(folder, layout.name))
    split = store.samples.split
    return PreprocessedImages(
        name=layout.name,
        path=store.path,
        built=built,
        classes=store.classes,
        height=store.height,
        width=store.width,
        train_samples=int(np.sum(split == TRAIN)),
        test_samples=int(np.sum(split == TEST)),
    )


def _build_if_stale(layout: ImageLayout, cache: Path, workers: int, progress: Progress) -> bool:
    if events_path(cache, layout.name).exists() or find_imported(cache, layout.name):
        expected = "expected no events and frames, found another data set"
        raise CacheMismatchError(f"{cache / layout.name}: {expected}. Give another --name.")
    path = images_path(cache, layout.name)
    if path.exists():
        change = _find_change(path, layout)
        if change is None:
            return False
        progress.note(f"{path}: {change}; building it again")
    with Workers(min(workers, len(layout.files)), "threads") as pool:
        scans = _scan_all(layout, pool, progress)
        _write(layout, scans, path, pool, progress)
    return True


def _find_change(path: Path, layout: ImageLayout) -> str | None:
    """What changed in the files since the store was built, or None.

    Raises:
        CacheMismatchError: If it is an intact store of another data set, which is never overwritten.
    """
    try:
        store = open_images(path)
        with h5py.File(path, "r") as file:
            known = {source.relative: source for source in read_sources(file["sources"])}
    except CacheError as error:
        return str(error).removeprefix(f"{path}: ").split(". ")[0]
    except (OSError, KeyError, ValueError) as error:
        return f"its sources cannot be read ({error})"
    if store.dataset != layout.dataset:
        expected = f"expected data set {layout.dataset}, found {store.dataset}"
        raise CacheMismatchError(f"{path}: {expected}. Give another --name, or delete {path.parent}.")
    names = [file.relative for file in layout.files] + list(layout.tables)
    if set(names) != known.keys() or store.attributes["layout_digest"] != _digest(layout):
        return "the files, the classes or the reader changed"
    for relative in names:
        source, found = known[relative], (layout.folder / relative).stat()
        if found.st_size != source.size:
            return f"{relative} had {source.size} bytes and has {found.st_size}"
        if found.st_mtime_ns != source.mtime_ns and hash_file(layout.folder / relative) != source.sha256:
            return f"the content of {relative} changed"
    return None


def _digest(layout: ImageLayout) -> str:
    """A digest of everything but the content of the files."""
    files = [[file.relative, file.split] for file in layout.files]
    about = [layout.dataset, layout.form, list(layout.classes), list(layout.normalisation), layout.height, layout.width]
    return digest([VERSION, about, files, list(layout.tables)])


def fingerprint_of(layout_digest: str, samples: SampleTable, sources: Sequence[Source]) -> str:
    """The fingerprint of an image store: of the files, and of how they became samples."""
    state = [[source.relative, source.size, source.sha256] for source in sources]
    return digest([layout_digest, samples.label.tolist(), samples.split.tolist(), state])


@dataclass(frozen=True, eq=False)
class _Scan:
    """What the first pass finds in a file."""

    source: Source
    labels: NDArray[np.int64]
    names: list[str]
    crc32: list[int]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}). Copy it again.") from None


def _scan(file: ImageFile) -> _Scan | RecordingError:
    """Read a file; an error is returned, so that all of them are reported together."""
    try:
        content = _read(file.path)
        images = file.decode(content)
    except RecordingError as error:
        return error
    source = Source(file.relative, len(content), file.path.stat().st_mtime_ns, hashlib.sha256(content).hexdigest())
    return _Scan(source, images.labels, images.names, [image_crc32(image) for image in images.pixels])


def _scan_all(layout: ImageLayout, pool: Workers, progress: Progress) -> list[_Scan]:
    scans: list[_Scan] = []
    errors: list[str] = []
    with progress.task(f"{layout.name}: reading", len(layout.files), "files") as advance:
        for found in pool.map(_scan, layout.files):
            advance(1)
            if isinstance(found, RecordingError):
                errors += found.errors
            else:
                scans.append(found)
    if errors:
        raise RecordingError(*first_errors(layout.folder, errors))
    return scans


def _table(layout: ImageLayout, scans: Sequence[_Scan]) -> SampleTable:
    """Images have no times: the interval of each is [0, 1)."""
    labels = np.concatenate([scan.labels for scan in scans])
    n = len(labels)
    splits = [np.full(len(scan.labels), file.split) for file, scan in zip(layout.files, scans, strict=True)]
    table = SampleTable.of(
        {
            "label": labels,
            "split": np.concatenate(splits),
            "index": np.zeros(n),
            "group": [""] * n,
            "name": [name for scan in scans for name in scan.names],
            "start_us": np.zeros(n),
            "interval_us": np.tile([0, 1], (n, 1)),
            "crc32": [crc32 for scan in scans for crc32 in scan.crc32],
            "offset": np.arange(n + 1) * (CHANNELS * layout.height * layout.width),
        }
    )
    return table.renumbered()


def _write(layout: ImageLayout, scans: list[_Scan], path: Path, pool: Workers, progress: Progress) -> None:
    samples = _table(layout, scans)
    sources = [scan.source for scan in scans] + [_source_of(layout.folder, table) for table in layout.tables]
    attributes: dict[str, Any] = {
        "dataset": layout.dataset,
        "form": layout.form,
        "classes": list(layout.classes),
        "height": layout.height,
        "width": layout.width,
        "mean": np.array(layout.normalisation.mean),
        "deviation": np.array(layout.normalisation.deviation),
        "fingerprint": fingerprint_of(_digest(layout), samples, sources),
        "layout_digest": _digest(layout),
        "source": str(layout.folder),
    }

    def pack(k: int) -> list[Any]:
        file = layout.files[k]
        images: Images = file.decode(_read(file.path))
        if [image_crc32(image) for image in images.pixels] != scans[k].crc32:
            raise RecordingError(f"{file.path}: it changed while it was read. Run the same command again.")
        return [pack_image(image) for image in images.pixels]

    with writing(path) as file, progress.task(f"{layout.name}: writing", len(samples), "images") as advance:
        dataset = create_images(file, samples, attributes)
        write_sources(file.create_group("sources"), sources)
        number = 0
        for packed in pool.map(pack, range(len(layout.files)), ahead=4 * pool.count if len(scans) > 99 else pool.count):
            for image in packed:
                write_image(dataset, number, image)
                number += 1
            file.check()
            advance(len(packed))


def _source_of(folder: Path, relative: str) -> Source:
    content = _read(folder / relative)
    return Source(relative, len(content), (folder / relative).stat().st_mtime_ns, hashlib.sha256(content).hexdigest())

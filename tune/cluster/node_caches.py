"""Caches on every machine: shared if the machine can read the driver's path, otherwise copied once before the trials.

A machine that cannot read a frame cache at the driver's path fetches it in blocks through Ray's object store into
``$SPIKELOOM_NODE_CACHE`` (default: ``~/.cache/spikeloom``), under a lock, and verifies its checksum. All its trials
read that one file, so it is in the machine's memory once. Machines that join later do the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig
from preprocess.building.build_frame_cache import find_frames
from preprocess.errors import CacheError
from preprocess.files import whole_file
from preprocess.store.cache_file_names import events_path, frames_path, images_path
from preprocess.store.copied_cache import CopiedCache
from preprocess.store.frame_cache import open_frames
from preprocess.store.imported_frames import open_dataset
from preprocess.store.user_frame_caches import own_frames_folder
from tune.cluster.nodes import actor_here

_BLOCK = 8 * 2**20
# Machines that fetch at the same time need the same blocks, which are put into the object store once.
_KEPT = 4
_LOCK_S = 3600.0


class CacheSource:
    """Actor on the driver's machine that reads files of its cache."""

    def __init__(self, cache: str, own_frames: str) -> None:
        self._cache = Path(cache)
        # The driver's folder; this process may have another environment.
        self._own_frames = Path(own_frames)
        self._digests: dict[tuple[str, int, int], str] = {}
        self._blocks: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def describe(self, name: str) -> tuple[int, str]:
        """Size and SHA-256 of a file, by its path relative to the cache."""
        path = self._find(name)
        state = path.stat()
        key = name, state.st_size, state.st_mtime_ns
        if key not in self._digests:
            with path.open("rb") as file:
                self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return state.st_size, self._digests[key]

    def _find(self, name: str) -> Path:
        """The path of a file of the cache; frames of a read-only cache may be in the driver's own folder."""
        path = self._cache / name
        if path.parent.name != "frames":
            return path
        fingerprint = open_dataset(self._cache, path.parent.parent.name).fingerprint
        with contextlib.suppress(CacheError):
            if open_frames(path).fingerprint == fingerprint:
                return path
        return self._own_frames / fingerprint / path.name

    def block(self, name: str, number: int) -> list[Any]:
        """A reference to a block of a file, in a list, so that it arrives as a reference."""
        import ray

        key = name, number
        if key not in self._blocks:
            with self._find(name).open("rb") as file:
                file.seek(number * _BLOCK)
                self._blocks[key] = ray.put(file.read(_BLOCK))
            while len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return [self._blocks[key]]


@dataclass(frozen=True)
class NodeCaches:
    """Where a worker finds its data; sent with its task.

    Attributes:
        cache: The driver's cache folder.
        stores: Fingerprint, height and width of the event store of each data set.
        source: The actor on the driver's machine; None if no other machine is used.
    """

    cache: Path
    stores: dict[str, CopiedCache]
    source: Any = None

    def here(self, config: RunConfig) -> Path:
        """The cache folder that a trial reads on this machine; its file is fetched if necessary.

        Raises:
            CacheError: If the file arrives damaged, or the disk is full.
        """
        store = self.stores[config.dataset.name]
        if self.source is None or _is_seen(self.cache, config, store):
            return self.cache
        # One folder for each version of a data set: if it was preprocessed again, the cache is another one.
        root = node_cache_folder() / store.fingerprint[:16]
        if config.input.encoding == "direct":
            self._fetch(images_path(Path(), config.dataset.name), root)
        elif config.input.source == "events":
            self._fetch(events_path(Path(), config.dataset.name), root)
        else:
            self._fetch(_frames(Path(), config, store), root)
            store.write(root / config.dataset.name)
        return root

    def _fetch(self, name: Path, root: Path) -> None:
        """Copy a file of the driver's cache to a folder of this machine, atomically."""
        import ray
        from filelock import FileLock

        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The file gets its name only when it is complete; until then other workers wait.
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_S):
                if path.exists():
                    return
                size, digest = ray.get(self.source.describe.remote(str(name)))
                self._copy(str(name), size, digest, path)
        except OSError as error:
            cause = error.strerror or error
            raise CacheError(
                f"{path}: cannot be written ({cause}). Free space, or set SPIKELOOM_NODE_CACHE to another disk."
            ) from None

    def _copy(self, name: str, size: int, digest: str, path: Path) -> None:
        import ray

        found = hashlib.sha256()
        with whole_file(path) as temporary:
            with temporary.open("wb") as file:
                for number in range(-(-size // _BLOCK)):
                    (reference,) = ray.get(self.source.block.remote(name, number))
                    data = ray.get(reference)
                    found.update(data)
                    file.write(data)
            if found.hexdigest() != digest:
                raise CacheError(
                    f"{path}: expected SHA-256 {digest[:12]}, found {found.hexdigest()[:12]}: it arrived damaged. "
                    "Resume to fetch it again."
                )


def node_cache_folder() -> Path:
    """The folder of a machine for copies of caches."""
    folder = os.environ.get("SPIKELOOM_NODE_CACHE")
    return Path(folder).expanduser() if folder else Path.home() / ".cache" / "spikeloom"


def plan_node_caches(configs: list[RunConfig], cache: Path, *, alone: bool) -> NodeCaches:
    """Describe the driver's cache for its workers.

    Args:
        configs: All known trials.
        cache: The driver's cache folder, which has every event store.
        alone: Whether this machine is the only one.
    """
    stores = {}
    for name in dict.fromkeys(config.dataset.name for config in configs):
        store = open_dataset(cache, name)
        stores[name] = CopiedCache(store.fingerprint, store.height, store.width)
    source = None if alone else actor_here(CacheSource, str(cache), str(own_frames_folder()))
    return NodeCaches(cache, stores, source)


def _frames(cache: Path, config: RunConfig, store: CopiedCache) -> Path:
    return frames_path(cache, config.dataset.name, config.binning, store.height, store.width)


def _is_seen(cache: Path, config: RunConfig, store: CopiedCache) -> bool:
    """Whether this machine can read a trial's data at the driver's path, made from the same recordings."""
    try:
        found = open_dataset(cache, config.dataset.name)
        if found.fingerprint != store.fingerprint:
            return False
        if config.input.source == "events" or config.input.encoding == "direct":
            return True
        return find_frames(cache, config.dataset.name, config.binning, found) is not None
    except CacheError:
        return False

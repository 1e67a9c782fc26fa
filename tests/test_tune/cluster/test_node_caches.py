"""A file of the driver's cache on a machine that does not see it: whole, once, or not at all."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
from image_files import write_cifar10
from tiny_layout import random_events, tiny_layout
from tiny_run import TINY, tiny_cache

from pipeline.config.run_config import RunConfig, override
from pipeline.data.run_data import open_data
from preprocess import import_frames, preprocess_images
from preprocess.binning.binning_config import Binning
from preprocess.building import build_frame_cache
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.errors import CacheError
from preprocess.store.copied_cache import CopiedCache, read_copied
from tune.cluster import node_caches
from tune.cluster.node_caches import CacheSource, NodeCaches, plan_node_caches

NAME = Path("data/frames/number-T3.h5")
DATA = bytes(range(35))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a source that sends blocks of ten bytes by plain calls was asked for."""
    monkeypatch.setattr(node_caches, "_BLOCK", 10)
    monkeypatch.setattr(ray, "get", lambda value: value)
    return []


def source(told: list[str], sent: bytes = DATA, promised: bytes = DATA) -> Any:
    def describe(name: str) -> tuple[int, str]:
        told.append("describe")
        return len(promised), hashlib.sha256(promised).hexdigest()

    def block(name: str, number: int) -> list[bytes]:
        told.append(f"block {number}")
        return [sent[number * 10 : number * 10 + 10]]

    return SimpleNamespace(describe=SimpleNamespace(remote=describe), block=SimpleNamespace(remote=block))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def test_file_is_fetched_once(tmp_path: Path, told: list[str]):
    caches = NodeCaches(tmp_path / "not here", {}, source(told))
    for _ in range(2):
        caches._fetch(NAME, tmp_path)
    assert told == ["describe", "block 0", "block 1", "block 2", "block 3"]
    assert (tmp_path / NAME).read_bytes() == DATA and files(tmp_path) == [NAME.name]


def test_damaged_file_is_refused_and_removed(tmp_path: Path, told: list[str]):
    caches = NodeCaches(tmp_path / "not here", {}, source(told, sent=DATA[:-1] + b"?"))
    with pytest.raises(CacheError, match=r"number-T3\.h5: expected SHA-256 .*, found .*: it arrived damaged"):
        caches._fetch(NAME, tmp_path)
    assert files(tmp_path) == []


def test_half_of_a_file_that_a_killed_worker_left_is_not_used(tmp_path: Path, told: list[str]):
    half = (tmp_path / NAME).with_name(f".{NAME.name}.tmp")
    half.parent.mkdir(parents=True)
    half.write_bytes(b"x" * 100)
    NodeCaches(tmp_path / "not here", {}, source(told))._fetch(NAME, tmp_path)
    assert (tmp_path / NAME).read_bytes() == DATA and files(tmp_path) == [NAME.name]


def test_full_disk_is_a_line_and_leaves_no_half(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(node_caches.os, "fsync", full)
    text = r"number-T3\.h5: cannot be written \(No space left on device\)\. Free space, or set SPIKELOOM_NODE_CACHE"
    with pytest.raises(CacheError, match=text):
        NodeCaches(tmp_path / "not here", {}, source(told))._fetch(NAME, tmp_path)
    assert files(tmp_path) == []


def test_two_workers_may_say_at_once_what_a_copy_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copied, both = CopiedCache("0123456789abcdef", 9, 9), Barrier(2, timeout=10)
    plain = Path.write_text

    def at_once(path: Path, text: str) -> int:
        count = plain(path, text)
        both.wait()
        return count

    monkeypatch.setattr(Path, "write_text", at_once)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(copied.write, [tmp_path, tmp_path]))
    assert read_copied(tmp_path) == copied and files(tmp_path) == ["copied.json"]
    # A third finds it and writes nothing: it would wait for another.
    copied.write(tmp_path)


def test_frames_in_the_drivers_own_folder_are_sent_as_if_they_lay_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SPIKELOOM_CACHE_FRAMES", str(tmp_path / "own"))
    build_event_store(tiny_layout(tmp_path / "src", [random_events(i, 100) for i in range(6)]), tmp_path / "cache")
    inside = ensure_frames(tmp_path / "cache", "tiny", Binning(3))
    monkeypatch.setattr(build_frame_cache, "can_build", lambda folder: False)
    outside = ensure_frames(tmp_path / "cache", "tiny", Binning(5))
    assert outside.is_relative_to(tmp_path / "own")
    source = CacheSource(str(tmp_path / "cache"), str(tmp_path / "own"))
    for path in (inside, outside):
        size, digest = source.describe(f"tiny/frames/{path.name}")
        content = path.read_bytes()
        assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's cache: events, images, and imported frames, of one T and of several."""
    folder = tmp_path_factory.mktemp("driver")
    cache = tiny_cache(folder, samples=12)
    write_cifar10(folder / "src", train=15, test=6)
    preprocess_images(folder / "src", "cifar10", cache)
    for name, steps in (("own", (3, 3)), ("varying", (2, 5))):
        for k, split in enumerate(("train", "test", "train", "test")):
            path = folder / name / split / str(k // 2) / f"{k}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, frames=np.random.default_rng(k).integers(0, 9, (steps[k % 2], 2, 16, 16)))
        import_frames(folder / name, name, cache)
    ensure_frames(cache, "tiny", TINY.binning)
    return cache


IMPORTED = {"dataset.name": "own", "binning.split_by": "imported"}
KINDS = {
    "frames": ({}, "tiny/frames/number-T3-16x16.h5"),
    "events": ({"input.source": "events"}, "tiny/events.h5"),
    "images": ({"dataset.name": "cifar10", "input.encoding": "direct"}, "cifar10/images.h5"),
    "imported": (IMPORTED, "own/frames/imported-T3-16x16.h5"),
    "imported-varying": (
        {"dataset.name": "varying", "binning.split_by": "imported_varying"},
        "varying/frames/imported_varying-16x16.h5",
    ),
}


@pytest.mark.parametrize(("changes", "file"), KINDS.values(), ids=KINDS)
def test_a_machine_without_the_cache_trains_on_a_copy_of_the_one_file_that_it_needs(
    changes: dict[str, Any], file: str, drivers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = override(TINY, {"batch_size": 2, "selection": "last"} | changes)
    monkeypatch.setenv("SPIKELOOM_NODE_CACHE", str(tmp_path))
    caches, asked = without_sight(drivers, config, monkeypatch)
    root = caches.here(config)
    assert root.is_relative_to(tmp_path) and {str(path.relative_to(root)) for path in root.rglob("*.h5")} == {file}
    here, there = open_data(config, root), open_data(config, drivers)
    numbers = np.arange(len(there.frames))
    for data in (here, there):
        assert data.frames.samples.name.tolist() == there.frames.samples.name.tolist()
    np.testing.assert_array_equal(here.splits.train, there.splits.train)
    for number in numbers:
        np.testing.assert_array_equal(here.frames.read(number), there.frames.read(number))
    # Its next trial finds the copy.
    before = len(asked)
    assert caches.here(config) == root and len(asked) == before


def without_sight(cache: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[NodeCaches, list[str]]:
    """The caches of a machine that sees none of the driver's files; what it asks for is sent by plain calls."""
    real, asked = CacheSource(str(cache), str(cache.parent / "own")), []

    def describe(name: str) -> tuple[int, str]:
        asked.append(name)
        return real.describe(name)

    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(ray, "put", lambda value: value)
    remote = SimpleNamespace(describe=SimpleNamespace(remote=describe), block=SimpleNamespace(remote=real.block))
    stores = plan_node_caches([config], cache, alone=True).stores
    return NodeCaches(cache.parent / "not here", stores, remote), asked

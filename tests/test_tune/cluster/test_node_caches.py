"""A file of the driver's cache on a machine that does not see it: whole, once, or not at all."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building import build_frame_cache
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.errors import CacheError
from preprocess.store.copied_cache import CopiedCache, read_copied
from tune.cluster import node_caches
from tune.cluster.node_caches import CacheSource, NodeCaches

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

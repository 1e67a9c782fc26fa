"""A shared cache that this user can only read, or not even that: frames go to one's own folder, errors stay lines."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from tiny_layout import TinyLayout, random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_every_frames, ensure_frames
from preprocess.building.build_frame_cache import find_frames
from preprocess.cli import COMMANDS
from preprocess.errors import CacheError
from preprocess.inspection.verify import verify_cache
from preprocess.store.event_store import open_events
from preprocess.store.frame_cache import open_frames
from preprocess.store.user_frame_caches import own_frames_folder
from preprocess.terminal.command_line import run_main

NOBODY = 65534


@contextmanager
def _plain_user() -> Iterator[None]:
    """Root is refused nothing, so it becomes another user for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of tiny data with caches that a plain user can only read, beside a folder of that user's own."""
    # pytest's own folder is closed to others.
    folder = Path(tempfile.mkdtemp(prefix="spikeloom-test-"))
    folder.chmod(0o755)
    own = folder / "own"
    own.mkdir()
    own.chmod(0o777)
    monkeypatch.setenv("SPIKELOOM_CACHE_FRAMES", str(own))
    layout = tiny_layout(folder / "src", [random_events(i, 300) for i in range(6)])
    build_event_store(layout, folder / "cache")
    # What is compiled now needs no folder of the plain user's later.
    ensure_frames(folder / "cache", "tiny", Binning(4))
    for path in [folder / "cache", *(folder / "cache").rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield folder
    for path in chain([folder / "cache"], (folder / "cache").rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_frames_of_a_read_only_cache_go_to_a_folder_of_ones_own(shared: Path, capsys: pytest.CaptureFixture[str]):
    cache, own = shared / "cache", shared / "own"
    before = _files(cache)
    store = open_events(cache / "tiny" / "events.h5")
    with _plain_user():
        there, new = ensure_every_frames(cache, "tiny", [Binning(4), Binning(7)])
    assert there == cache / "tiny" / "frames" / "number-T4-8x10.h5"
    assert new == own / store.fingerprint / "number-T7-8x10.h5"
    said = f"spikeloom: {cache / 'tiny'}: no write permission, so frames go to {own / store.fingerprint}\n"
    assert capsys.readouterr().err == said
    assert (
        find_frames(cache, "tiny", Binning(7), store) == new and find_frames(cache, "tiny", Binning(4), store) == there
    )
    assert find_frames(cache, "tiny", Binning(5), store) is None
    # Made once, found in silence; equal to those that root makes in the cache itself.
    first = _files(own)
    with _plain_user():
        assert ensure_frames(cache, "tiny", Binning(7)) == new
    assert capsys.readouterr().err == "" and _files(own) == first and _files(cache) == before
    shutil.copytree(cache, shared / "copy")
    for path in (shared / "copy").rglob("*"):
        path.chmod(0o755)
    reference = open_frames(ensure_frames(shared / "copy", "tiny", Binning(7)))
    for i in range(len(reference)):
        np.testing.assert_array_equal(open_frames(new).read(i), reference.read(i))


def test_frames_of_one_event_store_are_never_taken_for_anothers(shared: Path):
    with _plain_user():
        first = ensure_frames(shared / "cache", "tiny", Binning(7))
    other = tiny_layout(shared / "src2", [random_events(i + 50, 300) for i in range(6)])
    shutil.rmtree(shared / "cache" / "tiny")
    (shared / "cache").chmod(0o755)
    build_event_store(other, shared / "cache")
    (shared / "cache" / "tiny").chmod(0o555)
    with _plain_user():
        second = ensure_frames(shared / "cache", "tiny", Binning(7))
    assert first != second and open_frames(first).fingerprint != open_frames(second).fingerprint


def test_without_a_folder_of_ones_own_the_line_names_both_ways_out(shared: Path):
    (shared / "own").chmod(0o555)
    with _plain_user(), pytest.raises(CacheError) as refused:
        ensure_frames(shared / "cache", "tiny", Binning(7))
    (line,) = refused.value.errors
    assert "own/" in line and "Permission denied" in line and "--cache" not in line
    assert "Set SPIKELOOM_CACHE_FRAMES to a folder" in line and line.endswith("--input.source events")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SPIKELOOM_CACHE_FRAMES": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/spikeloom/frames"),
        ({}, "/users/me/.cache/spikeloom/frames"),
    ],
)
def test_where_ones_own_frames_lie(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("SPIKELOOM_CACHE_FRAMES", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/users/me"} | variables).items():
        monkeypatch.setenv(name, value)
    assert own_frames_folder() == Path(expected)


def test_a_user_without_a_home_folder_has_a_place_for_frames(monkeypatch: pytest.MonkeyPatch):
    for name in ("SPIKELOOM_CACHE_FRAMES", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    # As where a container runs as a number that no user has.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert own_frames_folder() == Path(tempfile.gettempdir()) / f"spikeloom-{os.getuid()}" / "frames"


def test_verify_reads_the_frames_in_ones_own_folder_too(shared: Path):
    with _plain_user():
        own = ensure_frames(shared / "cache", "tiny", Binning(7))
    assert [result.path for result in verify_cache(shared / "cache") if not result.errors][-1] == own
    content = bytearray(own.read_bytes())
    content[len(content) // 2] ^= 0xFF
    own.write_bytes(content)
    (found,) = [result for result in verify_cache(shared / "cache" / "tiny") if result.path == own]
    assert found.errors


def test_verify_names_the_folders_of_a_cache_that_it_may_not_read(shared: Path):
    (shared / "cache").chmod(0o755)
    shutil.copytree(shared / "cache" / "tiny", shared / "cache" / "closed")
    (shared / "cache" / "closed").chmod(0)
    with _plain_user():
        results = verify_cache(shared / "cache")
        assert [(result.path, result.note) for result in results if result.samples == 0] == [
            (shared / "cache" / "closed", "not verified: permission denied")
        ]
    (shared / "cache" / "tiny").chmod(0)
    with _plain_user(), pytest.raises(CacheError, match=r"closed cannot be read \(check its permissions\)"):
        verify_cache(shared / "cache")


def test_preprocess_bins_a_read_only_cache_for_another_t(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    import preprocess.datasets
    from preprocess.commands.preprocess import run

    layout: TinyLayout = tiny_layout(shared / "src3", [random_events(i, 300) for i in range(6)], name="mine")
    monkeypatch.setattr(preprocess.datasets, "find_layout", lambda *words, **options: layout)
    words = ["n-mnist", "--source", str(shared), "--cache", str(shared / "cache"), "--timesteps"]
    # The libraries that are loaded now need not be open to a plain user.
    run([*words, "4"])
    for path in (shared / "cache" / "mine", shared / "cache" / "mine" / "frames"):
        path.chmod(0o555)
    capsys.readouterr()
    for made in (True, False):
        with _plain_user():
            run([*words, "9", "--json"])
            out, err = capsys.readouterr()
        assert str(shared / "own") in json.loads(out)["caches"][1]
        assert err.count("so frames go to") == made
    with _plain_user():
        run([*words, "9"])
    assert "Nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["verify", "inspect", "preprocess"])
def test_a_folder_that_may_not_be_entered_is_one_line(shared: Path, command: str, capsys: pytest.CaptureFixture[str]):
    words = {
        "verify": ["verify", str(shared / "cache" / "tiny")],
        "inspect": ["inspect", str(shared / "cache" / "tiny" / "events.h5")],
        "preprocess": ["preprocess", "folder", "--name", "tiny", "--source", str(shared / "cache" / "tiny")],
    }[command]
    # The libraries that are loaded now need not be open to a plain user.
    run_main(COMMANDS, prog="spikeloom", description="", argv=words)
    capsys.readouterr()
    (shared / "cache" / "tiny").chmod(0)
    with _plain_user():
        assert run_main(COMMANDS, prog="spikeloom", description="", argv=words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(shared / "cache" / "tiny") in err and "ermission" in err


def test_an_event_store_in_a_folder_that_may_not_be_entered_is_a_cache_error(shared: Path):
    (shared / "cache" / "tiny").chmod(0)
    with (
        _plain_user(),
        pytest.raises(CacheError, match=r"events\.h5: expected an event store, found one that cannot be"),
    ):
        open_events(shared / "cache" / "tiny" / "events.h5")

"""Files that are whole or absent, and the lock of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess import files
from preprocess.errors import RunError
from preprocess.files import read_json, read_lines, whole_file, write_json, write_whole
from preprocess.folder_lock import is_locked, lock_folder


def test_file_appears_when_the_block_ends(tmp_path: Path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with whole_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"] and path.read_text() == "new"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_interrupted_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, interruption: type[BaseException]):
    path = tmp_path / "result.json"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write()
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"] and path.read_text() == "old"


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_file_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool):
    forced: list[Path] = []
    monkeypatch.setattr(files, "sync", forced.append)
    with whole_file(tmp_path / "part.h5", temporary=tmp_path / ".mine", durable=durable) as temporary:
        temporary.write_bytes(b"x")
    assert forced == ([tmp_path / ".mine"] if durable else [])


def test_full_disk_is_an_error_that_names_the_file_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(RunError, match=r"a\.json: cannot be written \(No space left on device\)\. Check"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_json_of_another_kind_or_damaged_is_refused(tmp_path: Path):
    path = tmp_path / "a.json"
    assert read_json(path) is None and read_lines(path) == []
    for content in ("[1]", "{"):
        write_whole(path, lambda temporary, content=content: temporary.write_text(content))
        with pytest.raises(RunError, match=r"a\.json: cannot be read"):
            read_json(path)
    path.write_text('{"epoch": 1}\n{"other": 2}\n')
    with pytest.raises(RunError, match=r"a\.json: cannot be read"):
        read_lines(path)


def test_lock_is_seen_while_it_is_held(tmp_path: Path):
    folder = tmp_path / "run"
    assert not is_locked(folder)
    lock = lock_folder(folder, soft=False)
    assert is_locked(folder)
    with pytest.raises(TimeoutError):
        lock_folder(folder, soft=False)
    lock.release()
    assert not is_locked(folder)


def test_waiting_for_a_lock_is_announced_once_and_ends_when_it_is_free(tmp_path: Path):
    held, announced = lock_folder(tmp_path, soft=False), []

    def free() -> None:
        announced.append(tmp_path)
        held.release()

    lock_folder(tmp_path, soft=False, on_wait=free).release()
    assert announced == [tmp_path]

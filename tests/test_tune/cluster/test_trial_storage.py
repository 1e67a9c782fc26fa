"""Files of trials on their way home: whole or not at all, and nothing left where they came from."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from preprocess.errors import RunError
from tune.cluster import storage_urls, trial_storage
from tune.cluster.storage_urls import fetch_large, store_large
from tune.cluster.trial_storage import TOKEN, Receiver, TrialSite, TrialStorage, remove_abandoned, sees

TRIAL = "0123456789ab"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The search's folder, which no site sees; blocks of ten bytes travel by plain calls."""
    folder = tmp_path / "home"
    (folder / "trials").mkdir(parents=True)
    receiver = Receiver(str(folder))
    monkeypatch.setattr(TrialSite, "_home", lambda _, method, *words: getattr(receiver, method)(*words))
    monkeypatch.setattr(trial_storage, "_BLOCK", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "away"))
    (tmp_path / "away").mkdir()
    return folder


def away(home: Path, url: str | None = None, **files: bytes) -> TrialSite:
    site = TrialStorage(home, "another token", url=url).site(TRIAL)
    write(site, **files)
    return site


def write(site: TrialSite, **files: bytes) -> None:
    site.folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (site.folder / name.replace("_", ".")).write_bytes(data)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 35])
def test_files_come_home_and_back_byte_by_byte(home: Path, size: int):
    data = bytes(range(size))
    away(home, checkpoint_pt=data).keep()
    assert contents(home / "trials" / TRIAL) == {"checkpoint.pt": data}
    elsewhere = away(home)
    elsewhere.fetch()
    assert contents(elsewhere.folder) == {"checkpoint.pt": data}


def test_only_what_changed_travels_and_the_checkpoint_last(home: Path, monkeypatch: pytest.MonkeyPatch):
    site = away(home, config_json=b"{}", metrics_jsonl=b"1\n", checkpoint_pt=b"one")
    site.keep()
    told: list[str] = []
    plain = site._home
    monkeypatch.setattr(
        TrialSite, "_home", lambda _, method, *words: (told.append(f"{method} {words[1]}"), plain(method, *words))[1]
    )
    write(site, metrics_jsonl=b"1\n2\n", checkpoint_pt=b"three")
    site.keep()
    assert told == ["write metrics.jsonl", "finish metrics.jsonl", "write checkpoint.pt", "finish checkpoint.pt"]


def test_file_that_arrives_damaged_leaves_the_one_before(home: Path):
    away(home, checkpoint_pt=b"first").keep()
    receiver = Receiver(str(home))
    receiver.write(TRIAL, "checkpoint.pt", "p", 0, b"sec0nd")
    with pytest.raises(RunError, match=r"checkpoint\.pt: arrived damaged\. Resume: the trial continues"):
        receiver.finish(TRIAL, "checkpoint.pt", "p", hashlib.sha256(b"second").hexdigest())
    assert contents(home / "trials" / TRIAL) == {"checkpoint.pt": b"first"}


def test_half_of_a_file_from_a_lost_machine_is_never_used_and_goes(home: Path):
    away(home, checkpoint_pt=b"first").keep()
    receiver = Receiver(str(home))
    receiver.write(TRIAL, "checkpoint.pt", "p", 0, b"half of it")
    assert receiver.names(TRIAL) == ["checkpoint.pt"]
    away(home).fetch()
    assert contents(home / "trials" / TRIAL) == {"checkpoint.pt": b"first"}
    # A machine that was given up and sends on is told so.
    with pytest.raises(RunError, match=r"checkpoint\.pt: cannot be written"):
        receiver.write(TRIAL, "checkpoint.pt", "p", 10, b"the other")


def test_trial_that_another_starts_from_goes_on_sending(home: Path):
    receiver = Receiver(str(home))
    receiver.write("running", "checkpoint.pt", "p", 0, b"half of it")
    away(home).fetch("running")
    receiver.write("running", "checkpoint.pt", "p", 10, b", and half")
    receiver.finish("running", "checkpoint.pt", "p", hashlib.sha256(b"half of it, and half").hexdigest())
    assert receiver.names("running") == ["checkpoint.pt"]


@pytest.mark.parametrize("storage", [True, False])
def test_run_outside_the_search_that_a_trial_starts_from_is_left_alone(home: Path, tmp_path: Path, storage: bool):
    run = tmp_path / "users" / "run"
    run.mkdir(parents=True)
    (run / "checkpoint.pt").write_bytes(b"weights")
    away(home, (tmp_path / "storage").as_uri() if storage else None).fetch(str(run))
    assert contents(run) == {"checkpoint.pt": b"weights"}


def test_ended_trial_leaves_nothing_where_it_trained(home: Path):
    site = away(home, metrics_jsonl=b"1\n", done_json=b"{}")
    site.close(ended=True)
    assert contents(home / "trials" / TRIAL) == {"metrics.jsonl": b"1\n", "done.json": b"{}"}
    assert not any((home.parent / "away").iterdir())


def test_folders_of_killed_workers_go_and_those_in_use_stay(home: Path):
    in_use, killed = away(home, checkpoint_pt=b"1"), away(home, checkpoint_pt=b"2")
    assert isinstance(killed.lock, FileLock)
    killed.lock.release()
    remove_abandoned()
    assert in_use.folder.exists() and not killed.root.exists()
    in_use.close(ended=False)
    assert not any((home.parent / "away").iterdir())


def test_a_folder_that_other_users_may_write_to_is_not_trained_in(home: Path):
    shared = home.parent / "away" / f"spikeloom-trials-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    # An empty one is removed as a leftover.
    (shared / "theirs").touch()
    with pytest.raises(RunError, match="expected a folder that only you can use, found another"):
        away(home, checkpoint_pt=b"1")
    shared.chmod(0o700)
    away(home, checkpoint_pt=b"1")


@pytest.mark.parametrize(("message", "seen"), [(None, True), (errno.EROFS, False), (errno.EACCES, False), (28, True)])
def test_folder_that_a_machine_may_only_read_is_not_trained_in(
    home: Path, monkeypatch: pytest.MonkeyPatch, message: int | None, seen: bool
):
    (home / TOKEN).write_text("token")
    assert not sees(home, "another token")

    def refuse(*_: Any, **__: Any) -> None:
        assert message is not None
        raise OSError(message, os.strerror(message))

    if message is not None:
        monkeypatch.setattr(Path, "touch", refuse)
    assert sees(home, "token") == seen
    site = TrialStorage(home, "token").site(TRIAL)
    assert site.away != seen
    site.close(ended=False)
    assert sorted(contents(home)) == [TOKEN]


def test_full_disk_at_home_is_a_line(home: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    told = r"checkpoint\.pt: cannot be written \(No space left on device\)\. Check the free space, then resume\."
    with pytest.raises(RunError, match=told):
        Receiver(str(home)).write(TRIAL, "checkpoint.pt", "p", 0, b"1")


def test_large_files_go_to_a_storage_and_come_from_there(home: Path, tmp_path: Path):
    url = (tmp_path / "a storage").as_uri()
    away(home, url, metrics_jsonl=b"1\n", checkpoint_pt=b"weights", best_pt=b"best").keep()
    assert contents(home / "trials" / TRIAL) == {"metrics.jsonl": b"1\n"}
    assert contents(tmp_path / "a storage" / TRIAL) == {"checkpoint.pt": b"weights", "best.pt": b"best"}
    elsewhere = away(home, url)
    elsewhere.fetch()
    assert contents(elsewhere.folder) == {"metrics.jsonl": b"1\n", "checkpoint.pt": b"weights", "best.pt": b"best"}


def test_storage_is_any_file_system_that_arrow_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pyarrow import fs

    (tmp_path / "bucket").mkdir()
    bucket = fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem())
    monkeypatch.setattr(storage_urls, "open_storage", lambda url: (bucket, "searches/s"))
    source = tmp_path / "checkpoint.pt"
    for data in (b"first", b"the second"):
        source.write_bytes(data)
        store_large("mock://", f"{TRIAL}/checkpoint.pt", source)
        assert fetch_large("mock://", f"{TRIAL}/checkpoint.pt", tmp_path / "back.pt")
        assert (tmp_path / "back.pt").read_bytes() == data
    assert contents(tmp_path / "bucket" / "searches" / "s" / TRIAL) == {"checkpoint.pt": b"the second"}
    assert not fetch_large("mock://", f"{TRIAL}/best.pt", tmp_path / "none.pt")

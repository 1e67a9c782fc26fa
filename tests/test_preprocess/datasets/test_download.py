"""Downloads from a server on this machine: whole files, broken transfers, other content, missing files."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import preprocess.datasets.download as downloads
from preprocess.commands.download import run
from preprocess.datasets import dvs_gesture
from preprocess.datasets.download import Remote, download
from preprocess.datasets.dvs_gesture import check_raw_gestures
from preprocess.datasets.registry import ARCHIVES, DOWNLOADS, IMAGE_DATASETS
from preprocess.errors import LayoutError

CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/missing.zip":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/broken.zip" else CONTENT)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Asked", (Handler,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", asked
        http.shutdown()
        thread.join()


def published(monkeypatch: pytest.MonkeyPatch, *remotes: Remote) -> None:
    monkeypatch.setattr(downloads, "list_remotes", lambda _: remotes)


def test_a_whole_file_is_fetched_once(server, tmp_path: Path, monkeypatch, capsys):
    url, asked = server
    published(monkeypatch, Remote(f"{url}/a.zip", "train.zip", MD5))
    said: list[str] = []
    assert download("n-mnist", tmp_path / "new" / "out", notify=said.append) == [tmp_path / "new" / "out" / "train.zip"]
    assert (tmp_path / "new" / "out" / "train.zip").read_bytes() == CONTENT
    assert said == [f"{url}/a.zip: downloading to {tmp_path / 'new' / 'out' / 'train.zip'}"]
    before = len(asked)
    download("n-mnist", tmp_path / "new" / "out", notify=said.append)
    assert len(asked) == before and said[-1].endswith("train.zip: already complete")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "md5", "found"),
    [
        ("missing.zip", MD5, "found HTTP Error 404: Not Found. Run the same command again, or"),
        ("broken.zip", MD5, "found 1,000 bytes with another MD5 checksum, as after an interrupted transfer. Run"),
        ("other.zip", "0" * 32, "found 10,240 bytes with another MD5 checksum"),
    ],
)
def test_what_fails_says_what_to_do_by_hand_and_the_rest_is_fetched(
    server, tmp_path: Path, monkeypatch, name: str, md5: str, found: str
):
    url, _ = server
    published(monkeypatch, Remote(f"{url}/{name}", "train.zip", md5), Remote(f"{url}/b.zip", "test.zip", MD5))
    with pytest.raises(LayoutError) as refused:
        download("n-mnist", tmp_path, notify=lambda _: None)
    (line,) = refused.value.errors
    assert line.startswith(f"{url}/{name}: expected the archive train.zip, ") and found in line
    assert line.endswith(f"save it as {tmp_path / 'train.zip'} (MD5 {md5}), and continue with preprocess.")
    assert [path.name for path in tmp_path.iterdir()] == ["test.zip"]


def test_a_damaged_file_is_fetched_again(server, tmp_path: Path, monkeypatch):
    url, _ = server
    (tmp_path / "train.zip").write_bytes(CONTENT[:-1])
    published(monkeypatch, Remote(f"{url}/a.zip", "train.zip", MD5))
    download("n-mnist", tmp_path, notify=lambda _: None)
    assert (tmp_path / "train.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("n-mnist", "train.zip test.zip"),
        ("cifar10-dvs", "CIFAR10DVS.zip"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("tiny-imagenet", "tiny-imagenet-200.zip"),
    ],
)
def test_archives_have_the_names_of_tonic_and_torchvision(dataset: str, names: str):
    assert [remote.name for remote in downloads.list_remotes(dataset)] == names.split()


@pytest.mark.parametrize("dataset", [*DOWNLOADS])
def test_every_download_is_from_an_https_address_and_has_a_checksum(dataset: str):
    for remote in downloads.list_remotes(dataset):
        assert remote.url.startswith("https://") and "#" not in remote.url
        assert re.fullmatch("[0-9a-f]{32}", remote.md5)


@pytest.mark.parametrize("dataset", [*DOWNLOADS])
def test_preprocess_unpacks_what_is_downloaded(dataset: str):
    archives = IMAGE_DATASETS[dataset].archives if dataset in IMAGE_DATASETS else ARCHIVES[dataset]
    assert {remote.name for remote in downloads.list_remotes(dataset)} <= archives.keys()


def test_raw_gestures_are_told_by_hand_and_checked(tmp_path: Path, monkeypatch, capsys):
    said = check_raw_gestures(tmp_path)
    assert f"download DvsGesture.tar.gz into {tmp_path}" in said and "trials_to_test.txt" in said
    (tmp_path / "DvsGesture.tar.gz").write_bytes(b"")
    assert check_raw_gestures(tmp_path).endswith(f"spikeloom preprocess dvs-gesture --source {tmp_path}")
    folder = tmp_path / "DvsGesture"
    folder.mkdir()
    (folder / "trials_to_train.txt").write_text("")
    with pytest.raises(LayoutError, match=r"user01_natural.aedat: cannot be read"):
        check_raw_gestures(tmp_path)
    (folder / "user01_natural.aedat").write_bytes(b"abc")
    with pytest.raises(LayoutError, match=r"expected 67,386,381 bytes with sha256 c32f.*, found 3 bytes"):
        check_raw_gestures(tmp_path)
    monkeypatch.setattr(dvs_gesture, "_CHECKED_BYTES", 3)
    with pytest.raises(LayoutError, match=rf"found 3 bytes with sha256 {hashlib.sha256(b'abc').hexdigest()}\."):
        check_raw_gestures(tmp_path)
    monkeypatch.setattr(dvs_gesture, "_CHECKED_SHA256", hashlib.sha256(b"abc").hexdigest())
    run(["dvs-gesture", "--out", str(tmp_path)])
    assert capsys.readouterr().out == f"{folder} contains IBM's recordings; user01_natural.aedat is intact\n"


def test_the_command_names_what_comes_next(server, tmp_path: Path, monkeypatch, capsys):
    url, _ = server
    published(monkeypatch, Remote(f"{url}/a.zip", "train.zip", MD5))
    run(["n-mnist", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed == f"{tmp_path / 'train.zip'}\nNext: spikeloom preprocess n-mnist --source {tmp_path}\n"

"""Archives are unpacked beside themselves, whole or not at all, and never write outside of their folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from messages import refuses
from raw_files import aedat2, atis
from test_datasets import OBJECTS, gestures, refusals, samples_of  # noqa: F401

from preprocess.datasets import archives, find_layout
from preprocess.datasets.archives import unpack_archive
from preprocess.errors import LayoutError


def tar(path: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unix(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def folders(inside: str, end: str) -> list[tuple[tarfile.TarInfo | str, bytes]]:
    """The member for the folder of the others, as `tar` and `zip` write it; none for the top."""
    return [] if not inside else [(inside if end == "zip" else special(inside.rstrip("/"), tarfile.DIRTYPE), b"")]


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("end", ["tar.gz", "zip"])
@pytest.mark.parametrize("inside", ["", "./", "set/"])
def test_an_archive_becomes_a_folder_of_its_name(tmp_path: Path, end: str, inside: str):
    make = zipped if end == "zip" else tar
    path = make(
        tmp_path / f"set.{end}", [*folders(inside, end), (f"{inside}a/b.bin", b"12345"), (f"{inside}c.txt", b"")]
    )
    said: list[str] = []
    folder = unpack_archive(path, None, said.append)
    assert folder == tmp_path / "set" and said == [f"{path}: unpacking into {folder}"]
    assert listing(folder) == ["a", "a/b.bin", "c.txt"] and (folder / "a" / "b.bin").read_bytes() == b"12345"
    assert unpack_archive(path, None, said.append) == folder and len(said) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", f"set.{end}"]


EVIL: list[tuple[str, Callable[[Path], Path], str]] = [
    ("absolute", lambda p: tar(p / "s.tar.gz", [("/tmp/spikeloom-evil", b"x")]), "within its own folder, found '/tmp"),
    ("up", lambda p: tar(p / "s.tar.gz", [("a/../../evil", b"x")]), "found 'a/../../evil'"),
    ("link", lambda p: tar(p / "s.tar.gz", [(special("l", tarfile.SYMTYPE, "/etc"), b"")]), "found a link, 'l'"),
    ("hard", lambda p: tar(p / "s.tar.gz", [(special("l", tarfile.LNKTYPE, "a"), b"")]), "found a link, 'l'"),
    ("device", lambda p: tar(p / "s.tar.gz", [(special("d", tarfile.CHRTYPE), b"")]), "found a device or another"),
    ("pipe", lambda p: tar(p / "s.tar.gz", [(special("d", tarfile.FIFOTYPE), b"")]), "found a device or another"),
    ("zip absolute", lambda p: zipped(p / "s.zip", [("/tmp/spikeloom-evil", b"x")]), "found '/tmp/spikeloom-evil'"),
    ("zip up", lambda p: zipped(p / "s.zip", [("../evil", b"x")]), "found '../evil'"),
    ("zip drive", lambda p: zipped(p / "s.zip", [("C:evil", b"x")]), "found 'C:evil'"),
    ("zip link", lambda p: zipped(p / "s.zip", [(unix("l", stat.S_IFLNK | 0o777), b"/etc")]), "a link or device, 'l'"),
    ("zip without a name", lambda p: zipped(p / "s.zip", [(zipfile.ZipInfo(""), b"x")]), "own folder, found ''"),
    ("zip itself", lambda p: zipped(p / "s.zip", [(".", b"x")]), "own folder, found '.'"),
    ("itself", lambda p: tar(p / "s.tar.gz", [(".", b"x")]), "own folder, found '.'"),
    ("in a file", lambda p: tar(p / "s.tar.gz", [("a", b"x"), ("a/b", b"y")]), "and folder, found 'a' twice"),
    ("zip in a file", lambda p: zipped(p / "s.zip", [("a", b"x"), ("a/b", b"y")]), "and folder, found 'a' twice"),
    ("folder", lambda p: tar(p / "s.tar.gz", [("a", b"x"), *folders("a", "tar")]), "and folder, found 'a' twice"),
    ("deep", lambda p: tar(p / "s.tar.gz", [("a", b"x"), ("a/b/c", b"y")]), "and folder, found '"),
    (
        "twice",
        lambda p: tar(p / "s.tar.gz", [("a", b"x"), ("a", b"y")]),
        "another name for each file and folder, found 'a' twice",
    ),
]


@pytest.mark.parametrize(("make", "message"), [pytest.param(m, t, id=name) for name, m, t in EVIL])
def test_what_reaches_out_of_its_folder_is_refused(tmp_path: Path, make: Callable[[Path], Path], message: str):
    path = make(tmp_path)
    with pytest.raises(LayoutError) as refused:
        unpack_archive(path, None, lambda _: None)
    (line,) = refused.value.errors
    assert message in line and "\n" not in line
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and not Path("/tmp/spikeloom-evil").exists()


@pytest.mark.parametrize("end", ["tar.gz", "zip"])
def test_damaged_archives_are_refused_wherever_they_end(tmp_path: Path, end: str):
    import numpy as np

    make = zipped if end == "zip" else tar
    content = np.random.default_rng(1).bytes(3000)
    path = make(tmp_path / f"s.{end}", [("a.bin", content), ("b.bin", content)])
    whole = path.read_bytes()
    for size in (0, 1, 10, 100, 2000, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(LayoutError, match=r"an intact archive, found a damaged one \(.*Nothing was unpacked"):
            unpack_archive(path, None, lambda _: None)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    flipped = bytearray(whole)
    flipped[1500] ^= 8
    path.write_bytes(flipped)
    with pytest.raises(LayoutError):
        unpack_archive(path, None, lambda _: None)


def test_a_member_larger_than_the_disk_is_refused(tmp_path: Path):
    path = tar(tmp_path / "s.tar.gz", [("a", b"x")])
    info = tarfile.TarInfo("huge")
    info.size = 1 << 50
    with tarfile.open(path, "w:gz") as archive:
        archive.fileobj.write(info.tobuf())
    with pytest.raises(LayoutError, match=r"that fit on the disk, found one of 1,125,899,906,842,624 bytes, 'huge'"):
        unpack_archive(path, None, lambda _: None)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_more_members_than_any_data_set_has_are_refused_and_nothing_remains(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    for count in (3, 2):
        members = [(f"file{k}", b"x") for k in range(count)]
        path = (tar if kind == "tar" else zipped)(tmp_path / f"s{count}.{kind}", members)
        if count > 2:
            with refuses(LayoutError, where=path.name, expected="at most 2 files", remedy="give the folder"):
                unpack_archive(path, None, lambda _: None)
            assert list(tmp_path.iterdir()) == [path]
        else:
            unpack_archive(path, None, lambda _: None)


def test_the_original_gestures_are_unpacked_once(gestures: Path, tmp_path: Path):  # noqa: F811
    source = tmp_path / "download"
    source.mkdir()
    with tarfile.open(source / "DvsGesture.tar.gz", "w:gz") as archive:
        archive.add(gestures, "DvsGesture")
    said: list[str] = []
    for where in (source, source, source / "DvsGesture.tar.gz", tmp_path / "download"):
        layout = find_layout("dvs-gesture", where, notify=said.append)
        assert layout.folder == source / "DvsGesture"
        assert samples_of(layout) == samples_of(find_layout("dvs-gesture", gestures))
    assert sum("unpacking" in line for line in said) == 1


@pytest.mark.parametrize("nested", [False, True])
def test_ten_zips_of_cifar10_dvs_are_unpacked_side_by_side(tmp_path: Path, nested: bool):
    source = tmp_path / "zips"
    source.mkdir()
    for name in OBJECTS:
        zipped(source / f"{name}.zip", [(f"{name}/cifar10_{name}_3.aedat", aedat2([(0, 1)]))])
    if nested:
        inner = [(f"{name}.zip", (source / f"{name}.zip").read_bytes()) for name in OBJECTS]
        source = tmp_path / "nested"
        source.mkdir()
        zipped(source / "CIFAR10DVS.zip", inner)
    layout = find_layout("cifar10-dvs", source)
    assert layout.folder == (source / "CIFAR10DVS" if nested else source)
    assert [r.relative for r in layout.recordings][:1] == ["airplane/cifar10_airplane_3.aedat"]
    assert len(layout.recordings) == 10
    # What came later is unpacked beside what was there.
    import shutil

    shutil.rmtree(layout.folder / "truck")
    assert len(find_layout("cifar10-dvs", source).recordings) == 10


def test_train_and_test_of_n_mnist_are_unpacked(tmp_path: Path):
    for part in ("Train", "Test"):
        zipped(tmp_path / f"{part.lower()}.zip", [(f"{part}/{d}/00001.bin", atis([(5, d, 3, 1)])) for d in range(10)])
    assert len(find_layout("n-mnist", tmp_path).recordings) == 20
    (tmp_path / "other").mkdir()
    assert refusals("n-mnist", tmp_path / "other")[0].endswith("Give the folder that contains them.")


def test_what_a_killed_process_had_half_unpacked_is_taken_away(tmp_path: Path):
    import os
    import subprocess

    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f".s.{process}.tmp" / "half").mkdir(parents=True)
    unpack_archive(tar(tmp_path / "s.tar.gz", [("a", b"x")]), None, lambda _: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["s", "s.tar.gz", f".s.{os.getppid()}.tmp"])

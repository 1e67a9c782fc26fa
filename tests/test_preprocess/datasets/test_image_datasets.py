"""CIFAR-10, CIFAR-100 and Tiny ImageNet become image stores, from their own files, or are refused in one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from image_files import CIFAR10_NAMES, crops, write_batch, write_cifar10, write_cifar100, write_tiny_imagenet
from PIL import Image

from preprocess import RepeatedImages, open_images, preprocess_dataset, preprocess_images
from preprocess.building.build_event_store import build_event_store
from preprocess.cli import COMMANDS
from preprocess.datasets.images.array_pickle import Refused, read_arrays
from preprocess.datasets.images.image_file import decode_image
from preprocess.datasets.registry import IMAGE_DATASETS, cache_command, find_image_layout, find_published
from preprocess.datasets.splits import split_samples
from preprocess.errors import CacheError, CacheMismatchError, LayoutError, RecordingError, SpikeloomError
from preprocess.inspection.verify import verify_cache
from preprocess.store.image_store import ImageStore
from preprocess.store.sample_table import TEST, TRAIN
from preprocess.terminal.command_line import run_main

WRITERS: dict[str, Callable[[Path], Path]] = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "tiny-imagenet": write_tiny_imagenet,
}


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[*map(str, words)])


def build(source: Path, dataset: str, cache: Path, **options: str) -> ImageStore:
    return open_images(preprocess_images(source, dataset, cache, **options).path)


def pixels_of(store: ImageStore) -> np.ndarray:
    return np.stack([store.read(i) for i in range(len(store))])


@pytest.mark.parametrize("binary", [False, True])
def test_both_versions_of_cifar10_are_read_in_order(tmp_path: Path, binary: bool):
    write_cifar10(tmp_path / "src", binary=binary)
    store = build(tmp_path / "src", "cifar10", tmp_path / "cache")
    assert store.classes == CIFAR10_NAMES and store.shape == (3, 32, 32)
    assert open_images(tmp_path / "cache").path == store.path
    train, test = crops(60, 32, test=False), crops(30, 32, test=True)
    np.testing.assert_array_equal(pixels_of(store), np.concatenate([train[0], test[0]]))
    assert store.samples.label.tolist() == [*train[1], *test[1]]
    assert store.samples.split.tolist() == [TRAIN] * 60 + [TEST] * 30
    assert store.samples.name[[0, 12, 60]].tolist() == ["data_batch_1/0", "data_batch_2/0", "test_batch/0"]
    assert len(set(store.samples.name.tolist())) == 90


@pytest.mark.parametrize("binary", [False, True])
def test_the_class_of_cifar100_is_the_fine_label(tmp_path: Path, binary: bool):
    write_cifar100(tmp_path / "src", binary=binary)
    store = build(tmp_path / "src", "cifar100", tmp_path / "cache")
    assert len(store.classes) == 100 and store.samples.label.tolist() == [97, 98, 99] * 6
    np.testing.assert_array_equal(store.read(13), crops(6, 32, test=True)[0][1])


@pytest.mark.parametrize(("dataset", "write"), [("CIFAR10", write_cifar10), ("CIFAR100", write_cifar100)])
@pytest.mark.parametrize("train", [True, False])
def test_images_equal_torchvisions_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, write: Callable[[Path], Path], train: bool
):
    from torchvision import datasets as torchvision_datasets

    write(tmp_path)
    kind = getattr(torchvision_datasets, dataset)
    # Its checksums are those of the published files.
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    theirs = kind(str(tmp_path), train=train)
    store = build(tmp_path, dataset.lower(), tmp_path / "cache")
    ours = np.flatnonzero(store.samples.split == (TRAIN if train else TEST))
    np.testing.assert_array_equal(pixels_of(store)[ours].transpose(0, 2, 3, 1), theirs.data)
    assert store.samples.label[ours].tolist() == theirs.targets and list(store.classes) == theirs.classes


def test_tiny_imagenet_tests_on_its_validation_images(tmp_path: Path):
    folder = write_tiny_imagenet(tmp_path)
    (folder / "test" / "images").mkdir(parents=True)
    store = build(tmp_path, "tiny-imagenet", tmp_path / "cache")
    # Two classes have the same first word.
    assert store.classes == ("goldfish", "salamander (n01629819)", "salamander (n02058221)")
    assert store.samples.label.tolist() == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    assert store.samples.split.tolist() == [TRAIN] * 6 + [TEST] * 3
    for number, relative in ((1, "train/n01443537/images/n01443537_3.JPEG"), (8, "val/images/val_2.JPEG")):
        with Image.open(folder / relative) as image:
            np.testing.assert_array_equal(store.read(number), np.asarray(image).transpose(2, 0, 1))
    # The first training image is grey.
    grey = store.read(0)
    assert (grey == grey[0]).all() and not (store.read(1) == store.read(1)[0]).all()


@pytest.mark.parametrize("dataset", WRITERS)
def test_an_image_store_is_reused_verified_and_describes_itself(tmp_path: Path, dataset: str, capsys):
    source = WRITERS[dataset](tmp_path / "src")
    words = ("preprocess", dataset, "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--workers", 2)
    assert run(*words, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    path = tmp_path / "cache" / dataset / "images.h5"
    assert made["built"] and made["path"] == str(path) and made["samples"] == made["train"] + made["test"] > 0
    assert run(*words) == 0
    printed = capsys.readouterr()
    assert "up to date" in printed.out and f"train images-small --dataset.name {dataset}" in printed.out
    assert "of the published" in printed.err
    assert [result.errors for result in verify_cache(tmp_path / "cache")] == [(), ()]
    assert run("inspect", path, "--sample", 1, "--plot", tmp_path / "a.png") == 0
    printed = capsys.readouterr()
    assert "image store" in printed.out and "standard deviation 0.2" in printed.out and "events" not in printed.out
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (256, 256)
    assert run("inspect", path, "--animate", tmp_path / "a.gif") == 2
    # A file that was touched is the same; a changed one is not.
    os.utime(next(path for path in sorted(source.rglob("*")) if path.is_file()), (1, 1))
    assert not preprocess_images(tmp_path / "src", dataset, tmp_path / "cache").built
    before = open_images(path).fingerprint
    if dataset == "tiny-imagenet":
        shutil.copy(source / "val/images/val_1.JPEG", source / "val/images/val_0.JPEG")
    else:
        name = "test_batch" if dataset == "cifar10" else "test"
        pixels, labels = crops(6, 32, test=True, seed=1)
        write_batch(source / name, pixels, labels=labels.tolist(), fine_labels=labels.tolist())
    assert verify_cache(path.parent)[1].errors
    assert preprocess_images(tmp_path / "src", dataset, tmp_path / "cache").built
    assert open_images(path).fingerprint != before


def test_a_changed_byte_of_a_store_is_found(tmp_path: Path):
    write_cifar10(tmp_path / "src")
    path = preprocess_images(tmp_path / "src", "cifar10", tmp_path / "cache").path
    with h5py.File(path, "r+") as file:
        file["images"][5, 0, 0, 0] = file["images"][5, 0, 0, 0] ^ 1
    (error,) = verify_cache(path.parent)[0].errors
    assert "sample 5 ('data_batch_1/5') does not match its checksum" in error
    assert f"spikeloom preprocess cifar10 --source {tmp_path / 'src'}" in error
    with h5py.File(path, "r+") as file:
        file.attrs["mean"] = np.zeros(3)
    with pytest.raises(CacheError, match="does not match its seal"):
        open_images(path)


def test_published_archives_are_unpacked(tmp_path: Path):
    write_cifar10(tmp_path / "made")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / "cifar-10-batches-py", "cifar-10-batches-py")
    assert len(build(tmp_path / "cifar-10-python.tar.gz", "cifar10", tmp_path / "cache")) == 90
    write_tiny_imagenet(tmp_path / "made")
    (tmp_path / "download").mkdir()
    with zipfile.ZipFile(tmp_path / "download" / "tiny-imagenet-200.zip", "w") as archive:
        for path in (tmp_path / "made" / "tiny-imagenet-200").rglob("*"):
            archive.write(path, path.relative_to(tmp_path / "made"))
    assert len(build(tmp_path / "download", "tiny-imagenet", tmp_path / "cache")) == 9


class _Runs:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_runs_no_code(tmp_path: Path, protocol: int):
    content = pickle.dumps({b"data": _Runs(tmp_path / "made")}, protocol=protocol)
    with pytest.raises(Refused, match=r"(nt|posix)\.mkdir"):
        read_arrays(content)
    assert not (tmp_path / "made").exists()


def test_a_text_with_escapes_that_python_never_writes_is_refused_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_arrays(b"(dS'\\t'\nI1\ns.") == {"\t": 1}
        with pytest.raises(Refused, match="a damaged pickle: "):
            read_arrays(b"(dS'\\q'\nI1\ns.")


@pytest.mark.parametrize("operation", [b"r\xff\xff\xff\x00", b"p16777215\n"], ids=["LONG_BINPUT", "PUT"])
def test_nothing_is_allocated_because_a_pickle_claims_it(operation: bytes):
    """Python makes a table as long as the index of an operation."""
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="a damaged pickle"):
            read_arrays(b"\x80\x02}" + operation + b".")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=np.uint8).reshape(2, 3), np.asfortranarray(np.eye(3, 2)), np.arange(3.0)[::-1]]
)
def test_arrays_of_every_protocol_are_read(protocol: int, array: np.ndarray):
    found = read_arrays(pickle.dumps({b"data": array, "labels": [3, 4], "name": b"x"}, protocol=protocol))
    np.testing.assert_array_equal(found["data"], array)
    assert found["labels"] == [3, 4] and found["data"].dtype == array.dtype


def test_objects_other_than_numeric_arrays_are_refused():
    for value in (np.array([{}], object), np.array(["a"]), np.zeros(2, "i4,f4"), io.BytesIO(b""), torch.zeros(2)):
        with pytest.raises(Refused):
            read_arrays(pickle.dumps({"data": value}, protocol=2))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _with(**values: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        found = pickle.loads(path.read_bytes(), encoding="latin1")
        path.write_bytes(pickle.dumps(found | values, protocol=2))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "expected a pickled dictionary of arrays and plain values, found"),
        (lambda path: path.write_bytes(pickle.dumps([1, 2])), "found a list, not a dictionary"),
        (lambda path: path.write_bytes(b""), "expected a pickled dictionary"),
        (
            _with(data=np.zeros((12, 3071), np.uint8)),
            "expected images as uint8 (n, 3,072) under data, found uint8 (12, 3071)",
        ),
        (_with(data=np.zeros((12, 3072))), "found float64 (12, 3072)"),
        (_with(data=[1]), "found list"),
        (_with(labels=[0] * 11), "expected a label for each image, found 12 images and 11 labels"),
        (_with(labels=[10] * 12), "expected class numbers 0 to 9, found 10 to 10"),
        (_with(labels=[0] * 11 + [2**70]), "expected class numbers 0 to 9, found 0 to 1180591620717411303424"),
        (_with(labels=["cat"] * 12), "expected a list of class numbers under labels, found list"),
        (_with(labels=None), "found NoneType"),
    ],
)
def test_damaged_batches_are_refused_in_one_line(tmp_path: Path, capsys, damage: Callable[[Path], None], message: str):
    path = write_cifar10(tmp_path / "src") / "data_batch_3"
    damage(path)
    assert run("preprocess", "cifar10", "--source", tmp_path / "src", "--cache", tmp_path / "cache") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "expected" in line]
    assert str(path) in line and message in line and line.endswith("Download and unpack the data set again.")
    assert not (tmp_path / "cache" / "cifar10").exists()


def test_damaged_binary_batches_are_refused(tmp_path: Path):
    folder = write_cifar10(tmp_path / "src", binary=True)
    _cut(folder / "test_batch.bin")
    (folder / "data_batch_1.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(RecordingError) as refused:
        build(tmp_path / "src", "cifar10", tmp_path / "cache")
    first, second = refused.value.errors
    assert "expected class numbers 0 to 9, found 11 to 11" in first
    assert "expected records of 3,073 bytes, found 92,090 bytes in all" in second


@pytest.mark.parametrize(
    ("write", "dataset", "names"),
    [
        (write_cifar10, "cifar10", ("data_batch_2", "test_batch")),
        (write_cifar100, "cifar100", ("test",)),
    ],
)
def test_every_missing_file_is_named(
    tmp_path: Path, write: Callable[[Path], Path], dataset: str, names: tuple[str, ...]
):
    folder = write(tmp_path / "src")
    for name in names:
        (folder / name).unlink()
    with pytest.raises(LayoutError) as refused:
        find_image_layout(dataset, tmp_path / "src")
    expected = "expected a file of images, found no such file. Download and unpack the data set again."
    assert list(refused.value.errors) == [f"{folder / name}: {expected}" for name in names]


def test_what_is_wrong_with_tiny_imagenet_is_said_at_once(tmp_path: Path):
    folder = write_tiny_imagenet(tmp_path / "src")
    (folder / "val/images/val_1.JPEG").unlink()
    shutil.rmtree(folder / "train/n01629819/images")
    with (folder / "val/val_annotations.txt").open("a") as notes:
        notes.write("val_2.JPEG\tn99999999\t0\nval_0.JPEG\tn01443537\t0\n")
    with pytest.raises(LayoutError) as refused:
        find_image_layout("tiny-imagenet", tmp_path / "src")
    first, second, third, fourth = refused.value.errors
    assert "n01629819/images: expected images (.JPEG), found none" in first
    assert "val_1.JPEG: expected the image of val_annotations.txt, found no such file" in second
    assert "val_annotations.txt: line 4: expected the name of an image and its class" in third
    assert "val_annotations.txt: line 5: expected each image once, found val_0.JPEG again" in fourth


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "other first bytes"),
        (b"GIF89a" + bytes(50), "other first bytes"),
        ("cut", "Truncated"),
        ("size", "found 32x32"),
    ],
)
def test_damaged_jpegs_are_refused_in_one_line(tmp_path: Path, content: bytes | str, message: str):
    path = write_tiny_imagenet(tmp_path / "src") / "train/n01629819/images/n01629819_1.JPEG"
    if content == "size":
        Image.new("RGB", (32, 32)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:400] if isinstance(content, str) else content)
    with pytest.raises(RecordingError) as refused:
        build(tmp_path / "src", "tiny-imagenet", tmp_path / "cache")
    (line,) = refused.value.errors
    assert str(path) in line and message in line and "0x7" not in line


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_pixels_that_would_lose_their_meaning_are_refused():
    deep = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
    clear = Image.new("RGBA", (4, 4), (9, 8, 7, 255))
    clear.putpixel((1, 2), (9, 8, 7, 254))
    for image, found in ((deep, "more than 8 bits per colour"), (clear, "transparent pixels")):
        with pytest.raises(RecordingError, match=f"no transparency, found {found}"):
            decode_image(Path("x.png"), _png(image), 4, 4)
    opaque = decode_image(Path("x.png"), _png(Image.new("RGBA", (4, 4), (9, 8, 7, 255))), 4, 4)
    assert [channel.tolist() for channel in opaque] == [[[value] * 4] * 4 for value in (9, 8, 7)]


@pytest.mark.parametrize("dataset", IMAGE_DATASETS)
def test_missing_and_wrong_sources_of_images(tmp_path: Path, dataset: str):
    def refusal(source: Path) -> str:
        with pytest.raises(LayoutError) as refused:
            find_image_layout(dataset, source)
        (line,) = refused.value.errors
        return line

    download = f"Check --source, or download it: spikeloom download {dataset} --out {tmp_path / 'none'}"
    assert refusal(tmp_path / "none").endswith(f"found no such folder. {download}")
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").endswith("found an empty folder. Give the folder that contains them.")
    (tmp_path / "empty" / "notes.txt").write_bytes(b"")
    assert refusal(tmp_path / "empty" / "notes.txt").endswith("Give the folder.")


@pytest.mark.parametrize("dataset", IMAGE_DATASETS)
def test_image_data_sets_are_known_by_name(tmp_path: Path, dataset: str, capsys):
    assert cache_command(dataset) == ("", f"spikeloom preprocess {dataset}")
    published = find_published(dataset)
    assert published is not None and published.images and published.train in (50_000, 100_000)
    # A data set of events has a longer name.
    assert not find_published("cifar10-dvs").images
    assert run("preprocess", dataset, "--source", tmp_path, "--timesteps", 4, "--sort") == 2
    assert "--timesteps, --sort: expected with data sets of events only" in capsys.readouterr().err
    with pytest.raises(LayoutError, match="Use preprocess_images"):
        preprocess_dataset(tmp_path, dataset, tmp_path / "cache")


def test_an_image_store_replaces_no_other_data_set(tmp_path: Path):
    from tiny_layout import random_events, tiny_layout

    write_cifar10(tmp_path / "src")
    write_cifar100(tmp_path / "src")
    build_event_store(tiny_layout(tmp_path / "own", [random_events(0, 30)], name="own"), tmp_path / "cache")
    with pytest.raises(CacheMismatchError, match="found another data set"):
        preprocess_images(tmp_path / "src", "cifar10", tmp_path / "cache", name="own")
    preprocess_images(tmp_path / "src", "cifar10", tmp_path / "cache", name="images")
    with pytest.raises(CacheMismatchError, match="expected data set cifar100, found cifar10"):
        preprocess_images(tmp_path / "src", "cifar100", tmp_path / "cache", name="images")
    with pytest.raises(SpikeloomError, match="expected the name of a folder"):
        preprocess_images(tmp_path / "src", "cifar10", tmp_path / "cache", name="a/b")


def test_official_splits_hold_out_validation_images_of_every_class(tmp_path: Path):
    write_cifar10(tmp_path / "src")
    store = build(tmp_path / "src", "cifar10", tmp_path / "cache")
    found = split_samples(store.samples, "cifar10", "official", 0.1, "validation", store.classes)
    assert [len(found.train), len(found.validation), len(found.test)] == [54, 6, 30]
    assert sorted(store.samples.label[found.validation].tolist()) == [0, 0, 1, 1, 2, 2]
    assert (store.samples.split[found.test] == TEST).all()


def test_repeated_images_are_one_image_at_each_time_step(tmp_path: Path):
    write_cifar10(tmp_path / "src", 10, 5)
    store = build(tmp_path / "src", "cifar10", tmp_path / "cache")
    frames = pickle.loads(pickle.dumps(RepeatedImages(store, 4)))
    assert frames.sample_shape == (4, 3, 32, 32) and frames.lengths.tolist() == [4] * 15
    expected = np.stack([store.read(3)] * 4)
    np.testing.assert_array_equal(frames.read(3), expected)
    assert frames.read(3).strides[0] == 0
    np.testing.assert_array_equal(frames.read_batch([3, 2], np.empty((2, 4, 3, 32, 32), np.uint8))[0], expected)
    np.testing.assert_array_equal(frames.read_batch([2, 3])[1], expected)
    frames.close()

"""Small real images, crops of photographs that scikit-learn and matplotlib ship, in the files of image data sets.

The three classes are three photographs: a temple, a flower and a portrait. Training and test crops do not overlap.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PHOTOGRAPHS = 3


@functools.cache
def _photographs(side: int) -> tuple[NDArray[np.uint8], ...]:
    """The photographs as uint8 (H, W, 3), scaled so that crops of this side show parts of about an eighth."""
    # Where it is, without loading all of scikit-learn.
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.origin is not None
    folder = Path(package.origin).parent / "datasets" / "images"
    paths = (
        folder / "china.jpg", folder / "flower.jpg",
        Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg",
    )  # fmt: skip
    found = []
    for path in paths:
        with Image.open(path) as image:
            found.append(np.asarray(image.convert("RGB").resize((8 * side, 8 * side)), np.uint8))
    return tuple(found)


def crops(count: int, side: int, *, test: bool, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops, uint8 (count, 3, side, side), of the left (training) or the right half, and their photographs' numbers."""
    rng = np.random.default_rng([seed, int(test)])
    labels = np.arange(count) % PHOTOGRAPHS
    images = np.empty((count, 3, side, side), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top, left = rng.integers(0, 7 * side), rng.integers(0, 3 * side) + 4 * side * test
        image[...] = _photographs(side)[label][top : top + side, left : left + side].transpose(2, 0, 1)
    return images, labels


def write_cifar10(folder: Path, train: int = 60, test: int = 30, *, binary: bool = False) -> Path:
    """CIFAR-10's folder with five batches of the training crops; returns it."""
    place = folder / ("cifar-10-batches-bin" if binary else "cifar-10-batches-py")
    place.mkdir(parents=True)
    images, labels = crops(train, 32, test=False)
    parts = zip(np.array_split(images, 5), np.array_split(labels, 5), strict=True)
    batches = {f"data_batch_{number}": part for number, part in enumerate(parts, 1)}
    batches["test_batch"] = crops(test, 32, test=True)
    for name, (pixels, numbers) in batches.items():
        if binary:
            rows = np.concatenate([numbers[:, None].astype(np.uint8), pixels.reshape(len(pixels), -1)], 1)
            (place / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            names = [f"crop_{number}.png" for number in range(len(numbers))]
            write_batch(place / name, pixels, labels=numbers.tolist(), filenames=names, batch_label=name)
    if binary:
        (place / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")
    else:
        _pickle(place / "batches.meta", {"label_names": list(CIFAR10_NAMES), "num_vis": 3072})
    return place


def write_cifar100(folder: Path, train: int = 12, test: int = 6, *, binary: bool = False) -> Path:
    """CIFAR-100's folder; fine labels are 97 to 99, so that they differ from the coarse ones."""
    place = folder / ("cifar-100-binary" if binary else "cifar-100-python")
    place.mkdir(parents=True)
    names = [f"class{number}" for number in range(100)]
    for name, count in (("train", train), ("test", test)):
        pixels, labels = crops(count, 32, test=name == "test")
        if binary:
            before = np.stack([labels, labels + 97], 1).astype(np.uint8)
            rows = np.concatenate([before, pixels.reshape(count, -1)], 1)
            (place / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            fine = (labels + 97).tolist()
            write_batch(place / name, pixels, fine_labels=fine, coarse_labels=labels.tolist(), batch_label=name)
    if binary:
        (place / "fine_label_names.txt").write_text("\n".join(names))
    else:
        _pickle(place / "meta", {"fine_label_names": names, "coarse_label_names": names[:20]})
    return place


def write_tiny_imagenet(folder: Path, train: int = 6, test: int = 3) -> Path:
    """Tiny ImageNet's folder with three classes; the first training image is grey."""
    place = folder / "tiny-imagenet-200"
    ids = ("n01443537", "n01629819", "n02058221")
    pixels, labels = crops(train, 64, test=False)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        inner = place / "train" / ids[label] / "images"
        inner.mkdir(parents=True, exist_ok=True)
        _jpeg(inner / f"{ids[label]}_{number}.JPEG", image, grey=number == 0)
    (place / "val" / "images").mkdir(parents=True)
    lines = []
    for number, (image, label) in enumerate(zip(*crops(test, 64, test=True), strict=True)):
        _jpeg(place / "val" / "images" / f"val_{number}.JPEG", image)
        lines.append(f"val_{number}.JPEG\t{ids[label]}\t0\t0\t63\t63\n")
    (place / "val" / "val_annotations.txt").write_text("".join(lines))
    (place / "wnids.txt").write_text("\n".join(ids))
    words = ("goldfish, Carassius auratus", "salamander", "salamander")
    (place / "words.txt").write_text("".join(f"{own}\t{word}\n" for own, word in zip(ids, words, strict=True)))
    return place


def _jpeg(path: Path, image: NDArray[np.uint8], *, grey: bool = False) -> None:
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    (picture.convert("L") if grey else picture).save(path, "JPEG", quality=95)


def write_batch(path: Path, pixels: NDArray[Any], **more: Any) -> None:
    """A file of CIFAR's Python version: a pickled dictionary with the images as rows under data."""
    _pickle(path, {"data": np.ascontiguousarray(pixels.reshape(len(pixels), -1)), **more})


class _Python2(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its str, as in the published files."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_str(self, value: str | bytes) -> None:
        content = value.encode() if isinstance(value, str) else value
        if len(content) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str


def _pickle(path: Path, values: dict[str, Any]) -> None:
    content = io.BytesIO()
    _Python2(content, protocol=2).dump(values)
    # The module's name before NumPy 2.
    path.write_bytes(content.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))

"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): 60,000 images of 32 x 32 pixels, in the files that torchvision downloads.

    cifar-10-batches-py/data_batch_1 .. data_batch_5, test_batch, batches.meta          pickled dictionaries
    cifar-10-batches-bin/data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt
    cifar-100-python/train, test, meta                                                  pickled dictionaries
    cifar-100-binary/train.bin, test.bin, fine_label_names.txt

A row is 3,072 bytes: 32 x 32 of red, then green, then blue. The binary files have the label before each row, for
CIFAR-100 the coarse label and then the fine one, which is the class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.images.array_pickle import Refused, read_arrays, text_of
from preprocess.datasets.images.image_layout import ImageFile, ImageLayout, Images, Normalisation
from preprocess.datasets.layout import Form, raise_all
from preprocess.errors import LayoutError, RecordingError
from preprocess.store.image_store import CHANNELS
from preprocess.store.sample_table import TEST, TRAIN

SIDE = 32
_ROW = CHANNELS * SIDE * SIDE
_AGAIN = "Download and unpack the data set again."


@dataclass(frozen=True)
class _Version:
    """The files of one version of a data set.

    Attributes:
        train: Names of the files of training images.
        test: Name of the file of test images.
        names: Name of the file of class names.
        classes: Number of classes.
        normalisation: Of the training images.
        labels: Key of the labels in a pickle; "" for binary files.
        names_key: Key of the class names in the pickle.
        before: Number of bytes before each row of a binary file, the last of which is the label.
    """

    train: tuple[str, ...]
    test: str
    names: str
    classes: int
    normalisation: Normalisation
    labels: str = ""
    names_key: str = ""
    before: int = 0

    def fits(self, folder: Path, dataset: str) -> bool:
        """Whether a folder has the files of class names, and of training or test images."""
        return (folder / self.names).is_file() and any((folder / name).is_file() for name in (self.train[0], self.test))

    def read(self, folder: Path, dataset: str) -> ImageLayout:
        """The layout of a folder; LayoutError with a line for every missing file."""
        wanted = [*((name, TRAIN) for name in self.train), (self.test, TEST)]
        missing = [name for name, _ in wanted if not (folder / name).is_file()]
        expected = "expected a file of images, found no such file"
        raise_all(folder, [f"{folder / name}: {expected}. {_AGAIN}" for name in missing])
        decode: Callable[..., Images] = self._pickled if self.labels else self._binary
        files = [ImageFile(folder / name, name, split, partial(decode, folder / name)) for name, split in wanted]
        classes = self._class_names(folder / self.names)
        return ImageLayout(
            dataset, dataset, folder, classes, SIDE, SIDE, self.normalisation, tuple(files), (self.names,)
        )

    def _class_names(self, path: Path) -> tuple[str, ...]:
        try:
            content = path.read_bytes()
            if self.labels:
                names = [text_of(name) for name in read_arrays(content)[self.names_key]]
            else:
                names = [line.strip() for line in content.decode("latin1").splitlines() if line.strip()]
        except (OSError, Refused, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise LayoutError(f"{path}: expected class names, found a file without them ({reason}). {_AGAIN}") from None
        if len(names) != self.classes or len(set(names)) != self.classes:
            raise LayoutError(f"{path}: expected {self.classes} class names, found {len(set(names))}. {_AGAIN}")
        return tuple(names)

    def _pickled(self, path: Path, content: bytes) -> Images:
        try:
            found = read_arrays(content)
        except Refused as error:
            raise RecordingError(
                f"{path}: expected a pickled dictionary of arrays and plain values, found {error}. {_AGAIN}"
            ) from None
        rows = found.get("data")
        if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1:] != (_ROW,):
            kind = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise RecordingError(f"{path}: expected images as uint8 (n, {_ROW:,}) under data, found {kind}. {_AGAIN}")
        return self._images(path, rows, self._as_labels(path, found.get(self.labels)))

    def _as_labels(self, path: Path, found: Any) -> list[int]:
        values = found.tolist() if isinstance(found, np.ndarray) and found.ndim == 1 else found
        if not isinstance(values, list) or not all(type(value) is int for value in values):
            expected = f"a list of class numbers under {self.labels}"
            raise RecordingError(f"{path}: expected {expected}, found {type(found).__name__}. {_AGAIN}")
        return values

    def _binary(self, path: Path, content: bytes) -> Images:
        record = self.before + _ROW
        if not content or len(content) % record:
            expected = f"records of {record:,} bytes"
            raise RecordingError(f"{path}: expected {expected}, found {len(content):,} bytes in all. {_AGAIN}")
        records = np.frombuffer(content, np.uint8).reshape(-1, record)
        return self._images(path, records[:, self.before :], records[:, self.before - 1].tolist())

    def _images(self, path: Path, rows: NDArray[np.uint8], labels: list[int]) -> Images:
        if len(rows) != len(labels) or not len(rows):
            found = f"{len(rows):,} images and {len(labels):,} labels"
            raise RecordingError(f"{path}: expected a label for each image, found {found}. {_AGAIN}")
        if min(labels) < 0 or max(labels) >= self.classes:
            found = f"{min(labels)} to {max(labels)}"
            raise RecordingError(f"{path}: expected class numbers 0 to {self.classes - 1}, found {found}. {_AGAIN}")
        names = [f"{path.stem}/{number}" for number in range(len(rows))]
        return Images(rows.reshape(-1, CHANNELS, SIDE, SIDE), np.array(labels, np.int64), names)


def _form(title: str, expected: str, version: _Version) -> Form[ImageLayout]:
    return Form(title, expected, version.fits, version.read)


# As the code of the CLIF authors normalises; the deviations of CIFAR-10 are means over those of single images.
_CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100 = Normalisation((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

CIFAR10_DATASET = Dataset(
    "cifar10",
    (
        _form(
            "the Python version",
            "cifar-10-batches-py with data_batch_1 to data_batch_5, test_batch and batches.meta",
            _Version(_BATCHES, "test_batch", "batches.meta", 10, _CIFAR10, "labels", "label_names"),
        ),
        _form(
            "the binary version",
            "cifar-10-batches-bin",
            _Version(
                tuple(f"{name}.bin" for name in _BATCHES), "test_batch.bin", "batches.meta.txt", 10, _CIFAR10, before=1
            ),
        ),
    ),
    archives={
        "cifar-10-python.tar.gz": "cifar-10-batches-py",
        "cifar-10-binary.tar.gz": "cifar-10-batches-bin",
    },
    download="torchvision.datasets:CIFAR10",
    caches=(CacheKind("cifar10"),),
    published={"cifar10": Published(SIDE, SIDE, 10, 50_000, images=True)},
)

CIFAR100_DATASET = Dataset(
    "cifar100",
    (
        _form(
            "the Python version",
            "cifar-100-python with train, test and meta",
            _Version(("train",), "test", "meta", 100, _CIFAR100, "fine_labels", "fine_label_names"),
        ),
        _form(
            "the binary version",
            "cifar-100-binary",
            _Version(("train.bin",), "test.bin", "fine_label_names.txt", 100, _CIFAR100, before=2),
        ),
    ),
    archives={
        "cifar-100-python.tar.gz": "cifar-100-python",
        "cifar-100-binary.tar.gz": "cifar-100-binary",
    },
    download="torchvision.datasets:CIFAR100",
    caches=(CacheKind("cifar100"),),
    published={"cifar100": Published(SIDE, SIDE, 100, 50_000, images=True)},
)

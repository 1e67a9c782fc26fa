"""Tiny ImageNet (Stanford CS231n, 2015): 200 classes with 500 training and 50 validation images of 64 x 64 pixels.

    wnids.txt, words.txt                              class ids, and their names
    train/n01443537/images/n01443537_0.JPEG ..
    val/val_annotations.txt, val/images/val_0.JPEG ..

The labels of its test images are not published, so the validation images are the test split, as in the literature.
Grey images become three equal channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.images.image_file import decode_image
from preprocess.datasets.images.image_layout import ImageFile, ImageLayout, Images, Normalisation
from preprocess.datasets.layout import Form, files, folders, raise_all
from preprocess.errors import LayoutError
from preprocess.store.sample_table import TEST, TRAIN

SIDE = 64
_CLASSES = 200
_SUFFIX = ".JPEG"
_NOTES = "val_annotations.txt"
_AGAIN = "Unpack tiny-imagenet-200.zip again."

# As the code of the CLIF authors normalises.
_NORMALISATION = Normalisation((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))


def _fits(folder: Path, dataset: str) -> bool:
    return (folder / "train").is_dir() and (folder / "val" / _NOTES).is_file()


def _read(folder: Path, dataset: str) -> ImageLayout:
    """The layout of a folder; LayoutError with a line for everything that is missing. Some classes may be missing."""
    errors: list[str] = []
    ids = [inner.name for inner in folders(folder / "train")]
    numbers = {name: label for label, name in enumerate(ids)}
    found = [*_training(folder, ids, errors), *_validation(folder, numbers, errors)]
    raise_all(folder, errors)
    tables = [name for name in ("words.txt", f"val/{_NOTES}") if (folder / name).is_file()]
    classes = _class_names(folder / "words.txt", ids)
    return ImageLayout(dataset, dataset, folder, classes, SIDE, SIDE, _NORMALISATION, tuple(found), tuple(tables))


def _training(folder: Path, ids: list[str], errors: list[str]) -> Iterator[ImageFile]:
    if not ids:
        errors.append(f"{folder / 'train'}: expected a folder of each class, found none. {_AGAIN}")
    for label, name in enumerate(ids):
        place = folder / "train" / name / "images"
        paths = files(place, _SUFFIX) if place.is_dir() else []
        if not paths:
            errors.append(f"{place}: expected images ({_SUFFIX}), found none. {_AGAIN}")
        for path in paths:
            yield _file(path, folder, TRAIN, label, f"train/{path.stem}")


def _validation(folder: Path, numbers: dict[str, int], errors: list[str]) -> Iterator[ImageFile]:
    """The images that the annotations list; in order, with the class of each."""
    notes, place = folder / "val" / _NOTES, folder / "val" / "images"
    present = {path.name for path in files(place, _SUFFIX)} if place.is_dir() else set()
    listed: set[str] = set()
    for number, line in enumerate(notes.read_text(encoding="latin1").splitlines(), 1):
        name, _, rest = line.partition("\t")
        class_id = rest.partition("\t")[0]
        if not line.strip():
            continue
        if class_id not in numbers:
            expected = "the name of an image and its class, separated by a tab"
            errors.append(f"{notes}: line {number}: expected {expected}, found '{line[:60]}'. {_AGAIN}")
        elif name in listed:
            errors.append(f"{notes}: line {number}: expected each image once, found {name} again. {_AGAIN}")
        elif name not in present:
            errors.append(f"{place / name}: expected the image of {_NOTES}, found no such file. {_AGAIN}")
        else:
            listed.add(name)
            yield _file(place / name, folder, TEST, numbers[class_id], f"val/{Path(name).stem}")


def _file(path: Path, folder: Path, split: int, label: int, name: str) -> ImageFile:
    return ImageFile(path, str(path.relative_to(folder)), split, partial(_decode, path, label, name))


def _decode(path: Path, label: int, name: str, content: bytes) -> Images:
    return Images(decode_image(path, content, SIDE, SIDE)[None], np.array([label], np.int64), [name])


def _class_names(path: Path, ids: list[str]) -> tuple[str, ...]:
    """The first word for each class, with the id where several have the same; the ids without words.txt."""
    if not path.is_file():
        return tuple(ids)
    try:
        rows = (line.partition("\t") for line in path.read_text(encoding="utf-8").splitlines())
        words = {name: rest.split(",")[0].strip() for name, _, rest in rows}
    except (OSError, UnicodeError) as error:
        raise LayoutError(f"{path}: expected the names of classes, found {error}. {_AGAIN}") from None
    names = [words.get(name) or name for name in ids]
    return tuple(name if names.count(name) == 1 else f"{name} ({own})" for name, own in zip(names, ids, strict=True))


DATASET = Dataset(
    "tiny-imagenet",
    (Form("folders of JPEG", f"tiny-imagenet-200 with train and val/{_NOTES}", _fits, _read),),
    archives={"tiny-imagenet-200.zip": "tiny-imagenet-200"},
    # Stanford publishes no checksum; this is the one that other libraries, such as Avalanche, check.
    download="https://cs231n.stanford.edu/tiny-imagenet-200.zip#md5=90528d7ca1a48142e341f4ef8d21d0de",
    caches=(CacheKind("tiny-imagenet"),),
    published={"tiny-imagenet": Published(SIDE, SIDE, _CLASSES, 100_000, images=True)},
)

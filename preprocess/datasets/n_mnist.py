"""N-MNIST: one file per MNIST image, recorded with three saccades of an ATIS camera; the split is that of MNIST.

    Train/0/00002.bin ..      the number of the image, from 1
    Test/9/09999.bin ..

Source: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015.
"""

from __future__ import annotations

from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, folders, raise_all
from preprocess.store.sample_table import TEST, TRAIN

CLASSES = tuple("0123456789")

_FOLDERS = {"Train": TRAIN, "Test": TEST}


def _fits(folder: Path, dataset: str) -> bool:
    return any((folder / name).is_dir() for name in _FOLDERS)


def _read(folder: Path, dataset: str) -> Layout:
    """The layout of a folder with Train and Test, or one of them, as tonic leaves it after ``NMNIST(train=True)``.

    Some digits may be missing, because a few are enough for a trial.
    """
    errors: list[str] = []
    present = {name: split for name, split in _FOLDERS.items() if (folder / name).is_dir()}
    recordings = [r for name, split in present.items() for r in _recordings(folder, name, split, errors)]
    raise_all(folder, errors)
    return Layout(dataset, dataset, "atis", 34, 34, CLASSES, tuple(recordings))


def _recordings(folder: Path, part: str, split: int, errors: list[str]) -> list[SourceRecording]:
    """The recordings of Train or Test, digit by digit."""
    recordings = []
    for digits in folders(folder / part):
        if digits.name not in CLASSES:
            errors.append(f"{digits}: expected folders named 0 to 9, found '{digits.name}'. Move it elsewhere.")
            continue
        label = int(digits.name)
        for index, path in enumerate(files(digits, ".bin")):
            relative = f"{part}/{digits.name}/{path.name}"
            # Every recording shows a different image, so no two samples share a group.
            image = f"{part.lower()}/{digits.name}/{path.stem}"
            recordings.append(SourceRecording(path, relative, (Sample(label, split, index, image, image),)))
    if not recordings and not errors:
        errors.append(f"{folder / part}: expected folders 0 to 9 of .bin recordings, found none. Unpack it again.")
    return recordings


FORM = Form("ATIS .bin", "the folders Train and Test with the folders 0 to 9 of .bin recordings in each", _fits, _read)

DATASET = Dataset(
    "n-mnist",
    (FORM,),
    archives={"train.zip": "Train", "test.zip": "Test", "Train.zip": "Train", "Test.zip": "Test"},
    download="tonic.datasets:NMNIST",
    caches=(CacheKind("n-mnist"),),
    published={"n-mnist": Published(34, 34, 10, 60_000)},
)

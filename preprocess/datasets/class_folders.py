"""Published data sets that are folders of classes, with a folder of each split above them or without a split.

    Caltech101/accordion/image_0001.bin ..           N-Caltech101: ATIS, 240x180, no official split
    n-cars_train/cars/obj_000001_td.dat ..           N-CARS: Prophesee .dat, cars and background, 120x100
    n-cars_test/background/..
    DVS-Lip/train/accused/0.npy ..                   DVS-Lip: structured .npy, 100 words, 128x128
    DVS-Lip/test/..
    a/a_0001.mat .. y/y_4200.mat                     ASL-DVS: MATLAB, 24 letters, 240x180, no official split

Sources: Orchard et al., Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, 2015; Sironi
et al., HATS: Histograms of Averaged Time Surfaces for Robust Event-based Object Classification, CVPR 2018; Tan et al.,
Multi-Grained Spatio-Temporal Features Perceived Network for Event-Based Lip-Reading, CVPR 2022; Bi et al., Graph-Based
Object Classification for Neuromorphic Vision Sensing, ICCV 2019. ASL-DVS has no fixed checksum, because its host packs
a new archive for each download.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, folders, raise_all
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN


@dataclass(frozen=True)
class ClassFolders:
    """How a data set is stored in folders of classes.

    Attributes:
        format: The format of its recordings.
        suffix: The suffix of its recordings.
        height: Sensor rows.
        width: Sensor columns.
        parts: Split by the name of its folder; {"": NO_SPLIT} without splits.
        classes: Class names, which are those of the folders; if empty, every folder is a class, in alphabetical order.
        marked: Folders of classes of which one must be there, to recognise a data set without splits.
    """

    format: str
    suffix: str
    height: int
    width: int
    parts: Mapping[str, int]
    classes: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()

    def fits(self, folder: Path, dataset: str) -> bool:
        """Whether a folder contains recordings of the data set."""
        return any(self._fits_part(folder / part) for part in self.parts)

    def _fits_part(self, part: Path) -> bool:
        names = self.marked or self.classes
        known = [inner for inner in folders(part) if not names or inner.name in names]
        return any(next(inner.glob(f"*{self.suffix}"), None) is not None for inner in known)

    def read(self, folder: Path, dataset: str) -> Layout:
        """The layout of such a folder; one of two splits is enough."""
        present = [part for part in self.parts if (folder / part).is_dir()]
        found = {inner.name for part in present for inner in folders(folder / part) if files(inner, self.suffix)}
        classes = self.classes or tuple(sorted(found))
        errors: list[str] = []
        recordings = []
        for part in present:
            for inner in folders(folder / part):
                if inner.name not in classes:
                    expected = f"folders of classes ({', '.join(self.classes)})" if self.classes else "recordings"
                    errors.append(f"{inner}: expected {expected}, found '{inner.name}'. Move it elsewhere.")
                    continue
                above = f"{part}/" if part else ""
                for index, path in enumerate(files(inner, self.suffix)):
                    # Every recording is of another object or image, so no two samples share a group.
                    name = f"{above}{inner.name}/{path.stem}"
                    sample = Sample(classes.index(inner.name), self.parts[part], index, name, name)
                    recordings.append(SourceRecording(path, f"{above}{inner.name}/{path.name}", (sample,)))
        raise_all(folder, errors)
        return Layout(dataset, dataset, self.format, self.height, self.width, classes, tuple(recordings))


_CALTECH = ClassFolders("atis", ".bin", 180, 240, {"": NO_SPLIT}, marked=("accordion", "airplanes", "anchor", "ant"))
_CARS = ClassFolders(
    "dat",
    ".dat",
    100,
    120,
    {"n-cars_train": TRAIN, "n-cars_test": TEST, "train": TRAIN, "test": TEST},
    classes=("background", "cars"),
)
# The alphabet without j and z, whose signs are movements.
_LETTERS = ClassFolders("mat-asl-dvs", ".mat", 180, 240, {"": NO_SPLIT}, classes=tuple("abcdefghiklmnopqrstuvwxy"))
_LIPS = ClassFolders("npy", ".npy", 128, 128, {"train": TRAIN, "test": TEST})

N_CALTECH101 = Dataset(
    "n-caltech101",
    (Form("ATIS .bin", "folders accordion to yin_yang of image_NUMBER.bin", _CALTECH.fits, _CALTECH.read),),
    archives={"N-Caltech101-archive.zip": "N-Caltech101-archive", "Caltech101.zip": "Caltech101"},
    download="tonic.datasets:NCALTECH101",
    caches=(CacheKind("n-caltech101"),),
    published={"n-caltech101": Published(180, 240, 101)},
)

N_CARS = Dataset(
    "n-cars",
    (Form("Prophesee .dat", "n-cars_train and n-cars_test with folders cars and background", _CARS.fits, _CARS.read),),
    archives={
        "Prophesee_Dataset_n_cars.zip": "Prophesee_Dataset_n_cars",
        "n-cars_train.zip": "n-cars_train",
        "n-cars_test.zip": "n-cars_test",
    },
    caches=(CacheKind("n-cars"),),
    published={"n-cars": Published(100, 120, 2, 15_422)},
)

DVS_LIP = Dataset(
    "dvs-lip",
    (Form("structured .npy", "train and test with a folder of .npy recordings for each word", _LIPS.fits, _LIPS.read),),
    archives={"DVS-Lip.zip": "DVS-Lip"},
    caches=(CacheKind("dvs-lip"),),
    published={"dvs-lip": Published(128, 128, 100, 14_896)},
)

ASL_DVS = Dataset(
    "asl-dvs",
    (Form("MATLAB .mat", "the folders a to y (without j) of .mat recordings", _LETTERS.fits, _LETTERS.read),),
    caches=(CacheKind("asl-dvs"),),
    published={"asl-dvs": Published(180, 240, 24)},
)

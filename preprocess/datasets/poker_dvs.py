"""POKER-DVS: symbols of playing cards, browsed before a DVS128 in half a second.

    pips_train/cl/0.npy ..             as tonic ships it: (N, 4) of t in µs, x, y and p, a 35x35 area; an official split
    pips_test/sp/4.npy ..
    poker_dvs/xclub01.aedat ..         as published: 131 cuts of AEDAT 2.0 of the whole sensor, no split

The cuts are other samples than tonic's, so their caches are called ``poker-dvs-131``.
Source: Serrano-Gotarredona and Linares-Barranco, Poker-DVS and MNIST-DVS. Their history, how they were made, and other
details, Frontiers in Neuroscience, 2015.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from preprocess.datasets.class_folders import ClassFolders
from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, raise_all
from preprocess.formats import ReadOptions
from preprocess.store.sample_table import NO_SPLIT, TEST, TRAIN

# The folders of tonic, in the order of its class numbers, and the names of the suits.
_SUITS = {"cl": "club", "he": "heart", "di": "diamond", "sp": "spade"}
CLASSES = tuple(_SUITS.values())

_TONIC = ClassFolders("npy", ".npy", 35, 35, {"pips_train": TRAIN, "pips_test": TEST}, classes=tuple(_SUITS))
# Names such as xclub01 and xclub02i, where i marks an inverted card.
_NAMED = re.compile(r"x(club|heart|diamond|spade)(\d{1,4})i?")


def _read_tonic(folder: Path, dataset: str) -> Layout:
    layout = _TONIC.read(folder, dataset)
    return dataclasses.replace(layout, classes=CLASSES, options=ReadOptions("txyp"))


def _fits_cuts(folder: Path, dataset: str) -> bool:
    return next(folder.glob("xclub*.aedat"), None) is not None


def _read_cuts(folder: Path, dataset: str) -> Layout:
    errors: list[str] = []
    recordings = []
    counted = dict.fromkeys(CLASSES, 0)
    for path in files(folder, ".aedat"):
        found = _NAMED.fullmatch(path.stem)
        if found is None:
            errors.append(f"{path}: expected xSUITnn.aedat, found another name. Move the file elsewhere.")
            continue
        suit = found.group(1)
        sample = Sample(CLASSES.index(suit), NO_SPLIT, counted[suit], path.stem, path.stem)
        counted[suit] += 1
        recordings.append(SourceRecording(path, path.name, (sample,)))
    raise_all(folder, errors)
    return Layout(f"{dataset}-131", dataset, "aedat2", 128, 128, CLASSES, tuple(recordings))


DATASET = Dataset(
    "poker-dvs",
    (
        Form(
            "the samples as tonic ships them (.npy)",
            "pips_train and pips_test with folders cl, he, di and sp of .npy",
            _TONIC.fits,
            _read_tonic,
        ),
        Form("the cuts as published (AEDAT 2.0)", "xclub01.aedat to xspade35.aedat", _fits_cuts, _read_cuts),
    ),
    archives={"pips_train.tar.gz": "pips_train", "pips_test.tar.gz": "pips_test"},
    caches=(CacheKind("poker-dvs"), CacheKind("poker-dvs-131")),
    published={"poker-dvs": Published(35, 35, 4, 48), "poker-dvs-131": Published(128, 128, 4)},
)

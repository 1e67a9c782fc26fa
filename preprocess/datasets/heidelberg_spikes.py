"""SHD and SSC: spoken digits and words as spike trains of 700 units, with official files for training and testing.

    shd_train.h5   8,156 samples        ssc_train.h5   75,466 samples
    shd_test.h5    2,264 samples        ssc_test.h5    20,382 samples

``ssc_valid.h5`` is not read; validation samples are taken from the training file, as for every data set.
Source: https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/
"""

from __future__ import annotations

from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, raise_all
from preprocess.errors import RecordingError
from preprocess.formats.hdf5.spike_trains import PERIOD_US, UNITS, SpikeTrainLabels, SpikeTrainRecording, read_labels
from preprocess.store.sample_table import TEST, TRAIN

_PARTS = {"train": TRAIN, "test": TEST}


def _file(folder: Path, dataset: str, part: str) -> str | None:
    """The relative path of a file; archives of one file are unpacked into a folder."""
    name = f"{dataset}_{part}.h5"
    return next((path for path in (name, f"{dataset}_{part}/{name}") if (folder / path).is_file()), None)


def _fits(folder: Path, dataset: str) -> bool:
    return any(_file(folder, dataset, part) for part in _PARTS)


def _read(folder: Path, dataset: str) -> Layout:
    """The layout of a folder with the files of both splits, or of one."""
    errors: list[str] = []
    found: list[tuple[str, int, str, SpikeTrainLabels]] = []
    for part, split in _PARTS.items():
        relative = _file(folder, dataset, part)
        if relative is not None:
            try:
                found.append((part, split, relative, read_labels(folder / relative)))
            except RecordingError as error:
                errors += error.errors
    raise_all(folder, errors)
    classes = found[0][3].classes
    highest = max(int(file.labels.max(initial=0)) for *_, file in found)
    classes = classes if len(classes) > highest else tuple(str(k) for k in range(highest + 1))
    recordings = [
        SourceRecording(folder / relative, relative, _samples(part, split, file))
        for part, split, relative, file in found
    ]
    return Layout(dataset, dataset, SpikeTrainRecording.NAME, 1, UNITS, classes, tuple(recordings), joined=True)


def _samples(part: str, split: int, file: SpikeTrainLabels) -> tuple[Sample, ...]:
    samples = []
    for k, label in enumerate(file.labels.tolist()):
        name = f"{part}/{k}"
        group = name if file.speakers is None else f"speaker {file.speakers[k]}"
        samples.append(Sample(label, split, k, group, name, k * PERIOD_US, (k + 1) * PERIOD_US))
    return tuple(samples)


def _dataset(name: str, tonic_class: str, published: Published) -> Dataset:
    files = " and ".join(f"{name}_{part}.h5" for part in _PARTS)
    return Dataset(
        name,
        (Form("spike trains in HDF5", f"the files {files}, or one of them", _fits, _read),),
        archives={f"{name}_{part}.h5.zip": f"{name}_{part}" for part in _PARTS},
        download=f"tonic.datasets:{tonic_class}",
        caches=(CacheKind(name),),
        published={name: published},
    )


SHD_DATASET = _dataset("shd", "SHD", Published(1, UNITS, 20, 8_156))
SSC_DATASET = _dataset("ssc", "SSC", Published(1, UNITS, 35, 75_466))

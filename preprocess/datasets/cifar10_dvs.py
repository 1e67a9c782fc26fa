"""CIFAR10-DVS: ten folders of recordings of one image each, AEDAT 2.0, without an official split.

    airplane/cifar10_airplane_0.aedat .. cifar10_airplane_999.aedat
    ..
    truck/cifar10_truck_0.aedat ..

Emulated digits lie in the same layout, in folders ``0`` to ``9``. Which way up the events come out is not agreed:
SpikingJelly's orientation is the default, that of the CLIF and SLTT repositories the other.
Source: Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017.
"""

from __future__ import annotations

import re
from pathlib import Path

from preprocess.datasets.layout import Layout, Sample, SourceRecording, files, locate, raise_all
from preprocess.samples import NO_SPLIT

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# The classes, which name the folders, and how file names begin.
_KINDS = {
    "cifar10-dvs": (CLASSES, "cifar10"),
    "emulated-digits": (tuple("0123456789"), "emulated"),
}


def find(source: Path, dataset: str) -> Layout:
    """The layout of a folder of class folders, or of one up to two levels above it; in SpikingJelly's orientation.

    Raises:
        LayoutError: With a line for every class folder that is missing and every file whose name does not fit.
    """
    classes, prefix = _KINDS[dataset]
    expected = f"folders {classes[0]} to {classes[-1]} of {prefix}_CLASS_NUMBER.aedat"
    folder = locate(source, lambda f: any(_has_recordings(f / c, prefix) for c in classes), expected)
    faults: list[str] = []
    recordings: list[SourceRecording] = []
    for label, name in enumerate(classes):
        # Downloaded class by class, so a missing one is more likely an oversight than a wish.
        if not (folder / name).is_dir():
            faults.append(
                f"{folder / name}: expected the folder of class '{name}', found none. Unpack all {len(classes)} "
                "classes side by side."
            )
            continue
        recordings += _recordings_of_class(folder, label, name, prefix, faults)
    raise_all(folder, faults)
    return Layout(dataset, dataset, "aedat2", 128, 128, classes, tuple(recordings), "spikingjelly")


def _has_recordings(folder: Path, prefix: str) -> bool:
    return folder.is_dir() and next(folder.glob(f"{prefix}_*.aedat"), None) is not None


def _recordings_of_class(folder: Path, label: int, name: str, prefix: str, faults: list[str]) -> list[SourceRecording]:
    """A class's recordings in the order of their numbers."""
    numbered: dict[int, Path] = {}
    for path in files(folder / name, ".aedat"):
        found = re.fullmatch(rf"{prefix}_{name}_(\d{{1,9}})\.aedat", path.name)
        if not found:
            faults.append(f"{path}: expected {prefix}_{name}_NUMBER.aedat, found another name. Move the file away.")
        elif int(found.group(1)) in numbered:
            faults.append(f"{path}: expected every number once, found {numbered[int(found.group(1))].name} too.")
        else:
            numbered[int(found.group(1))] = path
    if not numbered and not faults:
        expected = f"expected recordings {prefix}_{name}_NUMBER.aedat"
        faults.append(f"{folder / name}: {expected}, found none. Unpack it again.")
    return [
        # Each recording is of another image: no two samples share a group.
        SourceRecording(path, f"{name}/{path.name}", (Sample(label, NO_SPLIT, i, f"{name}_{i}", path.stem),))
        for i, path in sorted(numbered.items())
    ]

"""CIFAR10-DVS: ten folders of recordings of one image each, without an official split.

    airplane/cifar10_airplane_0.aedat .. cifar10_airplane_999.aedat
    ..
    truck/cifar10_truck_0.aedat ..

The recordings are AEDAT 2.0 as published, ``.npz`` in SpikingJelly's ``events_np``, AEDAT 4 as tonic ships them.
Emulated digits have the same layout (`preprocess.datasets.emulated`). There is no agreed orientation: SpikingJelly's
is the default, that of the CLIF and SLTT repositories is the alternative, and tonic's files have a third one.
Source: Li et al., CIFAR10-DVS: An Event-Stream Dataset for Object Classification, 2017.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from preprocess.datasets.dataset_description import CacheKind, Dataset, Published
from preprocess.datasets.layout import Form, Layout, Sample, SourceRecording, files, raise_all
from preprocess.formats.numpy_files import holds_events
from preprocess.store.sample_table import NO_SPLIT

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class _Files:
    """The recordings of one form: their format, the pattern of their names, and the suffix of the caches' name.

    The classes name the folders.
    """

    format: str
    suffix: str
    orientation: str | None
    named: str = r"{prefix}_{name}_(\d{{1,9}})"
    added: str = ""
    classes: tuple[str, ...] = CLASSES
    prefix: str = "cifar10"

    def fits(self, folder: Path, dataset: str) -> bool:
        return any(self._is_recording(next((folder / name).glob(f"*{self.suffix}"), None)) for name in self.classes)

    def _is_recording(self, path: Path | None) -> bool:
        # SpikingJelly's folders of frames look the same from outside.
        return path is not None and (self.suffix != ".npz" or holds_events(path))

    def read(self, folder: Path, dataset: str) -> Layout:
        """The layout of a folder of class folders."""
        errors: list[str] = []
        recordings: list[SourceRecording] = []
        for label, name in enumerate(self.classes):
            # Classes are downloaded one by one, so a missing one is probably an oversight.
            if not (folder / name).is_dir():
                errors.append(
                    f"{folder / name}: expected the folder of class '{name}', found none. Unpack all "
                    f"{len(self.classes)} classes side by side."
                )
                continue
            recordings += self._of_class(folder, label, name, errors)
        raise_all(folder, errors)
        cache = f"{dataset}{self.added}"
        return Layout(
            cache, dataset, self.format, 128, 128, self.classes, tuple(recordings), self.orientation, sensor="DVS128"
        )

    def _of_class(self, folder: Path, label: int, name: str, errors: list[str]) -> list[SourceRecording]:
        """A class's recordings in the order of their numbers."""
        numbered: dict[int, Path] = {}
        wanted = f"{self.prefix}_{name}_NUMBER{self.suffix}"
        for path in files(folder / name, self.suffix):
            found = re.fullmatch(self.named.format(prefix=self.prefix, name=name), path.stem)
            if not found:
                errors.append(f"{path}: expected {wanted}, found another name. Move the file elsewhere.")
            elif int(found.group(1)) in numbered:
                errors.append(
                    f"{path}: expected every number once, found {numbered[int(found.group(1))].name} too. Remove one."
                )
            else:
                numbered[int(found.group(1))] = path
        if not numbered and not errors:
            errors.append(f"{folder / name}: expected recordings {wanted}, found none. Unpack it again.")
        return [
            # Every recording shows a different image, so no two samples share a group.
            SourceRecording(path, f"{name}/{path.name}", (self._sample(label, i, name),))
            for i, path in sorted(numbered.items())
        ]

    def _sample(self, label: int, number: int, name: str) -> Sample:
        return Sample(label, NO_SPLIT, number, f"{name}_{number}", f"{self.prefix}_{name}_{number}")


def _form(title: str, kind: _Files) -> Form[Layout]:
    expected = f"folders {kind.classes[0]} to {kind.classes[-1]} of {kind.prefix}_CLASS_NUMBER{kind.suffix}"
    return Form(title, expected, kind.fits, kind.read)


def recordings_form(title: str, classes: tuple[str, ...], prefix: str) -> Form[Layout]:
    """Return the form of the published recordings, with custom classes and a custom prefix of the file names."""
    return _form(title, _Files("aedat2", ".aedat", "spikingjelly", classes=classes, prefix=prefix))


# Names that end with the number or consist of it.
_TONICS_FILES = _Files("aedat4", ".aedat4", None, r"(?:\D.*_)?(\d{{1,9}})", "-tonic")

FORM = _form("the recordings as published (AEDAT 2.0)", _Files("aedat2", ".aedat", "spikingjelly"))
SPIKINGJELLY_FORM = _form("SpikingJelly's events_np (.npz)", _Files("npz", ".npz", None))
TONIC_FORM = _form("the recordings as tonic ships them (AEDAT 4)", _TONICS_FILES)

DATASET = Dataset(
    "cifar10-dvs",
    (FORM, SPIKINGJELLY_FORM, TONIC_FORM),
    archives={"CIFAR10DVS.zip": "CIFAR10DVS"} | {f"{name}.zip": name for name in CLASSES},
    download="tonic.datasets:CIFAR10DVS",
    caches=(
        CacheKind("cifar10-dvs"),
        CacheKind("cifar10-dvs-clif", options="--orientation clif"),
        CacheKind("cifar10-dvs-tonic"),
    ),
    published={"cifar10-dvs": Published(128, 128, 10, 9_000, ("first-900-train", "first-100-test", "random-0.9"))},
)

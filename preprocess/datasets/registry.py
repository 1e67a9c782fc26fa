"""The registry of data sets, and reading one from a folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from preprocess.datasets import (
    cifar10_dvs,
    class_folders,
    dvs_gesture,
    emulated,
    folder,
    heidelberg_spikes,
    n_mnist,
    poker_dvs,
    sl_animals,
)
from preprocess.datasets.archives import Notify, unpack_archive, unpack_known
from preprocess.datasets.dataset_description import Dataset, Published
from preprocess.datasets.images import cifar, tiny_imagenet
from preprocess.datasets.images.image_layout import ImageLayout
from preprocess.datasets.layout import (
    CHECK_SOURCE,
    Form,
    Layout,
    Windows,
    first_folder,
    folders,
    locate_form,
    raise_all,
)
from preprocess.datasets.layout_errors import layout_errors
from preprocess.errors import ConfigError, LayoutError, SpikeloomError
from preprocess.formats import NO_OPTIONS, ReadOptions, Size

_DATASETS: tuple[Dataset, ...] = (
    dvs_gesture.DATASET,
    cifar10_dvs.DATASET,
    n_mnist.DATASET,
    heidelberg_spikes.SHD_DATASET,
    heidelberg_spikes.SSC_DATASET,
    class_folders.N_CALTECH101,
    class_folders.N_CARS,
    class_folders.DVS_LIP,
    class_folders.ASL_DVS,
    poker_dvs.DATASET,
    sl_animals.DATASET,
    folder.DATASET,
    emulated.GESTURES_DATASET,
    emulated.DIGITS_DATASET,
    emulated.CUE_DATASET,
)

_IMAGE_DATASETS: tuple[Dataset, ...] = (cifar.CIFAR10_DATASET, cifar.CIFAR100_DATASET, tiny_imagenet.DATASET)

IMAGE_DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _IMAGE_DATASETS}
"""Every data set of static images by name; `find_image_layout` reads them."""

_FORMS: dict[str, tuple[Form[Any], ...]] = {dataset.name: dataset.forms for dataset in _DATASETS}

ARCHIVES: dict[str, Mapping[str, str]] = {dataset.name: dataset.archives for dataset in _DATASETS}

DOWNLOADS: dict[str, str] = {
    dataset.name: dataset.download for dataset in (*_DATASETS, *_IMAGE_DATASETS) if dataset.download
}
"""The data sets that can be downloaded, each with its `Dataset.download`."""

DATASETS: Mapping[str, tuple[Form[Any], ...]] = _FORMS
"""Every data set of events by name, with the forms in which it can be stored; `register_dataset` adds to it."""

_BUILT_IN = frozenset(_FORMS) | frozenset(IMAGE_DATASETS)


def register_dataset(
    name: str,
    read: Callable[[Path], Layout],
    *,
    fits: Callable[[Path], bool] | None = None,
    expected: str = "",
) -> None:
    """Register a custom data set under a name, for this process; registering a name again replaces its data set.

    Args:
        name: Name of the data set, and default name of its caches.
        read: Called with a folder; returns its layout: the recordings, and the labelled samples within each. Raises a
            `LayoutError` with a line for everything that is missing.
        fits: Quick check whether a folder contains the data set. If given, folders up to two levels below the source
            are searched too; if None, the source is used as it is.
        expected: Description of such a folder, for the error if none is found.

    Raises:
        ConfigError: If the name is that of a built-in data set, or cannot be the name of a folder.
    """
    if not callable(read):
        raise ConfigError(f"data set {name}: expected a function that returns a Layout, found {read!r}")
    if name in _BUILT_IN:
        raise ConfigError(f"data set: expected a new name, found '{name}', which is built in. Choose another.")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        found = f"found '{name}'. Choose another."
        raise ConfigError(f"data set: expected a name of letters, digits, dots, hyphens and underscores, {found}")

    def fits_folder(folder: Path, dataset: str) -> bool:
        return fits is None or bool(fits(folder))

    def read_folder(folder: Path, dataset: str) -> Layout:
        try:
            layout = read(folder)
        except SpikeloomError:
            raise
        except Exception as error:  # whatever the user's reader raises
            raise LayoutError(
                f"{folder}: expected a Layout from the reader of {name}, found {type(error).__name__}: {error}. "
                "Correct the reader."
            ) from error
        if not isinstance(layout, Layout) or not layout.recordings:
            found = "one without recordings" if isinstance(layout, Layout) else type(layout).__name__
            raise LayoutError(f"{folder}: expected a Layout with recordings of {name}, found {found}. Correct it.")
        raise_all(folder, [f"layout of {name}: {error}. Correct its reader." for error in layout_errors(layout)])
        return dataclasses.replace(layout, dataset=name, name=name)

    _FORMS[name] = (Form(name, expected or f"the recordings of {name}", fits_folder, read_folder),)


def find_layout(
    dataset: str,
    source: Path,
    *,
    orientation: str = "spikingjelly",
    name: str | None = None,
    windows: Windows | None = None,
    size: Size | None = None,
    salvage: bool = False,
    options: ReadOptions = NO_OPTIONS,
    sort: bool = False,
    notify: Notify | None = None,
) -> Layout:
    """Find the recordings and samples of a data set; published archives are unpacked next to them first.

    Args:
        dataset: One of DATASETS.
        source: The folder of the data set, a folder above it, or an archive.
        orientation: ``spikingjelly`` or ``clif``: the orientation of cifar10-dvs and emulated-digits.
        name: Name of the caches, required for ``folder``. If None, the name of the data set, with the form, orientation
            and difficulty if they are not the default, and with the lag of cues.
        windows: How the recordings of a ``folder`` are cut into samples; None uses complete recordings, or the
            intervals of the manifest.
        size: Rows and columns of the sensor of a ``folder``, for formats that do not store them.
        salvage: Whether damaged recordings are read up to the damage.
        options: Columns, time unit and place of the events in the files of a ``folder`` that do not state them.
        sort: Whether the events of each recording are sorted by time.
        notify: Called with a message about what was found.

    Raises:
        LayoutError: With a line for everything that is missing or damaged.
    """
    if dataset in IMAGE_DATASETS:
        raise LayoutError(f"{dataset}: expected a data set of events, found one of images. Use preprocess_images.")
    if dataset not in _FORMS:
        raise LayoutError(f"expected a data set ({', '.join(DATASETS)}), found '{dataset}'. Choose one of them.")
    if dataset == "folder" and name is None:
        raise LayoutError("folder: expected a name for its caches, found none. Add --name NAME.")
    if dataset != "folder" and (windows or size or options != NO_OPTIONS):
        expected = "expected no windows, sensor size or options for reading files, which only folder has"
        raise LayoutError(f"{dataset}: {expected}, found one. Leave it out.")
    layout = _read_unpacked(dataset, source, _FORMS[dataset], ARCHIVES.get(dataset, {}), notify)
    layout = dataclasses.replace(layout, windows=windows, salvage=salvage, sort=sort)
    if dataset == "folder":
        layout = folder.with_sensor(dataclasses.replace(layout, options=options), size)
    layout = emulated.with_name(layout)
    if orientation != "spikingjelly":
        if layout.orientation is None:
            hint = "Its recordings have only one orientation; leave the option out."
            raise LayoutError(f"{dataset}: expected no --orientation, found {orientation}. {hint}")
        layout = dataclasses.replace(layout, orientation=orientation, name=f"{dataset}-{orientation}")
    return layout if name is None else dataclasses.replace(layout, name=name)


def find_image_layout(
    dataset: str, source: Path, *, name: str | None = None, notify: Notify | None = None
) -> ImageLayout:
    """Find the files of a data set of static images; a published archive is unpacked next to it first.

    Args:
        dataset: One of IMAGE_DATASETS.
        source: The folder of the data set, a folder above it, or an archive.
        name: Name of the caches; the data set's name if None.
        notify: Called with a message about what was found.

    Raises:
        LayoutError: With a line for everything that is missing or damaged.
    """
    if dataset not in IMAGE_DATASETS:
        known = ", ".join(IMAGE_DATASETS)
        raise LayoutError(f"expected a data set of images ({known}), found '{dataset}'. Choose one of them.")
    about = IMAGE_DATASETS[dataset]
    layout: ImageLayout = _read_unpacked(dataset, source, about.forms, about.archives, notify)
    return layout if name is None else dataclasses.replace(layout, name=name)


def _read_unpacked(
    dataset: str, source: Path, forms: tuple[Form[Any], ...], archives: Mapping[str, str], notify: Notify | None
) -> Any:
    """What the first form that fits reads, with the form's title; archives are unpacked first."""
    notify = notify or (lambda _: None)
    try:
        if source.is_file() and archives:
            source = unpack_archive(source, archives.get(source.name), notify)
        # If a folder fits already, only archives beside it are unpacked, such as classes that were downloaded later.
        fitting = first_folder(source, lambda place: any(form.fits(place, dataset) for form in forms))
        unpack_known([fitting] if fitting else [source, *folders(source)], archives, notify)
        form, found = locate_form(source, forms, dataset, _how_to_get(dataset, source))
        contents = form.read(found, dataset)
    except OSError as error:
        where = error.filename or source
        raise LayoutError(f"{where}: cannot be read ({error.strerror}). Check its permissions.") from None
    if len(forms) > 1:
        notify(f"{found}: {form.title}")
    return dataclasses.replace(contents, form=form.title)


def _how_to_get(dataset: str, source: Path) -> str:
    """What to do if a data set is not in its folder."""
    if dataset in DOWNLOADS:
        return f"Check --source, or download it: spikeloom download {dataset} --out {source}"
    emulate, _ = cache_command(dataset)
    return f"Check --source, or make it: {emulate} --out {source}" if emulate else CHECK_SOURCE


def cache_command(name: str, dataset: str | None = None) -> tuple[str, str]:
    """Return the commands that create the caches of this name, without the folder options.

    Args:
        name: Name of the caches.
        dataset: Name of the data set, if it is known.

    Returns:
        The command that emulates the recordings, "" if they are not emulated; and the command that preprocesses them.
    """
    for known in (*_DATASETS, *_IMAGE_DATASETS):
        for kind in known.caches:
            found = re.fullmatch(kind.name, name)
            if found:
                emulate = f"spikeloom emulate {kind.emulate.format(*found.groups())}" if kind.emulate else ""
                return emulate, f"spikeloom preprocess {known.name} {kind.options}".rstrip()
    known_name = dataset if dataset in _FORMS or dataset in IMAGE_DATASETS else "folder"
    return "", f"spikeloom preprocess {known_name} --name {name}"


def find_published(name: str) -> Published | None:
    """Return the published size of the data set whose caches have this name; a suffix such as ``-clif`` is ignored."""
    every = (*_DATASETS, *_IMAGE_DATASETS)
    sizes = {known: size for dataset in every for known, size in dataset.published.items()}
    fitting = [known for known in sizes if name == known or name.startswith(f"{known}-")]
    return sizes[max(fitting, key=len)] if fitting else None


def validation_users(name: str) -> frozenset[int]:
    """Return the validation users of caches of this name, if the data set defines them."""
    return next((known.validation_users for known in _DATASETS if name.startswith(known.name)), frozenset())

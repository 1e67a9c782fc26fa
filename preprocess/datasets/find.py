"""Which data sets there are, and finding one in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from preprocess.datasets import cifar10_dvs, dvs_gesture, n_mnist
from preprocess.datasets.layout import Layout
from preprocess.emulator.folder import ABOUT, read_about
from preprocess.errors import LayoutError

_FINDERS: dict[str, Callable[[Path, str], Layout]] = {
    "dvs-gesture": dvs_gesture.find,
    "cifar10-dvs": cifar10_dvs.find,
    "n-mnist": n_mnist.find,
    "emulated-gestures": dvs_gesture.find,
    "emulated-digits": cifar10_dvs.find,
}

DATASETS: tuple[str, ...] = tuple(_FINDERS)


def find_layout(dataset: str, source: Path, *, orientation: str = "spikingjelly", name: str | None = None) -> Layout:
    """The recordings and samples of a data set.

    Args:
        dataset: One of DATASETS.
        source: Its folder, or one above it.
        orientation: ``spikingjelly`` or ``clif``; which way up the events of cifar10-dvs and emulated-digits come out.
        name: Of its caches; the data set's, with the orientation where that is not the default, if None.

    Raises:
        LayoutError: With a line for everything that is missing or damaged.
    """
    if dataset not in _FINDERS:
        raise LayoutError(f"unknown data set '{dataset}', expected one of: {', '.join(DATASETS)}.")
    try:
        layout = _FINDERS[dataset](source, dataset)
    except OSError as error:
        where = error.filename or source
        raise LayoutError(f"{where}: cannot be read ({error.strerror}). Check its permissions.") from None
    _refuse_emulated(layout)
    if orientation != "spikingjelly":
        if layout.orientation is None:
            hint = "Its recordings have only one; leave the option out."
            raise LayoutError(f"{dataset}: expected no --orientation, found {orientation}. {hint}")
        layout = dataclasses.replace(layout, orientation=orientation, name=f"{dataset}-{orientation}")
    return layout if name is None else dataclasses.replace(layout, name=name)


def _refuse_emulated(layout: Layout) -> None:
    """Emulated data is called emulated wherever it appears."""
    about = read_about(layout.folder)
    if about and not layout.dataset.startswith("emulated-"):
        raise LayoutError(
            f"{layout.folder}: expected what a camera recorded, found what an emulator made ({ABOUT}). "
            f"Preprocess it as emulated-{about['emulated']}."
        )

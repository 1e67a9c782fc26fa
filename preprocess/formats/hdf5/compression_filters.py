"""Which compression filter of an HDF5 recording is missing, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py

from preprocess.errors import RecordingError
from preprocess.formats.hdf5.ecf_chunks import is_ecf
from preprocess.hdf5_filters import ECF, filters_of

_SOURCES = {
    ECF: "Install it from https://github.com/prophesee-ai/hdf5_ecf and set HDF5_PLUGIN_PATH to its folder",
    4: "Install an HDF5 library that is built with it",
}
_OF_PACKAGE = "Install it: pip install hdf5plugin"


def check_filters(path: Path, datasets: Iterable[h5py.Dataset]) -> None:
    """Check that the filters of data sets are installed.

    Raises:
        RecordingError: If one is missing; names it, and where it comes from.
    """
    import hdf5plugin  # noqa: F401  registers Blosc, LZ4, Zstandard and others

    for dataset in datasets:
        if is_ecf(dataset):
            continue  # Decoded here.
        for number, title in filters_of(dataset.id.get_create_plist()):
            if not h5py.h5z.filter_avail(number):
                raise RecordingError(
                    f"{path}: expected an installed HDF5 filter for {dataset.name.strip('/')}, found "
                    f"that {title} (filter {number}), which compressed it, is missing. "
                    f"{_SOURCES.get(number, _OF_PACKAGE)}."
                )

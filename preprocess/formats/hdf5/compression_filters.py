"""The compression filters of HDF5 data sets: which one is missing, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py

from preprocess.errors import RecordingError
from preprocess.formats.hdf5.ecf_chunks import ECF, is_ecf

# By the numbers that the HDF Group registered, or that their authors chose.
_SOURCES = {
    ECF: (
        "Prophesee's ECF",
        "Install it from https://github.com/prophesee-ai/hdf5_ecf and set HDF5_PLUGIN_PATH to its folder",
    ),
    32001: ("Blosc", "Install it: pip install hdf5plugin"),
    32026: ("Blosc2", "Install it: pip install hdf5plugin"),
    32004: ("LZ4", "Install it: pip install hdf5plugin"),
    32008: ("bitshuffle", "Install it: pip install hdf5plugin"),
    32015: ("Zstandard", "Install it: pip install hdf5plugin"),
}


def check_filters(path: Path, datasets: Iterable[h5py.Dataset]) -> None:
    """Check that the filters of data sets are installed.

    Raises:
        RecordingError: If one is missing; names it, and where it comes from.
    """
    import hdf5plugin  # noqa: F401  registers Blosc, LZ4, Zstandard and others

    for dataset in datasets:
        if is_ecf(dataset):
            continue  # Decoded here.
        settings = dataset.id.get_create_plist()
        for k in range(settings.get_nfilters()):
            number, _, _, name = settings.get_filter(k)
            if not h5py.h5z.filter_avail(number):
                unknown = name.decode("utf-8", "replace").strip() or "unknown"
                title, hint = _SOURCES.get(number, (unknown, "Install its HDF5 plugin and set HDF5_PLUGIN_PATH"))
                raise RecordingError(
                    f"{path}: expected an installed HDF5 filter for {dataset.name.strip('/')}, found "
                    f"that {title} (filter {number}), which compressed it, is missing. {hint}."
                )

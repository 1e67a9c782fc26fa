"""The compression filters that HDF5 files may use, by the numbers that the HDF Group registered.

For any other filter, HDF5 searches a folder of plugins and loads the library that it finds there.
Source: https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md
"""

from __future__ import annotations

from h5py import h5p

ECF = 0x8ECF

# HDF5's own, h5py's, those of the package hdf5plugin, and Prophesee's.
FILTERS = {
    1: "gzip",
    2: "shuffle",
    3: "Fletcher-32",
    4: "SZIP",
    5: "n-bit",
    6: "scale-offset",
    32000: "LZF",
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
    32033: "HTJ2K",
    ECF: "Prophesee's ECF",
}


def filters_of(settings: h5p.PropDCID) -> list[tuple[int, str]]:
    """Number and readable name of each filter in the creation properties of a data set."""
    found = []
    for k in range(settings.get_nfilters()):
        number, _, _, name = settings.get_filter(k)
        stated = name.decode("utf-8", "replace").strip()
        found.append((number, FILTERS.get(number) or (stated if stated.isprintable() else "") or "unknown"))
    return found

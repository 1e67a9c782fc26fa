"""Refuse HDF5 files that refer to other files, so that a recording or cache from elsewhere reads nothing but itself.

HDF5 follows external links, external storage and the sources of virtual data sets without asking, to any file that the
user may read, and loads the library of a compression filter that it does not know from a folder of plugins. Source:
HDF5 User Guide, sections 4 (external links), 5.5 (external storage) and 5.9 (virtual data sets).
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import h5py
from h5py import h5d, h5g, h5l, h5o, h5p

from preprocess.errors import SpikeloomError
from preprocess.hdf5_filters import FILTERS, filters_of

_WITHIN = (h5l.TYPE_HARD, h5l.TYPE_SOFT)
_ITSELF = "."
# Checking takes about ten seconds for as many; recordings and caches have tens.
MOST_OBJECTS = 1_000_000
_MOST_LETTERS = 80


def refuse_outside_data(path: Path, file: h5py.File, kind: type[SpikeloomError]) -> None:
    """Check all links and data sets of an open file; links to other files are not followed.

    Args:
        path: The path of the file.
        file: The file.
        kind: The class of the error.

    Raises:
        SpikeloomError: Of this class, if one of them refers to another file or is stored with a filter that is not in
            `FILTERS`, or there are too many to check.
        OSError, RuntimeError, ValueError or KeyError: If the file is damaged.
    """
    # Group by group, because HDF5's own walk calls itself for each level, and files may be nested deeply.
    root = h5g.open(file.id, b"/")
    waiting = deque([("", root)])
    seen, objects = {h5g.get_objinfo(root).objno}, 0
    while waiting:
        above, group = waiting.popleft()
        for name, link in _links(group):
            place = f"{above}{name.decode(errors='replace')}"[-_MOST_LETTERS:]
            objects += 1
            if objects > MOST_OBJECTS:
                raise kind(f"{path}: expected at most {MOST_OBJECTS:,} objects, found more. Split the file.")
            found = None
            if link not in _WITHIN:
                found = f"the link {place} to another file"
            elif link == h5l.TYPE_HARD:
                inner = h5o.open(group, name)
                if isinstance(inner, h5d.DatasetID):
                    stored = inner.get_create_plist()
                    if _is_elsewhere(stored):
                        found = f"{place}, whose values are in another file"
                    _refuse_unlisted_filters(path, place, stored, kind)
                elif isinstance(inner, h5g.GroupID) and (number := h5g.get_objinfo(inner).objno) not in seen:
                    seen.add(number)
                    waiting.append((f"{place}/", inner))
            if found is not None:
                raise kind(
                    f"{path}: expected a file that contains all of its data, found {found}, which is never read. Copy "
                    "the data into it, without the reference."
                )


def _refuse_unlisted_filters(path: Path, place: str, stored: h5p.PropDCID, kind: type[SpikeloomError]) -> None:
    for number, title in filters_of(stored):
        if number not in FILTERS:
            raise kind(
                f"{path}: expected compression with gzip, LZF, Prophesee's ECF or a filter of the package hdf5plugin, "
                f"found {place} compressed with {title} (filter {number}), whose library is never loaded. Store it "
                "with another one."
            )


def _links(group: h5g.GroupID) -> list[tuple[bytes, int]]:
    """Names and types of the links of a group."""
    found: list[tuple[bytes, int]] = []

    def keep(name: bytes, link: h5l.LinkInfo) -> bool | None:
        found.append((name, link.type))
        return True if len(found) > MOST_OBJECTS else None

    group.links.iterate(keep, info=True)
    return found


def _is_elsewhere(stored: h5p.PropDCID) -> bool:
    if stored.get_layout() == h5d.VIRTUAL:
        return any(stored.get_virtual_filename(k) != _ITSELF for k in range(stored.get_virtual_count()))
    return bool(stored.get_external_count())

"""Refuse HDF5 files that refer to other files, so that a recording or cache from elsewhere reads nothing but itself.

HDF5 follows external links, external storage and the sources of virtual data sets without asking, to any file that the
user may read. Source: HDF5 User Guide, sections 4 (external links), 5.5 (external storage) and 5.9 (virtual data sets).
"""

from __future__ import annotations

from pathlib import Path

import h5py
from h5py import h5d, h5l, h5o

from preprocess.errors import SpikeloomError

_WITHIN = (h5l.TYPE_HARD, h5l.TYPE_SOFT)


def refuse_outside_data(path: Path, file: h5py.File, kind: type[SpikeloomError]) -> None:
    """Check all links and data sets of an open file; links to other files are not followed.

    Args:
        path: The path of the file.
        file: The file.
        kind: The class of the error.

    Raises:
        SpikeloomError: Of this class, if one of them refers to another file.
        OSError, RuntimeError, ValueError or KeyError: If the file is damaged.
    """

    # Returned, and not raised, because errors do not pass through HDF5's loop.
    def check(name: bytes, link: h5l.LinkInfo) -> str | Exception | None:
        try:
            return _found_outside(file, name, link)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            return error

    found = file.id.links.visit(check, info=True)
    if isinstance(found, Exception):
        raise found
    if found is not None:
        raise kind(
            f"{path}: expected a file that contains all of its data, found {found}, which is never read. Copy the data "
            "into it, without the reference."
        )


def _found_outside(file: h5py.File, name: bytes, link: h5l.LinkInfo) -> str | None:
    if link.type not in _WITHIN:
        return f"the link {_text(name)} to another file"
    if link.type == h5l.TYPE_HARD and h5o.get_info(file.id, name).type == h5o.TYPE_DATASET:
        stored = h5d.open(file.id, name).get_create_plist()
        if stored.get_layout() == h5d.VIRTUAL or stored.get_external_count():
            return f"{_text(name)}, whose values are in another file"
    return None


def _text(name: bytes) -> str:
    return name.decode(errors="replace")[:80]

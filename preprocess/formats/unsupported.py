"""Formats of event recordings that are recognised, but not read: their names, and programs that convert them."""

from __future__ import annotations

_BY_CONTENT = (
    (b"#!AER-DAT1.0", "AEDAT 1.0", "jAER (save it as AEDAT 2.0)"),
    (b"SQLite format 3", "a ROS 2 bag (SQLite)", "rosbags-convert (to a ROS 1 bag)"),
    (b"\x89MCAP", "a ROS 2 bag (MCAP)", "rosbags-convert (to a ROS 1 bag)"),
    (b"% evt 4", "Prophesee EVT 4.0", "Metavision's metavision_file_to_hdf5"),
    (b"% format EVT4", "Prophesee EVT 4.0", "Metavision's metavision_file_to_hdf5"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with Zstandard", "zstd -d"),
    (b"BZh", "a file compressed with bzip2", "bunzip2"),
    (b"\xfd7zXZ", "a file compressed with xz", "unxz"),
    (b"PAR1", "a Parquet table", "pandas (save it as CSV)"),
)  # fmt: skip


def unsupported_format(head: bytes) -> tuple[str, str] | None:
    """Return the name of a format that is not read, and what converts it; None if it is unknown."""
    return next(((title, reader) for magic, title, reader in _BY_CONTENT if head.startswith(magic)), None)

"""Data sets: one module each, which reads a folder as labelled recordings with their official splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from preprocess.datasets.layout import Layout as Layout
    from preprocess.datasets.layout import Sample as Sample
    from preprocess.datasets.layout import SourceRecording as SourceRecording
    from preprocess.datasets.registry import DATASETS as DATASETS
    from preprocess.datasets.registry import find_layout as find_layout
    from preprocess.datasets.registry import register_dataset as register_dataset
    from preprocess.datasets.unread_files import find_unread as find_unread

__getattr__ = lazy_exports(
    __name__,
    {
        "DATASETS": "preprocess.datasets.registry",
        "find_layout": "preprocess.datasets.registry",
        "register_dataset": "preprocess.datasets.registry",
        "Layout": "preprocess.datasets.layout",
        "Sample": "preprocess.datasets.layout",
        "SourceRecording": "preprocess.datasets.layout",
        "find_unread": "preprocess.datasets.unread_files",
    },
)

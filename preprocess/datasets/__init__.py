"""Data set folders: one layout a file, each a folder turned into labelled samples with their official splits."""

from preprocess.datasets.find import DATASETS as DATASETS
from preprocess.datasets.find import find_layout as find_layout
from preprocess.datasets.layout import Layout as Layout
from preprocess.datasets.layout import Sample as Sample
from preprocess.datasets.layout import SourceRecording as SourceRecording
from preprocess.datasets.unread import find_unread as find_unread

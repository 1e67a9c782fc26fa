"""Everything that is known of one data set: each module of a data set defines one, and the registry lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from preprocess.datasets.layout import Form


@dataclass(frozen=True)
class Published:
    """The size of a data set as it is published.

    Attributes:
        height: Sensor rows.
        width: Sensor columns.
        classes: Number of classes.
        train: Number of training samples; None if it is not fixed.
        splits: The splits that have so many training samples.
    """

    height: int
    width: int
    classes: int
    train: int | None = None
    splits: tuple[str, ...] = ("official",)


@dataclass(frozen=True)
class CacheKind:
    """A name that the caches of a data set can have, and the commands that make such a cache.

    Attributes:
        name: A regular expression that matches the complete name.
        options: Options of ``spikeloom preprocess`` besides the data set.
        emulate: Arguments of ``spikeloom emulate`` that make the recordings, with the groups of `name` as ``{0}``; ""
            if they are not emulated.
    """

    name: str
    options: str = ""
    emulate: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set that the commands know by name.

    Attributes:
        name: For the commands, and the default name of its caches.
        forms: The ways in which its recordings are stored on a disk.
        archives: The archives in which it is published, and the folder that each one becomes.
        tonic_class: The class of ``tonic.datasets`` that knows where to download it; "" if there is none.
        caches: The names of its caches; every other name is a custom one.
        published: Its size, by the beginning of the name of its caches.
        validation_users: Users of the official training split whose samples validate; empty for a random choice.
    """

    name: str
    forms: tuple[Form, ...]
    archives: Mapping[str, str] = field(default_factory=dict)
    tonic_class: str = ""
    caches: tuple[CacheKind, ...] = ()
    published: Mapping[str, Published] = field(default_factory=dict)
    validation_users: frozenset[int] = frozenset()

"""The description of a data set; each module of a data set defines one, and the registry lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preprocess.datasets.layout import Form


@dataclass(frozen=True)
class Published:
    """The size of a data set as it is published.

    Attributes:
        height: Sensor rows.
        width: Sensor columns.
        classes: Number of classes.
        train: Number of training samples; None if it is not fixed.
        splits: The splits with this number of training samples.
        images: Whether it has static images, not events.
    """

    height: int
    width: int
    classes: int
    train: int | None = None
    splits: tuple[str, ...] = ("official",)
    images: bool = False


@dataclass(frozen=True)
class CacheKind:
    """A name that the caches of a data set can have, and the commands that create such a cache.

    Attributes:
        name: A regular expression that matches the complete name.
        options: Options of ``spikeloom preprocess`` besides the data set.
        emulate: Arguments of ``spikeloom emulate`` that create the recordings, with the groups of `name` as ``{0}``;
            "" if they are not emulated.
    """

    name: str
    options: str = ""
    emulate: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set that the commands know by name.

    Attributes:
        name: Name in commands, and default name of the caches.
        forms: The forms in which its recordings can be stored.
        archives: The archives in which it is published, and the folder that each one is unpacked to.
        download: The class with the addresses and MD5 checksums of its archives, as ``package.module:Class``, or the
            address of its archive, followed by ``#md5=`` and the checksum; "" if it cannot be downloaded.
        caches: The names of its caches; all other names are custom.
        published: Its published size, by the beginning of the name of its caches.
        validation_users: Users of the official training split whose samples form the validation split; if empty,
            validation samples are drawn at random.
    """

    name: str
    forms: tuple[Form[Any], ...]
    archives: Mapping[str, str] = field(default_factory=dict)
    download: str = ""
    caches: tuple[CacheKind, ...] = ()
    published: Mapping[str, Published] = field(default_factory=dict)
    validation_users: frozenset[int] = frozenset()

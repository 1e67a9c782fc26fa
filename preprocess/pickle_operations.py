"""The operations of a pickle, read without executing them."""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Iterator
from typing import IO, Any

_WITH_LONG_INDEX = ("PUT", "LONG_BINPUT")


def read_operations(pickle: bytes | IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Name, as `pickletools` has it, and argument of each operation.

    An object may not be stored at an index beyond the operations before it: Python makes a table as long as the index,
    so that a few bytes would take gigabytes. No pickle that it wrote has such an index.

    Raises:
        ValueError: If the pickle is damaged.
    """
    operations = enumerate(pickletools.genops(pickle))
    while True:
        with warnings.catch_warnings():
            # Python warns of escapes that its texts do not have.
            warnings.simplefilter("ignore", DeprecationWarning)
            following = next(operations, None)
        if following is None:
            return
        number, (opcode, argument, _) = following
        if opcode.name in _WITH_LONG_INDEX and not (isinstance(argument, int) and argument <= number):
            raise ValueError("a damaged pickle")
        yield opcode.name, argument

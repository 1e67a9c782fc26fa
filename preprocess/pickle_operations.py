"""The operations of a pickle, read without executing them."""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Iterator
from typing import IO, Any

_WITH_LONG_INDEX = ("PUT", "LONG_BINPUT")


def read_operations(pickle: bytes | IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Name, as `pickletools` has it, and argument of each operation.

    Escapes that Python does not know are damage: it only warns of them, and never writes them. Nor may an object be
    stored at an index beyond the operations before it: Python makes a table as long as the index, so that a few bytes
    would take gigabytes. No pickle that it wrote has such an index.

    Raises:
        ValueError: If the pickle is damaged.
    """
    operations = enumerate(pickletools.genops(pickle))
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            try:
                following = next(operations, None)
            except DeprecationWarning as warning:
                raise ValueError(f"a damaged pickle: {warning}") from None
        if following is None:
            return
        number, (opcode, argument, _) = following
        if opcode.name in _WITH_LONG_INDEX and not (isinstance(argument, int) and argument <= number):
            raise ValueError("a damaged pickle")
        yield opcode.name, argument

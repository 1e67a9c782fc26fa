"""Indices of pickled objects, which a few bytes of a pickle can set so high that Python allocates gigabytes."""

from __future__ import annotations

_WITH_LONG_INDEX = ("PUT", "LONG_BINPUT")


def is_index_too_large(number: int, operation: str, argument: object) -> bool:
    """Whether an operation of a pickle stores an object at an index beyond the operations before it.

    Python makes a table as long as the index; no pickle that it wrote has such an index.

    Args:
        number: The number of the operation, from 0.
        operation: Its name, as `pickletools.genops` gives it.
        argument: Its argument; anything but an integer is too large.
    """
    return operation in _WITH_LONG_INDEX and not (isinstance(argument, int) and argument <= number)

"""Numbers with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A number with its noun, such as ``1 seed`` or ``2,000 samples``; the plural of the noun ends in s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""The words that a text file may write in place of a number, as polarities.

Polarities may also be the numbers 1, 0 and -1, as in every format with columns.
"""

from __future__ import annotations

POLARITY_WORDS = {"true": 1, "false": 0, "on": 1, "off": 0}
"""Polarity by its word in lower case, of ASCII letters; a file may write it in capital letters."""

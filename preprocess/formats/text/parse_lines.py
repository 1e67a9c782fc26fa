"""Numba kernel that parses lines of numbers; it releases the GIL.

Numbers are read as decimal digits and an exponent, so that times in s become µs without the rounding of binary
fractions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.text.polarity_words import POLARITY_WORDS
from preprocess.jit import compile_kernel

# How a block ended. After GOOD, it was consumed up to its last complete line.
GOOD, FULL, NOT_A_NUMBER, TOO_FEW, TOO_MANY, NOT_WHOLE, NO_POLARITY, TOO_LARGE, OUTSIDE_SENSOR = range(9)

# Of columns, in the order in which a line may contain them; other columns are negative.
T, X, Y, P = range(4)

_NEWLINE, _RETURN, _SPACE, _TAB, _COMMA, _SEMICOLON = 10, 13, 32, 9, 44, 59
_HASH, _PERCENT, _PLUS, _MINUS, _POINT, _ZERO = 35, 37, 43, 45, 46, 48
_QUOTE, _APOSTROPHE = 34, 39

# Digits beyond these do not fit into 64 bits.
_MOST_DIGITS = 100_000_000_000_000_000
_TEN = np.uint64(10)
_MOST_EXPONENT = 10_000
_LARGEST = 1 << 62

# A row of bytes for each word, ended by zeros.
_WORDS = np.array(
    [list(word.encode().ljust(max(map(len, POLARITY_WORDS)), b"\0")) for word in POLARITY_WORDS], np.uint8
)
_WORD_LENGTHS = np.array([len(word) for word in POLARITY_WORDS], np.int64)
_WORD_VALUES = np.array(list(POLARITY_WORDS.values()), np.int64)


@compile_kernel
def parse_lines(
    data: Any, roles: Any, exact: bool, scale: int, height: int, width: int, state: Any, t: Any, x: Any, y: Any, p: Any
) -> Any:
    """Parse lines of numbers that are separated by spaces, tabs, commas or semicolons.

    Empty lines, and lines that begin with ``#`` or ``%``, are skipped. Numbers may be in quotes, and commas or
    semicolons may follow the last value.

    Args:
        data: Text whose last byte ends a line, uint8 (N,).
        roles: T, X, Y or P for each column of a line, or a negative number for one that is not used, int64 (C,).
        exact: Whether times must be whole numbers of µs; otherwise they are rounded to the nearest.
        scale: Times are multiplied with 10 to this power.
        height: Sensor rows, at most 2^16.
        width: Sensor columns, at most 2^16.
        state: Number of lines and of skipped comments so far, then column and row of the last event, int64 (4,);
            updated.
        t: int64 (M,), times in µs.
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, bytes consumed (up to the line that is at fault, if one is), events made, and the number of the
        column at fault.
    """
    powers = np.empty(19, np.int64)
    powers[0] = 1
    for k in range(1, 19):
        powers[k] = 10 * powers[k - 1]
    n = 0
    at = 0
    end = len(data)
    columns = len(roles)
    while at < end:
        start = at
        while data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN:
            at += 1
        if data[at] == _NEWLINE or data[at] == _HASH or data[at] == _PERCENT:
            state[1] += data[at] != _NEWLINE
            while data[at] != _NEWLINE:
                at += 1
            at += 1
            state[0] += 1
            continue
        if n == len(t):
            return FULL, start, n, 0
        column = 0
        while True:
            if column == columns:
                # As spreadsheets write them, for the empty columns of a table.
                while (data[at] <= _SPACE and data[at] != _NEWLINE) or data[at] == _COMMA or data[at] == _SEMICOLON:
                    at += 1
                if data[at] == _NEWLINE:
                    break
                return TOO_MANY, start, n, column
            role = roles[column]
            if role < 0:
                at = _skip_value(data, at)
            else:
                # Nearly all numbers are a few digits, with or without a point.
                began = at
                negative = data[at] == _MINUS
                at += negative
                digits, dropped = np.int64(0), False
                first = at
                digit = np.uint64(data[at]) - np.uint64(_ZERO)
                while digit < _TEN:
                    digits = 10 * digits + np.int64(digit)
                    at += 1
                    digit = np.uint64(data[at]) - np.uint64(_ZERO)
                point = at
                if data[at] == _POINT:
                    at += 1
                    digit = np.uint64(data[at]) - np.uint64(_ZERO)
                    while digit < _TEN:
                        digits = 10 * digits + np.int64(digit)
                        at += 1
                        digit = np.uint64(data[at]) - np.uint64(_ZERO)
                    exponent = point + 1 - at
                else:
                    exponent = 0
                length = at - first
                after = data[at]
                if length + (exponent == 0 and point == at) >= 2 and length <= 18 and _separates(after):
                    digits = -digits if negative else digits
                else:
                    ended, at, digits, exponent, dropped = _number(data, began)
                    if ended != GOOD:
                        return ended, start, n, column
                if role == T:
                    exponent += scale
                is_whole = not dropped
                value = digits
                if dropped and exponent >= 0:
                    return TOO_LARGE, start, n, column
                if exponent > 0:
                    if digits != 0:
                        if exponent > 18 or abs(digits) > _LARGEST // powers[exponent]:
                            return TOO_LARGE, start, n, column
                        value = digits * powers[exponent]
                elif exponent < 0:
                    if exponent < -18:
                        is_whole = is_whole and digits == 0
                        value = np.int64(0)
                    else:
                        power = powers[-exponent]
                        value = (digits + power // 2) // power
                        is_whole = is_whole and value * power == digits
                if not is_whole and (exact or role != T):
                    return NOT_WHOLE, start, n, column
                if role == T:
                    t[n] = value
                elif role == X:
                    x[n], state[2] = value, value
                elif role == Y:
                    y[n], state[3] = value, value
                else:
                    if value < -1 or value > 1:
                        return NO_POLARITY, start, n, column
                    p[n] = value == 1
            column += 1
            while data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN:
                at += 1
            if data[at] == _COMMA or data[at] == _SEMICOLON:
                at += 1
                while data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN:
                    at += 1
            elif data[at] == _NEWLINE:
                break
        if column < columns:
            return TOO_FEW, start, n, column
        if state[2] < 0 or state[3] < 0 or state[2] >= width or state[3] >= height:
            return OUTSIDE_SENSOR, start, n, 0
        at += 1
        state[0] += 1
        n += 1
    return GOOD, at, n, 0


@njit(nogil=True, error_model="numpy")
def _separates(byte: Any) -> Any:
    """Whether a byte ends a value."""
    return (byte <= _SPACE) | (byte == _COMMA) | (byte == _SEMICOLON)


@njit(nogil=True, error_model="numpy")
def _skip_value(data: Any, at: Any) -> Any:
    """The byte behind a value that is not used, which may be empty, or a text with separators in double quotes."""
    while data[at] == _QUOTE:
        at += 1
        while data[at] != _QUOTE and data[at] != _NEWLINE:
            at += 1
        if data[at] == _QUOTE:
            at += 1
    while not _separates(data[at]):
        at += 1
    return at


@njit(nogil=True, error_model="numpy")
def _number(data: Any, at: Any) -> Any:
    """Read a number, or one of `POLARITY_WORDS`, with or without quotes; returns as `_unquoted` does."""
    quote = data[at]
    if quote != _QUOTE and quote != _APOSTROPHE:
        return _unquoted(data, at, np.uint8(_SPACE))
    at += 1
    while data[at] == _SPACE:
        at += 1
    ended, at, digits, exponent, dropped = _unquoted(data, at, quote)
    if ended == GOOD:
        while data[at] == _SPACE:
            at += 1
        if data[at] != quote or not _separates(data[at + 1]):
            ended = NOT_A_NUMBER
        else:
            at += 1
    return ended, at, digits, exponent, dropped


@njit(nogil=True, error_model="numpy")
def _unquoted(data: Any, at: Any, quote: Any) -> Any:
    """Read a number, or one of `POLARITY_WORDS`, that ends at a separator or at the quote.

    Returns:
        How it ended, the byte behind it, its digits as an integer, the power of ten to multiply them with, and whether
        digits other than 0 were dropped.
    """
    zero, nothing = np.int64(0), False
    negative = data[at] == _MINUS
    if negative or data[at] == _PLUS:
        at += 1
    digits, exponent = zero, zero
    dropped = False
    seen = zero
    fraction = False
    while True:
        digit = np.int64(data[at]) - _ZERO
        if 0 <= digit <= 9:
            seen += 1
            if digits < _MOST_DIGITS:
                digits = 10 * digits + digit
                exponent -= fraction
            else:
                exponent += not fraction
                dropped = dropped or digit != 0
        elif data[at] == _POINT and not fraction:
            fraction = True
        else:
            break
        at += 1
    if not seen:
        return _word(data, at, quote)
    if data[at] == 101 or data[at] == 69:
        at += 1
        below = data[at] == _MINUS
        if below or data[at] == _PLUS:
            at += 1
        power, seen = zero, zero
        while 0 <= np.int64(data[at]) - _ZERO <= 9:
            power = min(10 * power + np.int64(data[at]) - _ZERO, np.int64(_MOST_EXPONENT))
            at += 1
            seen += 1
        if not seen:
            return NOT_A_NUMBER, at, zero, zero, nothing
        exponent += -power if below else power
    if not _separates(data[at]) and data[at] != quote:
        return NOT_A_NUMBER, at, zero, zero, nothing
    return GOOD, at, -digits if negative else digits, exponent, dropped


@njit(nogil=True, error_model="numpy")
def _word(data: Any, at: Any, quote: Any) -> Any:
    """Read one of the words in place of a polarity, in small or capital letters; returns as `_unquoted` does."""
    zero, nothing = np.int64(0), False
    begin = at
    while not _separates(data[at]) and data[at] != quote:
        at += 1
    for k in range(len(_WORDS)):
        length = _WORD_LENGTHS[k]
        if at - begin == length:
            same = True
            for i in range(length):
                same = same and (data[begin + i] | np.uint8(32)) == _WORDS[k, i]
            if same:
                return GOOD, at, _WORD_VALUES[k], zero, nothing
    return NOT_A_NUMBER, at, zero, zero, nothing

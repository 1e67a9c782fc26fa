"""The text header of AEDAT and Prophesee files: lines that begin with ``#`` or ``%``, ended by LF or CRLF."""

from __future__ import annotations

import re
from pathlib import Path

from preprocess.errors import RecordingError
from preprocess.formats.recording import unreadable

# jAER writes its preferences into headers, about 200 kB; a damaged file must not be read as one long line.
_LONGEST_LINE = 1 << 16
_LONGEST_HEADER = 1 << 21


def read_header(path: Path, end: bytes, *, end_required: bool, mark: bytes = b"#") -> tuple[tuple[str, ...], int]:
    """Return the lines of the header and the byte at which the data begins.

    The header ends after the line `end` or, if that is not required, before the first line without the mark, or with
    bytes that no text has: the data may begin with the bytes of the mark.

    Args:
        path: The file.
        end: The line that ends the header, without its line end.
        end_required: Whether that line is mandatory.
        mark: The beginning of every line.

    Raises:
        RecordingError: If the header does not end.
    """
    lines: list[str] = []
    position = 0

    def message(expected: str, found: str) -> RecordingError:
        return RecordingError(
            f"{path}: expected {expected}, found {found} at byte {position}. The file is damaged or not a "
            "recording; copy it again."
        )

    try:
        with path.open("rb") as file:
            while position < _LONGEST_HEADER:
                line = file.readline(_LONGEST_LINE)
                if not line.startswith(mark) or (not end_required and _is_binary(line)):
                    break
                if len(line) == _LONGEST_LINE:
                    raise message(f"header lines of less than {_LONGEST_LINE} bytes", "a longer one")
                if not line.endswith(b"\n"):
                    raise message("the header to end", "its last line cut off by the end of the file")
                position += len(line)
                text = line.rstrip(b"\r\n")
                lines.append(text.decode("utf-8", "replace"))
                if text == end:
                    return tuple(lines), position
    except OSError as error:
        raise unreadable(path, error) from None
    if position >= _LONGEST_HEADER:
        raise message(f"a header of less than {_LONGEST_HEADER} bytes", "more header lines")
    if end_required:
        raise message(f"the line {end.decode()} at the end of the header", "bytes that are not a header line")
    return tuple(lines), position


def _is_binary(line: bytes) -> bool:
    """Whether a line has control characters other than tabs and its own end."""
    return any(byte < 0x20 and byte != 0x09 for byte in line.rstrip(b"\r\n"))


def find_in_header(lines: tuple[str, ...], pattern: str) -> list[str]:
    """Return the first group of the pattern for each line that matches it."""
    return [found.group(1).strip() for line in lines if (found := re.match(pattern, line))]

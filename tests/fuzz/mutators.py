"""Changes of the structure of files: values in JSON, numbers in text, members of ZIP archives, compressed content.

Random changes of bytes are mostly refused by a checksum or a parser; these get behind them.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import warnings
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from mutated_files import MUTATORS

from .target import Mutator

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ODD_NUMBERS = (
    b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"4294967295", b"9223372036854775807", b"9223372036854775808",
    b"1e308", b"1e999", b"-0.0", b"1e-320", b"nan", b"inf", b"-inf", b"9" * 30, b"9" * 5000, b"0x10", b"1_0", b"",
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, -1e308, 2**31, 2**63, 10**400, float("nan"), float("inf"), -0.0, "", " ",
    "x", "x" * 3000, "\0", "\n", "\ud800", "../../x", "1", "nan", [], {}, [[]], [None], [1, 2], {"": None}, {"a": {}},
)  # fmt: skip
_DEEP = 100_000


def change_bytes(rng: np.random.Generator, content: bytearray) -> bytearray:
    """One random change of bytes."""
    if not content:
        return bytearray(rng.bytes(rng.integers(1, 40)))
    return BYTE_MUTATORS[rng.integers(len(BYTE_MUTATORS))](rng, content)


def set_integer(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Set an integer of 1, 2, 4 or 8 bytes to one that is near a limit."""
    width = int(2 ** rng.integers(4))
    at = int(rng.integers(max(1, len(content) - width + 1)))
    limit = 1 << (8 * width)
    chosen = (0, 1, limit - 1, limit // 2, limit // 2 - 1, limit - 2, len(content) % limit, int(rng.integers(256)))
    value = chosen[rng.integers(len(chosen))]
    content[at : at + width] = value.to_bytes(width, "little" if rng.integers(2) else "big")
    return content


def set_number(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Replace a number in text, such as one in a header, with one that readers may not expect."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    return content[: match.start()] + _ODD_NUMBERS[rng.integers(len(_ODD_NUMBERS))] + content[match.end() :]


BYTE_MUTATORS: tuple[Mutator, ...] = (*MUTATORS, set_integer)


def _choose(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[rng.integers(len(values))]


def edit_json(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change a value, name or item of a JSON document, or of a line of JSON lines."""
    try:
        document = json.loads(content)
        lines = [document]
    except (ValueError, RecursionError):
        try:
            lines = [json.loads(line) for line in content.splitlines()]
        except (ValueError, RecursionError):
            return content
    if not lines:
        return content
    k = int(rng.integers(len(lines)))
    if rng.integers(60) == 0:
        text = json.dumps(lines[k]).encode()
        return bytearray(_NUMBER.sub(b"[" * _DEEP + b"]" * _DEEP, text, count=1))
    lines[k] = _edited(rng, lines[k])
    return bytearray("".join(json.dumps(line) + "\n" for line in lines).encode())


def _edited(rng: np.random.Generator, document: Any) -> Any:
    """The document with one change."""
    places = list(_places(document))
    if not places or rng.integers(40) == 0:
        return _choose(rng, _ODD_VALUES)
    above, key = _choose(rng, places)
    action = rng.integers(8)
    if action == 0:
        del above[key]
    elif action == 1 and isinstance(above, list):
        above.insert(key, above[key])
    elif action == 1:
        above[_choose(rng, ("", "x", "__class__", "self", key.upper()))] = above.pop(key)
    elif action == 2:
        other, name = _choose(rng, places)
        above[key] = json.loads(json.dumps(other[name]))
    else:
        above[key] = _choose(rng, _ODD_VALUES)
    return document


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys, the nested ones included."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        found += [(item, key) for key in keys]
        waiting += [item[key] for key in keys]
    return found


def edit_zip(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change the content, the name or the compression of a member of a ZIP archive, whose checksums are right."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info, bytearray(archive.read(info))) for info in archive.infolist() if info.file_size < 1 << 22]
    except Exception:  # whatever a damaged archive makes zipfile raise
        return content
    if not members:
        return content
    k = int(rng.integers(len(members)))
    info, inner = members[k]
    name, kind = info.filename, info.compress_type
    action = rng.integers(8)
    if action == 0:
        name = _choose(rng, ("", "../x", "/x", "a/../../x", "x\0y", "C:x", "x" * 300, f"{name}/", f"./{name}", "."))
    elif action == 1:
        kind = _choose(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif action == 2:
        members.append(members[k])
    elif action == 3:
        inner = set_number(rng, inner)
    else:
        inner = change_bytes(rng, inner)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for number, (each, stored) in enumerate(members):
            new = zipfile.ZipInfo(name if number == k else each.filename)
            new.external_attr = each.external_attr
            archive.writestr(new, bytes(inner if number == k else stored), kind if number == k else each.compress_type)
    return bytearray(made.getvalue())


def edit_gzip(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Change what is compressed by gzip."""
    try:
        inner = bytearray(gzip.decompress(content))
    except (OSError, EOFError, ValueError):
        return content
    except Exception:  # zlib.error
        return content
    return bytearray(gzip.compress(bytes(change_bytes(rng, inner)), 1, mtime=0))


class Mutations:
    """An endless stream of inputs: seeds with one to four changes, and earlier inputs that were read, changed again."""

    _MOST_KEPT = 100

    def __init__(self, seeds: Sequence[bytes], mutators: Sequence[Mutator], seed: int) -> None:
        self._seeds, self._structural = list(seeds), tuple(mutators)
        self._kept: list[bytes] = []
        self._rng = np.random.default_rng(seed)

    def next(self) -> bytes:
        """The next input."""
        rng = self._rng
        pool = self._kept if self._kept and rng.integers(4) == 0 else self._seeds
        return self.change(_choose(rng, pool))

    def change(self, content: bytes, rng: np.random.Generator | None = None) -> bytes:
        """The content with one to four changes; those of the structure come first, while it is intact."""
        rng = rng or self._rng
        changed = bytearray(content)
        structural = int(rng.integers(1, 4)) if self._structural and rng.integers(3) else 0
        for _ in range(structural):
            changed = _choose(rng, self._structural)(rng, changed)
        for _ in range(int(rng.integers(1, 4)) if not structural or rng.integers(4) == 0 else 0):
            changed = change_bytes(rng, changed)
        return bytes(changed)

    def keep(self, content: bytes) -> None:
        """Use an input that was read as a further seed."""
        if len(self._kept) < self._MOST_KEPT:
            self._kept.append(content)
        else:
            self._kept[self._rng.integers(self._MOST_KEPT)] = content

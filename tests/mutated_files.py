"""Files with bits flipped, parts cut, moved and inserted: decoded or refused in one line, and nothing else."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from preprocess.errors import RecordingError
from preprocess.formats import ReadOptions, open_recording


def flip(rng: np.random.Generator, content: bytearray) -> bytearray:
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    return content


def truncate(rng: np.random.Generator, content: bytearray) -> bytearray:
    return content[: rng.integers(len(content))]


def reorder(rng: np.random.Generator, content: bytearray) -> bytearray:
    a, b = sorted(rng.integers(len(content), size=2))
    return content[b:] + content[a:b] + content[:a]


def oversize(rng: np.random.Generator, content: bytearray) -> bytearray:
    at = rng.integers(max(1, len(content) - 4))
    content[at : at + 4] = struct.pack("<I", rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, len(content)]))
    return content


def insert(rng: np.random.Generator, content: bytearray) -> bytearray:
    at = rng.integers(len(content))
    return content[:at] + rng.bytes(rng.integers(1, 40)) + content[at:]


def repeat(rng: np.random.Generator, content: bytearray) -> bytearray:
    a, b = sorted(rng.integers(len(content), size=2))
    return content[:b] + content[a:b] * int(rng.integers(1, 4)) + content[b:]


Mutator = Callable[[np.random.Generator, bytearray], bytearray]

MUTATORS: tuple[Mutator, ...] = (flip, truncate, reorder, oversize, insert, repeat)


def decoded_or_refused(
    folder: Path,
    contents: Sequence[tuple[str, bytes, ReadOptions]],
    size: tuple[int, int],
    count: int,
    seed: int = 9,
    mutators: Sequence[Mutator] = MUTATORS,
    format: str | None = None,
) -> Counter[str]:
    """Decode mutations of files, given as name, content and options; an error is one line with file and finding."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    start = time.perf_counter()
    for k in range(count):
        name, content, options = contents[k % len(contents)]
        mutated = bytearray(content)
        for _ in range(rng.integers(1, 3)):
            if mutated:
                mutated = mutators[rng.integers(len(mutators))](rng, mutated)
        path = folder / name
        path.write_bytes(bytes(mutated))
        try:
            opened = open_recording(path, format=format, size=size, options=options)
            for chunk in opened.chunks():
                assert len(chunk.t) == len(chunk.x) == len(chunk.y) == len(chunk.p) > 0
                assert chunk.x.max() < opened.width and chunk.y.max() < opened.height and chunk.p.max() <= 1
            outcomes["decoded"] += 1
        except RecordingError as error:
            (line,) = error.errors
            assert line.startswith(f"{path}: ") and "\n" not in line, line
            assert "found" in line or "cannot be" in line, line
            outcomes["refused"] += 1
    assert min(outcomes["decoded"], outcomes["refused"]) > count // 100 or count < 300, outcomes
    assert time.perf_counter() - start < 20 + 0.05 * count
    return outcomes

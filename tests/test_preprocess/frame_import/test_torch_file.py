"""Files of torch.save are read as torch reads them with weights_only, and nothing in them runs or crashes."""

from __future__ import annotations

import os
import pickle
import random
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from preprocess.errors import RecordingError
from preprocess.frame_import.torch_file import read_torch_file

STRIDED = torch.arange(48.0).reshape(2, 3, 8).permute(2, 0, 1)[1:, :, ::2]
OBJECTS: list[Any] = [
    [torch.rand(3, 2, 4, 5), torch.tensor([3.0])],
    (STRIDED, 3),
    [torch.zeros(4, 0), torch.ones(3, dtype=torch.bool), torch.tensor(7)],
    {"a": torch.arange(5, dtype=torch.int16), "b": [1.5, None, "text", True]},
    [torch.zeros(1, 1).expand(3, 4), torch.arange(3, dtype=torch.uint8), torch.ones(2, dtype=torch.float16)],
]
BOTH = pytest.mark.parametrize("archive", [True, False], ids=["zip", "pickles"])


def equal(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return found.dtype == expected.numpy().dtype and np.array_equal(found, expected.numpy())
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(equal(found[key], expected[key]) for key in expected)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(equal, found, expected))
    return found == expected


@BOTH
@pytest.mark.parametrize("number", range(len(OBJECTS)))
def test_objects_are_torchs(number: int, archive: bool, tmp_path: Path):
    path = tmp_path / "a.pt"
    torch.save(OBJECTS[number], path, _use_new_zipfile_serialization=archive)
    assert equal(read_torch_file(path), torch.load(path, weights_only=True))


class Runs:
    """A pickle of this calls a function of the system. Not print: Ray puts a function of its own in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@BOTH
def test_other_objects_are_refused_by_name(archive: bool, tmp_path: Path):
    path, made = tmp_path / "a.pt", tmp_path / "it ran"
    for content, name in ((Runs(made), "posix.mkdir"), (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear")):
        torch.save([content], path, _use_new_zipfile_serialization=archive)
        with pytest.raises(RecordingError, match=f"expected tensors and plain values, found {name}"):
            read_torch_file(path)
    assert not made.exists()
    torch.save([np.zeros(3), 1], path, _use_new_zipfile_serialization=archive)
    with pytest.raises(RecordingError, match=r"found numpy.*Save tensors only"):
        read_torch_file(path)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps([1, 2]), b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF"])
def test_other_files_are_refused_in_a_line(content: bytes, tmp_path: Path):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"expected a file of torch.save, found") as refused:
        read_torch_file(path)
    assert len(refused.value.errors) == 1 and str(path) in str(refused.value)


def test_an_index_beyond_the_operations_is_refused_before_a_table_is_made_for_it(tmp_path: Path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02]r\xff\xff\xff\x00.")
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="a damaged pickle"):
            read_torch_file(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def nested(levels: int) -> list[Any]:
    """A list that has each list below twice, written once."""
    found: list[Any] = [torch.zeros(1)]
    for _ in range(levels):
        found = [found, found]
    return found


@BOTH
@pytest.mark.parametrize(
    "content", [[torch.zeros(1).expand(1 << 30), 1], [torch.zeros(1).expand(1 << 25)] * 9, nested(40)], ids=[*"abc"]
)
def test_what_a_small_file_repeats_is_refused_before_it_is_made(archive: bool, content: Any, tmp_path: Path):
    path = tmp_path / "a.pt"
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match=r"expected tensors and plain values, found repeated ones, .* objects"):
            read_torch_file(path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@BOTH
def test_mutated_files_are_read_or_refused_in_bounded_memory(
    archive: bool, tmp_path: Path, share_of: Callable[[int], int]
):
    path = tmp_path / "a.pt"
    torch.save(OBJECTS[0], path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    draw = random.Random(5)
    refused = 0
    tracemalloc.start()
    for _ in range(share_of(5_000)):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(content))
            kind = draw.randrange(4)
            if kind == 0:
                content[at] ^= 1 << draw.randrange(8)
            elif kind == 1:
                content[at : at + draw.randint(1, 8)] = draw.randbytes(draw.randint(0, 8))
            elif kind == 2:
                del content[at:]
                content = content or bytearray(b"x")
            else:
                content[at] = draw.choice(b"\x00\xff\x7f\x80RrQh.")
        path.write_bytes(content)
        try:
            read_torch_file(path)
        except RecordingError as error:
            refused += len(error.errors)
    assert 5 < refused <= share_of(5_000) and tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()

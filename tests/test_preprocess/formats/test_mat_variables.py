"""The variables of MATLAB files are those of SciPy's reader, and forged files are refused within their own size."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.io.matlab
import scipy.sparse

from preprocess.errors import RecordingError
from preprocess.formats import open_recording
from preprocess.formats.matlab.mat_recording import MatRecording, _variables
from preprocess.formats.matlab.mat_variables import MatVariable

DTYPES = ("f8", "f4", *(f"{sign}{size}" for size in (1, 2, 4, 8) for sign in "iu"), "?")
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9, "i8": 12, "u8": 13}
CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13, "i8": 14, "u8": 15}
CELL, STRUCT, CHAR, DOUBLE, OPAQUE = 1, 2, 4, 6, 17

_NUMBERS = np.random.default_rng(5).integers(0, 100, 60)

VARIABLES: dict[str, dict[str, Any]] = {
    "every type": {dtype.replace("?", "b"): _NUMBERS[:7, None].astype(dtype) for dtype in DTYPES},
    "shapes": {
        "row": _NUMBERS[None, :], "column": _NUMBERS[:, None], "one": 3.0, "table": _NUMBERS.reshape(15, 4) / 7,
        "none": np.zeros((0, 0)), "rows": np.zeros((0, 4)), "columns": np.zeros((5, 0)),
    },
    "text": {"text": "a text", "texts": np.array(["ab", "cd"]), "after": _NUMBERS},
    "sparse": {"sparse": scipy.sparse.csc_matrix(np.eye(4)), "after": _NUMBERS},
    "complex": {"complex": np.array([1 + 2j, 3]), "after": _NUMBERS},
}  # fmt: skip

ONLY_5: dict[str, dict[str, Any]] = {
    "three axes": {"cube": _NUMBERS.reshape(3, 4, 5).astype("u1"), "after": np.uint8(1)},
    "structs": {
        "s": {"t": _NUMBERS[:, None], "name": "a text", "x": _NUMBERS[None, :].astype("u2"), "in": {"t": 1.0}, "u": []},
        "rows": np.zeros((2, 1), [("t", "O")]),
        "nothing": np.zeros((0, 0), [("t", "O")]),
        "after": _NUMBERS,
    },
    "cells": {"cell": np.array([1.0, "text", {"a": np.array([1.0, "b"], object)}], object), "after": _NUMBERS},
}


def files() -> dict[str, Callable[[Path], None]]:
    found: dict[str, Callable[[Path], None]] = {}
    for title, variables in VARIABLES.items():
        found[f"4, {title}"] = lambda path, v=variables: scipy.io.savemat(path, v, format="4")
    for title, variables in (VARIABLES | ONLY_5).items():
        for name, packed in (("5", False), ("7", True)):
            found[f"{name}, {title}"] = lambda path, v=variables, packed=packed: scipy.io.savemat(
                path, v, do_compression=packed, long_field_names=packed
            )
    return found


FILES = files()


def read_all(path: Path) -> tuple[dict[str, MatVariable], dict[str, Any]]:
    """The variables, and what can be read of them; a struct as a dictionary."""
    with _variables(path, path.stat().st_size) as file:
        listed = file.list_all()
        read = {name: file.read(found) for name, found in listed.items() if found.is_numbers}
        for name, found in listed.items():
            if found.kind == "struct":
                fields = file.list_fields(found)
                read[name] = file.read_fields(found, set(fields))
                for field, values in read[name].items():
                    assert fields[field].is_numbers and fields[field].shape == values.shape
    return listed, read


def check_with_scipy(path: Path) -> None:
    listed, read = read_all(path)
    kinds = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path, chars_as_strings=False)}
    kinds.pop("__function_workspace__", None)  # MATLAB's own data of functions, which have no name
    theirs = scipy.io.loadmat(path)
    assert list(listed) == list(kinds)
    for name, (shape, kind) in kinds.items():
        # SciPy reads a sparse matrix of version 4 for its shape, and names a sparse one of truth values by them.
        if not scipy.sparse.issparse(theirs[name]):
            assert (listed[name].shape, listed[name].kind) == (shape, kind)
        assert listed[name].is_complex == (theirs[name].dtype.kind == "c") or scipy.sparse.issparse(theirs[name])
        assert listed[name].is_numbers == (isinstance(theirs[name], np.ndarray) and theirs[name].dtype.kind in "iufb")
        if listed[name].is_numbers:
            check_equal(read[name], theirs[name])
        if kind == "struct":
            fields = scipys_fields(theirs[name])
            assert list(read[name]) == [field for field in fields if not field.startswith("_")]  # repeated names
            for field, values in read[name].items():
                check_equal(values, fields[field])


def scipys_fields(struct: np.ndarray) -> dict[str, np.ndarray]:
    if struct.size != 1 or struct.dtype.names is None:
        return {}
    fields = {name: struct[name].reshape(-1)[0] for name in struct.dtype.names}
    return {n: v for n, v in fields.items() if isinstance(v, np.ndarray) and v.dtype.kind in "iufb"}


def check_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == theirs.dtype or theirs.size == 0
    if theirs.size or ours.size:
        np.testing.assert_array_equal(ours, theirs, strict=theirs.size > 0)


@pytest.mark.parametrize("title", FILES)
def test_variables_and_numbers_are_those_of_scipy(tmp_path: Path, title: str):
    FILES[title](tmp_path / "a.mat")
    check_with_scipy(tmp_path / "a.mat")


MATLABS = Path(scipy.io.matlab.__file__).parent / "tests" / "data"
DAMAGED = ("bad_", "broken_", "corrupted_", "debigged_", "malformed", "testhdf5_")


@pytest.mark.skipif(not MATLABS.is_dir(), reason="SciPy is installed without the files of its tests")
def test_files_of_every_version_of_matlab_are_read_as_by_scipy():
    paths = [path for path in sorted(MATLABS.glob("*.mat")) if not path.name.startswith(DAMAGED)]
    assert len(paths) > 50 and {"4.2c_SOL2", "6.1_SOL2", "7.4_GLNX86"} <= {p.stem.split("_", 1)[-1] for p in paths}
    for path in paths:
        check_with_scipy(path)


def tag(kind: int, size: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}2I", kind, size)


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return tag(kind, len(data), order) + data + bytes(-len(data) % 8)


def small(kind: int, data: bytes, order: str = "<") -> bytes:
    """As MATLAB stores an element of at most four bytes."""
    return struct.pack(f"{order}I", len(data) << 16 | kind) + data.ljust(4, b"\0")


def head(kind: int, shape: tuple[int, ...], name: str, order: str = "<") -> bytes:
    sides = struct.pack(f"{order}{len(shape)}i", *shape)
    text = name.encode()
    flags = element(6, struct.pack(f"{order}2I", kind, 0), order)
    return flags + element(5, sides, order) + (small if 0 < len(text) <= 4 else element)(1, text, order)


def matrix(content: bytes, order: str = "<") -> bytes:
    return tag(14, len(content), order) + content


def array(name: str, values: np.ndarray, stored: str, order: str = "<", kind: int | None = None) -> bytes:
    data = values.astype(order + stored).tobytes(order="F")
    content = (small if 0 < len(data) <= 4 else element)(TYPES[stored], data, order)
    return matrix(head(kind or CLASSES[values.dtype.str[1:]], values.shape, name, order) + content, order)


def packed(content: bytes) -> bytes:
    data = zlib.compress(content)
    return tag(15, len(data)) + data


def file5(*variables: bytes, order: str = "<") -> bytes:
    text = b"MATLAB 5.0 MAT-file, forged".ljust(124)
    return text + struct.pack(f"{order}2H", 0x0100, 0x4D49) + b"".join(variables)


def variable4(name: str, values: np.ndarray, stored: str, order: str = "<") -> bytes:
    digits = 1000 * "<>".index(order) + 10 * ("f8", "f4", "i4", "i2", "u2", "u1").index(stored)
    header = struct.pack(f"{order}5i", digits, *values.shape, 0, len(name) + 1)
    return header + name.encode() + b"\0" + values.astype(order + stored).tobytes(order="F")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("stored", TYPES)
def test_either_byte_order_small_elements_and_smaller_types_are_read(tmp_path: Path, stored: str, order: str):
    whole = np.arange(12.0)
    variables = {"long_name": whole.reshape(4, 3), "x": whole[:1].reshape(1, 1), "y": whole[:2].reshape(2, 1) + 7}
    (tmp_path / "a.mat").write_bytes(file5(*(array(n, v, stored, order) for n, v in variables.items()), order=order))
    check_with_scipy(tmp_path / "a.mat")
    listed, read = read_all(tmp_path / "a.mat")
    as_classes = scipy.io.loadmat(tmp_path / "a.mat", mat_dtype=True)
    for name, values in variables.items():
        assert listed[name].kind == "double"
        np.testing.assert_array_equal(read[name], values)
        np.testing.assert_array_equal(read[name], as_classes[name])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("stored", ["f8", "f4", "i4", "i2", "u2", "u1"])
def test_either_byte_order_and_every_type_of_version_4_is_read(tmp_path: Path, stored: str, order: str):
    variables = {"table": np.arange(12.0).reshape(4, 3), "x": np.array([[7.0]]), "none": np.zeros((0, 2))}
    (tmp_path / "a.mat").write_bytes(b"".join(variable4(n, v, stored, order) for n, v in variables.items()))
    check_with_scipy(tmp_path / "a.mat")
    for name, values in read_all(tmp_path / "a.mat")[1].items():
        np.testing.assert_array_equal(values, variables[name])


def test_the_variable_after_a_complex_sparse_matrix_of_version_4_is_found(tmp_path: Path):
    # Rows of row, column, real and imaginary part; the last row has the shape.
    entries = np.array([[1, 1, 5, 6], [2, 2, 7, 8], [3, 3, 0, 0]], "<f8")
    sparse = struct.pack("<5i", 2, *entries.shape, 1, 7) + b"sparse\0" + entries.tobytes("F")
    path = tmp_path / "a.mat"
    path.write_bytes(sparse + variable4("after", np.arange(3.0)[:, None], "f8"))
    assert scipy.io.loadmat(path)["sparse"].toarray()[1, 1] == 7 + 8j
    check_with_scipy(path)


def test_objects_of_newer_classes_are_listed_beside_the_events(tmp_path: Path):
    flags = element(6, struct.pack("<2I", OPAQUE, 0))
    opaque = matrix(flags + element(1, b"notes") + small(1, b"MCOS") + element(1, b"string") + array("", ONE, "f8"))
    field = matrix(flags + element(1, b"") + small(1, b"MCOS") + element(1, b"table") + array("", ONE, "f8"))
    names = small(5, struct.pack("<i", 2)) + element(1, b"t\0o\0")
    in_struct = matrix(head(STRUCT, (1, 1), "s") + names + array("", ONE, "f8") + field)
    (tmp_path / "a.mat").write_bytes(file5(opaque, packed(in_struct), array("x", ONE, "f8")))
    listed, read = read_all(tmp_path / "a.mat")
    assert [(found.name, found.kind) for found in listed.values()] == [
        ("notes", "opaque"), ("s", "struct"), ("x", "double"),
    ]  # fmt: skip
    np.testing.assert_array_equal(read["s"]["t"], ONE)
    assert list(read["s"]) == ["t"] and list(read) == ["x", "s"]


def test_arrays_without_numbers_may_lack_their_data(tmp_path: Path):
    names = small(5, struct.pack("<i", 2)) + element(1, b"t\0x\0")
    fields = matrix(head(STRUCT, (1, 1), "s") + names + matrix(b"") + array("", ONE, "f8"))
    (tmp_path / "a.mat").write_bytes(file5(matrix(head(DOUBLE, (0, 1), "none")), fields))
    _, read = read_all(tmp_path / "a.mat")
    assert read["none"].shape == (0, 1) and read["s"]["t"].shape == (0, 0) and read["s"]["x"] == 1


def test_the_first_of_two_variables_or_fields_of_one_name_is_read_as_by_scipy(tmp_path: Path):
    names = small(5, struct.pack("<i", 2)) + element(1, b"t\0t\0")
    fields = matrix(head(STRUCT, (1, 1), "s") + names + array("", ONE, "f8") + array("", ONE * 2, "f8"))
    (tmp_path / "a.mat").write_bytes(file5(array("x", ONE * 5, "f8"), array("x", ONE * 6, "f8"), fields))
    _, read = read_all(tmp_path / "a.mat")
    with pytest.warns(scipy.io.matlab.MatReadWarning, match="Duplicate variable name"):
        theirs = scipy.io.loadmat(tmp_path / "a.mat", variable_names=["x", "s"])
    assert read["x"] == theirs["x"] == 5 and read["s"]["t"] == theirs["s"]["t"][0, 0] == 1


ONE = np.ones((1, 1))
_X = head(DOUBLE, (2, 1), "x")
_CLAIM = 0xFFFFFFF8  # bytes, of which a small file has none
_STREAM = zlib.compress(array("x", np.ones((9, 1)), "f8"))

FORGED: dict[str, tuple[bytes, str]] = {
    "unknown type of numbers": (file5(matrix(_X + element(0x10C, bytes(16)))), "data of type 268 instead of numbers"),
    "a matrix for numbers": (file5(matrix(_X + element(14, bytes(16)))), "data of type 14 instead of numbers"),
    "other bytes than numbers": (file5(matrix(_X + element(9, bytes(24)))), "24 bytes for 2 x 1 numbers of 8 bytes"),
    "numbers that are missing": (file5(matrix(_X + tag(9, 16))), "an element of 16 bytes where 0 are left"),
    "small element of 5 bytes": (file5(matrix(_X + struct.pack("<2I", 5 << 16 | 2, 0))), "5 bytes of type 2 in the sp"),
    "element beyond the file": (file5(tag(14, _CLAIM)), "an element of 4,294,967,288 bytes where 0 are left"),
    "end within a tag": (file5(b"\x0e\0\0\0"), "an element of 8 bytes where 4 are left"),
    "other element": (file5(element(9, bytes(16))), "an element of type 9 instead of a variable"),
    "unknown class": (file5(matrix(head(18, (1, 1), "x"))), "the unknown class 18"),
    "other flags": (file5(matrix(element(9, bytes(8)))), "8 bytes of type 9 instead of flags"),
    "negative side": (file5(matrix(head(DOUBLE, (-1, 1), "x"))), "the shape -1 x 1"),
    "33 sides": (file5(matrix(head(DOUBLE, (1,) * 33, "x"))), "132 bytes of type 5 instead of sides"),
    "half a side": (file5(matrix(_X[:16] + element(5, bytes(6)))), "6 bytes for sides of 4 bytes"),
    "huge shape": (file5(matrix(head(DOUBLE, (1 << 30, 0, 1 << 30), "x"))), "the shape 1073741824 x 0 x 1073741824"),
    "long name": (file5(matrix(head(DOUBLE, (1, 1), "x" * 5000))), "5,000 bytes of type 1 instead of a name"),
    "fields of no bytes": (
        file5(matrix(head(STRUCT, (1, 1), "s") + small(5, bytes(4)) + small(1, b"t\0"))), "2 bytes for names of 0",
    ),
    "fields that are missing": (
        file5(matrix(head(STRUCT, (1, 1), "s") + small(5, b"\2\0\0\0") + small(1, b"t\0"))), "of 8 bytes where 0 are l",
    ),
    "field of another type": (
        file5(matrix(head(STRUCT, (1, 1), "s") + small(5, b"\2\0\0\0") + small(1, b"t\0") + element(9, bytes(8)))),
        "an element of type 9 instead of the field 't'",
    ),
    "names that are cut off": (
        file5(matrix(head(STRUCT, (1, 1), "s") + small(5, b"\2\0\0\0") + small(1, b"t\0t"))), "3 bytes for names of 2",
    ),
    "numbers for a name": (file5(matrix(_X[:-8] + element(9, b"x" * 8))), "8 bytes of type 9 instead of a name"),
    "many names": (
        file5(packed(matrix(head(STRUCT, (1, 1), "s") + small(5, b"\2\0\0\0") + tag(1, _CLAIM)))),
        "4,294,967,288 bytes of type 1 instead of names of fields",
    ),
    "compressed, too few": (file5(tag(15, len(_STREAM) - 9) + _STREAM[:-9]), "instead of 72 bytes at the end"),
    "compressed, no checksum": (file5(tag(15, len(_STREAM) - 4) + _STREAM[:-4]), "compressed bytes without an end"),
    "compressed, other checksum": (
        file5(tag(15, len(_STREAM)) + _STREAM[:-1] + bytes([_STREAM[-1] ^ 1])), "incorrect data check",
    ),
    "compressed, too many": (file5(packed(array("x", ONE, "f8") + bytes(8))), "more compressed bytes than"),
    "compressed twice": (file5(packed(packed(array("x", ONE, "f8")))), "an element of type 15 instead of a variable"),
    "not compressed": (file5(tag(15, 16) + bytes(16)), "compressed bytes: Error -3"),
    "claims gigabytes": (
        file5(packed(tag(14, _CLAIM) + head(DOUBLE, (_CLAIM >> 4, 1), "x") + tag(9, _CLAIM >> 4 << 3))),
        "0 instead of 2,147,483,640 bytes at the end",
    ),
    "no byte order": (file5()[:126] + b"XX" + array("x", ONE, "f8"), "a header without the letters of the byte order"),
    "other version": (file5()[:125] + b"\3IM" + array("x", ONE, "f8"), "version 0x0300 instead of version 5"),
    "version 7.3": (file5()[:125] + b"\2IM" + array("x", ONE, "f8"), "version 7.3, which is HDF5, instead of"),
    "short": (file5()[:100], "a header without the letters of the byte order"),
    "4, too few numbers": (variable4("x", ONE, "f8")[:-1], "an element of 8 bytes where 7 are left"),
    "4, no variable": (variable4("x", ONE, "f8") + b"\xff" * 20, "at byte 30 bytes that no variable of ver"),
    "4, byte order of a VAX": (struct.pack("<5i", 2000, 1, 1, 0, 2) + b"x\0" + bytes(8), "at byte 0 bytes that no va"),
    "4, negative": (struct.pack("<5i", 0, -1, 1, 0, 2) + b"x\0", "the shape -1 x 1"),
    "4, long name": (struct.pack("<5i", 0, 1, 1, 0, 5000) + bytes(9999), "at byte 0 bytes that no variable"),
}  # fmt: skip


@pytest.mark.parametrize("title", FORGED)
def test_forged_files_are_refused_in_a_line_that_says_what_is_wrong(tmp_path: Path, title: str):
    content, reason = FORGED[title]
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(RecordingError) as refused:
        read_all(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected a MATLAB file, found a damaged one (") and line.endswith(
        "). Copy it again."
    )
    assert reason in line
    assert peak < 1 << 20


def nested(kind: int, depth: int) -> bytes:
    """Cells in cells, or structs in structs."""
    fields = small(5, struct.pack("<i", 2)) + small(1, b"t\0") if kind == STRUCT else b""
    level = head(kind, (1, 1), "") + fields
    step = 8 + len(level)
    tags = (tag(14, step * k + len(level) + 8) for k in reversed(range(depth)))
    return b"".join(each + level for each in tags) + tag(14, 0)


@pytest.mark.parametrize("wrapped", [bytes, packed], ids=["stored", "compressed"])
@pytest.mark.parametrize(("kind", "name"), [(CELL, "cell"), (STRUCT, "struct")])
def test_deeply_nested_variables_are_passed_over(
    tmp_path: Path, kind: int, name: str, wrapped: Callable[[bytes], bytes]
):
    """Nothing within a cell, or within the field of a struct, is looked at."""
    inner = nested(kind, 100_000)
    fields = small(5, struct.pack("<i", 2)) + small(1, b"t\0")
    deep = matrix(head(kind, (1, 1), "deep") + (fields if kind == STRUCT else b"") + inner)
    path = tmp_path / "a.mat"
    path.write_bytes(file5(wrapped(deep)))
    start = time.process_time()
    with pytest.raises(RecordingError, match=rf"found the variables deep \({name}\)"):
        MatRecording.open(path)
    assert time.process_time() - start < 2
    path.write_bytes(file5(*(array(c, ONE, "f8") for c in "txyp"), wrapped(deep)))
    assert sum(map(len, open_recording(path, size=(9, 9)).chunks())) == 1


@pytest.mark.parametrize("in_struct", [False, True])
def test_a_small_file_with_much_text_is_read_in_bounded_memory(tmp_path: Path, in_struct: bool):
    """What is no column is not decompressed, or not kept where it lies between the fields of a struct."""
    sides = 1 << 12, 1 << 13
    text = matrix(head(CHAR, sides, "" if in_struct else "text") + element(2, bytes(sides[0] * sides[1])))
    columns = [array("" if in_struct else name, ONE, "f8") for name in "txyp"]
    if in_struct:
        names = small(5, struct.pack("<i", 2)) + element(1, b"n\0t\0x\0y\0p\0")
        content = file5(packed(matrix(head(STRUCT, (1, 1), "events") + names + text + b"".join(columns))))
    else:
        content = file5(packed(text), *columns)
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    assert len(content) < 1 << 18
    tracemalloc.start()
    assert sum(map(len, open_recording(path, size=(9, 9)).chunks())) == 1
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_complex_columns_are_refused_as_such(tmp_path: Path):
    scipy.io.savemat(tmp_path / "a.mat", {"t": np.array([[1j]]), "x": 1.0, "y": 1.0, "p": 1.0})
    with pytest.raises(RecordingError, match=r"found the variables p, t \(complex double\), x, y\. Save the columns"):
        open_recording(tmp_path / "a.mat", size=(9, 9))
    with _variables(tmp_path / "a.mat", 400) as file:
        found = MatVariable("t", "double", (1, 1), True, 128)
        with pytest.raises(Exception, match="double instead of real numbers"):
            file.read(found)


def test_no_module_reads_matlab_files_with_scipy():
    """Its reader, which is compiled, leaves its arrays in files with unknown types."""
    modules = sorted((Path(__file__).parents[3] / "preprocess").rglob("*.py"))
    assert len(modules) > 100 and [path for path in modules if "scipy.io" in path.read_text()] == []

"""Any events, written in every format that programs other than a camera's write, come out as they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.event_bags import message, write_bag
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording

SIZE = (260, 346)
LATEST_US = 1 << 50

Columns = dict[str, np.ndarray]
numbers = {"t": (LATEST_US, "i8"), "x": (SIZE[1] - 1, "u2"), "y": (SIZE[0] - 1, "u2"), "p": (1, "u1")}
rows = st.lists(st.tuples(*(st.integers(0, most) for most, _ in numbers.values())), min_size=1, max_size=40)


def columns_of(events: list[tuple[int, ...]]) -> Columns:
    return {c: np.array(v, numbers[c][1]) for c, v in zip(numbers, zip(*events, strict=True), strict=True)}


def text(path: Path, columns: Columns) -> None:
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(["t,x,y,p", *lines]))


def seconds(path: Path, columns: Columns) -> None:
    rows = zip(*columns.values(), strict=True)
    path.write_text("".join(f"{t // 10**6}.{t % 10**6:06} {x} {y} {2 * int(p) - 1}\n" for t, x, y, p in rows))


def groups(path: Path, columns: Columns) -> None:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(f"events/{name}", data=values, maxshape=(None,), chunks=(7,), compression="gzip")


def fields(path: Path, columns: Columns) -> None:
    rows = np.empty(len(columns["t"]), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    with h5py.File(path, "w") as file:
        file["CD/events"] = rows


def matlab(path: Path, columns: Columns) -> None:
    scipy.io.savemat(path, {name: values[:, None] for name, values in columns.items()}, do_compression=True)


def bag(path: Path, columns: Columns) -> None:
    write_bag(path, [("/events", message(*columns.values(), *SIZE))])


FORMATS: dict[str, tuple[Callable[[Path, Columns], Any], ReadOptions]] = {
    "csv": (text, NO_OPTIONS),
    "txt": (seconds, ReadOptions("txyp", "s")),
    "h5": (groups, NO_OPTIONS),
    "hdf5": (fields, NO_OPTIONS),
    "mat": (matlab, NO_OPTIONS),
    "bag": (bag, NO_OPTIONS),
}


@pytest.mark.parametrize("suffix", FORMATS)
@given(events=rows)
def test_any_events_come_out_as_they_were(tmp_path: Path, suffix: str, events: list[tuple[int, ...]]):
    write, options = FORMATS[suffix]
    columns = columns_of(events)
    path = tmp_path / f"a.{suffix}"
    write(path, columns)
    opened = open_recording(path, size=SIZE, options=options)
    found = Events.concatenate(opened.chunks(), *SIZE)
    for name, values in columns.items():
        np.testing.assert_array_equal(getattr(found, name), values)
    assert opened.notes == {}

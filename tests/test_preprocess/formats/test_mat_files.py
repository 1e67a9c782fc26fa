"""MATLAB files as ASL-DVS has them, of both versions: the events are those of SciPy and h5py; and DVS-Lip's arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from mutated_files import decoded_or_refused

from preprocess.building.build_event_store import build_event_store
from preprocess.datasets import find_layout
from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording
from preprocess.formats.hdf5 import hdf5_recording
from preprocess.formats.matlab import mat_recording
from preprocess.store.event_store import open_events

N = 500
SIZE = (180, 240)
_rng = np.random.default_rng(13)
TRUE = {
    "t": np.sort(_rng.integers(0, 400_000, N)),
    "x": _rng.integers(0, SIZE[1], N),
    "y": _rng.integers(0, SIZE[0], N),
    "p": _rng.integers(0, 2, N),
}


def asl_dvs(row: bool = False) -> dict[str, np.ndarray]:
    kinds = {"ts": np.uint32, "x": np.uint8, "y": np.uint8, "pol": np.uint8}
    shape = (1, -1) if row else (-1, 1)
    columns = zip(kinds.items(), TRUE.values(), strict=True)
    return {name: values.astype(kind).reshape(shape) for (name, kind), values in columns}


def table() -> np.ndarray:
    return np.stack([TRUE[c] for c in "xytp"], axis=1).astype(np.float64)


def save73(path: Path, variables: dict[str, np.ndarray], **options: Any) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            file.create_dataset(name, data=values, **options)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 .")


WAYS: dict[str, tuple[Callable[[Path], Any], ReadOptions]] = {
    "ASL-DVS": (lambda f: scipy.io.savemat(f, asl_dvs()), NO_OPTIONS),
    "compressed": (lambda f: scipy.io.savemat(f, asl_dvs(), do_compression=True), NO_OPTIONS),
    "rows": (lambda f: scipy.io.savemat(f, asl_dvs(row=True) | {"name": "a text", "fps": 3.0}), NO_OPTIONS),
    "a table": (lambda f: scipy.io.savemat(f, {"events": table()}), ReadOptions("xytp")),
    "7.3": (lambda f: save73(f, asl_dvs(row=True)), NO_OPTIONS),
    "7.3 with chunks": (lambda f: save73(f, asl_dvs(row=True), chunks=(1, 64), compression="gzip"), NO_OPTIONS),
    "7.3 of columns": (lambda f: save73(f, asl_dvs(), chunks=(64, 1)), NO_OPTIONS),
}


def orchard(first: int = 1) -> dict[str, np.ndarray]:
    """What Read_Ndataset returns; polarities from 0 are those of the functions for the ATIS."""
    columns = {"x": TRUE["x"] + 1, "y": TRUE["y"] + 1, "p": TRUE["p"] + first, "ts": TRUE["t"]}
    return {name: values.astype(np.float64)[:, None] for name, values in columns.items()}


WAYS |= {
    "N-MNIST's struct": (lambda f: scipy.io.savemat(f, {"TD": orchard(), "n": 3.0}), NO_OPTIONS),
    "the struct of an ATIS": (lambda f: scipy.io.savemat(f, {"TD": orchard(0), "EM": orchard(0)}), NO_OPTIONS),
    "another struct": (lambda f: scipy.io.savemat(f, {"events": asl_dvs()}), NO_OPTIONS),
    "7.3, N-MNIST's struct": (
        lambda f: save73(f, {f"TD/{name}": values.T for name, values in orchard().items()}), NO_OPTIONS,
    ),
    "7.3, the struct of an ATIS": (
        lambda f: save73(f, {f"{s}/{name}": v.T for s in ("EM", "TD") for name, v in orchard(0).items()}), NO_OPTIONS,
    ),
    "a table of 7.3": (lambda f: save73(f, {"events": table().T}, chunks=(4, 64)), ReadOptions("xytp")),
    "version 4": (lambda f: scipy.io.savemat(f, asl_dvs(), format="4"), NO_OPTIONS),
    "a table of version 4": (lambda f: scipy.io.savemat(f, {"events": table()}, format="4"), ReadOptions("xytp")),
}  # fmt: skip


def decode(path: Path, options: ReadOptions = NO_OPTIONS) -> Events:
    opened = open_recording(path, size=SIZE, options=options)
    return Events.concatenate(opened.chunks(), *SIZE)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("block", [None, 64])
def test_the_same_events_come_out_of_every_version(
    tmp_path: Path, way: str, block: int | None, monkeypatch: pytest.MonkeyPatch
):
    if block:
        monkeypatch.setattr(mat_recording, "_EVENTS_A_CHUNK", block)
        monkeypatch.setattr(hdf5_recording, "_EVENTS_A_CHUNK", block)
    save, options = WAYS[way]
    path = tmp_path / "a.mat"
    save(path)
    events = decode(path, options)
    for letter, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, letter), values)
    if way in ("ASL-DVS", "compressed", "rows", "version 4"):
        theirs = scipy.io.loadmat(path)
        np.testing.assert_array_equal(events.t, theirs["ts"].reshape(-1))
        np.testing.assert_array_equal(events.p, theirs["pol"].reshape(-1))


def test_a_folder_of_classes_becomes_a_store(tmp_path: Path):
    for label in "ab":
        (tmp_path / "asl" / label).mkdir(parents=True)
        scipy.io.savemat(tmp_path / "asl" / label / f"{label}_0001.mat", asl_dvs())
    layout = find_layout("folder", tmp_path / "asl", name="asl", size=SIZE)
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    assert layout.classes == ("a", "b") and len(store) == 2
    np.testing.assert_array_equal(store.read(1).x, TRUE["x"])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"frames": np.zeros((3, 3))}, "found the variables frames."),
        (
            {"TD": {"ts": TRUE["t"]}},
            "found the variables TD (struct). Save the columns as four variables with MATLAB's",
        ),
        (
            {"TD": {"x": [1, 2], "y": [1, 2], "p": [1, 2], "ts": [5]}},
            "columns of equal length in TD, found ts: 1, x: 2, y: 2, p: 2. The file is incomplete;",
        ),
        (
            {"TD": {"x": [1, 0], "y": [1, 2], "p": [1, 2], "ts": [5, 6]}},
            "columns from 1 in the struct TD, as Orchard's",
        ),
        ({"TD": {"x": [1, 3], "y": [1, 2], "p": [0, 2], "ts": [5, 6]}}, "found p = 2 in event 1."),
        ({"events": table()}, "Give their order, such as --columns txyp."),
        (asl_dvs() | {"x": np.zeros((3, 1))}, "columns of equal length, found ts: 500, x: 3, y: 500, pol: 500."),
        (asl_dvs() | {"ts": TRUE["t"][:, None] / 1e6}, "Give the unit of the times with --time-unit s, ms, us or ns"),
    ],
)
def test_other_variables_are_refused(tmp_path: Path, variables: dict[str, np.ndarray], message: str):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, variables)
    with pytest.raises(RecordingError) as refused:
        decode(path)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected ") and message in line


@pytest.mark.parametrize("variables", [{"ts": [], "x": [], "y": [], "pol": []}, {"TD": orchard()}, asl_dvs()])
def test_recordings_without_events_are_read(tmp_path: Path, variables: dict[str, Any]):
    for name, values in variables.items():
        none = {key: v[:0] for key, v in values.items()} if isinstance(values, dict) else np.zeros((0, 1))
        variables = variables | {name: none}
    scipy.io.savemat(tmp_path / "a.mat", variables)
    assert len(decode(tmp_path / "a.mat")) == 0


def test_arrays_of_dvs_lip_are_read_by_their_fields(tmp_path: Path):
    rows = np.zeros(N, [("t", "<i4"), ("x", "i1"), ("y", "i1"), ("p", "i1")])
    rows["t"], rows["x"], rows["y"], rows["p"] = TRUE["t"], TRUE["x"] % 128, TRUE["y"] % 128, TRUE["p"]
    np.save(tmp_path / "a.npy", rows)
    opened = open_recording(tmp_path / "a.npy", size=(128, 128))
    events = Events.concatenate(opened.chunks(), 128, 128)
    for letter in "txyp":
        np.testing.assert_array_equal(getattr(events, letter), rows[letter])


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = []
    for k, (save, options) in enumerate(WAYS.values()):
        save(tmp_path / "base.mat")
        contents.append((f"{k}.mat", (tmp_path / "base.mat").read_bytes(), options))
    decoded_or_refused(tmp_path, contents, SIZE, share_of(5000))

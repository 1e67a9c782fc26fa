"""NumPy files as people write them: however the same events are saved, the same events are read, or a line says what
is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raw_files import decode

from preprocess.building.build_event_store import build_event_store
from preprocess.commands import inspect_recording, preprocess
from preprocess.datasets import find_layout
from preprocess.errors import LayoutError, RecordingError
from preprocess.formats import ReadOptions, open_recording
from preprocess.formats import numpy_files as arrays_module
from preprocess.store.event_store import open_events
from preprocess.terminal.command_line import UsageError

N = 500
SIZE = (34, 48)

_rng = np.random.default_rng(13)
TRUE = {
    "t": np.sort(_rng.integers(0, 400_000, N)),
    "x": _rng.integers(0, SIZE[1], N),
    "y": _rng.integers(0, SIZE[0], N),
    "p": _rng.integers(0, 2, N),
}
ORDERED = ReadOptions("txyp")


def structured(names: str, dtypes: str, columns: dict[str, Any] = TRUE) -> np.ndarray:
    """Rows of the fields named, in the order of `columns`."""
    rows = np.empty(N, [(name, dtype) for name, dtype in zip(names.split(), dtypes.split(), strict=True)])
    for name, values in zip(names.split(), columns.values(), strict=True):
        rows[name] = values
    return rows


def table(order: str = "txyp", dtype: str = "i8") -> np.ndarray:
    return np.stack([TRUE[letter] for letter in order], axis=1).astype(dtype)


def named(*names: str) -> dict[str, np.ndarray]:
    return dict(zip(names, TRUE.values(), strict=True))


# Each way: the suffix, what writes it, and what has to be said.
WAYS: dict[str, tuple[str, Callable[[Path], None], ReadOptions]] = {
    "fields t x y p": ("npy", lambda f: np.save(f, structured("t x y p", "i8 u2 u2 ?")), ReadOptions()),
    "fields timestamp polarity": (
        "npy",
        lambda f: np.save(f, structured("timestamp x y polarity", "u8 i4 i4 i1")),
        ReadOptions(),
    ),
    "fields in capitals": ("npy", lambda f: np.save(f, structured("Time X Y Pol", "f8 f4 f4 f4")), ReadOptions()),
    "big-endian fields": ("npy", lambda f: np.save(f, structured("ts x y p", ">i8 >u2 >u2 >i2")), ReadOptions()),
    "packed fields and more": (
        "npy",
        lambda f: np.save(f, structured("t x y p", "<u4 <u2 <u2 u1")),
        ReadOptions(),
    ),
    "fields without names": ("npy", lambda f: np.save(f, structured("f0 f1 f2 f3", "i8 u2 u2 u1")), ORDERED),
    "rows": ("npy", lambda f: np.save(f, table()), ORDERED),
    "rows in another order": ("npy", lambda f: np.save(f, table("xypt", "f8")), ReadOptions("xypt")),
    "rows in Fortran order": ("npy", lambda f: np.save(f, np.asfortranarray(table())), ORDERED),
    "four rows of N": ("npy", lambda f: np.save(f, table().T.copy()), ORDERED),
    "four rows of N in Fortran order": ("npy", lambda f: np.save(f, table("yxtp").T), ReadOptions("yxtp")),
    "columns t x y p": ("npz", lambda f: np.savez(f, **TRUE), ReadOptions()),
    "columns and a label": ("npz", lambda f: np.savez(f, **TRUE, label=np.array(3), time=np.array(9)), ReadOptions()),
    "columns ts xs ys ps": ("npz", lambda f: np.savez_compressed(f, **named("ts", "xs", "ys", "ps")), ReadOptions()),
    "columns of MATLAB": (
        "npz",
        lambda f: np.savez(f, **{name: values[:, None] for name, values in named("TS", "X", "Y", "Pol").items()}),
        ReadOptions(),
    ),
    "columns without names": ("npz", lambda f: np.savez(f, *TRUE.values()), ORDERED),
    "events of fields": ("npz", lambda f: np.savez(f, events=structured("t x y p", "i8 u2 u2 u1")), ReadOptions()),
    "events of rows": ("npz", lambda f: np.savez_compressed(f, events=table(), label=np.array(1)), ORDERED),
    "Events in Fortran order": ("npz", lambda f: np.savez_compressed(f, Events=np.asfortranarray(table())), ORDERED),
    "one array without a name": ("npz", lambda f: np.savez(f, table("xytp")), ReadOptions("xytp")),
    "polarity -1 and 1": ("npz", lambda f: np.savez(f, **TRUE | {"p": 2 * TRUE["p"] - 1}), ReadOptions()),
    "polarity as float": ("npz", lambda f: np.savez(f, **TRUE | {"p": 2.0 * TRUE["p"] - 1}), ReadOptions()),
    "polarity as bool": ("npz", lambda f: np.savez(f, **TRUE | {"p": TRUE["p"] > 0}), ReadOptions()),
    "s": ("npz", lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] / 1e6}), ReadOptions(time_unit="s")),
    "s in rows": ("npy", lambda f: np.save(f, table(dtype="f8") * [1e-6, 1, 1, 1]), ReadOptions("txyp", "s")),
    "ms": ("npz", lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] / 1e3}), ReadOptions(time_unit="ms")),
    "us with fractions": ("npz", lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] + 0.25}), ReadOptions(time_unit="us")),
    "ns": ("npz", lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] * 1000}), ReadOptions(time_unit="ns")),
    "ns as float": ("npz", lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] * 1e3}), ReadOptions(time_unit="ns")),
}  # fmt: skip


def write(folder: Path, way: str) -> tuple[Path, ReadOptions]:
    suffix, save, options = WAYS[way]
    path = folder / f"a.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path)
    return path, options


def words_of(options: ReadOptions) -> list[str]:
    words = ["--columns", options.columns] if options.columns else []
    return words + (["--time-unit", options.time_unit] if options.time_unit else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("block", [None, 64])
def test_the_same_events_come_out_however_they_were_saved(
    tmp_path: Path, way: str, block: int | None, monkeypatch: pytest.MonkeyPatch
):
    from preprocess.formats import recording

    if block is not None:
        monkeypatch.setattr(recording, "BLOCK_BYTES", block)
        monkeypatch.setattr(arrays_module, "_EVENTS_A_CHUNK", 7)
        monkeypatch.setattr(arrays_module, "_SKIP_BYTES", 100)
    path, options = write(tmp_path, way)
    for size in (SIZE, None):
        events = decode(path, size=size, options=options or ReadOptions())
        for name, values in TRUE.items():
            np.testing.assert_array_equal(getattr(events, name), values)
    assert (events.height, events.width) == (TRUE["y"].max() + 1, TRUE["x"].max() + 1)


@pytest.mark.parametrize(
    "way", ["fields timestamp polarity", "s in rows", "Events in Fortran order", "columns without names"]
)
def test_preprocess_and_inspect_read_what_people_have(tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]):
    path, options = write(tmp_path / "mine" / "box", way)
    inspect_recording.run([str(path), "--json", *words_of(options)])
    facts = json.loads(capsys.readouterr().out)
    assert (facts["events"], facts["start_us"], facts["end_us"]) == (N, TRUE["t"][0], TRUE["t"][-1] + 1)
    assert (facts["time_unit"], facts["time_unit_assumed"]) == (options.time_unit or "us", options.time_unit is None)
    assert facts["warnings"] == []
    words = ["folder", "--source", str(tmp_path / "mine"), "--cache", str(tmp_path / "cache"), "--name", "mine"]
    preprocess.run([*words, "--sensor-size", *map(str, SIZE), "--json", *words_of(options)])
    answer = json.loads(capsys.readouterr().out)
    assert answer["warnings"] == []
    events = open_events(answer["caches"][0]).read(0)
    for name, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, name), values)


def test_a_unit_or_an_order_makes_another_store(tmp_path: Path):
    folder = tmp_path / "mine" / "box"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.array([[5, 1, 2, 1], [9, 3, 0, 0]]))
    stores = {}
    for options in (ReadOptions("txyp"), ReadOptions("tyxp"), ReadOptions("txyp", "ms"), ReadOptions("txyp")):
        layout = find_layout("folder", tmp_path / "mine", name="mine", size=SIZE, options=options)
        store = open_events(build_event_store(layout, tmp_path / "cache"))
        events = store.read(0)
        stores[options] = (store.fingerprint, events.t.tolist(), events.x.tolist())
    assert len({fingerprint for fingerprint, _, _ in stores.values()}) == 3
    assert stores[ReadOptions("txyp")][1:] == ([5, 9], [1, 3])
    assert stores[ReadOptions("tyxp")][1:] == ([5, 9], [2, 0])
    assert stores[ReadOptions("txyp", "ms")][1:] == ([5000, 9000], [1, 3])


REFUSED: list[tuple[str, Callable[[Path], None], ReadOptions, str]] = [
    (
        "a.npy",
        lambda f: np.save(f, np.array([[5, 1, 2, 1]])),
        ReadOptions(),
        "without such names; the first event is 5, 1, 2, 1. Give their order, such as --columns txyp.",
    ),
    ("a.npy", lambda f: np.save(f, structured("a b c d", "i8 i8 i8 i8")), ReadOptions(), "such as --columns txyp."),
    ("a.npz", lambda f: np.savez(f, events=table()), ReadOptions(), "such as --columns txyp."),
    ("a.npz", lambda f: np.savez(f, *TRUE.values()), ReadOptions(), "such as --columns txyp."),
    ("a.npz", lambda f: np.savez(f, **named("t", "x", "y", "on")), ReadOptions(), "such as --columns txyp."),
    (
        "a.npz",
        lambda f: np.savez(f, **named("time", "x", "y", "p"), stamp=0, timestamp=TRUE["t"]),
        ReadOptions(),
        "found the arrays p, stamp, time, timestamp, x, y.",
    ),
    (
        "a.npz",
        lambda f: np.savez(f, **TRUE | {"t": TRUE["t"] / 1e6}),
        ReadOptions(),
        f"found t = {TRUE['t'][0] / 1e6} in event 0. Give the unit of the times with --time-unit s, ms, us or ns",
    ),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"t": _with(3, np.nan)}), ReadOptions(), "found t = nan in event 3."),
    (
        "a.npz",
        lambda f: np.savez(f, **TRUE | {"t": _with(3, np.inf)}),
        ReadOptions(time_unit="ms"),
        "expected times in ms, found t = inf in event 3.",
    ),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"x": _with(7, np.nan)}), ReadOptions(), "found x = nan in event 7."),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"y": _with(8, 1.5)}), ReadOptions(), "found y = 1.5 in event 8."),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"p": _with(9, np.nan)}), ReadOptions(), "found p = nan in event 9."),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"p": _with(9, 2)}), ReadOptions(), "found p = 2.0 in event 9."),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"x": _with(9, -1)}), ReadOptions(), "column -1 in event 9."),
    ("a.npz", lambda f: np.savez(f, **TRUE | {"x": _with(9, 48)}), ReadOptions(), "column 48 in event 9."),
    (
        "a.npy",
        lambda f: np.save(f, np.array([TRUE], object), allow_pickle=True),
        ReadOptions(),
        "found pickled Python objects, which are never loaded because they could run code.",
    ),
    (
        "a.npy",
        lambda f: np.save(f, np.array([[3, 4, 900, 1]])),
        ReadOptions("txyp"),
        "found row 900, column 4 in event 0, read by --columns txyp.",
    ),
    ("a.npz", lambda f: np.savez(f, events=np.zeros((5, 6))), ORDERED, "found float64 of shape (5, 6)."),
]


def _with(k: int, value: float) -> np.ndarray:
    """Zeros with one other value."""
    values = np.zeros(N)
    values[k] = value
    return values


@pytest.mark.parametrize(("name", "save", "options", "message"), REFUSED)
def test_what_is_no_event_is_refused_in_one_line_that_names_file_and_event(
    tmp_path: Path, name: str, save: Callable[[Path], None], options: ReadOptions, message: str
):
    save(tmp_path / name)
    with pytest.raises(RecordingError) as refused:
        decode(tmp_path / name, size=SIZE, options=options or ReadOptions())
    (line,) = refused.value.errors
    assert line.startswith(f"{tmp_path / name}: expected ") and message in line and "\n" not in line


def test_bytes_behind_the_array_are_counted(tmp_path: Path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.save(file, table())
        first = file.tell()
        np.save(file, table())
    opened = open_recording(path, size=SIZE, options=ReadOptions("txyp"))
    assert sum(len(part) for part in opened.chunks()) == N
    assert opened.notes == {"bytes_behind_the_array_not_read": path.stat().st_size - first}


def test_a_damaged_column_of_a_compressed_table_is_found(tmp_path: Path):
    path, options = write(tmp_path, "Events in Fortran order")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="found a damaged archive"):
        decode(path, size=SIZE, options=options or ReadOptions())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["folder", "--name", "x", "--columns", "txy"], "--columns: expected each of t, x, y and p once, such as txyp"),
        (["folder", "--name", "x", "--columns", "txxp"], "found 'txxp'"),
        (["n-mnist", "--columns", "txyp"], "--columns: expected with folder only"),
        (["n-mnist", "--time-unit", "s"], "--time-unit: expected with folder only"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, words: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        preprocess.run([*words, "--source", str(tmp_path)])


def test_options_for_arrays_need_arrays(tmp_path: Path):
    path = tmp_path / "mine" / "box" / "a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes([1, 2, 0, 0, 5]))
    with pytest.raises(LayoutError, match=r"expected a .npy.* file for --columns, found none"):
        find_layout("folder", tmp_path / "mine", name="mine", size=SIZE, options=ORDERED)
    with pytest.raises(RecordingError, match=r"a\.bin: expected a .npy.* file for --columns, found ATIS"):
        inspect_recording.run([str(path), "--columns", "txyp"])


@pytest.mark.parametrize(
    ("times", "words", "said"),
    [
        (TRUE["t"] * 1000, [], "as us, because no --time-unit was given. The median sample then lasts 39"),
        (TRUE["t"] // 1000, [], "as us, because no --time-unit was given. The median sample then lasts 0.000"),
        (TRUE["t"], ["--time-unit", "ms"], "as --time-unit ms says. The median sample then lasts 39"),
        (TRUE["t"] // 300, [], "s, with 2,2"),
        (TRUE["t"], [], None),
        (TRUE["t"] * 1000, ["--time-unit", "ns"], None),
    ],
)
def test_implausible_durations_get_a_warning_that_says_what_was_assumed(
    tmp_path: Path, times: np.ndarray, words: list[str], said: str | None, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "mine" / "box"
    folder.mkdir(parents=True)
    columns = TRUE | {"t": times, "x": TRUE["x"] % 13, "y": TRUE["y"] % 13}
    np.savez(folder / "a.npz", **columns)
    inspect_recording.run([str(folder / "a.npz"), "--json", *words])
    warnings = json.loads(capsys.readouterr().out)["warnings"]
    inspect_recording.run([str(folder / "a.npz"), *words])
    assert ("warning " in capsys.readouterr().out) == (said is not None)
    command = ["folder", "--source", str(tmp_path / "mine"), "--cache", str(tmp_path / "cache"), "--name", "mine"]
    preprocess.run([*command, "--sensor-size", "13", "13", "--json", *words])
    out, err = capsys.readouterr()
    assert json.loads(out)["warnings"] == warnings and len(warnings) == (said is not None)
    assert err.count("Warning: the times were read") == len(warnings)
    if said is not None:
        assert said in warnings[0] and "--time-unit s, ms, us or ns" in warnings[0]


def test_recordings_of_a_larger_sensor_are_one_error_that_names_the_option(tmp_path: Path):
    for k in range(18):
        path = tmp_path / "101" / "accordion" / f"image_{k:04}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([200, 150, 0x80, 0, 5]))
    with pytest.raises(LayoutError) as refused:
        find_layout("folder", tmp_path / "101", name="caltech")
    (line,) = refused.value.errors
    assert "image_0000.bin: expected the size of the sensor, which ATIS .bin files do not store" in line
    assert line.endswith("Give it: --sensor-size ROWS COLUMNS")
    layout = find_layout("folder", tmp_path / "101", name="caltech", size=(34, 34))
    with pytest.raises(RecordingError) as too_small:
        build_event_store(layout, tmp_path / "cache")
    assert too_small.value.errors[-1].endswith("give it: --sensor-size ROWS COLUMNS")
    layout = find_layout("folder", tmp_path / "101", name="caltech", size=(180, 240))
    assert open_events(build_event_store(layout, tmp_path / "cache")).read(0).x.tolist() == [200]
    first = str(layout.recordings[0].path)
    with pytest.raises(
        RecordingError, match=r"and the file does not store its size, give it: --sensor-size ROWS COLUMNS"
    ):
        inspect_recording.run([first])
    inspect_recording.run([first, "--sensor-size", "180", "240"])

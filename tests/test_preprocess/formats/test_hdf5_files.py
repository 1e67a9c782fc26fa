"""HDF5 as data sets, cameras and people write it: the same events are read, or a line says what is there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ecf_chunks
import h5py
import hdf5plugin
import numpy as np
import pytest
from messages import refuses
from mutated_files import decoded_or_refused
from raw_files import decode

from preprocess.building.build_event_store import build_event_store
from preprocess.commands import inspect_recording, preprocess
from preprocess.datasets import find_layout
from preprocess.errors import LayoutError, RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording
from preprocess.formats.hdf5 import hdf5_recording
from preprocess.hdf5_filters import ECF, FILTERS
from preprocess.store.event_store import open_events

N = 3000
SIZE = (34, 48)
_rng = np.random.default_rng(13)
TRUE = {
    "t": np.sort(_rng.integers(0, 400_000, N)),
    "x": _rng.integers(0, SIZE[1], N),
    "y": _rng.integers(0, SIZE[0], N),
    "p": _rng.integers(0, 2, N),
}
OFFSET = 57_206_401_000


def columns(file: h5py.File, place: str, names: str = "t x y p", dtypes: str = "u4 u2 u2 u1", **options: Any) -> None:
    for name, dtype, values in zip(names.split(), dtypes.split(), TRUE.values(), strict=True):
        file.create_dataset(f"{place}/{name}".strip("/"), data=values.astype(dtype), **options)


def fields(file: h5py.File, place: str, names: str = "x y p t", dtypes: str = "u2 u2 i2 i8", **options: Any) -> None:
    rows = np.empty(N, np.dtype({"names": names.split(), "formats": dtypes.split()}, align=True))
    for name in names.split():
        rows[name] = TRUE[name]
    file.create_dataset(place, data=rows, **options)


def table(order: str, times: float = 1.0, polarities: tuple[int, int] = (0, 1)) -> np.ndarray:
    values = TRUE | {"t": TRUE["t"] * times, "p": np.array(polarities)[TRUE["p"]]}
    return np.stack([values[letter] for letter in order], axis=1).astype(np.float64)


def dsec(file: h5py.File) -> None:
    columns(file, "events", chunks=(700,), **hdf5plugin.Blosc(cname="zstd"))
    file["ms_to_idx"] = np.arange(10, dtype=np.uint64)
    file["t_offset"] = np.int64(OFFSET)


def mvsec(file: h5py.File) -> None:
    file.create_dataset("davis/left/events", data=table("xytp", 1e-6, (-1, 1)), chunks=(512, 4), compression="gzip")
    file["davis/left/image_raw"] = np.zeros((2, 3))
    file["davis/right/events"] = table("xytp", 1e-6, (-1, 1))[:77]


def metavision(file: h5py.File) -> None:
    fields(file, "CD/events", chunks=(256,))
    file["CD/indexes"] = np.zeros(3, [("id", "u8"), ("ts", "i8")])
    file.attrs["geometry"] = f"{SIZE[1]}x{SIZE[0]}"


def e2vid(file: h5py.File) -> None:
    columns(file, "events", "ts xs ys ps", "f8 i2 i2 ?")
    file["events/ts"][:] = TRUE["t"] / 1e6
    file.attrs["sensor_resolution"] = SIZE


def unequal(file: h5py.File) -> None:
    columns(file, "events")
    del file["events/x"]
    file["events/x"] = TRUE["x"][:7]


def several(file: h5py.File) -> None:
    columns(file, "prophesee/left")
    columns(file, "prophesee/right")


def unnamed(file: h5py.File) -> None:
    file["events"] = table("txyp")


# What writes a file, what has to be said, the name of the layout, the added time and the size if the file says it.
WAYS: dict[str, tuple[Callable[[h5py.File], None], ReadOptions, str, int, tuple[int, int] | None]] = {
    "DSEC": (dsec, NO_OPTIONS, "DSEC", OFFSET, (480, 640)),
    "MVSEC": (mvsec, NO_OPTIONS, "MVSEC", 0, (260, 346)),
    "Metavision": (metavision, NO_OPTIONS, "Metavision", 0, SIZE),
    "E2VID": (e2vid, ReadOptions(time_unit="s"), "columns", 0, SIZE),
    "columns at the top": (lambda f: columns(f, ""), NO_OPTIONS, "columns", 0, None),
    "columns within groups": (lambda f: columns(f, "a/b/c", "ts x y pol"), NO_OPTIONS, "columns", 0, None),
    "fields": (lambda f: fields(f, "recording"), NO_OPTIONS, "fields", 0, None),
    "a group of several": (several, ReadOptions(hdf5_path="/prophesee/left/"), "columns", 0, None),
    "a table": (
        lambda f: f.create_dataset("data", data=table("yxpt")), ReadOptions("yxpt", None, "data"), "table", 0, None,
    ),
    "a table named events": (unnamed, ReadOptions("txyp"), "table", 0, None),
    "the right camera of MVSEC": (
        lambda f: f.create_dataset("davis/right/events", data=table("xytp", 1e-6)), NO_OPTIONS, "MVSEC", 0, (260, 346),
    ),
}  # fmt: skip


def write(path: Path, way: str) -> tuple[Path, ReadOptions]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        WAYS[way][0](file)
    return path, WAYS[way][1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("block", [None, 600])
def test_the_same_events_come_out_however_they_are_stored(
    tmp_path: Path, way: str, block: int | None, monkeypatch: pytest.MonkeyPatch
):
    if block:
        monkeypatch.setattr(hdf5_recording, "_EVENTS_A_CHUNK", block)
    path, options = write(tmp_path / "a.h5", way)
    _, _, title, offset, size = WAYS[way]
    opened = open_recording(path, options=options)
    assert opened.format == f"HDF5 ({title})" and opened.size_is_derived == (size is None)
    assert (opened.height, opened.width) == (size or (TRUE["y"].max() + 1, TRUE["x"].max() + 1))
    parts = list(opened.chunks())
    assert len(parts) == (1 if block is None else len(parts)) or way == "MVSEC"
    events = Events.concatenate(parts, opened.height, opened.width)
    for letter, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, letter), values + offset * (letter == "t"))
    assert opened.notes == ({"events_of_the_right_camera_not_read": 77} if way == "MVSEC" else {})


@pytest.mark.parametrize(
    ("way", "place"),
    [("DSEC", "events"), ("DSEC", "/events/"), ("MVSEC", "davis/left/events"), ("Metavision", "CD/events")],
)
def test_a_path_to_the_events_of_a_known_layout_keeps_its_unit_offset_and_size(tmp_path: Path, way: str, place: str):
    path, _ = write(tmp_path / "a.h5", way)
    by_itself, by_path = open_recording(path), open_recording(path, options=ReadOptions(hdf5_path=place))
    assert (by_path.format, by_path.height, by_path.width) == (by_itself.format, by_itself.height, by_itself.width)
    np.testing.assert_array_equal(decode(path, options=ReadOptions(hdf5_path=place)).t, decode(path).t)


def test_the_right_camera_of_mvsec_is_read_by_its_path_alone(tmp_path: Path):
    path, _ = write(tmp_path / "a.h5", "MVSEC")
    for place in ("davis/right/events", "davis/right"):
        opened = open_recording(path, options=ReadOptions(hdf5_path=place))
        events = Events.concatenate(opened.chunks(), opened.height, opened.width)
        assert (opened.height, opened.width) == (260, 346)
        np.testing.assert_array_equal(events.t, TRUE["t"][:77])
        np.testing.assert_array_equal(events.p, TRUE["p"][:77])
        assert opened.notes == {"events_of_the_left_camera_not_read": N}


def test_given_columns_go_before_the_order_of_mvsec(tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["davis/left/events"] = table("ptyx", 1e-6, (-1, 1))
    events = decode(tmp_path / "a.h5", options=ReadOptions("ptyx"))
    for letter, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, letter), values)
    with pytest.raises(RecordingError, match="The columns may have another order: give it with --columns"):
        decode(tmp_path / "a.h5")


def test_a_given_size_goes_before_the_usual_one_and_not_before_that_of_the_file(tmp_path: Path):
    for way, size in (("DSEC", (48, 64)), ("MVSEC", (48, 64)), ("Metavision", SIZE), ("fields", (48, 64))):
        path, options = write(tmp_path / "a.h5", way)
        opened = open_recording(path, options=options, size=(48, 64))
        assert (opened.height, opened.width) == size


@pytest.mark.parametrize(
    ("write_file", "options", "message"),
    [
        (
            several,
            NO_OPTIONS,
            "expected one recording, found 2: prophesee/left, prophesee/right. Choose one: --hdf5-path",
        ),
        (several, ReadOptions(hdf5_path="top"), "expected events at --hdf5-path top"),
        (unequal, NO_OPTIONS, "columns of equal length in events, found t: 3,000, x: 7, y: 3,000, p: 3,000."),
        (unequal, ReadOptions(hdf5_path="events"), "columns of equal length in events, found t: 3,000, x: 7,"),
        (lambda f: f.create_dataset("images", data=np.zeros((2, 3))), NO_OPTIONS, "images (float64 of shape (2, 3))."),
        (lambda f: None, NO_OPTIONS, "found none; the file is empty."),
        (e2vid, NO_OPTIONS, "expected whole numbers (times in µs), found t = "),
        (
            lambda f: f.create_dataset("events", data=table("txyp")),
            NO_OPTIONS,
            "Give their order, such as --columns txyp.",
        ),
        (
            lambda f: f.attrs.update(format="spikeloom-events"),
            NO_OPTIONS,
            "found a cache of spikeloom (spikeloom-events).",
        ),
        (
            lambda f: (f.create_group("spikes/times"), f.create_group("spikes/units")),
            NO_OPTIONS,
            "found a data set of spike trains, as SHD or SSC. Read the folder that contains it: spikeloom",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, write_file: Callable[[h5py.File], Any], options: ReadOptions, message: str
):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        write_file(file)
    with pytest.raises(RecordingError) as refused:
        decode(path, options=options)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected ") and message in line and "\n" not in line


def test_a_file_of_thousands_of_recordings_is_described_by_its_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        for k in range(300):
            for name in "txyp":
                file[f"{k:03}/{name}"] = np.arange(2)
    with pytest.raises(RecordingError, match=r"found 99: 000, 001, .*, 007 and more\. Choose one: --hdf5-path 000$"):
        decode(path)
    assert len(decode(path, options=ReadOptions(hdf5_path="123"))) == 2


def compressed_by(path: Path, *filters: int) -> Path:
    """A file as Metavision writes it, whose events were compressed by the filters of these numbers."""
    with h5py.File(path, "w") as file:
        ecf_chunks.create(file, 64, 16, filters)
    return path


def test_a_missing_filter_is_named_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = compressed_by(tmp_path / "a.h5", 32001)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number != 32001)
    with pytest.raises(RecordingError, match=r"found that Blosc \(filter 32001\), .* missing\. Install it: pip"):
        decode(path)


def test_a_filter_that_is_not_listed_is_refused_before_its_library_is_sought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = compressed_by(tmp_path / "a.h5", 40_000)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: pytest.fail("HDF5 was asked for the library"))
    with refuses(
        RecordingError, where="a.h5", expected="compression with gzip", found="(filter 40000)", remedy="Store it with"
    ):
        decode(path)


def test_listed_filters_are_hdf5s_h5pys_hdf5plugins_and_ecf():
    # hdf5plugin has the last since its version 7.
    assert set(FILTERS) == {*range(1, 7), 32000, ECF, *hdf5plugin.FILTERS.values(), 32033}


@pytest.mark.skipif(h5py.h5z.filter_avail(0x8ECF), reason="Prophesee's ECF is installed")
def test_metavisions_own_filter_behind_others_is_named_with_its_source_where_it_is_not_installed(tmp_path: Path):
    where = r"for CD/events, found that Prophesee's ECF \(filter 36559\), which compressed it, is missing\. "
    with pytest.raises(
        RecordingError, match=rf"a\.h5: .* {where}Install it from https://github\.com/prophesee-ai/hdf5_ecf"
    ):
        decode(compressed_by(tmp_path / "a.h5", h5py.h5z.FILTER_SHUFFLE, 0x8ECF))


def test_a_damaged_chunk_is_named_and_salvage_keeps_the_events_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hdf5_recording, "_EVENTS_A_CHUNK", 100)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        fields(file, "CD/events", chunks=(100,), compression="gzip", fletcher32=True)
        at = file["CD/events"].id.get_chunk_info(12).byte_offset
    content = bytearray(path.read_bytes())
    content[at + 20] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=rf"the events 1200 to 1300 of CD/events, found a damaged .* byte {at} \("):
        decode(path)
    opened = dataclasses.replace(open_recording(path, size=SIZE), salvage=True)
    events = Events.concatenate(opened.chunks(), *SIZE)
    np.testing.assert_array_equal(events.t, TRUE["t"][:1200])
    assert opened.notes == {"recordings_salvaged": 1, "bytes_lost_to_damage": len(content) - at}


def test_folders_and_inspect_read_them_without_more_ado(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write(tmp_path / "mine" / "box" / "a.h5", "DSEC")
    write(tmp_path / "mine" / "mug" / "b.hdf5", "DSEC")
    layout = find_layout("folder", tmp_path / "mine", name="mine")
    assert (layout.height, layout.width) == (480, 640)
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    np.testing.assert_array_equal(store.read(1).t, TRUE["t"] + OFFSET)
    inspect_recording.run([str(tmp_path / "mine" / "box" / "a.h5"), "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["format"] == "HDF5 (DSEC)" and answer["time_unit"] == "us" and not answer["time_unit_assumed"]
    with pytest.raises(RecordingError, match="expected a recording, found a cache of spikeloom"):
        open_recording(store.path)
    write(tmp_path / "two" / "box" / "a.h5", "a group of several")
    words = ["folder", "--source", str(tmp_path / "two"), "--cache", str(tmp_path / "cache"), "--name", "two", "--json"]
    with pytest.raises(RecordingError, match="Choose one: --hdf5-path prophesee/left"):
        preprocess.run(words)
    words += ["--hdf5-path", "prophesee/left"]
    with pytest.raises(
        LayoutError, match=re.escape("expected the size of the sensor, which HDF5 (columns) files do not")
    ):
        preprocess.run(words)
    preprocess.run([*words, "--sensor-size", "34", "48"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["read_as"]["time_unit_assumed"] and answer["events"] == N
    (tmp_path / "a.csv").write_text("t,x,y,p\n1,2,3,1\n")
    with pytest.raises(RecordingError, match=r"expected a .h5.* file for --hdf5-path, found text\."):
        inspect_recording.run([str(tmp_path / "a.csv"), "--hdf5-path", "events"])


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = []
    for way in ("DSEC", "MVSEC", "Metavision", "a table"):
        path, options = write(tmp_path / "base.h5", way)
        contents.append(("a.h5", path.read_bytes(), options))
    decoded_or_refused(tmp_path, contents, (480, 640), share_of(5000))

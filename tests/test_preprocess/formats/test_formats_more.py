"""AEDAT 4, Prophesee's encodings and NumPy's arrays decode to what their own readers give, or are refused in a line."""

from __future__ import annotations

import re
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mutated_files import MUTATORS
from raw_files import Packet, aedat2, aedat31, atis, polarity_payload

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import ReadOptions, Recording, open_recording

EVT3_TYPES = {"y": 0x0, "x": 0x2, "base": 0x3, "v12": 0x4, "v8": 0x5, "low": 0x6, "high": 0x8, "trigger": 0xA}


# For what has no names; other formats have no use for it.
IN_ORDER = ReadOptions("txyp")

WIDE = "% evt 3.0\n% geometry 4000x4000\n"


def decode(path: Path, **options) -> Events:
    opened = open_recording(path, **options)
    return Events.concatenate(opened.chunks(), opened.height, opened.width)


def assert_equal(events: Events, reference: np.ndarray, names: str = "txyp") -> None:
    assert len(events) == len(reference)
    for name in names:
        np.testing.assert_array_equal(getattr(events, name), reference[name])


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def evt3(words: list[tuple[str, int]], header: str = "% evt 3.0\n% geometry 64x48\n") -> bytes:
    return header.encode() + b"".join(struct.pack("<H", EVT3_TYPES[kind] << 12 | value) for kind, value in words)


def evt2(words: list[int], header: str = "% evt 2.0\n% geometry 64x48\n") -> bytes:
    return header.encode() + struct.pack(f"<{len(words)}I", *words)


def dat(events: list[tuple[int, int, int, int]], header: str = "% Width 64\n% Height 48\n") -> bytes:
    body = b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in events)
    return header.encode() + bytes([12, 8]) + body


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "size"), [("sample-320x240.aedat4", (240, 320)), ("hand-wave-128x128.aedat4", (128, 128))]
)
def test_real_aedat4_equals_tonic(real_data: Path, name: str, size: tuple[int, int]):
    from tonic.io import read_aedat4

    opened = open_recording(real_data / "readers" / name)
    assert (opened.height, opened.width) == size and opened.header[0].startswith("stream 0: events")
    reference = read_aedat4(opened.path)
    reference.dtype.names = ("t", "x", "y", "p")
    assert_equal(decode(opened.path), reference)


@pytest.mark.real
def test_real_dat_equals_expelliarmus(real_data: Path):
    from expelliarmus import Wizard

    path = real_data / "readers" / "ncars-car.dat"
    assert (open_recording(path).height, open_recording(path).width) == (240, 304)
    assert_equal(decode(path), Wizard(encoding="dat").read(path))


@pytest.mark.real
def test_real_evt3_has_expelliarmus_pixels_and_the_sensors_own_clock(real_data: Path):
    from expelliarmus import Wizard

    path = real_data / "readers" / "evt3-1280x720.raw"
    opened = open_recording(path)
    assert (opened.height, opened.width) == (720, 1280)
    events, reference = decode(path), Wizard(encoding="evt3").read(path)
    assert_equal(events, reference, "xyp")
    # The lower 12 bits of the time step back by a few µs eleven times in this file. expelliarmus takes each for the
    # end of a round of 4,096 µs, although the words of the upper bits say that it was none.
    ahead = reference["t"] - events.t
    assert set(np.unique(ahead)) == {4096 * k for k in range(12)} and np.all(np.diff(ahead) >= 0)
    # The sensor sends a word of the upper bits every 16 µs: a clock that depends on neither reader.
    words = np.frombuffer(path.read_bytes()[opened.start :], "<u2")
    ticks = 16 * np.count_nonzero(words >> 12 == EVT3_TYPES["high"])
    assert abs(ticks - (events.t[-1] - events.t[0])) <= 32 < abs(ticks - np.ptp(reference["t"]))


@pytest.mark.parametrize("encoding", ["evt2", "evt3", "dat"])
def test_what_expelliarmus_writes_is_read(tmp_path: Path, encoding: str):
    from expelliarmus import Wizard
    from expelliarmus.wizard.clib import event_t

    rng = np.random.default_rng(4)
    saved = np.empty(30_000, event_t)
    # In EVT 3.0 it writes the upper bits of the time once: its files hold up to one round of 4,096 µs.
    saved["t"] = np.sort(rng.integers(5000, 8000 if encoding == "evt3" else 9_000_000, len(saved)))
    saved["x"], saved["y"] = rng.integers(0, 640, len(saved)), rng.integers(0, 480, len(saved))
    saved["p"] = rng.integers(0, 2, len(saved))
    path = tmp_path / ("a.dat" if encoding == "dat" else "a.raw")
    Wizard(encoding=encoding).save(path, saved)
    assert_equal(decode(path, size=(480, 640)), Wizard(encoding=encoding).read(path))
    assert_equal(decode(path, size=(480, 640)), saved)


def test_evt3_words_by_hand(tmp_path: Path):
    words = [("high", 1), ("low", 5), ("y", 7), ("x", 3 | 1 << 11), ("base", 10 | 1 << 11), ("v12", 0b1000_0000_0101)]
    words += [("v8", 0b10), ("trigger", 1), ("low", 9), ("base", 40), ("v8", 1)]
    # The clock runs through its range and wraps: straight from 1 to 4095 and to 0 would be a damaged word.
    words += [("high", 2048), ("high", 4095), ("high", 0), ("x", 1)]
    events = decode(write(tmp_path / "a.raw", evt3(words)))
    assert events.t.tolist() == [4101] * 5 + [4105, (1 << 24) + 9]
    assert events.x.tolist() == [3, 10, 12, 21, 23, 40, 1]
    assert events.y.tolist() == [7] * 7 and events.p.tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_evt2_words_by_hand(tmp_path: Path):
    words = [0x8 << 28 | 2, 0x1 << 28 | 3 << 22 | 5 << 11 | 6, 0xA << 28]
    words += [0x8 << 28 | upper for upper in (0x8000000, 0xFFFFFFF, 0)] + [1]
    events = decode(write(tmp_path / "a.raw", evt2(words)))
    assert (events.t.tolist(), events.x.tolist()) == ([131, 1 << 34], [5, 0])
    assert (events.y.tolist(), events.p.tolist()) == ([6, 1], [1, 0])


def test_dat_times_begin_anew_after_32_bits(tmp_path: Path):
    path = write(tmp_path / "a.dat", dat([(0xFFFFFFFF, 1, 2, 1), (3, 4, 5, 0), (2, 4, 5, 0)]))
    assert decode(path).t.tolist() == [0xFFFFFFFF, (1 << 32) + 3, (1 << 32) + 2]


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("% evt 3.0\n% geometry 640x480\n", (480, 640)),
        ("% format EVT3;height=320;width=300\n% end\n", (320, 300)),
        ("% evt 3.0\n% plugin_name hal_plugin_imx636_evk4\n", (720, 1280)),
        ("% evt 3.0\r\n% plugin_name hal_plugin_gen31_fx3\r\n", (480, 640)),
        ("% evt 3.0\n", (33, 44)),
    ],
)
def test_prophesees_headers_tell_the_sensor(tmp_path: Path, header: str, size: tuple[int, int]):
    opened = open_recording(write(tmp_path / "a.raw", evt3([], header)), size=(33, 44))
    assert (opened.height, opened.width) == size and opened.start == len(header)


def test_an_event_that_begins_like_a_header_line_is_an_event(tmp_path: Path):
    # 0x25 is the mark of the header's lines, 0x0A ends one.
    path = write(tmp_path / "a.raw", evt2([0x8 << 28 | 0x25, 5 << 11 | 0x0A, 7 << 11 | 1]))
    assert decode(path).x.tolist() == [5, 7] and open_recording(path).header[-1] == "% geometry 64x48"


@pytest.mark.parametrize("size", [28, 64, 1 << 20])
def test_events_do_not_depend_on_where_blocks_end(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch):
    from preprocess.formats import recording

    rng = np.random.default_rng(5)
    kinds = ["high", "low", "y", "x", "base", "v12", "v8"]
    words = [(kinds[k], int(v)) for k, v in zip(rng.integers(0, 7, 3000), rng.integers(0, 48, 3000), strict=True)]
    columns = {name: rng.integers(0, 2, 500) for name in "txyp"}
    np.savez_compressed(tmp_path / "c.npz", **columns)
    np.save(tmp_path / "d.npy", np.stack([columns[name] for name in "txyp"], axis=1))
    paths = [write(tmp_path / "a.raw", evt3(words, WIDE))]
    paths += [write(tmp_path / "b.dat", dat([(t, 1, 2, 1) for t in range(500)]))]
    paths += [tmp_path / "c.npz", tmp_path / "d.npy"]
    whole = [decode(path, options=IN_ORDER) for path in paths]
    monkeypatch.setattr(recording, "BLOCK_BYTES", size)
    for path, expected in zip(paths, whole, strict=True):
        for name in "txyp":
            np.testing.assert_array_equal(getattr(decode(path, options=IN_ORDER), name), getattr(expected, name))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.float64])
def test_npz_of_any_number_type(tmp_path: Path, save: Callable, dtype: type):
    save(tmp_path / "a.npz", t=np.array([5, 4000000000], dtype), x=[1, 2], y=[3, 4], p=np.array([False, True]))
    events = decode(tmp_path / "a.npz", size=(10, 20))
    assert (events.height, events.width, events.t.tolist(), events.p.tolist()) == (10, 20, [5, 4000000000], [0, 1])
    assert (decode(tmp_path / "a.npz").height, decode(tmp_path / "a.npz").width) == (5, 3)


def test_npy_of_rows_and_of_fields(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([[7, 1, 2, 1], [9, 3, 4, -1]]))
    fields = np.array([(1, 2, 1, 7), (3, 4, 0, 9)], [("x", "u2"), ("y", "u2"), ("p", "?"), ("t", "i8")])
    np.save(tmp_path / "b.npy", fields)
    for name in "ab":
        events = decode(tmp_path / f"{name}.npy", options=IN_ORDER)
        assert (events.t.tolist(), events.x.tolist(), events.y.tolist()) == ([7, 9], [1, 3], [2, 4])
        assert events.p.tolist() == [1, 0]


def test_arrays_stream_in_bounded_memory(tmp_path: Path):
    n = 2_000_000
    np.savez_compressed(tmp_path / "a.npz", t=np.arange(n), x=np.zeros(n, int), y=np.zeros(n, int), p=np.zeros(n, int))
    opened = open_recording(tmp_path / "a.npz", size=(1, 1))
    tracemalloc.start()
    assert sum(len(chunk) for chunk in opened.chunks()) == n
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def _saved(path: Path, **arrays) -> bytes:
    np.savez(path, **arrays)
    return path.read_bytes()


def _npy(path: Path, array: np.ndarray) -> bytes:
    np.save(path, array)
    return path.read_bytes()


COLUMNS = {"t": [5, 6], "x": [1, 2], "y": [3, 4], "p": [0, 1]}

FAULTS: list[tuple[str, Callable[[Path], bytes], str]] = [
    ("a.npz", lambda p: _saved(p, frames=np.zeros(3)), "found the arrays frames."),
    ("a.npz", lambda p: _saved(p, **COLUMNS | {"x": [1]}), "found columns of 1 and 2 events."),
    ("a.npz", lambda p: _saved(p, **COLUMNS | {"x": ["1", "2"]}), "found x of <U1 and shape (2,)."),
    ("a.npz", lambda p: _saved(p, **COLUMNS | {"t": [0.5, 1.0]}), "whole numbers (times in µs), found t = 0.5 in"),
    ("a.npz", lambda p: _saved(p, **COLUMNS | {"p": [0, 7]}), "0 and 1 (or -1 and 1), found p = 7 in"),
    ("a.npz", lambda p: _saved(p, **COLUMNS | {"y": [0, 99]}), "found row 99, column 2 in event 1"),
    ("a.npz", lambda p: _saved(p, **COLUMNS)[:-30], "found a damaged archive ("),
    ("a.npy", lambda p: _npy(p, np.zeros((5, 3))), "found float64 of shape (5, 3)."),
    ("a.npy", lambda p: _npy(p, np.asfortranarray(np.zeros((3, 4))))[:-9], "3 events of 32 bytes, found 1. The"),
    ("a.npy", lambda p: _npy(p, np.zeros((3, 4)))[:-9], "3 events of 32 bytes, found 2. The file is truncated"),
    ("a.npy", lambda p: _npy(p, np.array([[5, 1, -1, 0]])), "found row -1, column 1 in event 0"),
    ("a.raw", lambda p: evt3([("high", 0), ("low", 0), ("y", 48), ("x", 1)]), "column 1 in the event at byte 33."),
    ("a.raw", lambda p: evt3([("x", 1)]) + b"\x00\x90", "a word of Prophesee EVT 3.0, found 0x9000 at byte 29."),
    ("a.raw", lambda p: evt3([("x", 1)]) + b"\x00", "expected events of 2 bytes, found 1 bytes left at byte 29."),
    ("a.raw", lambda p: evt2([0x4 << 28]), "expected a word of Prophesee EVT 2.0, found 0x40000000 at byte 27."),
    ("a.raw", lambda p: evt3([], "% evt 3.0\n"), "expected the sensor's geometry in the header"),
    (
        "a.raw",
        lambda p: evt3([], "% evt 3.0\n% geometry 99999x99999\n"),
        "geometry in the header (% geometry 1280x720), found % geometry 99999x99999. Give it",
    ),
    ("a.dat", lambda p: dat([(1, 64, 2, 1)]), "found row 2, column 64 in the event at byte 25."),
    ("a.dat", lambda p: dat([(1, 6, 2, 9)]), "Prophesee .dat, found 0x00000001 0x90008006 at byte 25."),
    ("a.dat", lambda p: dat([(1, 6, 2, 2)]), "Prophesee .dat, found 0x00000001 0x20008006 at byte 25."),
    ("a.dat", lambda p: b"% Width 64\n\x01\x08", "type 0 or 12 and of 8 bytes, found (1, 8) at byte 11."),
    ("a.aedat4", lambda p: b"#!AER-DAT4.0\r\n", "header of an AEDAT 4 file, found one of 0 bytes at byte 14."),
]


@pytest.mark.parametrize(("name", "content", "message"), FAULTS)
def test_faults_say_where_and_what(tmp_path: Path, name: str, content: Callable[[Path], bytes], message: str):
    path = write(tmp_path / name, content(tmp_path / name))
    size = None if "geometry in the header" in message else (48, 64)
    with pytest.raises(RecordingError) as refused:
        decode(path, size=size, options=IN_ORDER)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: ") and message in line and "\n" not in line
    # A dot inside a word, as of numpy.savez, ends no sentence.
    assert re.search(r"\. [A-Z]([^.]|\.(?! ))*\.$|; [^.]*\.$", line), "the line ends with what to do"


def _salvaged(path: Path, **options) -> tuple[list[int], dict[str, int]]:
    import dataclasses

    opened: Recording = dataclasses.replace(open_recording(path, **options), salvage=True)
    times = [int(t) for chunk in opened.chunks() for t in chunk.t]
    return times, opened.notes


def test_salvage_keeps_every_event_before_the_damage(tmp_path: Path):
    good = [(t, 1, 2, 1) for t in range(10)]
    packets = aedat31([Packet(polarity_payload(good)), Packet(polarity_payload(good))])
    words = [("y", 7), ("high", 0)] + [w for t in range(10) for w in (("low", t), ("x", 1))]
    contents = {
        "packet.aedat": (packets[:-5], list(range(10)), 28 + 75),
        "sensor.aedat": (aedat31([Packet(polarity_payload([*good[:4], (4, 200, 1, 1)]))]), [0, 1, 2, 3], 8),
        "old.aedat": (aedat2([(3, t) for t in range(4)] + [(1 << 16, 4), (3, 5)]), [0, 1, 2, 3], 16),
        "cut.aedat": (aedat2([(3, t) for t in range(4)])[:-3], [0, 1, 2], 5),
        "a.bin": (atis([(t, 1, 2, 1) for t in range(4)] + [(4, 99, 1, 1)]) + b"\0", [0, 1, 2, 3], 6),
        "a.raw": (evt3(words) + struct.pack("<3H", 0x9000, 0x2001, 0x2001), list(range(10)), 6),
        "a.dat": (dat(good) + b"\0\0", list(range(10)), 2),
    }
    for name, (content, expected, lost) in contents.items():
        path = write(tmp_path / name, content)
        with pytest.raises(RecordingError):
            decode(path)
        assert _salvaged(path) == (expected, {"recordings_salvaged": 1, "bytes_lost_to_damage": lost}), name


@pytest.mark.real
def test_salvage_keeps_whole_packets_of_a_truncated_aedat4(real_data: Path, tmp_path: Path):
    source = real_data / "readers" / "sample-320x240.aedat4"
    content = source.read_bytes()
    cut = write(tmp_path / "a.aedat4", content[:500_000])
    with pytest.raises(RecordingError, match=r"expected a packet, found one that claims \d+ bytes.* at byte 4\d{5}\."):
        decode(cut)
    times, notes = _salvaged(cut)
    assert times == decode(source).t[: len(times)].tolist() and 50_000 < len(times) < 70_000
    assert notes["recordings_salvaged"] == 1 and notes["bytes_lost_to_damage"] < 20_000


def test_what_cannot_be_read_at_all_is_not_salvaged(tmp_path: Path):
    path = write(tmp_path / "a.npz", _saved(tmp_path / "a.npz", **COLUMNS)[:-30])
    with pytest.raises(RecordingError, match="damaged archive"):
        _salvaged(path)


def _bases(folder: Path, real: Path | None) -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(6)
    kinds = ["high", "low", "y", "x", "base", "v12", "v8"]
    words = [(kinds[k], int(v)) for k, v in zip(rng.integers(0, 7, 400), rng.integers(0, 48, 400), strict=True)]
    columns = {name: rng.integers(0, 2, 200) for name in "txyp"}
    np.savez_compressed(folder / "packed.npz", **columns)
    bases = [
        ("a.raw", evt3(words, WIDE)),
        ("b.raw", evt2([0x8 << 28 | 2] + [1 << 28 | k << 11 | k for k in range(40)])),
        ("c.dat", dat([(t, 1, 2, 1) for t in range(100)])),
        ("d.npz", _saved(folder / "d.npz", **columns)),
        ("e.npz", (folder / "packed.npz").read_bytes()),
        ("f.npy", _npy(folder / "f.npy", np.stack([columns[name] for name in "txyp"], axis=1))),
        ("i.npy", _npy(folder / "i.npy", np.stack([columns[name] for name in "txyp"]).T)),
        ("j.npz", _saved(folder / "j.npz", events=np.stack([columns[name] for name in "txyp"]).T)),
    ]
    if real:
        bases.append(("g.aedat4", (real / "readers" / "sample-320x240.aedat4").read_bytes()[:30_000]))
        bases.append(("h.raw", (real / "readers" / "evt3-1280x720.raw").read_bytes()[:20_000]))
    return bases


def test_mutated_files_are_decoded_or_refused_and_never_crash(
    tmp_path: Path, share_of: Callable[[int], int], request: pytest.FixtureRequest
):
    try:
        bases = _bases(tmp_path, request.getfixturevalue("real_data"))
    except pytest.skip.Exception:
        bases = _bases(tmp_path, None)
    rng = np.random.default_rng(9)
    outcomes = {"decoded": 0, "refused": 0}
    start = time.perf_counter()
    count = share_of(8000)
    for k in range(count):
        name, content = bases[k % len(bases)]
        mutated = bytearray(content)
        for _ in range(rng.integers(1, 3)):
            if mutated:
                mutated = rng.choice(MUTATORS)(rng, mutated)
        path = write(tmp_path / name, bytes(mutated))
        try:
            opened = open_recording(path, size=(48, 64), options=IN_ORDER)
            for chunk in opened.chunks():
                assert len(chunk.t) == len(chunk.x) == len(chunk.y) == len(chunk.p) > 0
                assert chunk.x.max() < opened.width and chunk.y.max() < opened.height and chunk.p.max() <= 1
            outcomes["decoded"] += 1
        except RecordingError as error:
            (line,) = error.errors
            assert line.startswith(f"{path}: ") and "\n" not in line and ("found" in line or "cannot be" in line), line
            outcomes["refused"] += 1
    assert min(outcomes.values()) > count // 20, outcomes
    assert time.perf_counter() - start < 10 + 0.05 * count

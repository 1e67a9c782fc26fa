"""Text as people write it: however the same events are written, the same events are read, or a line says why not."""

from __future__ import annotations

import dataclasses
import gzip
import io
import time
import zipfile
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mutated_files import MUTATORS, decoded_or_refused
from raw_files import decode

from preprocess.building.build_event_store import build_event_store
from preprocess.commands import inspect_recording
from preprocess.datasets import find_layout
from preprocess.errors import LayoutError, RecordingError
from preprocess.events import Events
from preprocess.formats import NO_OPTIONS, ReadOptions, open_recording, recording
from preprocess.formats.text import text_recording
from preprocess.store.event_store import open_events

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
IN_S = ReadOptions("txyp", "s")


def rows(
    order: str = "txyp",
    separator: str = " ",
    header: str = "",
    end: str = "\n",
    values: Callable[[str, int], object] = lambda letter, value: value,
) -> bytes:
    columns = [[values(letter, int(value)) for value in TRUE[letter]] for letter in order]
    lines = [separator.join(map(str, row)) for row in zip(*columns, strict=True)]
    return (header + end.join(lines) + end).encode()


def in_s(letter: str, value: int) -> object:
    return f"{value / 1e6:.6f}" if letter == "t" else value


def saved(order: str, **options) -> bytes:
    buffer = io.BytesIO()
    np.savetxt(buffer, np.stack([TRUE[letter] for letter in order], axis=1), **options)
    return buffer.getvalue()


def zipped(content: bytes, *names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


WAYS: dict[str, tuple[str, bytes, ReadOptions]] = {
    "comma and names": ("csv", rows(separator=",", header="t,x,y,p\n"), NO_OPTIONS),
    "names in another order": ("csv", rows("yptx", ",", "y,polarity,timestamp,x\n"), NO_OPTIONS),
    "quoted names, CRLF and a byte order mark": (
        "csv", rows(separator=";", header='\ufeff"t";"x";"y";"p"\r\n', end="\r\n"), NO_OPTIONS,
    ),
    "more columns": (
        "csv", rows("tpxyt", ", ", "k, pol, x, y, ts\n", values=lambda c, v: 2 * v - 1 if c == "p" else v), NO_OPTIONS,
    ),
    "words for the polarity": (
        "csv", rows(separator=",", header="t,x,y,p\n", values=lambda c, v: bool(v) if c == "p" else v), NO_OPTIONS,
    ),
    "ON and OFF": (
        "csv",
        rows(separator=",", header="t,x,y,p\n", values=lambda c, v: ("OFF", "ON")[v] if c == "p" else v),
        NO_OPTIONS,
    ),
    "words in a column that is not used": (
        "csv", rows(separator=",", header="t,x,y,p,label\n", end=",left\n"), NO_OPTIONS,
    ),
    "commas behind the last value": ("csv", rows(separator=",", header="t,x,y,p,,\n", end=",,\n"), NO_OPTIONS),
    "commas behind the values only": ("csv", rows(separator=",", end=", ,\r\n"), ORDERED),
    "commas behind the names only": ("csv", rows(separator=",", header="t,x,y,p,\n"), NO_OPTIONS),
    "an unnamed column": ("csv", rows(separator=",", header="t,x,y,p,\n", end=",5\n"), NO_OPTIONS),
    "quoted numbers": (
        "csv", rows(separator=",", header='"t","x","y","p"\n', values=lambda c, v: f'"{v}"'), NO_OPTIONS,
    ),
    "quoted seconds and words": (
        "csv",
        rows(separator=";", header="t;x;y;p\n", values=lambda c, v: f"' {in_s(c, v) if c != 'p' else bool(v)}'"),
        ReadOptions(time_unit="s"),
    ),
    "quoted text with separators in a column that is not used": (
        "csv", rows(separator=",", header='label,t,x,y,p\n"a, b",', end='\n"a ""c"", b",')[:-13], NO_OPTIONS,
    ),
    "an empty column that is not used": ("csv", rows(separator=",", header="t,x,y,p,label\n", end=",\n"), NO_OPTIONS),
    "tabs": ("tsv", rows(separator="\t", header="t\tx\ty\tp\n"), NO_OPTIONS),
    "names in a comment": ("txt", rows(header="# made by a tool\n# t x y p\n"), NO_OPTIONS),
    "names of NumPy's savetxt": ("txt", saved("xytp", header="x y t p"), NO_OPTIONS),
    "whole numbers of NumPy's savetxt": ("csv", saved("txyp", fmt="%d", delimiter=","), ORDERED),
    "without names": ("txt", rows(), ORDERED),
    "without a last line end": ("txt", rows().rstrip(), ORDERED),
    "many spaces and empty lines": ("txt", b"\n\n" + rows("xytp", "   ", end="  \n\n"), ReadOptions("xytp")),
    "comments between": ("txt", rows(end="\n# halt\n"), ORDERED),
    "gzip": ("gz", gzip.compress(rows()), ORDERED),
    "zip": ("zip", zipped(rows(), "events.txt"), ORDERED),
    "seconds": ("txt", rows(values=in_s), IN_S),
    "seconds with an exponent": ("txt", rows(values=lambda c, v: v / 1e6 if c == "t" else v), IN_S),
    "ns": ("txt", rows(values=lambda c, v: 1000 * v if c == "t" else v), ReadOptions("txyp", "ns")),
    "ms": ("txt", rows(values=lambda c, v: v / 1e3 if c == "t" else v), ReadOptions("txyp", "ms")),
    "E2VID": ("txt", b"48 34\n" + rows(values=in_s), NO_OPTIONS),
    "faery": ("csv", rows(separator=",", header="t,x@48,y@34,on\r\n", end="\r\n"), NO_OPTIONS),
    "E2VID zipped": ("zip", zipped(b"48 34\n" + rows(values=in_s), "events.txt"), NO_OPTIONS),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("block", [None, 100])
def test_the_same_events_come_out_however_they_were_written(
    tmp_path: Path, way: str, block: int | None, monkeypatch: pytest.MonkeyPatch
):
    if block:
        monkeypatch.setattr(text_recording, "BLOCK_BYTES", block)
        monkeypatch.setattr(text_recording, "_EVENTS_A_CHUNK", 3)
    suffix, content, options = WAYS[way]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    opened = open_recording(path, size=SIZE, options=options)
    assert (opened.format, opened.height, opened.width) == ("text", *SIZE)
    events = Events.concatenate(opened.chunks(), *SIZE)
    for letter, values in TRUE.items():
        np.testing.assert_array_equal(getattr(events, letter), values)
    assert opened.notes.get("comment_lines_skipped", 0) == N * (way == "comments between")


def test_values_are_those_of_pandas(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(WAYS["more columns"][1])
    table = pd.read_csv(path, skipinitialspace=True)
    events = decode(path, size=SIZE)
    for letter, name in {"t": "ts", "x": "x", "y": "y"}.items():
        np.testing.assert_array_equal(getattr(events, letter), table[name])
    np.testing.assert_array_equal(events.p, table["pol"] == 1)


@given(st.decimals(-(10**9), 10**9, allow_nan=False, places=12), st.sampled_from(["f", "e", "E", "g"]))
@example(Decimal("0.0000005"), "f")
@example(Decimal("1.234570000000000000000000000000"), "f")
@example(Decimal("-0.0000015"), "f")
def test_seconds_are_rounded_as_decimal_numbers(tmp_path: Path, number: Decimal, kind: str):
    text = f"{number:{'.25' if kind != 'g' else '.30'}{kind}}"
    path = tmp_path / "a.txt"
    path.write_text(f"{text} 1 2 1\n")
    expected = int((Decimal(text) * 10**6 + Decimal("0.5")).to_integral_value(ROUND_FLOOR))
    assert decode(path, size=SIZE, options=IN_S).t.tolist() == [expected]


# What is written, what is said to be known, and what the line says.
REFUSED: list[tuple[str, ReadOptions, str]] = [
    ("1 2 3 1\n", NO_OPTIONS, "the first event is 1, 2, 3, 1. Give their order, such as --columns txyp."),
    (
        "0.5 2 3 1\n",
        ORDERED,
        "expected whole numbers (times in µs), found t = 0.5 in line 1, column 1, at byte 0. Give the unit",
    ),
    (
        "1 2 3 1\n1 2.5 3 1\n",
        ORDERED,
        "expected whole numbers (times in µs), found x = 2.5 in line 2, column 2, at byte 8.",
    ),
    ("1 2 3 1\n1 2 3\n", ORDERED, "expected 4 values per line, found 3 ('1 2 3') in line 2 at byte 8."),
    ("1 2 3 1\n1 2 3 1 5\n", ORDERED, "expected 4 values per line, found 5 ('1 2 3 1 5') in line 2 at byte 8."),
    ("1 2 3 1\n1 2 3 x\n", ORDERED, "expected numbers, found p = x in line 2, column 4, at byte 8."),
    ("1 2 3 1\n1 2 nan 1\n", ORDERED, "expected numbers, found y = nan in line 2, column 3, at byte 8."),
    ("1 2 3 1\n1,,3,1\n", ORDERED, "expected numbers, found no x in line 2, column 2, at byte 8. Its columns may have"),
    (
        "1 2 3 1\n1 2 3 2\n",
        ORDERED,
        "expected polarities 0 and 1 (or -1 and 1), found p = 2 in line 2, column 4, at byte 8.",
    ),
    (
        "1 2 3 1\n1e30 2 3 1\n",
        ORDERED,
        "expected numbers of at most 62 bits, found t = 1e30 in line 2, column 1, at byte 8.",
    ),
    (
        "1 2 3 1\n4611686018427387903 2 3 1\n",
        ORDERED,
        "numbers of at most 62 bits, found t = 4611686018427387903 in line",
    ),
    (
        "x,y,t,p\n2,3,1,1\n",
        ORDERED,
        "--columns xytp, because its first lines name the columns in this order, found --columns",
    ),
    (
        "1 2 3 1\n1 2 34 1\n",
        ORDERED,
        "expected a pixel within 34x48 (rows x columns), found row 34, column 2 in line 2,",
    ),
    ("1 2 3 1\n1 48 3 1\n", ORDERED, "found row 3, column 48 in line 2,"),
    ("1 2 3 1\n1 -2 3 1\n", ORDERED, "found row 3, column -2 in line 2, read by --columns txyp."),
    ("hello\nworld\n", ORDERED, "found other text, 'world' in line 2. Name the columns, or leave the file out."),
    ("t,x,y,p\n1,2,3,UP\n", NO_OPTIONS, "found other text, '1,2,3,UP' in line 2."),
    ('t,x,y,p\n"1","2,"3","1"\n', NO_OPTIONS, """found other text, '"1","2,"3","1"' in line 2."""),
    ('1 2 3 1\n1 2 "3 1\n', ORDERED, 'expected numbers, found y = "3 in line 2, column 3, at byte 8.'),
    (
        "t,x,y,p\n1,2,3,1\n2,5,,\n",
        NO_OPTIONS,
        "expected numbers, found no y in line 3, column 3, at byte 16. Its columns",
    ),
    ("t,x,y,p\n1,2,3,1\n2,,,1\n", NO_OPTIONS, "numbers, found no x in line 3, column 2, at byte 16. Its columns"),
    ("t,x,y,p\n1,2,3,1\n2,5,6,1,,7\n", NO_OPTIONS, "4 values per line, found 6 ('2 5 6 1  7') in line 3 at byte 16."),
    ("time [us],x,y,p\n1,2,3,1\n", NO_OPTIONS, "the first event is 1, 2, 3, 1. Give their order, such as --columns"),
    ("1 2 3\n", ORDERED, "found a line of 3: '1 2 3'."),
    ("a,b,c,d\n1,2,3,1\n", NO_OPTIONS, "the first event is 1, 2, 3, 1. Give their order"),
    ("1 2 3 1\n" + 70_000 * "1" + "\n", ORDERED, "expected numbers of at most 62 bits, found t = 1111"),
    ("1 2 3 1\n" + 70_000 * "1", ORDERED, "expected lines of less than 65536 bytes, found a longer one at byte 8."),
    ("\0\0\0", ORDERED, "found other contents than text."),
]


@pytest.mark.parametrize(("content", "options", "message"), REFUSED)
def test_what_is_no_event_is_refused_in_one_line_that_names_line_and_byte(
    tmp_path: Path, content: str, options: ReadOptions, message: str, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(RecordingError) as refused:
        decode(path, size=SIZE, options=options)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: expected ") and message in line and "\n" not in line


def test_archives_of_several_files_and_damaged_ones_are_refused(tmp_path: Path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(rows(), "a.txt", "b.txt"))
    with pytest.raises(RecordingError, match=r"expected an archive of one text file, found 2 files: a.txt, b.txt\."):
        decode(path, size=SIZE, options=ORDERED)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(rows())[:-200])
    with pytest.raises(RecordingError, match="expected a compressed text, found a damaged one"):
        decode(path, size=SIZE, options=ORDERED)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zipped_folder_with_one_text_is_read(tmp_path: Path, compression: int):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a recording/", "")
        archive.writestr("a recording/events.txt", rows())
    np.testing.assert_array_equal(decode(path, size=SIZE, options=ORDERED).t, TRUE["t"])


def test_other_recordings_compressed_are_to_be_unpacked(tmp_path: Path):
    path = tmp_path / "a.aedat.gz"
    path.write_bytes(gzip.compress(b"#!AER-DAT2.0\r\n" + bytes(8)))
    with pytest.raises(RecordingError, match=r"found a compressed file of other contents\. Unpack it, and give what"):
        decode(path, size=SIZE)


def test_salvage_keeps_the_lines_before_the_damage(tmp_path: Path):
    for name, content in (("a.txt", rows()[:-5]), ("a.gz", gzip.compress(rows())[:-200])):
        path = tmp_path / name
        path.write_bytes(content)
        opened = dataclasses.replace(open_recording(path, size=SIZE, options=ORDERED), salvage=True)
        events = Events.concatenate(opened.chunks(), *SIZE)
        assert 100 < len(events) < N and opened.notes["recordings_salvaged"] == 1
        np.testing.assert_array_equal(events.t, TRUE["t"][: len(events)])


def test_the_size_is_that_of_the_events_in_inspect_and_asked_for_in_a_folder(tmp_path: Path, capsys):
    path = tmp_path / "mine" / "box" / "a.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(WAYS["comma and names"][1])
    inspect_recording.run([str(path)])
    assert f"text, 0.01 MB, {TRUE['y'].max() + 1}x{TRUE['x'].max() + 1} pixels" in capsys.readouterr().out
    with pytest.raises(LayoutError, match="expected the size of the sensor, which text files do not store"):
        find_layout("folder", tmp_path / "mine", name="mine")
    # Notes beside recordings are not recordings.
    (path.parent / "README.txt").write_text("Recorded in the lab.\nTwo persons.\n")
    (path.parent / "labels.csv").write_text("class,start,end\n1,5,9\n")
    (path.parent / "pictures.zip").write_bytes(zipped(b"GIF", "a.gif", "b.gif"))
    (path.parent / "picture.gz").write_bytes(gzip.compress(b"\x89PNG\0"))
    layout = find_layout("folder", tmp_path / "mine", name="mine", size=SIZE)
    assert [r.relative for r in layout.recordings] == ["box/a.csv"]
    store = open_events(build_event_store(layout, tmp_path / "cache"))
    np.testing.assert_array_equal(store.read(0).t, TRUE["t"])


def test_a_text_of_e2vid_says_its_size_and_unit(tmp_path: Path):
    path = tmp_path / "mine" / "box" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(WAYS["E2VID"][1])
    layout = find_layout("folder", tmp_path / "mine", name="mine")
    assert (layout.height, layout.width) == SIZE


def write_over(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Other characters of numbers."""
    content[rng.integers(len(content))] = rng.choice(list(b"0123456789 \n,.-#e"))
    return content


def test_mutated_texts_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int]):
    contents = [(f"a.{suffix}", content[:2000], options) for suffix, content, options in WAYS.values()]
    contents += [(f"a.{suffix}", content, options) for suffix, content, options in WAYS.values() if "z" in suffix]
    decoded_or_refused(tmp_path, contents, SIZE, share_of(5000), mutators=(*MUTATORS, write_over, write_over))


def test_reading_is_as_fast_as_pandas(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"t,x,y,p\n" + rows(separator=",") * 1000)
    decode(path, size=SIZE)
    ours, theirs = [], []
    for _ in range(3):
        start = time.process_time()
        events = decode(path, size=SIZE)
        ours.append(time.process_time() - start)
        start = time.process_time()
        table = pd.read_csv(path, engine="c")
        theirs.append(time.process_time() - start)
    np.testing.assert_array_equal(events.t, table["t"])
    assert min(ours) < min(theirs), (ours, theirs)


def test_blocks_are_of_bounded_size():
    assert recording.BLOCK_BYTES == text_recording.BLOCK_BYTES <= 1 << 20

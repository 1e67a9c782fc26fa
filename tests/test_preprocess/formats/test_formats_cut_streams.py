"""A file that begins in the middle of a stream: what comes before its clock and its row are known is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.binning.count_events import bin_events
from preprocess.cli import COMMANDS
from preprocess.events import Events
from preprocess.formats import open_recording, recording
from preprocess.terminal.command_line import run_main

NOTE = "events_left_out_before_the_clock"
HEADERS = {"evt2": b"% evt 2.0\n% geometry 64x48\n% end\n", "evt3": b"% evt 3.0\n% geometry 64x48\n% end\n"}
HEADERS["evt21"] = b"% evt 2.1\n% format EVT21;endianness=little;height=48;width=64\n% end\n"
DTYPES = {"evt2": "<u4", "evt3": "<u2", "evt21": "<u8"}

# Above the type of a word.
SHIFTS = {"evt2": 28, "evt3": 12, "evt21": 60}
encodings = pytest.mark.parametrize("encoding", HEADERS)


def stream(encoding: str, events: int = 3000) -> NDArray[np.unsignedinteger]:
    """Words of 100 ms of events at 6.437 s, the upper half of the time every 1 ms."""
    rng = np.random.default_rng(1)
    times = np.sort(rng.integers(6_437_000, 6_537_000, events)).tolist()
    rows = zip(times, *(rng.integers(0, n, events).tolist() for n in (48, 48, 2)), strict=True)
    words: list[int] = []
    said = 0
    for number, (t, x, y, p) in enumerate(rows):
        upper = t >> 12 if encoding == "evt3" else t >> 6
        if upper != said or t // 1000 != times[number - 1] // 1000:
            words.append(
                {"evt2": 8 << 28 | upper, "evt3": 8 << 12 | upper & 0xFFF, "evt21": 8 << 60 | upper << 32}[encoding]
            )
            said = upper
        if encoding == "evt2":
            words.append(p << 28 | t % 64 << 22 | x << 11 | y)
        elif encoding == "evt21":  # one to three events
            words.append((p << 28 | t % 64 << 22 | x % 40 << 11 | y) << 32 | (1, 0b101, 0b10000011)[number % 3])
        elif number % 5:
            words += [0x6 << 12 | t % 4096, y, 0x2 << 12 | p << 11 | x]
        else:  # a vector of two events, and one of one
            words += [0x6 << 12 | t % 4096, y, 0x3 << 12 | p << 11 | x % 40, 0x4 << 12 | 0b101, 0x5 << 12 | 0b1000]
    return np.array(words, DTYPES[encoding])


def events_in(words: NDArray[np.unsignedinteger]) -> int:
    """How many events the words say, whether or not it is known where and when."""
    if words.itemsize == 8:
        return int(np.bitwise_count(words[words >> 60 <= 1] & 0xFFFFFFFF).sum())
    if words.itemsize == 4:
        return int(np.count_nonzero(words >> 28 <= 1))
    kind = words >> 12
    vectors = int(np.bitwise_count(words[(kind == 0x4) | (kind == 0x5)] & 0xFFF).sum())
    return int(np.count_nonzero(kind == 0x2)) + vectors


def write(path: Path, encoding: str, words: NDArray[np.unsignedinteger]) -> Path:
    path.write_bytes(HEADERS[encoding] + words.tobytes())
    return path


def decode(path: Path) -> tuple[Events, dict[str, int]]:
    opened = open_recording(path)
    return Events.concatenate(opened.chunks(), opened.height, opened.width), opened.notes


@encodings
@pytest.mark.parametrize("block", [56, 1 << 20])
def test_a_cut_stream_gives_the_last_events_of_the_whole_one(
    tmp_path: Path, encoding: str, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    words = stream(encoding, 400)
    whole, notes = decode(write(tmp_path / "a.raw", encoding, words))
    assert len(whole) == events_in(words) and notes == {}
    most = 0
    for cut in range(1, 150):
        events, notes = decode(write(tmp_path / "a.raw", encoding, words[cut:]))
        for name in "txyp":
            column = getattr(whole, name)
            np.testing.assert_array_equal(getattr(events, name), column[len(column) - len(events) :])
        assert len(events) + notes.get(NOTE, 0) == events_in(words[cut:])
        most = max(most, notes.get(NOTE, 0))
    assert 1 < most < 20, "some are left out, and no more than until the next word of the clock"


@encodings
def test_frames_of_a_cut_stream_are_as_full_as_its_events_are_many(tmp_path: Path, encoding: str):
    events, notes = decode(write(tmp_path / "a.raw", encoding, stream(encoding)[3:]))
    assert notes[NOTE] > 0 and np.ptp(events.t) < 100_000 and events.t.min() > 6_437_000
    frames = bin_events(events, Binning(4, split_by="time"))
    counts = frames.sum(axis=(1, 2, 3))
    assert counts.min() > 0.2 * len(events)


@encodings
def test_a_file_without_any_word_of_the_clock_has_no_events(tmp_path: Path, encoding: str):
    words = stream(encoding)
    without = words[words >> SHIFTS[encoding] != 0x8]
    events, notes = decode(write(tmp_path / "a.raw", encoding, without))
    assert len(events) == 0 and notes == {NOTE: events_in(without)}


@pytest.mark.parametrize("block", [2, 8, 10, 1 << 20])
def test_evt3_waits_for_the_row_the_lower_time_and_the_base_of_a_vector(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    """Also where a block ends before the row."""
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    high, low, row, column, base, vector = 0x8001, 0x6005, 0x0007, 0x2003, 0x300A, 0x4003
    words = [low, column, high, column, row, column, vector, low, column, vector, base, vector, column]
    events, notes = decode(write(tmp_path / "a.raw", "evt3", np.array(words, "<u2")))
    assert events.x.tolist() == [3, 10, 11, 3] and set(events.y.tolist()) == {7}
    assert events.t.tolist() == [4101] * 4 and notes == {NOTE: 3 + 2 + 2}


@pytest.mark.parametrize("block", [2, 4, 6, 1 << 20])
def test_evt3_waits_for_a_row_that_comes_after_the_time(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recording, "BLOCK_BYTES", block)
    words = np.array([0x8001, 0x6005, 0x2003, 0x0007, 0x2004], "<u2")
    events, notes = decode(write(tmp_path / "a.raw", "evt3", words))
    assert (events.x.tolist(), events.y.tolist(), events.t.tolist()) == ([4], [7], [4101]) and notes == {NOTE: 1}


@encodings
def test_a_recording_of_which_the_clock_leaves_nothing_says_so(tmp_path: Path, encoding: str, capsys):
    words = stream(encoding)
    without = words[words >> SHIFTS[encoding] != 0x8]
    for label, of_label in (("cat", words), ("dog", without)):
        (tmp_path / "src" / label).mkdir(parents=True)
        write(tmp_path / "src" / label / "a.raw", encoding, of_label)
    argv = ("preprocess", "folder", "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--name", "cut")
    assert run(*argv) == 2
    counted = f"expected at least one event, found none (events left out before the clock: {events_in(without):,})."
    assert counted in capsys.readouterr().err


def run(*argv: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=[*map(str, argv)])


@encodings
def test_what_is_left_out_is_counted_where_people_look(tmp_path: Path, encoding: str, capsys):
    words = stream(encoding)[3:]
    for label in ("cat", "dog"):
        (tmp_path / "src" / label).mkdir(parents=True)
        path = write(tmp_path / "src" / label / f"{label}.raw", encoding, words)
    _, notes = decode(path)
    assert run("inspect", path) == 0
    assert f"events left out before the clock: {notes[NOTE]}" in capsys.readouterr().out
    assert run("inspect", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == notes
    argv = ("preprocess", "folder", "--source", tmp_path / "src", "--cache", tmp_path / "cache", "--name", "cut")
    assert run(*argv) == 0
    assert f"events left out before the clock: {2 * notes[NOTE]}" in capsys.readouterr().out
    assert run(*argv, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["notes"] == {NOTE: 2 * notes[NOTE]}
    assert answer["events"] == 2 * (events_in(words) - notes[NOTE])

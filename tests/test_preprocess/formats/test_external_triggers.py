"""Edges of external triggers are no events of a pixel: left out and counted, wherever they stand."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from raw_files import decode

from preprocess.formats import open_recording
from preprocess.formats.prophesee import prophesee_recording

TRIGGER = 0xA

# The words of a file without triggers, the position of the type in a word, and the number type.
EVT2 = [0x8 << 28 | 1, 1 << 28 | 3 << 11 | 5, 4 << 11 | 6, 0x8 << 28 | 2, 1 << 28 | 9 << 11 | 7]
EVT21 = [0x8 << 60 | 1 << 32, 1 << 60 | (3 << 11 | 5) << 32 | 0b1011, 0x8 << 60 | 2 << 32, (9 << 11 | 7) << 32 | 1]
EVT3 = [0x8001, 0x6005, 0x0007, 0x2803, 0x380A, 0x4805, 0x5002, 0x6009, 0x2001]
ENCODINGS = {"2.0": (EVT2, 28, np.uint32), "2.1": (EVT21, 60, np.uint64), "3.0": (EVT3, 12, np.uint16)}


def write(path: Path, encoding: str, words: list[int]) -> Path:
    end = "endianness=little;" if encoding == "2.1" else ""
    header = f"% evt {encoding}\n% format EVT{encoding.replace('.', '').rstrip('0')};{end}height=48;width=64\n% end\n"
    path.write_bytes(header.encode() + np.array(words, ENCODINGS[encoding][2]).tobytes())
    return path


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_triggers_are_counted_and_change_no_event(tmp_path: Path, encoding: str):
    words, shift, _ = ENCODINGS[encoding]
    without = decode(write(tmp_path / "a.raw", encoding, words))
    # Before the clock, between all words, and after the last.
    between = [each for word in words for each in (TRIGGER << shift | 1, word)] + [TRIGGER << shift]
    opened = open_recording(write(tmp_path / "b.raw", encoding, between))
    events = decode(opened.path)
    assert list(opened.chunks()) and len(without) > 2
    for letter in "txyp":
        np.testing.assert_array_equal(getattr(events, letter), getattr(without, letter))
    assert opened.notes == {"external_triggers_left_out": len(words) + 1}


def test_triggers_are_counted_once_where_words_are_decoded_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # A vector without a base ends the run without branches after its first triggers.
    words = [0x8001, 0x6005, 0x0007, 0xA001, 0x2803, 0xA000, 0x4805, 0xA001, 0x2804]
    opened = open_recording(write(tmp_path / "a.raw", "3.0", words))
    for block in (prophesee_recording._EVENTS_A_CHUNK, 40):
        monkeypatch.setattr(prophesee_recording, "_EVENTS_A_CHUNK", block)
        assert [x for chunk in opened.chunks() for x in chunk.x.tolist()] == [3, 4]
        assert opened.notes["external_triggers_left_out"] == 3


def test_triggers_of_metavisions_hdf5_are_counted(tmp_path: Path):
    rows = np.array([(1, 2, 1, 5), (3, 4, 0, 9)], [("x", "u2"), ("y", "u2"), ("p", "i2"), ("t", "i8")])
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["CD/events"] = rows
        file["EXT_TRIGGER/events"] = np.zeros(7, [("p", "i2"), ("t", "i8"), ("id", "i2")])
        file.attrs["geometry"] = "64x48"
    opened = open_recording(tmp_path / "a.hdf5")
    assert sum(len(chunk) for chunk in opened.chunks()) == 2
    assert opened.notes == {"external_triggers_left_out": 7}

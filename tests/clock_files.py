"""Files of every format with given times and a damaged word of the clock, written plainly.

A format that is added to the registry needs an entry in `CLOCKS`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from aedat4_files import EVENT, aedat4, event_packet
from numpy.typing import NDArray
from raw_files import AEDAT2_HEADER, Packet, aedat31, polarity_payload, text_header

from benchmarks.event_bags import message, write_bag

Times = NDArray[np.int64]
SIZE = 34


@dataclass(frozen=True)
class Clock:
    """A format's clock, and how to write a file of it.

    Attributes:
        format: A key of FORMATS.
        write: Called with the file, the true times in µs, (N,), and what to flip in the word of the clock that belongs
            to each event, (N,); event k is at `pixels(k)`.
        bits: Of the word of the clock.
        wraps: Whether the clock begins again at 0 after its last bit.
        tick_us: How long the word's lowest bit is.
        counts_pauses: Whether the file counts the rounds of a pause in which nothing happens.
        why: Why it does not wrap, or what counts the rounds.
        is_of_steps: Whether the file has the time since the event before, so that no step back can be written, and a
            damaged step moves all later events.
        is_of_units: Whether it is of units, all in one row and ON, instead of pixels.
    """

    format: str
    write: Callable[[Path, Times, Times], None]
    bits: int
    wraps: bool
    why: str
    tick_us: int = 1
    counts_pauses: bool = True
    is_of_units: bool = False
    is_of_steps: bool = False

    @property
    def range_us(self) -> int:
        return self.tick_us << self.bits


def pixels(n: int) -> tuple[Times, Times, Times]:
    """Columns, rows and polarities of n events."""
    k = np.arange(n)
    return k % SIZE, k // SIZE % SIZE, k % 2


def write_aedat2(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    address = (127 - x) << 8 | (127 - y) << 1 | (1 - p)
    body = np.stack([address, t % (1 << 32) ^ flip], axis=1).astype(">u4").tobytes()
    path.write_bytes(text_header(AEDAT2_HEADER) + body)


def write_aedat2_of_davis(path: Path, t: Times, flip: Times) -> None:
    """With a sample of the IMU, whose time is another, before every event."""
    x, y, p = pixels(len(t))
    address = (179 - y) << 22 | (239 - x) << 12 | p << 11
    imu = np.full_like(t, 1 << 31 | 3 << 10)
    body = np.stack([imu, t * 0 + 5, address, t % (1 << 32) ^ flip], axis=1).astype(">u4").tobytes()
    path.write_bytes(text_header((*AEDAT2_HEADER, "# AEChip: eu.seebetter.ini.chips.davis.DAVIS240C")) + body)


def write_aedat31(path: Path, t: Times, flip: Times) -> None:
    rows = zip(t.tolist(), flip.tolist(), *(column.tolist() for column in pixels(len(t))), strict=True)
    packets = [
        Packet(polarity_payload([(t % (1 << 31) ^ flip, x, y, p)]), overflow=t >> 31) for t, flip, x, y, p in rows
    ]
    path.write_bytes(aedat31(packets))


def write_aedat4(path: Path, t: Times, flip: Times) -> None:
    """All events in one packet, uncompressed."""
    x, y, p = pixels(len(t))
    events = np.zeros(len(t), EVENT)
    events["t"], events["x"], events["y"], events["on"] = t ^ flip, x, y, p
    path.write_bytes(aedat4([event_packet(events)], size=(SIZE, SIZE)))


def write_evt2(path: Path, t: Times, flip: Times) -> None:
    words: list[int] = []
    for word, time, x, y, p in clocked(t, flip, tick_us=64, bits=28):
        words.append(0x8 << 28 | word)
        if time >= 0:
            words.append(p << 28 | time % 64 << 22 | x << 11 | y)
    path.write_bytes(f"% evt 2.0\n% geometry {SIZE}x{SIZE}\n".encode() + np.array(words, "<u4").tobytes())


def write_evt21(path: Path, t: Times, flip: Times) -> None:
    words: list[int] = []
    for word, time, x, y, p in clocked(t, flip, tick_us=64, bits=28):
        words.append(0x8 << 60 | word << 32)
        if time >= 0:
            words.append((p << 28 | time % 64 << 22 | x << 11 | y) << 32 | 1)
    path.write_bytes(f"% evt 2.1\n% geometry {SIZE}x{SIZE}\n".encode() + np.array(words, "<u8").tobytes())


def write_evt3(path: Path, t: Times, flip: Times) -> None:
    words: list[int] = []
    for word, time, x, y, p in clocked(t, flip, tick_us=4096, bits=12):
        words.append(0x8 << 12 | word)
        if time >= 0:
            words += [0x6 << 12 | time % 4096, y, 0x2 << 12 | p << 11 | x]
    path.write_bytes(f"% evt 3.0\n% geometry {SIZE}x{SIZE}\n".encode() + np.array(words, "<u2").tobytes())


def clocked(t: Times, flip: Times, tick_us: int, bits: int) -> list[tuple[int, int, int, int, int]]:
    """The upper bits before every event, and in pauses eight times a round without one: then the time is -1."""
    mask = (1 << bits) - 1
    every = 1 << (bits - 3)
    rows: list[tuple[int, int, int, int, int]] = []
    previous = int(t[0]) // tick_us
    for time, flipped, x, y, p in zip(t.tolist(), flip.tolist(), *map(np.ndarray.tolist, pixels(len(t))), strict=True):
        high = time // tick_us
        rows += [(pause & mask, -1, 0, 0, 0) for pause in range(previous + every, high, every)]
        rows.append((high & mask ^ flipped, time, x, y, p))
        previous = high
    return rows


def write_dat(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    body = np.stack([t % (1 << 32) ^ flip, p << 28 | y << 14 | x], axis=1).astype("<u4").tobytes()
    path.write_bytes(f"% Width {SIZE}\n% Height {SIZE}\n".encode() + bytes([12, 8]) + body)


def write_atis(path: Path, t: Times, flip: Times) -> None:
    path.write_bytes(atis_events(t % (1 << 23) ^ flip).tobytes())


def write_atis_with_marks(path: Path, t: Times, flip: Times) -> None:
    """The events of a sensor with a clock of 13 bits, and a mark for each of its overflows."""
    marks = np.maximum.accumulate(t >> 13)
    events = atis_events(t - (marks << 13) ^ flip)
    mark = bytes([0, 240, 0, 0, 0])
    between = np.diff(marks, prepend=0).tolist()
    path.write_bytes(b"".join(n * mark + event.tobytes() for n, event in zip(between, events, strict=True)))


def atis_events(word: Times) -> NDArray[np.uint8]:
    x, y, p = pixels(len(word))
    return np.stack([x, y, p << 7 | word >> 16, word >> 8 & 255, word & 255], axis=1).astype(np.uint8)


def write_npy(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    rows = np.empty(len(t), [(name, np.int64) for name in "txyp"])
    rows["t"], rows["x"], rows["y"], rows["p"] = t ^ flip, x, y, p
    np.save(path, rows)


def write_npz(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    np.savez(path, t=t ^ flip, x=x, y=y, p=p)


def write_npy_as_tonic(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    np.save(path, np.stack([x, y, p, t // 1000 ^ flip], axis=1))


def write_text(path: Path, t: Times, flip: Times) -> None:
    rows = np.stack([t ^ flip, *pixels(len(t))], axis=1)
    np.savetxt(path, rows, "%d", header="t x y p")


def write_hdf5(path: Path, t: Times, flip: Times) -> None:
    with h5py.File(path, "w") as file:
        for name, column in zip("txyp", (t ^ flip, *pixels(len(t))), strict=True):
            file[f"events/{name}"] = column


def units(n: int) -> tuple[Times, Times, Times]:
    """Columns, rows and polarities of n spikes."""
    return np.arange(n) % 700, np.zeros(n, np.int64), np.ones(n, np.int64)


def write_spike_trains(path: Path, t: Times, flip: Times) -> None:
    with h5py.File(path, "w") as file:
        for name, values, kind in (("times", (t ^ flip) / 1e6, np.float64), ("units", units(len(t))[0], np.uint16)):
            column = file.create_dataset(f"spikes/{name}", (1,), h5py.vlen_dtype(kind))
            column[0] = values.astype(kind)
        file["labels"] = np.zeros(1, np.uint16)


def write_event_stream(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    parts = [b"Event Stream" + bytes([2, 0, 0, 1]) + struct.pack("<HH", SIZE, SIZE)]
    for step, column, row, on in zip(np.diff(t, prepend=0).tolist(), x, y, p, strict=True):
        parts.append(b"\xff" * (step // 127) + struct.pack("<BHH", step % 127 << 1 | on, column, SIZE - 1 - row))
    path.write_bytes(b"".join(parts))


def write_mat(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    scipy.io.savemat(path, {"ts": (t ^ flip)[:, None], "x": x[:, None], "y": y[:, None], "pol": p[:, None]})


def write_mat_of_asl_dvs(path: Path, t: Times, flip: Times) -> None:
    x, y, p = pixels(len(t))
    x, y = (SIZE - 1 - column.astype(np.int64) for column in (x, y))
    scipy.io.savemat(path, {"ts": (t ^ flip)[:, None], "x": x[:, None], "y": y[:, None], "pol": p[:, None]})


def write_mat73(path: Path, t: Times, flip: Times) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, column in zip(("ts", "x", "y", "pol"), (t ^ flip, *pixels(len(t))), strict=True):
            file[name] = column[None]
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def write_rosbag(path: Path, t: Times, flip: Times) -> None:
    write_bag(path, [("/dvs/events", message(t ^ flip, *pixels(len(t)), SIZE, SIZE))])


CLOCKS = {
    "aedat2": Clock("aedat2", write_aedat2, 32, True, "u32 of µs"),
    "aedat2-davis": Clock("aedat2", write_aedat2_of_davis, 32, True, "u32 of µs; words of the IMU are left out"),
    "aedat31": Clock("aedat31", write_aedat31, 31, False, "packets count the overflows of 31 bits: 62 bits in all"),
    "aedat4": Clock("aedat4", write_aedat4, 40, False, "64 bits"),
    "evt2": Clock("evt2", write_evt2, 28, True, "34 bits; the sensor says the upper 28 all the time", 64),
    "evt21": Clock("evt21", write_evt21, 28, True, "34 bits; the sensor says the upper 28 all the time", 64),
    "evt3": Clock("evt3", write_evt3, 12, True, "24 bits; the sensor says the upper 12 all the time", 4096),
    "dat": Clock("dat", write_dat, 32, True, "u32 of µs"),
    "atis": Clock("atis", write_atis, 23, True, "nothing counts its rounds of 8.4 s", counts_pauses=False),
    "atis-with-marks": Clock("atis", write_atis_with_marks, 23, False, "marks count the overflows of 13 bits"),
    "npy": Clock("npy", write_npy, 40, False, "64 bits"),
    "npz": Clock("npz", write_npz, 40, False, "64 bits"),
    "text": Clock("text", write_text, 40, False, "62 bits"),
    "hdf5": Clock("hdf5", write_hdf5, 40, False, "64 bits"),
    "spike-trains": Clock("spike-trains", write_spike_trains, 39, False, "times in s as floats", is_of_units=True),
    "es": Clock("es", write_event_stream, 24, False, "steps of any length", is_of_steps=True),
    "mat": Clock("mat", write_mat, 40, False, "64 bits"),
    "mat-asl-dvs": Clock("mat-asl-dvs", write_mat_of_asl_dvs, 40, False, "64 bits"),
    "mat73": Clock("mat73", write_mat73, 40, False, "64 bits"),
    "rosbag": Clock("rosbag", write_rosbag, 40, False, "seconds and nanoseconds of 32 bits each"),
    "npy-tonic": Clock("npy-tonic", write_npy_as_tonic, 40, False, "64 bits of ms", 1000),
}

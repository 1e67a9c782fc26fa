"""Files of the same events in many raw formats, for the benchmark of decoding.

Events are those of real recordings where there are any, repeated one after the other in time; else emulated ones.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray

from benchmarks.cached_samples import real_recordings
from benchmarks.recordings import emulate_gesture_clips
from preprocess.events import Events
from preprocess.formats import open_recording

_PACKET_EVENTS = 10_000
_PAUSE_US = 1000


def base_events() -> Events:
    """219,596 events of a real sensor of 1280x720 pixels, or emulated ones of 128x128."""
    real = real_recordings()
    if real is None:
        return emulate_gesture_clips(seed=3)[0]
    recording = open_recording(real / "readers" / "evt3-1280x720.raw")
    return Events.concatenate(recording.chunks(), recording.height, recording.width)


def repeat(events: Events, count: int) -> Events:
    """Events again and again, in order of time, until there are `count`."""
    events = events[np.argsort(events.t, kind="stable")]
    span = int(events.t[-1] - events.t[0]) + _PAUSE_US
    parts = [replace(events, t=events.t - events.t[0] + k * span) for k in range(-(-count // len(events)))]
    return Events.concatenate(parts, events.height, events.width)[:count]


def write_evt2(path: Path, events: Events) -> None:
    """Words of the upper bits of the time wherever they change, then the event."""
    high = events.t >> 6
    word = events.p.astype(np.int64) << 28 | (events.t & 63) << 22 | events.x.astype(np.int64) << 11 | events.y
    new = np.diff(high, prepend=-1) != 0
    at = np.arange(len(events)) + np.cumsum(new)
    words = np.zeros(len(events) + int(new.sum()), "<u4")
    words[at] = word
    words[at[new] - 1] = 0x8 << 28 | high[new] & 0xFFFFFFF
    path.write_bytes(_prophesee_header(events, "2.0") + words.tobytes())


def write_evt3(path: Path, events: Events) -> None:
    """Words of the upper and lower bits of the time and of the row wherever they change, then the column."""
    t = events.t
    new_high = np.diff(t >> 12, prepend=-1) != 0
    new_low = np.diff(t, prepend=-1) != 0
    new_row = (np.diff(events.y.astype(np.int64), prepend=-1) != 0) | new_low
    at = np.arange(len(events)) + np.cumsum(new_high.astype(np.int64) + new_low + new_row)
    words = np.zeros(int(at[-1]) + 1, "<u2")
    words[at] = 0x2 << 12 | events.p.astype(np.int64) << 11 | events.x
    words[at[new_row] - 1] = events.y[new_row]
    words[at[new_low] - 2] = 0x6 << 12 | t[new_low] & 0xFFF
    words[at[new_high] - 3] = 0x8 << 12 | t[new_high] >> 12 & 0xFFF
    path.write_bytes(_prophesee_header(events, "3.0") + words.tobytes())


def repeat_evt3(path: Path, source: Path, count: int, events: int) -> None:
    """The words of a real file, with its vectors, repeated; the clock continues and wraps after its 24 bits."""
    opened = open_recording(source)
    content = source.read_bytes()
    words = np.frombuffer(content, "<u2", offset=opened.start)
    words = words[int(np.argmax(words >> 12 == 0x8)) :]
    is_high = words >> 12 == 0x8
    highs = (words[is_high] & 0xFFF).astype(np.int64)
    rounds = int(highs.max() - highs.min()) + 1
    parts = []
    for k in range(-(-count // events)):
        part = words.copy()
        part[is_high] = 0x8 << 12 | (highs + k * rounds) & 0xFFF
        parts.append(part)
    path.write_bytes(_prophesee_header_of(1280, 720, "3.0") + np.concatenate(parts).tobytes())


def write_aedat4(path: Path, events: Events, compression: int) -> None:
    """Packets of 10,000 events, compressed as dv-processing does; compression is 0 (none), 1 (LZ4) or 3 (Zstandard)."""
    rows = np.zeros(len(events), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("pad", "u1", 3)])
    rows["t"], rows["x"], rows["y"], rows["on"] = events.t + 1_700_000_000_000_000, events.x, events.y, events.p
    zstd = zstandard.ZstdCompressor()
    compress: dict[int, Callable[[bytes], bytes]] = {
        0: bytes,
        1: lambda data: lz4.frame.compress(data, block_size=lz4.frame.BLOCKSIZE_MAX64KB, store_size=False),
        3: zstd.compress,
    }
    parts = []
    for at in range(0, len(rows), _PACKET_EVENTS):
        chunk = rows[at : at + _PACKET_EVENTS]
        content = struct.pack("<I4s3H2xiII", 16, b"EVTS", 6, 8, 4, 8, 4, len(chunk)) + chunk.tobytes()
        payload = compress[compression](struct.pack("<I", len(content)) + content)
        parts.append(struct.pack("<iI", 0, len(payload)) + payload)
    path.write_bytes(_aedat4_header(events, compression) + b"".join(parts))


def write_aedat2_dvs128(path: Path, events: Events) -> None:
    """The events of a DVS128 in SpikingJelly's orientation."""
    address = (127 - events.x.astype(np.int64)) << 8 | (127 - events.y.astype(np.int64)) << 1 | (1 - events.p)
    _write_aedat2(path, address, events.t, "ch.unizh.ini.jaer.chip.retina.DVS128")


def write_aedat2_davis346(path: Path, events: Events) -> None:
    x, y = 345 - events.x.astype(np.int64), 259 - events.y.astype(np.int64)
    _write_aedat2(path, y << 22 | x << 12 | events.p.astype(np.int64) << 11, events.t, "Davis346B")


def _write_aedat2(path: Path, address: NDArray[np.int64], t: NDArray[np.int64], chip: str) -> None:
    header = f"#!AER-DAT2.0\r\n# Timestamps tick is 1 us\r\n# AEChip: {chip}\r\n".encode()
    path.write_bytes(header + np.stack([address, t], axis=1).astype(">u4").tobytes())


def _prophesee_header(events: Events, version: str) -> bytes:
    return _prophesee_header_of(events.width, events.height, version)


def _prophesee_header_of(width: int, height: int, version: str) -> bytes:
    encoding = {"2.0": "EVT2", "3.0": "EVT3"}[version]
    lines = f"% evt {version}\n% format {encoding};height={height};width={width}\n% geometry {width}x{height}\n% end\n"
    return lines.encode()


def _aedat4_header(events: Events, compression: int) -> bytes:
    name = ("NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH")[compression]
    path = "/mainloop/Recorder/outInfo/"
    attributes = {
        "compression": ("string", name),
        "originalModuleName": ("string", "capture"),
        "originalOutputName": ("string", "events"),
        "typeDescription": ("string", "Array of events (polarity ON/OFF)."),
        "typeIdentifier": ("string", "EVTS"),
    }
    info = {"sizeX": ("int", events.width), "sizeY": ("int", events.height), "source": ("string", "BENCHMARK_0")}

    def listed(values: dict[str, tuple[str, object]]) -> str:
        return "".join(f'<attr key="{key}" type="{type}">{value}</attr>' for key, (type, value) in values.items())

    text = (
        f'<dv version="2.0"><node name="outInfo" path="{path}"><node name="0" path="{path}0/">{listed(attributes)}'
        f'<node name="info" path="{path}0/info/">{listed(info)}</node></node></node></dv>'
    ).encode()
    padded = text + bytes(-len(text) % 4 or 4)
    content = struct.pack("<I4s5H2xiiqI", 20, b"IOHE", 10, 20, 4, 8, 16, 12, compression, -1, 4)
    content += struct.pack("<I", len(text)) + padded
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(content)) + content

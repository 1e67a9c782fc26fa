"""Variants of raw files beside those of `clock_files.CLOCKS`: compression, layouts, types, kinds of packets."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ecf_chunks
import h5py
import hdf5plugin
import numpy as np
import scipy.io
from aedat4_files import LZ4, ZSTD, event_packet, file_of, some_events
from aedat4_files import aedat4 as aedat4_file
from clock_files import SIZE, pixels
from raw_files import Packet, aedat31, polarity_payload

from benchmarks.event_bags import message, write_bag

Write = Callable[[Path], object]

_N = 40
_T = 1_000_000 + np.arange(_N) * 777
_X, _Y, _P = pixels(_N)
_TRUE = {"t": _T, "x": _X, "y": _Y, "p": _P}


def _table(order: str = "txyp") -> np.ndarray:
    return np.stack([_TRUE[letter] for letter in order], axis=1)


def _structured(dtypes: Sequence[str] = ("i8", "u2", "u2", "?")) -> np.ndarray:
    rows = np.empty(_N, list(zip("txyp", dtypes, strict=True)))
    for name in "txyp":
        rows[name] = _TRUE[name]
    return rows


def _aedat31_packets(path: Path) -> None:
    """Packets of other kinds, an invalid event, and an overflow of the clock."""
    rows = list(zip(_T.tolist(), _X.tolist(), _Y.tolist(), _P.tolist(), strict=True))
    packets = [
        Packet(bytes(24), kind=0),
        Packet(polarity_payload(rows[:20])),
        Packet(polarity_payload(rows[20:], valid=0), overflow=1),
    ]
    path.write_bytes(aedat31(packets))


def _aedat4_streams(path: Path) -> None:
    """Frames and IMU samples beside events, and the table at the end."""
    events = event_packet(some_events(30, SIZE, SIZE))
    packets = [(0, events), (1, bytes(30)), (0, events), (2, b"")]
    path.write_bytes(aedat4_file(packets, streams=((0, "EVTS"), (1, "FRME"), (2, "IMUS")), table=True))


def _aedat4(compression: int, *, with_size: bool = True) -> Write:
    events = some_events(60, SIZE, SIZE)
    return lambda path: path.write_bytes(file_of(events, compression, each=25, with_size=with_size))


def _evt3_vectors(path: Path) -> None:
    """Vectors of events, triggers and words that are left out."""
    words = [0x8000, 0x6010]
    for k in range(20):
        words += [0x6010 + k, k, 0x3000 | (k % 2) << 11 | k, 0x4000 | 0b101, 0x5000 | 0b11, 0xA001, 0xE000 | k, 0x7001]
    path.write_bytes(f"% evt 3.0\n% geometry {SIZE}x{SIZE}\n% end\n".encode() + np.array(words, "<u2").tobytes())


def _evt21_vectors(path: Path) -> None:
    words = [0x8 << 60 | 5 << 32]
    words += [((k % 2) << 28 | k << 22 | k % 2 << 11 | k) << 32 | (1, 0b101, 0b10000011)[k % 3] for k in range(20)]
    words.append(0xA << 60 | 9)
    head = f"% evt 2.1\n% format EVT21;endianness=little;height={SIZE};width={SIZE}\n% end\n"
    path.write_bytes(head.encode() + np.array(words, "<u8").tobytes())


def _event_stream_of_atis(path: Path) -> None:
    """Events with measurements of exposure."""
    parts = [b"Event Stream" + bytes([2, 0, 0, 2]) + struct.pack("<HH", SIZE, SIZE)]
    for x, y, p in zip(_X.tolist(), _Y.tolist(), _P.tolist(), strict=True):
        parts.append(b"\xff\xfd" + struct.pack("<BHH", 5 << 2 | p << 1, x, y) + struct.pack("<BHH", 3, x, y))
    path.write_bytes(b"".join(parts))


def _text(header: str, separator: str, *, seconds: bool = False) -> bytes:
    times = (_T / 1e6).tolist() if seconds else _T.tolist()
    rows = zip(times, _X.tolist(), _Y.tolist(), _P.tolist(), strict=True)
    return (header + "".join(separator.join(map(str, row)) + "\n" for row in rows)).encode()


def _zipped_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.txt", _text("", " ", seconds=True))


def _hdf5(write: Callable[[h5py.File], object]) -> Write:
    def save(path: Path) -> None:
        with h5py.File(path, "w") as file:
            write(file)

    return save


def _columns(file: h5py.File) -> None:
    for name in "txyp":
        file.create_dataset(f"events/{name}", data=_TRUE[name], chunks=(16,), **hdf5plugin.Blosc(cname="zstd"))
    file["t_offset"], file["ms_to_idx"] = np.int64(57_206_401), np.arange(4, dtype=np.uint64)


def _mvsec(file: h5py.File) -> None:
    rows = _table("xytp") * [1, 1, 1e-6, 1]
    file.create_dataset("davis/left/events", data=rows, chunks=(16, 4), compression="gzip", shuffle=True)
    file["davis/right/events"] = rows[:7]


def _metavision(file: h5py.File) -> None:
    file.create_dataset("CD/events", data=_structured(("i8", "u2", "u2", "i2")), chunks=(16,), fletcher32=True)
    file.attrs["geometry"] = f"{SIZE}x{SIZE}"


def _ecf(path: Path) -> None:
    rows = np.empty(_N, ecf_chunks.EVENT)
    for name in "txyp":
        rows[name] = _TRUE[name]
    ecf_chunks.write(path, rows, 16)


def _mat73(variables: Mapping[str, np.ndarray]) -> Write:
    def save(path: Path) -> None:
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, rows in variables.items():
                file[name] = rows
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")

    return save


def _asl_dvs() -> dict[str, np.ndarray]:
    return {name: column[:, None].astype(np.uint8) for name, column in (("x", _X), ("y", _Y), ("pol", _P))} | {
        "ts": _T[:, None].astype(np.uint32)
    }


def _orchard() -> dict[str, np.ndarray]:
    """The struct of N-MNIST, which counts from 1."""
    return {"x": _X[:, None] + 1.0, "y": _Y[:, None] + 1.0, "p": _P[:, None] + 1.0, "ts": _T[:, None] * 1.0}


def _two_topics(path: Path) -> None:
    content = message(_T, _X, _Y, _P, SIZE, SIZE)
    write_bag(path, [("/dvs/events", content), ("/dvs/events", content), ("/imu", content)])


VARIANTS: dict[str, tuple[Write, ...]] = {
    "aedat31": (_aedat31_packets,),
    "aedat4": (_aedat4(LZ4), _aedat4(ZSTD), _aedat4(ZSTD, with_size=False), _aedat4_streams),
    "evt3": (_evt3_vectors,),
    "evt21": (_evt21_vectors,),
    "es": (_event_stream_of_atis,),
    "npy": (
        lambda path: np.save(path, _table()),
        lambda path: np.save(path, np.asfortranarray(_table("xytp") * 1.0)),
        lambda path: np.save(path, _structured((">u4", ">u2", "f4", "i1"))),
    ),
    "npz": (
        lambda path: np.savez_compressed(path, **_TRUE, label=np.array(3)),
        lambda path: np.savez(path, events=_structured()),
        lambda path: np.savez(path, _table()),
    ),
    "text": (
        lambda path: path.write_bytes(_text("", " ", seconds=True)),
        lambda path: path.write_bytes(_text("t,x,y,p\n", ",")),
        lambda path: path.write_bytes(_text(f"{SIZE} {SIZE}\n", " ")),
        lambda path: path.write_bytes(gzip.compress(_text("# t x y p\n", " "), mtime=0)),
        _zipped_text,
    ),
    "hdf5": (
        _hdf5(_columns), _hdf5(_mvsec), _hdf5(_metavision), _ecf,
        _hdf5(lambda file: file.create_dataset("events", data=_table())),
    ),
    "mat": (
        lambda path: scipy.io.savemat(path, {"TD": _orchard(), "n": 3.0}, do_compression=True),
        lambda path: scipy.io.savemat(path, {"events": _table() * 1.0}),
        lambda path: scipy.io.savemat(path, {"events": _table() * 1.0, "fps": 3.0}, format="4"),
    ),
    "mat-asl-dvs": (lambda path: scipy.io.savemat(path, _asl_dvs(), do_compression=True),),
    "mat73": (
        _mat73({f"TD/{name}": rows.T for name, rows in _orchard().items()}), _mat73({"events": _table().T * 1.0}),
    ),
    "rosbag": (_two_topics,),
}  # fmt: skip
"""Writers of variants by the name of the format; formats without variants are missing."""

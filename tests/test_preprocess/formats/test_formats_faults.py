"""Damaged, truncated and foreign recordings are refused in one line that says where and what; nothing crashes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mutated_files import MUTATORS, flip
from raw_files import (
    AEDAT2_HEADER,
    AEDAT31_HEADER,
    Packet,
    aedat2,
    aedat31,
    atis,
    decode,
    polarity_payload,
    text_header,
)

from preprocess.errors import RecordingError
from preprocess.events import Events
from preprocess.formats import open_recording
from preprocess.formats.aedat.aedat31 import INVALID_LEFT_OUT

EVENTS = [(10 * k, k % 34, (k * 7) % 34, k % 2) for k in range(40)]
WORDS = [(y << 8 | x << 1 | p, t) for t, x, y, p in EVENTS]
GESTURE = aedat31([Packet(polarity_payload(EVENTS[:20])), Packet(bytes(24), 0), Packet(polarity_payload(EVENTS[20:]))])
START = len(aedat31([]))

# Events of a DAVIS, and words that are none.
DAVIS_WORDS = [(y << 22 | x << 12 | p << 11, t) for t, x, y, p in EVENTS]
DAVIS_WORDS += [(1 << 31 | 511 << 22, 401), (1 << 31 | 3 << 10, 402), (1 << 10, 403), (179 << 22 | 239 << 12, 404)]


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(RecordingError) as refused:
        decode(path)
    (line,) = refused.value.errors
    assert line.startswith(f"{path}: ") and "\n" not in line
    assert re.search(r"\. [A-Z][^.]*\.$|; [^.]*\.$", line), "the line ends with what to do"
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            GESTURE[:-3],
            "expected a packet that ends within the file (157 bytes after its header), found one of 20 x 8 bytes "
            f"(type 1) at byte {START + 28 + 160 + 28 + 24}. The file is truncated or damaged; copy it again.",
        ),
        (GESTURE[: START + 20], f"expected a packet header of 28 bytes, found the last 20 bytes at byte {START}."),
        (
            aedat31([Packet(bytes(24), size=12)]),
            f"expected polarity events of 8 bytes, found 12 bytes in the packet at byte {START}.",
        ),
        (aedat31([Packet(b"", size=0, capacity=7)]), f"found 0 bytes in the packet at byte {START}."),
        (aedat31([Packet(bytes(16), number=3)]), "expected at most 2 events (its capacity), found 3 in the packet"),
        (
            aedat31([Packet(bytes(16), capacity=2**32 - 1, size=2**32 - 1, kind=9)]),
            f"(16 bytes after its header), found one of 4294967295 x 4294967295 bytes (type 9) at byte {START}.",
        ),
        (
            aedat31([Packet(polarity_payload([*EVENTS[:5], (1, 128, 9, 0)]))]),
            "expected a pixel within 128x128 (rows x columns), found row 9, column 128 in the event at byte "
            f"{START + 28 + 40}.",
        ),
        (
            aedat31([Packet(polarity_payload([(1, 0, 128, 0)]))]),
            f"found row 128, column 0 in the event at byte {START + 28}.",
        ),
        (
            text_header(AEDAT31_HEADER) + GESTURE[START:],
            "expected the line #!END-HEADER at the end of the header, found bytes that are not a header line at byte "
            f"{START - 14}.",
        ),
        (text_header(AEDAT31_HEADER), "expected the line #!END-HEADER at the end of the header"),
        (b"#!AER-DAT3.1", "expected the header to end, found its last line cut off by the end of the file at byte 0."),
        (
            b"#!AER-DAT3.1\n#" + bytes(1 << 17),
            "expected header lines of less than 65536 bytes, found a longer one at byte 13.",
        ),
        (
            b"#!AER-DAT3.1\n" + (b"#" * 60_000 + b"\n") * 40,
            "expected a header of less than 2097152 bytes, found more header lines",
        ),
        (
            aedat31([], ("#!AER-DAT3.1", "#Source 1: DYNAPSE")),
            "expected the size of the sensor 'DYNAPSE', which is not known here, found none. Give it: --sensor-size",
        ),
        (
            aedat31([], ("#!AER-DAT3.1", "#Source 1: DVS128", "#Source 2: DAVIS240C")),
            "expected one source of events in the header, found DVS128, DAVIS240C.",
        ),
        (
            aedat31([], ("#!AER-DAT3.1", "#Format: SerializedTS", "#Source 1: DVS128")),
            "expected packets that are not compressed (#Format: RAW), found #Format: SerializedTS in the header.",
        ),
        (aedat31([], ("#!AER-DAT3.2",)), "expected AEDAT 3.1 or 3.0, found the first line '#!AER-DAT3.2'."),
    ],
)
def test_aedat31_faults(tmp_path: Path, content: bytes, message: str):
    assert message in refusal(tmp_path / "a.aedat", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (aedat2(WORDS)[:-3], f"expected events of 8 bytes, found 5 bytes left at byte {len(aedat2(WORDS)) - 8}."),
        (
            aedat2([*WORDS, (0x10000, 5)]),
            f"expected DVS128 addresses of 16 bits, found 0x00010000 in the event at byte {len(aedat2(WORDS))}.",
        ),
        (
            aedat2(WORDS, (*AEDAT2_HEADER, "# AEChip: ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c")),
            "expected a recording of a DVS128, DAVIS or DVS640, found AEChip 'CochleaAMS1c' in the header.",
        ),
        (
            aedat2([*DAVIS_WORDS, (181 << 22 | 9 << 12, 5)], (*AEDAT2_HEADER, "# AEChip: DAVIS240C")),
            "expected a pixel within 180x240 (rows x columns), found row 181, column 9 in the event at byte "
            f"{len(aedat2(DAVIS_WORDS, (*AEDAT2_HEADER, '# AEChip: DAVIS240C')))}.",
        ),
    ],
)
def test_aedat2_faults(tmp_path: Path, content: bytes, message: str):
    assert message in refusal(tmp_path / "a.aedat", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (atis(EVENTS)[:-1], "expected events of 5 bytes, found 4 bytes left at byte 195."),
        (
            atis([*EVENTS, (1, 3, 34, 0)]),
            "expected a pixel within 34x34 (rows x columns), found row 34, column 3 in the event at byte 200.",
        ),
        (atis([(1, 34, 0, 0)]), "found row 0, column 34 in the event at byte 0."),
        (b"", "expected a recording, found an empty file (0 bytes)."),
    ],
)
def test_atis_faults(tmp_path: Path, content: bytes, message: str):
    assert message in refusal(tmp_path / "a.bin", content)


@pytest.mark.parametrize("content", [b"PK", b"#!AER-DAT9.0\r\n", b"x", b"% evt 5.0\n"])
def test_other_files_are_told_by_their_first_bytes(tmp_path: Path, content: bytes):
    found = f", found a file that begins with {content!r}."
    assert found in refusal(tmp_path / "a.aedat", content)


def test_what_is_no_file_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none.bin", "cannot be read (No such file or directory)."),
        (tmp_path, "expected a recording, found a folder."),
        (tmp_path / "pipe", "expected a recording, found a special file."),
    ):
        with pytest.raises(RecordingError, match=re.escape(f"{path}: {message}")):
            open_recording(path)


def test_another_format_than_asked_for_is_refused(tmp_path: Path):
    path = tmp_path / "a.bin"
    path.write_bytes(GESTURE)
    with pytest.raises(RecordingError, match=r"expected ATIS .bin, found AEDAT 3.1. Leave the file out"):
        open_recording(path, format="atis")


def test_a_file_that_shrinks_while_it_is_read_is_a_fault_and_no_crash(tmp_path: Path):
    path = tmp_path / "a.aedat"
    path.write_bytes(aedat2([(0, t) for t in range(300_000)]))
    opened = open_recording(path)
    chunks = opened.chunks()
    assert len(next(chunks)) == 1 << 17
    os.truncate(path, 2_000_000)
    with pytest.raises(RecordingError, match=r"found 2000000\. The file changed while it was read;"):
        list(chunks)


@pytest.mark.real
def test_a_real_davis_recording_that_names_no_sensor_is_refused_as_one_of_a_dvs128(real_data: Path, tmp_path: Path):
    content = (real_data / "readers" / "davis240-with-imu.aedat").read_bytes().replace(b"# AEChip: ", b"# AnyChip:")
    line = refusal(tmp_path / "b.aedat", content)
    assert "found 0x0909C000 in the event at byte 175268." in line
    assert line.endswith("give its size: --sensor-size 180 240 or 260 346 or 480 640.")


def _bases(folder: Path) -> list[tuple[str, bytes]]:
    bases = [("a.aedat", GESTURE), ("b.aedat", aedat2(WORDS)), ("c.bin", atis(EVENTS))]
    bases.append(("d.aedat", aedat2(DAVIS_WORDS, (*AEDAT2_HEADER, "# AEChip: DAVIS240C"))))
    bases.append(("e.aedat", text_header(("#!AER-DAT3.0", "#Source 0: DAVIS346B")) + GESTURE[START:]))
    gesture = folder / "dvs-gesture-clips" / "DvsGesture" / "user01_natural.aedat"
    mug = folder / "dvs128-objects" / "session1" / "mug" / "Caneca.aedat"
    for path in (gesture, mug):
        if path.exists():
            bases.append((f"real-{path.name}", path.read_bytes()[:40_001]))
    return bases


def test_mutated_files_are_decoded_or_refused_and_never_crash(tmp_path: Path, share_of: Callable[[int], int], request):
    try:
        bases = _bases(request.getfixturevalue("real_data"))
    except pytest.skip.Exception:
        bases = _bases(Path("none"))
    rng = np.random.default_rng(7)
    outcomes = {"decoded": 0, "refused": 0}
    start = time.perf_counter()
    count = share_of(10_000)
    for k in range(count):
        name, content = bases[k % len(bases)]
        mutated = bytearray(content)
        for _ in range(rng.integers(1, 3)):
            if mutated:
                mutated = rng.choice(MUTATORS)(rng, mutated)
        path = tmp_path / name
        path.write_bytes(mutated)
        try:
            opened = open_recording(path)
            for chunk in opened.chunks():
                assert len(chunk.t) == len(chunk.x) == len(chunk.y) == len(chunk.p) <= len(mutated) // 5
                assert chunk.x.max() < opened.width and chunk.y.max() < opened.height and chunk.p.max() <= 1
            outcomes["decoded"] += 1
        except RecordingError as error:
            (line,) = error.errors
            assert line.startswith(f"{path}: ") and "\n" not in line and "found" in line, line
            outcomes["refused"] += 1
    assert min(outcomes.values()) > count // 20, outcomes
    assert time.perf_counter() - start < 10 + 0.05 * count


def test_flipped_events_are_those_of_spikingjelly_but_for_invalid_ones(tmp_path: Path, share_of: Callable[[int], int]):
    from spikingjelly.datasets.utils import load_aedat_v3

    rng = np.random.default_rng(8)
    path = tmp_path / "a.aedat"
    equal = 0
    for _ in range(share_of(2000)):
        path.write_bytes(GESTURE[:START] + flip(rng, bytearray(GESTURE[START:])))
        try:
            opened = open_recording(path)
            events = Events.concatenate(opened.chunks(), opened.height, opened.width)
        except RecordingError:
            continue
        reference = load_aedat_v3(path)
        ours = list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))
        theirs = list(zip(*(reference[name].tolist() for name in "txyp"), strict=True))
        left_out = opened.notes.get(INVALID_LEFT_OUT, 0)
        assert len(ours) + left_out == len(theirs)
        rest = iter(theirs)
        assert all(row in rest for row in ours), "the same events in the same order"
        equal += 1
    assert equal > 2

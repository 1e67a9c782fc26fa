"""The golden raw files decode to the same events for ever. Run as a script, this writes the ones that are missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from raw_files import AEDAT2_HEADER, Packet, aedat2, aedat31, atis, columns, polarity_payload

from preprocess.events import Events
from preprocess.formats import open_recording

GOLDEN = Path(__file__).resolve().parent.parent.parent / "golden"

_WALK = [(1000 + 37 * k, (5 * k) % 128, (127 - 3 * k) % 128, k % 2) for k in range(24)]

FILES = {
    "gesture.aedat": aedat31(
        [
            Packet(polarity_payload(_WALK[:12])),
            Packet(bytes(16), kind=0),
            Packet(polarity_payload(_WALK[12:23]) + polarity_payload(_WALK[23:], valid=0), overflow=1),
        ]
    ),
    "digit.aedat": aedat2(
        [(y << 8 | x << 1 | p | (k == 7) << 15, t + (k == 23) * (1 << 31)) for k, (t, x, y, p) in enumerate(_WALK)],
        (*AEDAT2_HEADER, "# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128", "#End Of ASCII Header"),
    ),
    "digit.bin": atis([(0, 0, 33, 1), *((t, x % 34, y % 34, p) for t, x, y, p in _WALK), (2**23 - 1, 33, 0, 0)]),
}


def decoded(path: Path) -> dict[str, list[int]]:
    opened = open_recording(path)
    return columns(Events.concatenate(opened.chunks(), opened.height, opened.width))


@pytest.mark.parametrize("name", FILES)
def test_golden_file_decodes_to_the_same_events(name: str):
    path = GOLDEN / name
    assert path.read_bytes() == FILES[name], "the golden file, or the writer that made it, changed"
    assert decoded(path) == json.loads((GOLDEN / "events.json").read_text())[name]


def test_golden_events_are_what_was_written():
    events = json.loads((GOLDEN / "events.json").read_text())
    t, x, y, p = zip(*_WALK, strict=True)
    gesture, digit = events["gesture.aedat"], events["digit.aedat"]
    # The last event is marked invalid; the first versions kept it.
    assert gesture["t"] == [*t[:12], *(2**31 + us for us in t[12:23])]
    assert (gesture["x"], gesture["y"], gesture["p"]) == ([*x[:23]], [*y[:23]], [*p[:23]])
    assert digit["t"] == [*t[:23], t[23] + 2**31]
    assert digit["x"] == [127 - row for row in y] and digit["y"] == [127 - column for column in x]
    assert digit["p"] == [1 - polarity for polarity in p]


if __name__ == "__main__":
    for name, content in FILES.items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(content)
    (GOLDEN / "events.json").write_text(json.dumps({name: decoded(GOLDEN / name) for name in FILES}, indent=1) + "\n")

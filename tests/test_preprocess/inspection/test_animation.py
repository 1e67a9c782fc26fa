"""Animations play at the pace of the recording, in the colours of the events, in frames that viewers can show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_layout import random_events, tiny_layout

from preprocess.binning.binning_config import Binning
from preprocess.building.build_event_store import build_event_store, ensure_frames
from preprocess.cli import COMMANDS
from preprocess.errors import RecordingError, SpikeloomError
from preprocess.events import Events
from preprocess.inspection.animation import Film, film_events, write_film
from preprocess.inspection.event_statistics import survey_events
from preprocess.inspection.inspect_file import inspect_file
from preprocess.terminal.command_line import run_main

RED, BLUE, WHITE = (214, 48, 42), (33, 102, 172), (255, 255, 255)


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["inspect", *map(str, words)])


def film_of(events: Events, slower: float = 1.0) -> Film:
    return film_events(
        lambda: [events[:100], events[100:]], survey_events(lambda: [events]), events.height, events.width, slower
    )


def played(path: Path) -> tuple[int, list[np.ndarray]]:
    """Milliseconds that it plays, and its frames as RGB."""
    total, frames = 0, []
    with Image.open(path) as gif:
        for i in range(gif.n_frames):
            gif.seek(i)
            total += gif.info["duration"]
            frames.append(np.asarray(gif.convert("RGB")))
    return total, frames


@pytest.mark.parametrize("slower", [1.0, 3.0, 0.5])
def test_a_film_holds_every_event_and_lasts_as_long_as_the_recording(tmp_path: Path, slower: float):
    events = random_events(1, 4000, span_us=990_000)
    film = film_of(events, slower)
    assert film.frames.sum() == len(events)
    write_film(tmp_path / "film.gif", film, "tiny", slower)
    assert played(tmp_path / "film.gif")[0] == pytest.approx(990 * slower, abs=40)


def test_a_long_recording_shows_its_busiest_ten_seconds():
    calm, busy = random_events(1, 50, span_us=60_000_000), random_events(2, 3000, span_us=500_000)
    t = np.concatenate([calm.t, busy.t + 40_000_000])
    order = np.argsort(t, kind="stable")
    events = Events.concatenate([calm, busy], 8, 10)
    film = film_of(Events(t, events.x, events.y, events.p, 8, 10)[order])
    assert len(film.frames) == 250 and film.frame_us == 40_000
    assert film.frames.sum() >= 3000 and 30_000_000 < film.start_us < 41_000_000


def test_on_is_red_off_is_blue_and_nothing_is_white(tmp_path: Path):
    frames = np.zeros((2, 2, 4, 5), np.uint8)
    frames[0, 1, 0, 0] = 9
    frames[1, 0, 3, 4] = 9
    write_film(tmp_path / "film.gif", Film(frames, 40_000), "", 1.0)
    _, (first, second) = played(tmp_path / "film.gif")
    zoom = 64
    assert first.shape == (4 * zoom + 16, 5 * zoom, 3)
    assert tuple(first[2, 2]) == RED and tuple(first[3 * zoom + 2, 4 * zoom + 2]) == WHITE
    assert tuple(second[3 * zoom + 2, 4 * zoom + 2]) == BLUE and tuple(second[2, 2]) == WHITE


def test_frames_too_short_to_be_seen_are_summed(tmp_path: Path):
    frames = np.zeros((7, 2, 2, 2), np.uint8)
    frames[3, 1, 0, 0] = frames[4, 0, 1, 1] = 1
    write_film(tmp_path / "film.gif", Film(frames, 5_000), "", 1.0)
    total, pictures = played(tmp_path / "film.gif")
    assert len(pictures) == 2 and total == 40
    assert tuple(pictures[0][2, 2]) == RED and tuple(pictures[1][300, 300]) == BLUE


def test_pixels_of_large_sensors_are_summed_in_blocks():
    events = random_events(1, 500, height=720, width=1280)
    film = film_of(events)
    assert film.frames.shape[2:] == (180, 320) and film.frames.sum() == 500


def test_stores_and_caches_play_one_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    samples = [random_events(i, 800, span_us=200_000) for i in range(3)]
    build_event_store(tiny_layout(tmp_path / "src", samples), tmp_path / "cache")
    frames = ensure_frames(tmp_path / "cache", "tiny", Binning(5))
    for number, path in enumerate((tmp_path / "cache" / "tiny" / "events.h5", frames)):
        gif = tmp_path / f"{number}.gif"
        assert run(path, "--sample", 2, "--animate", gif) == 0
        assert played(gif)[0] == pytest.approx(200, abs=20)
    assert "sample 2" in capsys.readouterr().out


def test_wrong_words_and_places_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("x.aedat", "--animate", "film.mp4", "--slower", 0) == 2
    told = capsys.readouterr().err
    assert "--animate: expected a file name that ends with .gif, found 'film.mp4'" in told
    assert "--slower: expected 0.01 to 10000, found 0" in told
    (tmp_path / "file").touch()
    with pytest.raises(SpikeloomError, match=r"film\.gif: cannot be written .*Give another file"):
        write_film(tmp_path / "file" / "film.gif", Film(np.zeros((1, 2, 2, 2)), 1e5), "", 1.0)


def test_a_recording_without_events_is_refused(tmp_path: Path):
    (tmp_path / "empty.aedat").write_bytes(b"#!AER-DAT2.0\r\n")
    with pytest.raises(RecordingError, match=r"expected events to draw, found none\. Leave out --plot and --animate"):
        inspect_file(tmp_path / "empty.aedat").animate(tmp_path / "film.gif", 1.0)
    assert not (tmp_path / "film.gif").exists()

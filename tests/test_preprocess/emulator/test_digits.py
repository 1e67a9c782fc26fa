"""Emulated digits: scikit-learn's images on CIFAR10-DVS's closed loop, upright in SpikingJelly's orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from preprocess.datasets import find_layout
from preprocess.emulator.digits import diamond, emulate_digits, enlarge, shift
from preprocess.errors import ConfigError
from preprocess.events import Events


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return emulate_digits(tmp_path_factory.mktemp("emulated") / "digits", samples_per_class=2, seed=1)


def test_folder_is_a_layout_of_ten_classes(folder: Path):
    layout = find_layout("emulated-digits", folder)
    assert layout.classes == tuple("0123456789")
    assert [recording.relative for recording in layout.recordings] == [
        f"{digit}/emulated_{digit}_{i}.aedat" for digit in range(10) for i in range(2)
    ]


def test_digits_are_upright_as_spikingjelly_reads_them(folder: Path):
    layout = find_layout("emulated-digits", folder)
    from sklearn.datasets import load_digits

    data = load_digits()
    for recording in layout.recordings:
        digit, i = recording.samples[0].label, recording.samples[0].index
        events = Events.concatenate(layout.open(recording).chunks(), 128, 128)
        seen = np.zeros((128, 128))
        np.add.at(seen, (events.y, events.x), 1)
        # Events come from edges: where the light changes when the image moves.
        image = np.pad(enlarge(data.images[data.target == digit][i] / 16, 96), 16)
        edges = np.abs(np.gradient(image)).sum(axis=0)
        turned = [
            np.corrcoef(np.rot90(flip, k).ravel(), edges.ravel())[0, 1] for flip in (seen, seen.T) for k in range(4)
        ]
        # A 0 or an 8 looks much the same upside down.
        assert turned[0] > 0.5 and turned[0] > max(turned[1:]) - (0.05 if digit in (0, 1, 8) else 0)


def test_recordings_look_like_recordings(folder: Path):
    layout = find_layout("emulated-digits", folder)
    for recording in layout.recordings[::3]:
        opened = layout.open(recording)
        events = Events.concatenate(opened.chunks(), 128, 128)
        assert any("emulated by spikeloom: no camera recorded this" in line for line in opened.header)
        assert np.all(np.diff(events.t) >= 0) and 1_190_000 < events.t[-1] < 1_200_000
        assert 10_000 < len(events) / 1.2 < 200_000
        assert 0.4 < events.p.mean() < 0.65


def test_diamond_is_a_closed_loop_of_four_straight_paths_at_even_speed():
    x, y = diamond(2, 40)
    assert len(x) == 81
    np.testing.assert_allclose((x[:41], y[:41]), (x[40:], y[40:]), atol=1e-12)
    steps = np.stack([np.diff(x[:41]), np.diff(y[:41])])
    np.testing.assert_allclose(np.abs(steps), 0.8)
    assert [tuple(np.sign(steps[:, 10 * k])) for k in range(4)] == [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    assert np.all(np.abs(np.diff(steps[:, :10])) < 1e-12)


def test_scenes_move_right_and_down():
    scene = np.zeros((26, 28), np.float32)
    scene[12, 14] = 1
    frames = np.empty((3, 16, 16), np.float32)
    shift(scene, np.array([0, 3, -2.25]), np.array([0, -2, 0.5]), frames)
    # The middle 16x16 pixels of the scene begin at row 5 and column 6.
    assert frames.sum(axis=(1, 2)) == pytest.approx(1)
    assert frames[0, 7, 8] == 1 and frames[1, 5, 11] == 1
    np.testing.assert_allclose(frames[2, 7:9, 5:7], [[0.125, 0.375], [0.125, 0.375]])


def test_enlarged_images_are_smooth_and_keep_their_ink():
    image = np.zeros((8, 8))
    image[3, 4] = 1
    large = enlarge(image, 96)
    assert large.shape == (96, 96) and large.sum() == pytest.approx(144)
    # The middle of pixel (3, 4) is at (41.5, 53.5).
    assert np.unravel_index(large.argmax(), large.shape) in {(41, 53), (41, 54), (42, 53), (42, 54)}
    assert np.abs(np.diff(large, axis=0)).max() < 0.05
    assert enlarge(np.ones((8, 8)), 96)[30:66, 30:66] == pytest.approx(np.ones((36, 36)))


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("preprocess.emulator.digits.CLASSES", 2)
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        emulate_digits(tmp_path / name, samples_per_class=1, seed=seed)
        contents.append([path.read_bytes() for path in sorted((tmp_path / name).rglob("*.aedat"))])
    assert contents[0] == contents[1] and len(contents[0]) == 2
    assert all(one != another for one, another in zip(contents[0], contents[2], strict=True))


def test_more_images_than_there_are_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"samples per class: expected 1 to 174 .*, found 175"):
        emulate_digits(tmp_path / "out", samples_per_class=175, seed=0)
    assert not list(tmp_path.iterdir())

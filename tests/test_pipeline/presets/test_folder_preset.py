"""Recordings of one's own, from files to a table that says what its figures are worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.commands.tables import data_name
from tune.cli import main

WINDOWS = ("--window-us", "100000", "--min-events", "500")
QUICK = ("--network.width", "0.125", "--schedule.epochs", "1", "--threads", "1", "--binning.timesteps", "4")


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["spikeloom", *map(str, words)])
    return main()


@pytest.fixture(scope="module")
def cache(real_data: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    with pytest.MonkeyPatch.context() as patch:
        words = ("--name", "folder", "--source", real_data / "dvs128-objects", "--cache", folder, *WINDOWS)
        assert run(patch, "preprocess", "folder", *words) == 0
    return folder


@pytest.mark.real
def test_classes_of_one_recording_are_refused_by_name(cache: Path, tmp_path: Path, monkeypatch, capsys):
    assert run(monkeypatch, "train", "folder-small", "--cache", cache, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    alone = "knife, mug, pencil, phone, scissors"
    assert f"in folder these have one: {alone}. Record more, or choose --dataset.split split-in-time" in told
    assert len(told.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.real
def test_a_split_in_time_is_called_same_recording_in_every_table(cache: Path, tmp_path: Path, monkeypatch, capsys):
    words = ("--cache", cache, "--out", tmp_path / "run", "--dataset.split", "split-in-time", *QUICK)
    assert run(monkeypatch, "train", "folder-small", *words) == 0
    assert capsys.readouterr().out.count("same-recording") == 2
    for command in (("evaluate", tmp_path / "run"), ("runs", tmp_path)):
        assert run(monkeypatch, *command) == 0
        assert "same-recording" in " ".join(capsys.readouterr().out.split())
    assert run(monkeypatch, "runs", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["split"] == "split-in-time (same-recording)"


def test_a_data_sets_name_says_what_its_figures_are_not():
    told = {"dataset": "d", "emulated": False, "split": "official"}
    assert data_name(told) == "d"
    assert data_name(told | {"split": "split-in-time"}) == "d (same-recording)"
    assert data_name(told | {"emulated": True, "split": "split-in-time"}) == "d (emulated, same-recording)"

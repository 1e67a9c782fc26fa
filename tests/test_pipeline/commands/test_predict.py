"""spikeloom predict: new recordings, whole or in windows, as a table, JSON and CSV, with the accuracy by window."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY, _somewhere

from pipeline import override, train
from pipeline.cli import COMMANDS
from preprocess import Events, preprocess_dataset
from preprocess.terminal.command_line import run_main

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three classes, cut into two windows each, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("predict")
    for k in range(36):
        events = _somewhere(k, k % 3)
        save(folder / "train" / CLASSES[k % 3] / f"{k}.npz", events)
        save(folder / "new" / CLASSES[k % 3] / f"{k}.npz", events)
    preprocess_dataset(folder / "train", "folder", folder / "cache", name="own", window_us=45_000, sensor_size=(16, 16))
    config = override(
        TINY, {"dataset.name": "own", "dataset.split": "by-group", "selection": "last", "schedule.epochs": 4}
    )
    train(config, out=folder / "run", cache=folder / "cache")
    return folder


def save(path: Path, events: Events) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, t=events.t, x=events.x, y=events.y, p=events.p)


def predict(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    code = run_main(COMMANDS, prog="spikeloom", description="", argv=["predict", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def new_files(folder: Path) -> list[Path]:
    return sorted((folder / "new").glob("*/*.npz"))


def test_windows_are_those_of_the_data_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same windows, binned alike, give the predictions that evaluate finds for the test samples."""
    code, out, err = predict(
        capsys, folder / "run", *new_files(folder), "--window-us", "45000", "--labels", "folders", "--json"
    )
    assert code == 0 and "trained on windows" not in err, err
    answer = json.loads(out)
    assert answer["classes"] == list(CLASSES) and len(answer["windows"]) == 72
    by_name = {
        f"{Path(w['file']).parent.name}/{Path(w['file']).stem}/window_{k % 2}": w["class"]
        for k, w in enumerate(answer["windows"])
    }
    with np.load(folder / "run" / "predictions.npz") as tested:
        names, expected = tested["name"].tolist(), tested["logits"].argmax(1)
    assert len(names) >= 12
    assert [by_name[name] for name in names] == [CLASSES[k] for k in expected]
    correct = sum(w["class"] == w["label"] for w in answer["windows"])
    assert (answer["accuracy"]["correct"], answer["accuracy"]["windows"]) == (correct, 72)
    assert answer["accuracy"]["low"] < answer["accuracy"]["accuracy"] <= answer["accuracy"]["high"]
    assert len(answer["windows"][0]["logits"]) == 3


def test_a_table_a_csv_file_and_labels_from_a_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    files = new_files(folder)[:3]
    labels = folder / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"{file.relative_to(folder)},{file.parent.name}\n" for file in files))
    code, out, err = predict(capsys, folder / "run", *files, "--labels", labels, "--csv", tmp_path / "found.csv")
    assert code == 0, err
    assert "Accuracy by window: " in out and "of 3; 95 % interval" in out and str(tmp_path / "found.csv") in out
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == list(map(str, files))
    assert [row["label"] for row in rows] == ["a", "a", "a"] and {row["class"] for row in rows} <= set(CLASSES)
    code, out, err = predict(capsys, folder / "run", *files)
    assert code == 0 and "label" not in out and "Accuracy" not in out


@pytest.mark.parametrize(
    ("window", "told"), [((), "whole recordings"), (("--window-us", "20000"), "windows of 20,000 µs")]
)
def test_windows_of_another_length_than_in_training_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str], window: tuple[str, ...], told: str
):
    code, _, err = predict(capsys, folder / "run", new_files(folder)[0], *window)
    assert code == 0 and f"trained on windows of 45,000 µs, but these were {told}, which" in err
    assert "as in training: --window-us 45000" in err


def test_a_recording_shorter_than_a_window_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    events = _somewhere(1, 1)
    save(tmp_path / "short.npz", events[:100])
    save(tmp_path / "long.npz", events)
    code, out, err = predict(
        capsys, folder / "run", tmp_path / "short.npz", tmp_path / "long.npz", "--window-us", "60000"
    )
    assert code == 0, err
    assert f"{tmp_path / 'short.npz'}: not classified" in out
    code, out, err = predict(capsys, folder / "run", tmp_path / "short.npz", "--window-us", "60000")
    assert code == 2 and "Give a smaller --window-us" in err and err.count("\n") == 1


def test_bad_input_is_one_line_and_exit_code_2(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run, file = folder / "run", new_files(folder)[0]
    (tmp_path / "empty.npz").touch()
    wide = replace(_somewhere(1, 1), x=_somewhere(1, 1).x + 20)
    save(tmp_path / "wide.npz", wide)
    (tmp_path / "labels.csv").write_text("file,class\na,b\n")
    (tmp_path / "two.csv").write_text(f"path,label\n{file},a\n{file},b\n")
    (tmp_path / "other.csv").write_text("path,label\nb.npz,a\n")
    (tmp_path / "nothing.csv").touch()
    save(tmp_path / "none_in_it.npz", Events.empty(16, 16))
    for argv, parts in (
        ((tmp_path, file), ("expected a run folder",)),
        ((run, tmp_path / "none.npz"), ("none.npz", "cannot be read")),
        ((run, tmp_path / "empty.npz"), ("empty.npz", "empty file")),
        ((run, folder), (str(folder), "found a folder")),
        ((run, tmp_path / "wide.npz"), ("wide.npz", "expected a pixel within 16x16")),
        ((run, file, "--stride-us", "3"), ("--stride-us", "--window-us")),
        ((run, file, "--window-us", "0"), ("--window-us", "at least 1")),
        ((run, file, "--labels", tmp_path / "no.csv"), ("--labels", "columns path and label", "no.csv")),
        ((run, file, "--labels", tmp_path / "labels.csv"), ("labels.csv", "path and label", "file,class")),
        ((run, file, "--labels", tmp_path / "two.csv"), ("two.csv", "one label per file")),
        ((run, tmp_path / "wide.npz", "--labels", "folders"), ("wide.npz", "one of a, b, c")),
        ((run, file, "--csv", tmp_path / "no" / "a.csv"), ("--csv", "existing folder")),
        ((run, file, "--csv", tmp_path), ("--csv", "expected a file name", "a folder")),
        ((run, file, "--labels", tmp_path / "other.csv"), ("other.csv", "at least one of the files", "found none")),
        ((run, file, "--labels", tmp_path / "nothing.csv"), ("nothing.csv", "at least one of the files")),
        ((run, tmp_path / "none_in_it.npz"), ("none_in_it.npz", "expected events", "found none")),
    ):
        code, out, err = predict(capsys, *argv)
        assert code == 2 and not out and err.count("\n") == 1, (argv, err)
        assert all(part in err for part in parts), (argv, err)


@pytest.mark.parametrize("window", [(), ("--window-us", "45000")])
def test_files_that_fail_are_named_and_stop_no_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], window: tuple[str, ...]
):
    good = new_files(folder)[::12]
    (tmp_path / "empty.npz").touch()
    # Found only when it is decoded, as damage within a file is.
    save(tmp_path / "wide.npz", replace(_somewhere(1, 1), x=_somewhere(1, 1).x + 20))
    bad = [tmp_path / name for name in ("none.npz", "wide.npz", "empty.npz")]
    argv = (folder / "run", good[0], *bad, *good[1:], *window)
    code, out, err = predict(capsys, folder / "run", *good, *window, "--json")
    expected = json.loads(out)["windows"]
    code, out, err = predict(capsys, *argv, "--json", "--csv", tmp_path / "found.csv")
    answer = json.loads(out)
    assert code == 2 and answer["windows"] == expected and answer["files_without_window"] == []
    assert answer["failed"].keys() == set(map(str, bad))
    lines = err.splitlines()
    lines = [line for line in lines if "trained on windows" not in line]
    assert len(lines) == 3 and all(any(f"{path}: " in line for line in lines) for path in bad)
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + len(expected)
    code, out, err = predict(capsys, *argv)
    assert code == 2 and good[2].name in out and "wide" not in out and "expected a pixel within 16x16" in err


def test_files_without_a_label_are_classified_and_not_scored(folder: Path, capsys: pytest.CaptureFixture[str]):
    files = new_files(folder)[:3]
    labels = folder / "one_label.csv"
    labels.write_text(f"path,label\n{files[1]},a\n")
    code, out, err = predict(capsys, folder / "run", *files, "--labels", labels)
    assert code == 0, err
    assert "of 1; 95 % interval" in out and "without a label, not counted: 2" in out and "None" not in out
    code, out, err = predict(capsys, folder / "run", *files, "--labels", labels, "--json")
    answer = json.loads(out)
    assert [window["label"] for window in answer["windows"]] == [None, "a", None]
    assert (answer["accuracy"]["windows"], answer["accuracy"]["windows_without_label"]) == (1, 2)


def test_what_is_not_classified_is_counted(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A recording without events stops no other; windows of too few events and remainders are counted."""
    save(tmp_path / "none.npz", Events.empty(16, 16))
    code, out, err = predict(capsys, folder / "run", tmp_path / "none.npz", new_files(folder)[0])
    assert code == 0, err
    assert f"{tmp_path / 'none.npz'}: not classified, because it has no events." in out
    events = _somewhere(1, 1)
    save(tmp_path / "long.npz", events)
    # Two complete windows, of which the second has only every tenth event, and a remainder.
    thin = (events.t < events.t[0] + 40_000) | (np.arange(len(events)) % 10 == 0)
    save(tmp_path / "thin.npz", events[thin])
    argv = (folder / "run", tmp_path / "thin.npz", "--window-us", "40000", "--min-events", "60")
    code, out, err = predict(capsys, *argv, "--json")
    assert code == 0, err
    answer = json.loads(out)
    counted = (len(answer["windows"]), answer["windows_of_too_few_events"], answer["windows_cut_short"])
    assert counted == (1, 1, 1)
    code, out, err = predict(capsys, *argv)
    assert "too few events (--min-events 60): 1\n" in out and "the recording ends within them: 1\n" in out


def test_a_file_named_twice_is_classified_once_and_its_folder_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = new_files(folder)[0], new_files(folder)[-1]
    around = first.parent / ".." / first.parent.name / first.name
    code, out, err = predict(capsys, folder / "run", first, around, last)
    assert code == 0 and "each file is classified once; repeated names: 1" in err
    assert f"{first.parent.name}/{first.name}" in out and f"{last.parent.name}/{last.name}" in out
    code, out, err = predict(capsys, folder / "run", around, "--json")
    assert json.loads(out)["windows"][0]["file"] == str(first.resolve())


def test_another_sensor_is_refused_with_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gesture = Path(__file__).parents[2] / "golden" / "gesture.aedat"
    code, _, err = predict(capsys, folder / "run", gesture)
    assert code == 2 and err.count("\n") == 1
    assert "expected a sensor of 16x16" in err and "found 128x128" in err and "spikeloom preprocess folder" in err


def test_a_script_with_a_run_of_its_own_needs_no_cache(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copytree(folder / "run", tmp_path / "moved")
    environment = json.loads((tmp_path / "moved" / "environment.json").read_text())
    environment["cache"] = "/nowhere"
    (tmp_path / "moved" / "environment.json").write_text(json.dumps(environment))
    assert predict(capsys, tmp_path / "moved", new_files(folder)[0])[0] == 0

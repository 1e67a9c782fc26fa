"""spikeloom emulate makes a folder whole or not at all, keeps what is there, and overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import preprocess.emulator.digits
from preprocess.cli import COMMANDS
from preprocess.terminal.command_line import run_main


def run(*words: object) -> int:
    return run_main(COMMANDS, prog="spikeloom", description="", argv=["emulate", *map(str, words)])


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Four digits do here."""
    monkeypatch.setattr(preprocess.emulator.digits, "CLASSES", 4)


def test_says_what_it_made_and_what_to_run_next(tmp_path: Path, capsys):
    out = tmp_path / "new" / "gestures"
    assert run("gestures", "--out", out, "--samples-per-class", 2) == 0
    printed = capsys.readouterr()
    first, following = printed.out.splitlines()
    assert first.startswith(f"Emulated gestures in {out}: 2 recordings, 22 samples, ")
    assert following == f"Next: spikeloom preprocess emulated-gestures --source {out} --timesteps 10 --downsample 4"
    assert "emulating gestures: 2 recordings in" in printed.err
    about = json.loads((out / "emulated.json").read_text())
    assert (about["emulated"], about["seed"], about["samples_per_class"], about["files"]) == ("gestures", 0, 2, 6)
    assert f"{about['events']:,} events" in first and about["events"] * 8 < about["bytes"]
    # Only the folder itself is left beside it.
    assert [path.name for path in out.parent.iterdir()] == ["gestures"]


def test_same_words_keep_what_is_there(tmp_path: Path, capsys):
    out = tmp_path / "digits"
    assert run("digits", "--out", out, "--samples-per-class", 1) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert run("digits", "--out", out, "--samples-per-class", 1) == 0
    assert "MB (already there)." in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["digits", "--samples-per-class", 1, "--seed", 5],
            "expected emulated digits (--samples-per-class 1 --seed 5, version 1), found emulated digits "
            "(--samples-per-class 1 --seed 0, version 1). Choose another --out, or delete it.",
        ),
        (["gestures"], "found emulated digits (--samples-per-class 1 --seed 0, version 1). Choose another"),
    ],
)
def test_another_emulation_is_not_overwritten(tmp_path: Path, capsys, words: list[object], message: str):
    assert run("digits", "--out", tmp_path / "out", "--samples-per-class", 1) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    assert run(*words, "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"spikeloom: {tmp_path / 'out'}: ") and message in line
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_emulation_with_missing_files_is_not_taken_for_whole(tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert run("digits", "--out", out, "--samples-per-class", 1) == 0
    (out / "2" / "emulated_2_0.aedat").unlink()
    assert run("digits", "--out", out, "--samples-per-class", 1) == 2
    assert f"{out}: expected the 4 files that emulate made, found others" in capsys.readouterr().err


def test_what_emulate_did_not_make_is_left_alone(tmp_path: Path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("words")
    assert run("gestures", "--out", out) == 2
    expected = f"spikeloom: {out}: expected an empty folder or one that emulate made, found thesis.tex. Choose another"
    assert expected in capsys.readouterr().err
    assert run("gestures", "--out", out / "thesis.tex") == 2
    assert "expected a folder, found a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.tex"]


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    assert run("gestures", "--out", tmp_path / "file" / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be created (Not a directory)" in line


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch, capsys, stop):
    write = preprocess.emulator.digits.write_aedat2

    def write_some(path: Path, *rest: object) -> int:
        if path.parent.name == "3":
            raise stop
        return write(path, *rest)

    monkeypatch.setattr(preprocess.emulator.digits, "write_aedat2", write_some)
    # What a killed run left is cleared away too.
    (tmp_path / ".out.tmp" / "0").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    assert run("digits", "--out", tmp_path / "out", "--samples-per-class", 1) == (
        130 if stop is KeyboardInterrupt else 2
    )
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "digits: " not in line)
    assert "stopped by Ctrl-C" in line or "cannot be created (No space left on device). Check the free space" in line
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["gestures", "--samples-per-class", 0], ["--samples-per-class: expected at least 1, found 0"]),
        (
            ["digits", "--samples-per-class", -1, "--seed", -2],
            ["--samples-per-class: expected at least 1, found -1", "--seed: expected 0 or more, found -2"],
        ),
        (["gestures", "--samples-per-class", 1], ["samples per class: expected at least 2 (one user"]),
        (["gesturs"], ["expected one of cue, digits, gestures, found 'gesturs'"]),
    ],
)
def test_faulty_words_are_one_line_each(tmp_path: Path, capsys, words: list[object], messages: list[str]):
    assert run(*words, "--out", tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(messages)
    assert all(message in line for message, line in zip(messages, lines, strict=True))
    assert not list(tmp_path.iterdir())


def test_help_shows_an_example(capsys):
    assert run("--help") == 0
    assert "Example: spikeloom emulate gestures --out emulated-gestures" in capsys.readouterr().out

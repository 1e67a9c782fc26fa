"""Tables that benchmarks print become those of the documentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_all
from benchmarks.measured_tables import Summary, replace_block, row_cells, table_lines
from benchmarks.measuring import Row, format_table

REPOSITORY = Path(__file__).resolve().parent.parent
ROWS = [Row("load 5", "1 ms", "a 8 ms", 8.0, 4, spread=(7.0, 9.5)), Row("load 5", "1 ms", "tonic 9 ms", 9.0, 4)]


def test_a_table_keeps_its_rows_and_leaves_out_targets_and_empty_columns():
    assert table_lines(f"a note\n| of seeds |\n|---|\n\n{format_table(ROWS)}\nmore") == [
        "| work | spikeloom | peer | ratio | spread |",
        "|---|---|---|---|---|",
        "| load 5 | 1 ms | a 8 ms | 8 | 7 to 9.5 |",
        "| load 5 | 1 ms | tonic 9 ms | 9 |  |",
    ]
    with pytest.raises(SystemExit, match="expected a table"):
        table_lines("no table")


def test_a_row_of_the_readme_is_found_by_its_work_and_peer():
    table = table_lines(format_table(ROWS))
    assert row_cells(table, Summary("a", "load", "samples", peer="tonic")) == ["samples", "1 ms", "tonic 9 ms", "9×"]
    assert row_cells(table, Summary("a", "save", "samples")) is None


def test_only_the_named_block_of_a_page_is_replaced():
    page = "x\n<!-- measured: a -->\nold\n<!-- end -->\ny\n<!-- measured: b -->\nkept\n<!-- end -->\n"
    found = replace_block(page, "a", ["new"], "page.md")
    assert "old" not in found and "kept" in found and found.startswith("x\n") and "\nnew\n" in found
    with pytest.raises(SystemExit, match=r"page\.md: expected <!-- measured: c -->"):
        replace_block(page, "c", [], "page.md")


def test_the_pages_have_a_place_for_every_benchmark():
    text = (REPOSITORY / "docs" / "benchmarks.md").read_text()
    for part in bench_all.PARTS:
        replace_block(text, part.name, [], "docs/benchmarks.md")
    replace_block((REPOSITORY / "README.md").read_text(), "summary", [], "README.md")


def stored(folder: Path, name: str, table: list[str]) -> None:
    record = {"table": table, "commit": "abc", "date": "2026-01-01", "processor": "CPU", "processors": 2}
    about = {"load_before": 0.5, "seconds": 9, "versions": {"torch": "2"}, "command": "python -m benchmarks.x"}
    (folder / f"{name}.json").write_text(json.dumps(record | about))


def test_tables_are_written_with_where_they_were_measured_and_the_readme_once_all_its_rows_are(tmp_path: Path):
    docs, readme = tmp_path / "benchmarks.md", tmp_path / "README.md"
    docs.write_text("".join(f"<!-- measured: {part.name} -->\nold\n<!-- end -->\n" for part in bench_all.PARTS))
    readme.write_text("<!-- measured: summary -->\nold rows\n<!-- end -->\n")
    arguments = bench_all.Arguments(out=tmp_path, docs=docs, readme=readme)
    parts = {row.part for row in bench_all.SUMMARY}
    for part in parts:
        rows = [Row(row.work, "1 s", f"{row.peer} 2 s", 2.0, 1) for row in bench_all.SUMMARY if row.part == part]
        stored(tmp_path, part, table_lines(format_table(rows)))
        if part != list(parts)[-1]:
            bench_all.write_tables(arguments)
            assert "old rows" in readme.read_text()
    bench_all.write_tables(arguments)
    assert docs.read_text().count("old") == len(bench_all.PARTS) - len(parts)
    assert "Measured on 2026-01-01 at commit abc" in docs.read_text() and "2 cores of an CPU" not in docs.read_text()
    assert readme.read_text().count("2×") == len(bench_all.SUMMARY)


def test_a_benchmark_without_its_recordings_is_named_and_the_others_are_not_lost(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.delenv(bench_all.DATA, raising=False)
    docs = tmp_path / "benchmarks.md"
    docs.write_text("")
    assert bench_all.main(bench_all.Arguments(only=("time-to-result",), out=tmp_path, docs=docs)) == 1
    assert "time-to-result: expected the folder of real recordings in $SPIKELOOM_TEST_DATA" in capsys.readouterr().err


def test_what_was_measured_at_this_commit_is_not_measured_again(tmp_path: Path, monkeypatch):
    stored(tmp_path, "neurons", ["| work |", "|---|", "| a |"])
    monkeypatch.setattr(bench_all, "current_commit", lambda: "abc")
    part = next(part for part in bench_all.PARTS if part.name == "neurons")
    assert bench_all.measure(part, bench_all.Arguments(out=tmp_path)) == ""

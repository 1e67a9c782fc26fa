"""The page in docs/results that ``python -m benchmarks.results`` writes of a design."""

from __future__ import annotations

from pathlib import Path

from made_up import write_comparison

from benchmarks.results import write_page


def test_page_has_what_was_run_and_the_paper_s_numbers_apart(tmp_path: Path):
    write_comparison(tmp_path / "runs", {"lif": [30, 31, None], "clif": [31, 31, 33]})
    docs = tmp_path / "docs"
    write_page("figure11-small", tmp_path / "runs", docs, "0ff1ce")
    text = (docs / "figure11-small.md").read_text()
    head, _, rest = text.partition("## What the data show")
    assert "- Command: `spikeloom compare figure11-small`\n- Commit: 0ff1ce\n" in head
    assert "- Runs: 6, " in head and "- Data: emulated-gestures (40 test samples)\n" in head
    assert "- Excluded run: LIF seed 9: failed" in rest
    measured, title, paper = rest.partition("## What the paper")
    assert "76.2 ± 1.8" in measured and title
    # Theirs is another data set and network: no number of ours is beside them.
    assert "76.2" not in paper and "emulated" not in paper
    drawn = {path.name for path in docs.glob("*.svg")}
    assert drawn == {"figure11-small-rates.svg"}
    assert all(f"]({name})" in head for name in drawn)
    assert "emulated data" in (docs / "figure11-small-rates.svg").read_text()
    assert "## Emulated data: Paired differences: emulated-gestures, official split, T = 4" in rest
    before = {path: path.read_bytes() for path in docs.iterdir()}
    write_page("figure11-small", tmp_path / "runs", docs, "0ff1ce")
    assert {path: path.read_bytes() for path in docs.iterdir()} == before

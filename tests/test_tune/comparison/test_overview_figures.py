"""Figures of several settings say what they were measured on, tell their values on the page, and are a paper's too."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from made_up import CONFIG, write_comparison_runs

from pipeline.config.run_config import override
from tune.comparison.arms import Setting, neuron_arm
from tune.comparison.captions import about_figure, data_title
from tune.comparison.comparison_plan import Comparison
from tune.comparison.conclusions import Conclusion, conclude
from tune.comparison.figures import write_figures
from tune.comparison.figures.overview_figures import overview_figures
from tune.comparison.run_comparison import write_conclusion
from tune.report import read_report
from tune.report.comparison_section import comparison_section
from tune.report.section import Picture

EMULATED = "emulated-gestures"
BOTH = f"n-mnist, {EMULATED}, official split, T = 2, 4; some of the data are emulated"


def made(
    folder: Path, fields: dict[str, tuple[Any, ...]], datasets: tuple[str, ...] = ("n-mnist", EMULATED)
) -> Conclusion:
    """LIF and CLIF in every setting of the fields' values, in each data set, with three seeds."""
    settings = [Setting("", override(CONFIG, {"binning.timesteps": 2}))]
    for path, values in {"dataset.name": datasets, **fields}.items():
        settings = [
            Setting(f"{at.name}, {value}".strip(", "), override(at.config, {path: value}), {**at.place, path: value})
            for at in settings
            for value in values
        ]
    comparison = Comparison("x", tuple(settings), (neuron_arm("lif"), neuron_arm("clif")), (7, 8, 9), folder).declare(0)
    counts = {"lif": [30, 31, 29], "clif": [32, 32, 30]}
    write_comparison_runs(folder, comparison, {(at.name, arm): counts[arm] for at in settings for arm in counts})
    return conclude(comparison, folder)


@pytest.fixture(scope="module")
def timesteps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Conclusion]:
    """A folder of two T in each data set."""
    folder = tmp_path_factory.mktemp("timesteps")
    return folder, made(folder, {"binning.timesteps": (2, 4)})


@pytest.fixture(scope="module")
def paper(timesteps: tuple[Path, Conclusion]) -> dict[str, Path]:
    """A paper's files of `timesteps` by name; drawing them takes seconds."""
    return {path.name: path for path in read_report(timesteps[0]).write_paper()}


@pytest.fixture(scope="module")
def pictures(timesteps: tuple[Path, Conclusion]) -> dict[str, Picture]:
    """The page's pictures of `timesteps` by title."""
    return {picture.title: picture for picture in comparison_section(timesteps[0], "c").pictures}


def hover_of(picture: Picture) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(picture.hover)["axes"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "abouts"),
    [
        ({"binning.timesteps": (2, 4)}, {"differences": BOTH, "accuracy": BOTH, "gap": BOTH}),
        (
            {"binning.timesteps": (2, 4), "neuron.tau": (1.5, 2.0)},
            {
                "differences": BOTH,
                "map-n-mnist": "n-mnist, official split, T = 2, 4",
                "map-emulated-gestures": "emulated-gestures, official split, T = 2, 4; emulated data",
            },
        ),
    ],
)
def test_every_figure_of_several_settings_says_on_what_and_whether_it_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, tuple[Any, ...]], abouts: dict[str, str]
):
    # Words can be read in the files of one kind.
    monkeypatch.setattr(write_figures, "save", partial(write_figures.save, kinds=("svg",)))
    conclusion = made(tmp_path, fields)
    assert {name: overview.about for name, overview in overview_figures(conclusion).items()} == abouts
    write_conclusion(conclusion.comparison, tmp_path)
    for name, about in abouts.items():
        assert about in words_of(tmp_path / "figures" / f"{name}.svg")


def words_of(svg: Path) -> str:
    """Its words, with lines that were wrapped put together."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg.read_text()))


@pytest.mark.slow
def test_they_are_a_paper_s_and_a_figure_of_recordings_alone_is_not_called_emulated(paper: dict[str, Path]):
    drawn = {name: words_of(path) for name, path in paper.items() if path.suffix == ".svg"}
    overviews = ("figure-paired-differences.svg", "figure-test-accuracy.svg", "figure-the-gap.svg")
    assert all(BOTH in drawn[name] for name in overviews)
    assert drawn["figure-training-loss-n-mnist-2.svg"].endswith("n-mnist, 2: n-mnist, official split, T = 2")
    assert "mulated" not in drawn["figure-training-loss-n-mnist-2.svg"]
    of_emulated = drawn["figure-training-loss-emulated-gestures-4.svg"]
    assert f"{EMULATED}, 4: {EMULATED}, official split, T = 4; emulated data" in of_emulated


def test_every_figure_of_the_page_tells_its_values(tmp_path: Path):
    made(tmp_path, {"binning.timesteps": (2, 4), "neuron.tau": (1.5, 2.0)})
    pictures = comparison_section(tmp_path, "c").pictures
    assert {picture.title for picture in pictures} >= {"Paired differences", "Map: n-mnist", "Firing rate by layer"}
    assert all(picture.draw is not None and hover_of(picture) for picture in pictures)


@pytest.mark.slow
def test_a_forest_tells_seed_and_row_and_how_sure_the_mean_is(pictures: dict[str, Picture]):
    (axes,) = hover_of(pictures["Paired differences"])
    dots, mean = axes["series"][:2]
    assert axes["x"] == "CLIF − LIF, percentage points"
    assert [at[2:] for at in dots["at"]] == [
        [value, "n-mnist, 2", f"seed {7 + k}"] for k, value in enumerate(("5", "2.5", "2.5"))
    ]
    assert mean["at"][0][2:] == ["3.333", "n-mnist, 2", "mean of 3 seeds, 95 % interval −0.3 to 6.9"]


def test_a_curve_tells_its_seeds_and_interval_and_a_map_its_cells(pictures: dict[str, Picture], tmp_path: Path):
    line = hover_of(pictures["Test accuracy"])[0]["series"][0]
    assert (line["name"], line["at"][0][2:]) == ("LIF", ["2", "75", "3 seeds, 95 % interval 68.8 to 81.2"])
    assert len(json.loads(pictures["Test accuracy"].hover)["toggles"]) == 2
    made(tmp_path, {"binning.timesteps": (2, 4), "neuron.tau": (1.5, 2.0)})
    titles = {picture.title: picture for picture in comparison_section(tmp_path, "c").pictures}
    gap = hover_of(titles["Map: emulated-gestures"])[2]["series"][0]
    assert (gap["name"], gap["at"][0][4:]) == ("CLIF − LIF, percentage points", ["1.5", "2", "3.333"])


@pytest.mark.slow
def test_titles_of_tables_say_on_what_and_whether_it_is_emulated(
    timesteps: tuple[Path, Conclusion], paper: dict[str, Path]
):
    folder, conclusion = timesteps
    for table in read_report(folder).sections[0].tables[1:3]:
        assert table.title.startswith("Emulated data: ")
        assert table.title.endswith(f": n-mnist, {EMULATED}, official split, T = 2, 4")
    captions = {path.stem: path.read_text() for path in paper.values() if path.suffix == ".tex"}
    assert "\\caption{Emulated data: Paired differences: n-mnist" in captions["table-paired-differences"]
    assert "\\caption{Emulated data: Accuracy at equal cost: n-mnist" in captions["table-accuracy-at-equal-cost"]
    recordings = conclusion.results[:2]
    assert data_title("Gap", recordings) == "Gap: n-mnist, official split, T = 2, 4"
    assert about_figure(recordings) == "n-mnist, official split, T = 2, 4"

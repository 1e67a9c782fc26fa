"""A report is one well-formed page that loads nothing, with every table and figure, and lists what it leaves out."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import (
    CLASSES,
    CONFIG,
    make_cache,
    write_comparison,
    write_comparison_runs,
    write_run,
    write_search,
)  # fmt: skip
from tiny_layout import random_events, tiny_layout

from pipeline.config.run_config import override
from preprocess.building.build_event_store import build_event_store
from preprocess.building.build_frame_cache import ensure_frames
from preprocess.errors import RunError
from preprocess.files import read_json, write_json
from tune.commands import report as command
from tune.comparison.arms import Setting, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.report import write_report
from tune.report.comparison_section import comparison_section
from tune.report.page import render_page
from tune.report.section import Card, Section
from tune.trials.ledger import Ledger

# Elements that HTML closes by itself.
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers text by tag, attributes and ids."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.text.setdefault(self.open[-1], []).append(data.strip())

    def values(self, name: str) -> list[str]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def comparison_page(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Page:
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(folder, {"lif": [30, None, 31], "clif": [31, 31, 33]}, cache=cache)
    return Page(write_report(folder))


def assert_loads_nothing(page: Page) -> None:
    for name in ("src", "href", "xlink:href", "action", "poster", "data"):
        assert all(value.startswith(("data:image/png;base64,", "#")) for value in page.values(name)), name
    # A script of its own, and none from anywhere: the first line refuses every src that is no picture.
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _, _ in page.attributes}
    assert "@import" not in page.source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page.source))


def test_page_is_well_formed_and_loads_nothing(comparison_page: Page):
    assert_loads_nothing(comparison_page)
    ids = comparison_page.values("id")
    assert len(ids) == len(set(ids))
    targets = [value.removeprefix("#") for name in ("href", "xlink:href") for value in comparison_page.values(name)]
    targets += re.findall(r"url\(#([^)]*)\)", comparison_page.source)
    assert set(targets) <= set(ids)


def test_comparison_page_has_every_table_and_figure(comparison_page: Page):
    text = comparison_page.text
    assert text["h1"] == ["Emulated data: LIF against CLIF on emulated-gestures"]
    assert text["title"] == ["Emulated data: LIF against CLIF on emulated-gestures · spikeloom"]
    opening = "Paired difference, percentage points"
    figures = [
        "Training loss", "Training accuracy, %", "Test accuracy by seed, %", "Confusion, LIF", "Confusion, CLIF",
        "Firing rate by layer",
    ]  # fmt: skip
    tables = [
        "Emulated data: LIF against CLIF on emulated-gestures",
        "Emulated data: Paired differences: emulated-gestures, official split, T = 4",
        "Emulated data: Convergence: emulated-gestures, official split, T = 4",
        "Emulated data: Mean accuracy over the epochs: emulated-gestures, official split, T = 4",
        "Emulated data: Test accuracy by seed: emulated-gestures, official split, T = 4, last epoch",
        "Emulated data: Accuracy at equal cost: emulated-gestures, official split, T = 4",
    ]
    assert text["h3"] == [opening, *tables, *figures, "What the network sees"]
    assert text["summary"] == ["Configuration", "Environment"]
    assert comparison_page.source.count("<svg") == len(figures) + 1
    assert {"LIF", "CLIF", "CLIF − LIF", "76.2 ± 1.8", "missing"} <= set(text["td"])
    assert "4 runs" not in comparison_page.source
    assert "LIF seed 8: failed: the loss was nan at step 3 of epoch 2" in text["li"]
    assert "neuron.tau" in text["dt"]


def test_strips_show_a_sample_of_each_class_and_what_networks_took_it_for(comparison_page: Page):
    strips = [value for value in comparison_page.values("src") if value.startswith("data:image/png")]
    assert len(strips) == len(CLASSES)
    captions = " ".join(comparison_page.text["span"])
    assert all(f"{name} · sämple" in captions for name in CLASSES)
    assert captions.count("LIF: ✓") == 2 * len(CLASSES)


def test_strips_say_which_class_a_network_took_instead(tmp_path: Path, cache: Path):
    write_run(tmp_path, CONFIG, correct=1, cache=cache)
    captions = Page(write_report(tmp_path)).text["span"]
    verdicts = [text for text in captions if text.startswith("LIF")]
    # The first test sample is right; every other is taken for the next class.
    assert sorted(verdicts) == ["LIF: ✓", "LIF: ✗ circle", "LIF: ✗ swipe"]


def test_strips_of_a_run_that_read_events_are_binned_for_the_page(tmp_path: Path, cache: Path):
    write_run(tmp_path / "cache", CONFIG, cache=cache)
    write_run(tmp_path / "events", replace(CONFIG, input=replace(CONFIG.input, source="events")), cache=cache)
    environment = json.loads((tmp_path / "events" / "environment.json").read_text())
    environment["frames"] = str(cache / CONFIG.dataset.name / "events.h5")
    (tmp_path / "events" / "environment.json").write_text(json.dumps(environment))
    one, other = (Page(write_report(tmp_path / name)).values("src") for name in ("cache", "events"))
    assert one == other and len(one) >= len(CLASSES)


def test_figures_take_the_page_s_colours_and_light_and_dark_are_both_there(comparison_page: Page):
    assert "light-dark(" in comparison_page.source
    assert "var(--ink)" in comparison_page.source or "var(--soft)" in comparison_page.source
    assert not re.search(r"#010203|#040506|#070809|#000000", comparison_page.source)


def test_run_page_says_what_was_reached(tmp_path: Path, cache: Path):
    write_run(tmp_path, replace(CONFIG, selection="validation"), 31, cache=cache)
    page = Page(write_report(tmp_path))
    assert_loads_nothing(page)
    assert page.text["h1"] == ["Emulated data: LIF on emulated-gestures, T = 4"]
    assert "LIF classifies 31 of 40 test samples correctly, 77.5 %" in page.text["p"][1]
    assert page.source.count("<svg") == 4
    assert "Evaluated weights: best validation epoch (epoch 5 of 5)." in page.text["li"]


def test_run_page_names_a_custom_network_that_has_its_own_neurons(tmp_path: Path):
    config = replace(CONFIG, network=replace(CONFIG.network, name="/code/own.py:Tiny"))
    write_run(tmp_path, config)
    environment = read_json(tmp_path / "environment.json") or {}
    own = {"neurons": ["IFNode (torch)"], "configured_neuron": False, "network": "Tiny()"}
    write_json(tmp_path / "environment.json", environment | own)
    (tmp_path / "result.json").unlink()
    page = Page(write_report(tmp_path))
    assert page.text["h1"] == ["Emulated data: Tiny on emulated-gestures, T = 4"]
    assert "LIF" not in page.source and "neuron.tau" not in page.source and "network.width" not in page.source


def test_page_of_an_unfinished_run_says_so(tmp_path: Path):
    write_run(tmp_path, CONFIG)
    (tmp_path / "result.json").unlink()
    page = Page(write_report(tmp_path))
    assert "LIF was trained for 5 of 5 epochs; the run is not finished." in page.text["p"]
    assert page.source.count("<svg") == 2


def test_recordings_are_not_called_emulated(tmp_path: Path):
    write_run(tmp_path, replace(CONFIG, dataset=replace(CONFIG.dataset, name="n-mnist")))
    page = Page(write_report(tmp_path))
    assert page.text["h1"] == ["LIF on n-mnist, T = 4"]
    assert "emulated" not in page.source.lower()


def test_a_page_of_several_has_a_section_each_and_lists_what_is_damaged(tmp_path: Path, cache: Path):
    write_comparison(tmp_path / "b-comparison", {"lif": [30, 29], "clif": [31, 31]}, cache=cache)
    write_run(tmp_path / "a-run", CONFIG, cache=cache)
    write_run(tmp_path / "damaged", CONFIG)
    (tmp_path / "damaged" / "result.json").write_text("{")
    (tmp_path / "recordings").mkdir()
    page = Page(write_report(tmp_path))
    assert_loads_nothing(page)
    assert page.text["h1"] == ["Emulated data: comparison and run on emulated-gestures"]
    assert len(page.text["h2"]) == 2
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert any(text.startswith(f"{tmp_path}/damaged/result.json: cannot be read") for text in page.text["li"])


def test_search_page_shows_complete_trials_and_lists_the_failed(tmp_path: Path):
    write_search(tmp_path)
    page = Page(write_report(tmp_path))
    assert_loads_nothing(page)
    assert page.text["h1"] == ["Emulated data: search over T, tau, neuron on emulated-gestures"]
    pictures = {"Validation accuracy by field", "τ against T", "Accuracy against cost", "Budget over time"}
    assert pictures <= set(page.text["h3"])
    assert page.source.count("<svg") == 4
    assert page.source.count("<tbody>") == 1
    assert any("failed: its process died: out of memory" in text for text in page.text["li"])
    assert "55 validation samples" in page.text["p"][1]


def test_page_of_a_search_without_a_complete_trial_says_so(tmp_path: Path):
    write_search(tmp_path, failed=8)
    page = Page(write_report(tmp_path))
    assert "is complete yet" in page.text["p"][1]
    assert "<svg" not in page.source


def test_missing_frames_leave_out_the_strips_only(tmp_path: Path):
    write_comparison(tmp_path, {"lif": [30, 29], "clif": [31, 31]})
    page = Page(write_report(tmp_path))
    assert "No event frames to show" in page.source
    assert page.source.count("<svg") == 7


def test_a_comparison_without_any_result_is_still_a_page(tmp_path: Path):
    write_comparison(tmp_path, {"lif": [None], "clif": [None]})
    page = Page(write_report(tmp_path))
    assert "no seed has finished runs of both" in page.source
    assert "<svg" not in page.source


def test_words_from_files_cannot_break_the_page(tmp_path: Path):
    comparison = write_comparison(tmp_path, {"lif": [30, None], "clif": [31, 31]})
    folder = Ledger(tmp_path).trial_folder(comparison.config_of(comparison.settings[0], comparison.arms[0], 8))
    write_json(folder / "done.json", {"status": "failed", "error": "<script>alert(1)</script>"})
    page = Page(write_report(tmp_path))
    assert_loads_nothing(page)
    assert "&lt;script&gt;" in page.source
    assert "<script>alert" not in page.source


def test_names_cannot_break_the_page(tmp_path: Path):
    """Of a folder, classes, samples and versions; in the text, the figures and the values that the script shows."""
    evil = "</script>\"'<b onx=1>"
    layout = tiny_layout(tmp_path / "source", [random_events(seed) for seed in range(24)])
    named = [
        replace(source, samples=tuple(replace(s, name=f"{evil}{k}") for s in source.samples))
        for k, source in enumerate(layout.recordings)
    ]
    classes = tuple(f"{evil}{name}" for name in CLASSES)
    build_event_store(
        replace(layout, name=CONFIG.dataset.name, classes=classes, recordings=tuple(named)), tmp_path / "cache"
    )
    ensure_frames(tmp_path / "cache", CONFIG.dataset.name, CONFIG.binning)
    run = tmp_path / evil.replace("/", "|")
    write_run(run, CONFIG, cache=tmp_path / "cache")
    for name, changes in {"result": {"classes": classes}, "environment": {"versions": {evil: evil}}}.items():
        path = run / f"{name}.json"
        write_json(path, (read_json(path) or {}) | changes)
    page = Page(write_report(run))
    assert_loads_nothing(page)
    assert not page.values("onx") and "<b onx" not in page.source
    assert page.source.count("&lt;b onx=1&gt;") > 10 and "\\u003cb onx=1" in page.source
    assert len(page.text["text"]) > 10 and any("<b onx=1>circle" in word for word in page.text["text"])


@pytest.mark.parametrize(("make", "message"), [(False, "no such folder"), (True, "found none of comparison.json")])
def test_a_folder_without_anything_to_report_is_refused(tmp_path: Path, make: bool, message: str):
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    with pytest.raises(RunError, match=message):
        command.run([str(folder)])


def test_a_damaged_folder_is_refused_and_leaves_no_page(tmp_path: Path):
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(RunError, match=r"comparison\.json: damaged"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_report_prints_where_the_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_comparison(tmp_path, {"lif": [30] * 5, "clif": [31] * 5})
    start = time.process_time()
    command.run([str(tmp_path)])
    assert time.process_time() - start < 10
    assert capsys.readouterr().out == f"{tmp_path}/report.html\n"
    command.run([str(tmp_path), "--paper"])
    page, paper = capsys.readouterr().out.splitlines()
    assert page == f"{tmp_path}/report.html"
    assert paper == f"{tmp_path}/paper: 6 tables (.md, .tex) and 7 figures (.svg, .pdf)"


def test_the_page_shows_headline_figure_table_and_notes_in_this_order(comparison_page: Page):
    source = comparison_page.source
    parts = ["<h1>", 'class="lead"', 'class="pictures"', 'class="table', 'class="sentences"', 'class="errors"']
    places = [source.index(part) for part in parts]
    assert places == sorted(places)


def test_what_is_between_back_quotes_is_code(tmp_path: Path):
    told = ("`--fairness tau-grid` for <each>", "a ` <alone>")
    section = Section("run", tmp_path, "n-mnist", "x", emulated=False, lead="see `a`", sentences=told)
    page = render_page([section])
    assert "<li><code>--fairness tau-grid</code> for &lt;each&gt;</li>" in page
    assert "<li>a ` &lt;alone&gt;</li>" in page and "see <code>a</code>" in page


def test_the_page_counts_in_the_singular_and_tells_what_was_declared(tmp_path: Path):
    config = override(CONFIG, {"schedule.epochs": 1})
    write_comparison(tmp_path, {"lif": [30], "clif": [31]}, config=config)
    section = comparison_section(tmp_path, "c")
    assert [card.detail for card in section.cards] == ["1 seed", "1 seed", "1 paired seed"]
    equal, declared = section.sentences[-2:]
    assert "spiking-vgg" in equal and ", 1 epoch; " in equal
    assert declared == (
        "Declared before the first run: the primary metric is test accuracy; the number of seeds is declared in "
        "advance, whatever the results; later additions are listed."
    )


@pytest.mark.parametrize(
    ("datasets", "card"),
    [
        (("n-mnist", "n-mnist"), Card("CLIF − LIF", "+2.50 percentage points", "mean of 2 settings, 2 seeds")),
        # Nobody has a mean of two data sets.
        (("n-mnist", "emulated-digits"), Card("CLIF − LIF", "0.00 to +5.00 percentage points", "2 settings")),
    ],
)
def test_a_card_tells_a_difference_over_settings(tmp_path: Path, datasets: tuple[str, str], card: Card):
    settings = tuple(
        Setting(str(k), override(CONFIG, {"dataset.name": name, "binning.timesteps": 4 + k}), {})
        for k, name in enumerate(datasets)
    )
    comparison = Comparison("x", settings, (neuron_arm("lif"), neuron_arm("clif")), (7, 8), tmp_path).declare(0)
    counts = {("0", "lif"): [30, 31], ("0", "clif"): [30, 31], ("1", "lif"): [30, 31], ("1", "clif"): [32, 33]}
    write_comparison_runs(tmp_path, comparison, counts)
    comparison.write(tmp_path)
    assert comparison_section(tmp_path, "c").cards == (card,)


@pytest.mark.slow
def test_a_comparison_of_several_settings_opens_with_the_figure_that_says_most(tmp_path: Path):
    def headings(*settings: Setting) -> list[str]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        comparison = Comparison("x", settings, (neuron_arm("lif"), neuron_arm("clif")), (7, 8), tmp_path).declare(0)
        counts = {(setting.name, arm): [30, 31] for setting in settings for arm in ("lif", "clif")}
        write_comparison_runs(folder, comparison, counts)
        comparison.write(folder)
        return Page(write_report(folder)).text["h3"]

    over_t = [Setting(f"T = {t}", override(CONFIG, {"binning.timesteps": t}), {"binning.timesteps": t}) for t in (4, 8)]
    names = ("n-mnist", "emulated-digits")
    others = [Setting(name, override(CONFIG, {"dataset.name": name}), {"preset": name}) for name in names]
    assert headings(*over_t)[0] == "The gap"
    assert headings(*others)[0] == "Paired differences"
    assert headings(Setting("", CONFIG))[0] == "Paired difference, percentage points"

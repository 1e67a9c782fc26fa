"""The report's page in a real browser: it loads nothing, sorts, copies, shows values, changes colours, fits a phone."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_up import (
    CONFIG,
    make_cache,
    write_comparison,
    write_comparison_runs,
    write_large_search,
    write_weights,
)

from pipeline.config.run_config import override
from tune.comparison.arms import Setting, neuron_arm
from tune.comparison.comparison_plan import Comparison
from tune.rendering.table import Table
from tune.report import write_report
from tune.report.page import render_page
from tune.report.section import Section
from tune.trials.ledger import Ledger

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (Debian: apt-get install chromium)", allow_module_level=True)
sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install -e '.[dev]')")

MEGABYTE = 1_000_000


class Tab:
    """A browser's tab with one page open, and what went wrong in it."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | settings))
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, column: int) -> list[str]:
        """The words of a column of the first table, from top to bottom."""
        cells = self.page.locator(".table").first.locator(f"tbody tr td:nth-child({column + 1})")
        return cells.all_text_contents()

    def figure(self, title: str) -> Any:
        """The drawing of the figure with this title."""
        heading = self.page.get_by_role("heading", name=title, exact=True)
        return self.page.locator(".pictures figure", has=heading).locator(".svg")

    def header(self, column: int) -> Any:
        return self.page.locator(".table").first.locator("th").nth(column)

    def shown(self) -> str:
        """What the tip says; "" while there is none."""
        tip = self.page.locator(".tip")
        return re.sub(r"\n+", "\n", tip.inner_text()) if tip.is_visible() else ""

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def settle(self) -> None:
        """Wait until the page has heard of a scroll: in the next frame."""
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def ground(self) -> str:
        return self.page.evaluate("getComputedStyle(document.body).backgroundColor")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    words = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=words)
        yield found
        found.close()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a comparison of two neurons and five seeds, one of which is missing; with weights of the first."""
    folder = tmp_path_factory.mktemp("comparison")
    cache = make_cache(tmp_path_factory.mktemp("cache"))
    made = write_comparison(folder, {"lif": [30, 31, None, 32, 36], "clif": [31, 33, 33, 32, 34]}, cache=cache)
    write_weights(Ledger(folder).trial_folder(made.config_of(made.settings[0], made.arms[0], 7)), cache)
    return write_report(folder)


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    write_large_search(folder, trials=200, epochs=12)
    return write_report(folder)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a comparison whose tables have the most columns, with long names and intervals."""
    folder = tmp_path_factory.mktemp("wide")
    settings = tuple(
        Setting(f"gestures-hard-small, T = {t}", override(CONFIG, {"binning.timesteps": t}), {"binning.timesteps": t})
        for t in (4, 16)
    )
    arms = tuple(map(neuron_arm, ("lif", "clif-detached", "clif-undecayed")))
    comparison = Comparison("wide", settings, arms, tuple(range(2022, 2030)), make_cache(folder)).declare(0)
    counts: list[int | None] = [3, 12, 5, 11, 7, 9, 10, 8]
    shifts = {arm.name: k for k, arm in enumerate(arms)}
    correct = {
        (setting.name, arm.name): counts[shifts[arm.name] :] + counts[: shifts[arm.name]]
        for setting, arm in comparison.cells()
    }
    write_comparison_runs(folder / "out", comparison, correct, comparison.cache, samples=12)
    return write_report(folder / "out")


@pytest.fixture
def tab(browser: Any, comparison: Path) -> Iterator[Tab]:
    opened = Tab(browser, comparison)
    yield opened
    opened.context.close()


def test_the_page_opens_without_a_fault_and_loads_nothing(tab: Tab, comparison: Path):
    assert tab.errors == []
    assert tab.requests == [comparison.as_uri()]
    assert tab.page.locator(".pictures svg").count() == 7
    assert tab.page.locator(".table table").count() == 6


TABLE = Table(
    "Accuracy by seed",
    ("seed", "LIF, %", "gap_1"),
    (
        ("7", "94.2 ± 0.3", "+2.5"),
        ("8", "100.0 ± 1.0", "missing"),
        ("10", "9.5 ± 0.1", "−5.0"),
        ("9", "–", "+0.0"),
        ("mean ± std", "50.0 ± 1", "−0.8"),
    ),
    "lrr",
    note="50 % & more: {τ}",
    summary=1,
)


@pytest.fixture
def table(browser: Any, tmp_path: Path) -> Iterator[Tab]:
    """A page with nothing but `TABLE`."""
    section = Section("run", tmp_path, "n-mnist", "a table", emulated=False, lead="", tables=(TABLE,))
    (tmp_path / "page.html").write_text(render_page([section]))
    opened = Tab(browser, tmp_path / "page.html")
    yield opened
    opened.context.close()


def test_a_click_sorts_up_the_second_down_and_the_third_restores(table: Tab):
    written = table.column(0)
    orders = []
    for _ in range(3):
        table.header(2).locator("button").click()
        orders.append((table.header(2).get_attribute("aria-sort"), table.column(2)))
    assert orders[0] == ("ascending", ["−5.0", "+0.0", "+2.5", "missing", "−0.8"])
    assert orders[1] == ("descending", ["+2.5", "+0.0", "−5.0", "missing", "−0.8"])
    assert orders[2] == (None, ["+2.5", "missing", "−5.0", "+0.0", "−0.8"])
    assert table.column(0) == written
    assert table.errors == []


def test_a_table_sorts_by_keyboard_and_says_by_what(table: Tab):
    table.header(1).locator("button").focus()
    table.page.keyboard.press("Enter")
    table.page.keyboard.press("Space")
    assert table.header(1).get_attribute("aria-sort") == "descending"
    assert table.column(1) == ["100.0 ± 1.0", "94.2 ± 0.3", "9.5 ± 0.1", "–", "50.0 ± 1"]
    table.header(0).locator("button").click()
    assert table.header(1).get_attribute("aria-sort") is None
    assert table.column(0) == ["7", "8", "9", "10", "mean ± std"]


def test_numbers_inside_words_sort_as_numbers(table: Tab):
    key = "word => { const key = sortKey(word); return key.missing ? 'missing' : key.number; }"
    numbers = {
        "94.2 ± 0.3": 94.2,
        "+0.35": 0.35,
        "−0.2": -0.2,
        "1,234 s": 1234,
        "3: 2022–2024": 3,
        "1e-3": 1e-3,
        ".5": 0.5,
    }
    assert {word: table.page.evaluate(key, word) for word in numbers} == numbers
    assert [table.page.evaluate(key, word) for word in ("missing", "–", "")] == ["missing"] * 3
    # A trial's name is no number, even one that begins with digits.
    assert table.page.evaluate("isNaN(sortKey('3f2a90').number) && isNaN(sortKey('LIF seed 8').number)")


def test_a_table_is_copied_as_the_files_for_a_paper_have_it(table: Tab):
    table.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copied = {}
    for name in ("Markdown", "LaTeX", "CSV"):
        table.page.get_by_role("button", name=name).click()
        table.page.get_by_text("Copied.").wait_for()
        copied[name] = table.page.evaluate("navigator.clipboard.readText()")
    assert copied["Markdown"] in TABLE.markdown()
    assert copied["Markdown"].count("\n") == 2 + len(TABLE.rows)
    assert copied["LaTeX"] == TABLE.latex()
    assert copied["CSV"].splitlines()[:2] == ['seed,"LIF, %",gap_1', "7,94.2 ± 0.3,+2.5"]


def test_a_curve_shows_the_values_of_the_nearest_point(tab: Tab):
    figure = tab.figure("Training loss")
    figure.scroll_into_view_if_needed()
    series = json.loads(figure.locator("script.values").text_content())["axes"][0]["series"]
    assert [one["name"] for one in series] == ["LIF", "CLIF"]
    point = series[1]["at"][2]
    move_to(tab, figure, point)
    means = [one["at"][2][3] for one in series]
    values = [f"LIF {means[0]} · 4 seeds", f"CLIF {means[1]} · 5 seeds"]
    assert tab.shown().splitlines() == ["epoch 3 · Training loss", *values]
    tab.page.mouse.move(2, 2)
    assert tab.shown() == ""


def test_arrow_keys_go_along_a_curve(tab: Tab):
    figure = tab.figure("Training loss")
    figure.focus()
    first = []
    for key in ("ArrowRight", "ArrowRight", "End"):
        tab.page.keyboard.press(key)
        first.append(tab.shown().splitlines()[0])
    assert first == ["epoch 1 · Training loss", "epoch 2 · Training loss", "epoch 5 · Training loss"]
    tab.page.keyboard.press("Escape")
    assert tab.shown() == ""


def test_what_is_shown_goes_with_its_point_when_the_page_scrolls(tab: Tab):
    figure = tab.figure("Training loss")
    figure.focus()
    tab.settle()
    tab.page.keyboard.press("ArrowRight")
    above = [figure.bounding_box()["y"], tab.page.locator(".tip").bounding_box()["y"]]
    there = tab.page.evaluate("scrollY")
    scroll = "top => scrollTo({ top, behavior: 'instant' })"
    tab.page.evaluate(scroll, there + 30)
    tab.settle()
    assert tab.shown().startswith("epoch 1 · Training loss")
    below = [figure.bounding_box()["y"], tab.page.locator(".tip").bounding_box()["y"]]
    assert below == pytest.approx([place - 30 for place in above], abs=1)
    tab.page.evaluate(scroll, there + 5000)
    tab.settle()
    assert tab.shown() == ""
    tab.page.evaluate(scroll, there)
    tab.settle()
    assert tab.shown().startswith("epoch 1 · Training loss")


def test_a_cell_shows_its_count(tab: Tab):
    figure = tab.page.locator(".pictures figure", has_text="Confusion, LIF").locator(".svg")
    figure.scroll_into_view_if_needed()
    cell = json.loads(figure.locator("script.values").text_content())["axes"][0]["series"][0]["at"][0]
    move_to(tab, figure, [(cell[0] + cell[2]) / 2, (cell[1] + cell[3]) / 2])
    assert tab.shown().splitlines()[0] == "predicted circle · label circle"
    assert re.search(r"test samples: \d+", tab.shown())


def move_to(tab: Tab, figure: Any, place: Sequence[float]) -> None:
    """Put the pointer on a place in SVG units."""
    drawn = figure.locator("svg")
    box, units = drawn.bounding_box(), drawn.evaluate("svg => svg.viewBox.baseVal.width")
    scale = box["width"] / units
    tab.page.mouse.move(box["x"] + scale * place[0], box["y"] + scale * place[1])


def test_a_legend_s_entry_hides_its_curve_and_shows_it_again(tab: Tab):
    figure = tab.figure("Training loss")
    marks = json.loads(figure.locator("script.values").text_content())["toggles"][0]["marks"]
    # The mean and its band.
    assert len(marks) == 2
    entry = figure.locator("[aria-pressed]").first
    displays = f"{json.dumps(marks)}.map(id => document.getElementById(id).style.display)"
    entry.click()
    assert tab.page.evaluate(displays) == ["none", "none"]
    entry.press("Enter")
    assert tab.page.evaluate(displays) == ["", ""]


def test_spikes_over_time_are_shown_of_the_network_that_has_weights(tab: Tab):
    assert tab.page.locator(".spikes").count() == 3
    assert "Spikes are not shown for CLIF: no weights (best.pt)" in tab.page.locator(".note").last.inner_text()
    spikes = tab.page.locator(".spikes").first
    spikes.scroll_into_view_if_needed()
    box = spikes.bounding_box()
    frames = tab.page.locator(".frames").first.bounding_box()
    assert (box["x"], box["width"]) == (frames["x"], frames["width"])
    tab.page.mouse.move(box["x"] + 0.97 * box["width"], box["y"] + 0.9 * box["height"])
    assert re.fullmatch(r"time step 4 · \S+\nLIF · \d+\.\d % fire", tab.shown())


def test_the_theme_switch_changes_the_ground_and_is_kept(browser: Any, comparison: Path):
    tab = Tab(browser, comparison, color_scheme="light")
    light = tab.ground()
    tab.page.get_by_role("button", name="dark").click()
    dark = tab.ground()
    assert dark != light
    tab.page.reload()
    assert tab.ground() == dark
    tab.page.get_by_role("button", name="system").click()
    assert tab.ground() == light
    tab.page.emulate_media(color_scheme="dark")
    assert tab.ground() == dark
    assert tab.errors == []
    tab.context.close()


@pytest.mark.slow
def test_a_phone_scrolls_tables_in_their_box_and_never_the_page(browser: Any, comparison: Path, search: Path):
    for path in (comparison, search):
        tab = Tab(browser, path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
        assert tab.overflow() == 0
        assert tab.page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('.table'))")
        figure = tab.page.locator(".pictures .svg").first
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        tab.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert tab.shown()
        assert tab.overflow() == 0
        tab.context.close()


@pytest.mark.slow
def test_on_a_desktop_tables_fit_without_scrolling_sideways(browser: Any, comparison: Path, search: Path, wide: Path):
    widths = "[...document.querySelectorAll('.table')].map(box => [box.scrollWidth, box.clientWidth])"
    for path in (comparison, search, wide):
        tab = Tab(browser, path, viewport={"width": 1280, "height": 900})
        found = tab.page.evaluate(widths)
        assert found and all(content <= box for content, box in found), path
        assert tab.overflow() == 0
        tab.context.close()


def test_print_has_light_colours_no_buttons_and_everything_open(browser: Any, comparison: Path):
    tab = Tab(browser, comparison, color_scheme="dark")
    tab.page.get_by_role("button", name="dark").click()
    tab.page.emulate_media(media="print")
    assert tab.page.locator("button:visible").all_text_contents() == tab.page.locator("th button").all_text_contents()
    assert tab.page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 33, 39)"
    assert tab.page.locator("dt").first.is_visible()
    assert tab.page.evaluate("getComputedStyle(document.querySelector('.pictures figure')).breakInside") == "avoid"
    tab.context.close()


def test_the_page_reads_without_a_script(browser: Any, comparison: Path):
    tab = Tab(browser, comparison, java_script_enabled=False)
    assert tab.page.locator("button").count() == 0
    assert "CLIF" in tab.page.locator(".table").first.inner_text()
    tab.context.close()


def test_a_search_of_200_trials_is_a_small_page_whose_points_name_their_trial(browser: Any, search: Path):
    assert search.stat().st_size < 6 * MEGABYTE
    tab = Tab(browser, search)
    assert tab.errors == []
    titles = ["Validation accuracy by field", "τ against T", "Accuracy against cost", "Budget over time"]
    assert tab.page.locator(".pictures h3").all_text_contents() == titles
    for title in titles:
        figure = tab.page.locator(".pictures figure", has=tab.page.get_by_role("heading", name=title)).locator(".svg")
        figure.focus()
        tab.page.keyboard.press("ArrowRight")
        assert tab.shown(), title
    figure = tab.page.locator(".pictures .svg").nth(2)
    figure.scroll_into_view_if_needed()
    series = json.loads(figure.locator("script.values").text_content())["axes"][0]["series"]
    move_to(tab, figure, series[0]["at"][0])
    assert re.search(r"T=\d+ tau=\S+ neuron=\w+ · trial [0-9a-f]{8}", tab.shown())
    tab.context.close()


@pytest.mark.slow
def test_a_report_of_200_trials_is_built_in_ten_seconds(search: Path):
    # Processor time: other work on the machine is not the report's.
    start = time.process_time()
    write_report(search.parent)
    assert time.process_time() - start < 10

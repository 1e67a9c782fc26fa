"""One self-contained HTML page of a run, a search, a comparison, or a folder that contains several of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runs.changed_code import accepted_sentence, changed_code_error, code_changes
from pipeline.runs.run_folder import open_run
from preprocess.errors import ConfigError, RunError, SpikeloomError
from preprocess.files import write_whole
from tune.rendering.table import LATEX_ESCAPES
from tune.report.comparison_section import comparison_section
from tune.report.objective_section import objective_section
from tune.report.paper_files import write_paper
from tune.report.run_section import run_section
from tune.report.search_section import search_section
from tune.report.section import Section
from tune.trials.custom_code import folder_changes

if TYPE_CHECKING:
    from markupsafe import Markup

_HERE = Path(__file__).parent

# The file that identifies a kind of folder, and the function for its section; a page shows them in this order.
_KINDS = {
    "comparison.json": comparison_section,
    "search.json": search_section,
    "objective.json": objective_section,
    "config.json": run_section,
}


@dataclass(frozen=True)
class Report:
    """The content of a folder, read and drawn.

    Attributes:
        folder: Its path.
        sections: In the order of the page.
        errors: The damaged parts, which are excluded.
    """

    folder: Path
    sections: tuple[Section, ...]
    errors: tuple[str, ...]

    def write_page(self) -> Path:
        """Write ``report.html`` into the folder atomically; returns its path."""
        html = render_page(self.sections, self.errors)
        page = self.folder / "report.html"
        write_whole(page, lambda path: path.write_text(html, encoding="utf-8"))
        return page

    def write_paper(self) -> list[Path]:
        """Write every table and figure into ``paper/``; see `tune.report.paper_files`."""
        return write_paper(self.sections, self.folder / "paper")


def read_report(folder: Path | str, *, accept_changed_code: bool = False) -> Report:
    """Read and draw a run, a search or a comparison, or a folder that directly contains any of these.

    Args:
        folder: Its path.
        accept_changed_code: Whether to report although custom neuron or network files have changed since the
            training; the page lists the changes.

    Raises:
        RunError: If there is nothing to report, or everything is damaged or its custom files have changed.
    """
    folder = Path(folder).expanduser().absolute()
    parts = _find_parts(folder)
    sections: list[Section] = []
    errors: list[str] = []
    for number, (path, marker) in enumerate(parts):
        try:
            changed = _check_code(path, marker, accept_changed_code)
            section = _KINDS[marker](path, f"s{number}")
            sections.append(replace(section, sentences=(*section.sentences, *changed)))
        except SpikeloomError as error:
            errors += error.errors
    if not sections:
        raise RunError(*errors)
    return Report(folder, tuple(sections), tuple(errors))


def _check_code(path: Path, marker: str, accept: bool) -> tuple[str, ...]:
    """The sentence on custom code that changed since the training; RunError if that is not accepted."""
    if marker == "config.json":
        try:
            changes = code_changes(open_run(path))
        except ConfigError:
            # The custom class is missing: the page shows the results, and why there are no spikes.
            changes = []
    else:
        changes = folder_changes(path)
    if changes and not accept:
        raise changed_code_error(path, changes)
    return (f"{accepted_sentence([asdict(change) for change in changes])}.",) if changes else ()


def write_report(folder: Path | str) -> Path:
    """Write the page of a run, a search or a comparison, or of a folder that directly contains any of these.

    Args:
        folder: Its path.

    Returns:
        The path of the page, ``report.html`` in the folder.

    Raises:
        RunError: If there is nothing to report, or everything is damaged or its custom files have changed.
    """
    return read_report(folder).write_page()


def _find_parts(folder: Path) -> list[tuple[Path, str]]:
    """The folders of the page, each with the file that identifies its kind."""
    if not folder.is_dir():
        raise RunError(f"{folder}: expected the folder of a run, search or comparison, found no such folder")
    for marker in _KINDS:
        if (folder / marker).is_file():
            return [(folder, marker)]
    children = sorted(path for path in folder.iterdir() if path.is_dir())
    parts = [(path, marker) for marker in _KINDS for path in children if (path / marker).is_file()]
    if not parts:
        raise RunError(
            f"{folder}: expected a run, a search or a comparison in it, found none of {', '.join(_KINDS)}. "
            "Give a folder that spikeloom train, tune, compare or demo wrote."
        )
    return parts


def render_page(sections: Sequence[Section], errors: Sequence[str] = ()) -> str:
    """The page's HTML with style sheet, script, figures and pictures inside, so that it loads nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    title = _title(sections)
    emulated = any(section.emulated for section in sections)
    templates.filters |= {"capitalised": _capitalise, "with_code": _with_code}
    return templates.get_template("page.html.j2").render(
        headline=f"Emulated data: {title}" if emulated else _capitalise(title),
        sections=sections,
        errors=errors,
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
        latex_escapes=Markup(json.dumps(LATEX_ESCAPES, ensure_ascii=False)),
        version=version("spikeloom"),
        written=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _capitalise(title: str) -> str:
    return title[:1].upper() + title[1:]


def _with_code(sentence: str) -> Markup:
    """The sentence with text between back quotes as code, so that commands do not wrap at hyphens."""
    from markupsafe import Markup

    parts = sentence.split("`")
    if len(parts) % 2 == 0:
        return Markup.escape(sentence)
    return Markup("").join(Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts))


def _title(sections: Sequence[Section]) -> str:
    if len(sections) == 1:
        return sections[0].title
    kinds = [_count(kind, [section.kind for section in sections]) for kind in dict.fromkeys(s.kind for s in sections)]
    datasets = dict.fromkeys(section.dataset for section in sections)
    return f"{' and '.join(kinds)} on {', '.join(datasets)}"


def _count(kind: str, kinds: Sequence[str]) -> str:
    plural = {"run": "runs", "search": "searches", "comparison": "comparisons"}
    count = kinds.count(kind)
    return kind if count == 1 else f"{count} {plural[kind]}"

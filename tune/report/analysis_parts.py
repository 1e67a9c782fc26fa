"""The analyses of a run on its page: those whose results are in the run folder."""

from __future__ import annotations

from pathlib import Path

from pipeline.analysis.registry import ANALYSES
from pipeline.analysis.stored_result import FOLDER, AnalysisResult, read_result
from preprocess.errors import RunError
from tune.analysis_views.registry import view_of
from tune.report.section import Part, draw_pictures


def analysis_parts(folder: Path, name: str) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """The stored analyses of a run as parts of its section, and a line for each that cannot be shown.

    Args:
        folder: The run folder.
        name: Prefix of the figures' ids, unique on the page.
    """
    parts: list[Part] = []
    errors: list[str] = []
    for key, analysis in ANALYSES.items():
        if not (folder / FOLDER / f"{key}.json").is_file():
            continue
        try:
            result = read_result(analysis.result_class, folder / FOLDER)
            assert result is not None
            parts.append(_part(result, analysis.title, folder, f"{name}-{key}"))
        except RunError as error:
            errors += error.errors
    return tuple(parts), tuple(errors)


def _part(result: AnalysisResult, title: str, folder: Path, name: str) -> Part:
    view = view_of(result)
    about = result.subject.about
    measured = "Measured on" if result.subject.network else "With the settings of"
    return Part(
        title=title,
        lead=view.lead,
        sentences=(f"{measured} {about}.", *_warnings(result, folder), *view.sentences),
        tables=view.tables,
        pictures=draw_pictures(view.panels, name, about=about),
    )


def _warnings(result: AnalysisResult, folder: Path) -> tuple[str, ...]:
    from pipeline.analysis.weights_digest import weights_digest

    if result.subject.weights == weights_digest(folder):
        return ()
    return (
        "The run's selected weights have changed since this analysis. Repeat it: `spikeloom analyse "
        f"{folder} {result.ANALYSIS}`",
    )

"""The section of the search of an objective on the page."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tune.objective.objective_findings import ObjectiveFindings, read_objective
from tune.rendering.hover_text import set_hover
from tune.rendering.labels import short_value
from tune.rendering.panels import Panel
from tune.report.section import Card, Section, draw_pictures, open_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_FIELDS = 4


def objective_section(folder: Path, name: str) -> Section:
    """The section of the folder of an objective's search, finished or not.

    Args:
        folder: Contains `objective.json`.
        name: Unique on the page; prefix of its figures' ids.

    Raises:
        RunError: If `objective.json` is damaged.
    """
    found = read_objective(folder)
    search = found.search
    pictures = draw_pictures(_panels(found), name)
    return Section(
        kind="search",
        folder=folder,
        dataset=search.name,
        title=found.title,
        emulated=False,
        lead=f"{found.best_sentence()}.".replace("..", "."),
        sentences=(
            f"Trials: {found.counts()}. The score is what the objective reports; the search looks for the "
            f"{search.direction} one. The best of several trials is optimistically "
            "biased.",
            f"Search method: {search.method}; scheduler: {search.scheduler}.",
        ),
        cards=_cards(found),
        tables=(found.table(most=None),) if any(found.reports) or found.failures() else (),
        pictures=open_with(pictures, pictures[0].title) if pictures else (),
        errors=tuple(found.failures()),
        settings=dict(search.space),
    )


def _cards(found: ObjectiveFindings) -> tuple[Card, ...]:
    if not found.ranked:
        return ()
    best = found.ranked[0]
    return (
        Card("best score", f"{best['score']:.4g}", f"trial {best['trial']}"),
        Card("best values", found.describe_values(best), f"{found.search.direction} score"),
        Card("trials", str(len(found.rows)), found.counts()),
    )


def _panels(found: ObjectiveFindings) -> list[Panel]:
    if not found.ranked:
        return []
    complete = "Complete trials only, because the score of a trial that was stopped early is not comparable."
    fields = list(found.search.space)[:_MOST_FIELDS]
    panels = [Panel(f"Score by {field}", complete, partial(_draw_field, found=found, field=field)) for field in fields]
    caption = "A line per trial; those that were stopped early end before the others."
    return [*panels, Panel("Score by report", caption, partial(_draw_curves, found=found))]


def _draw_field(axes: Axes, found: ObjectiveFindings, field: str) -> None:
    values = [row[field] for row in found.ranked]
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    names = list(dict.fromkeys(map(short_value, values)))
    places = [float(value) for value in values] if numeric else [float(names.index(short_value(v))) for v in values]
    dots = axes.scatter(places, [row["score"] for row in found.ranked], s=26, linewidth=0)
    set_hover(dots, [f"{found.describe_values(row)}: {row['score']:.4g}" for row in found.ranked])
    if not numeric:
        axes.set_xticks(range(len(names)), names)
    elif min(places) > 0 and max(places) / min(places) > 20:
        axes.set_xscale("log")
    axes.set_xlabel(field)
    axes.set_ylabel("score")


def _draw_curves(axes: Axes, found: ObjectiveFindings) -> None:
    best = found.ranked[0]["trial"]
    for row, reports in zip(found.rows, found.reports, strict=True):
        is_best = row["trial"] == best
        axes.plot(
            [report["epoch"] for report in reports],
            [report["score"] for report in reports],
            color="C0" if is_best else "grey",
            alpha=1.0 if is_best else 0.5,
            linewidth=1.8 if is_best else 0.9,
            marker="" if len(reports) > 1 else ".",
            label="best trial" if is_best else None,
            zorder=3 if is_best else 2,
        )
    axes.legend()
    axes.set_xlabel("report")
    axes.set_ylabel("score")

"""The section of a search on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.run_config import RunConfig
from preprocess.files import read_json
from tune.rendering.labels import short_name
from tune.rendering.table import format_percent
from tune.report.section import Card, Picture, Section, draw_picture, environment_of, open_with, settings_of
from tune.search.budget_figure import draw_budget, read_spending
from tune.search.final_runs import read_final
from tune.search.search_figures import draw_accuracy, draw_heat_map
from tune.search.search_findings import Findings, describe_values, read_findings
from tune.search.search_plan import read_search
from tune.search.trade_off_figure import costs_of, draw_trade_off
from tune.trials.ledger import Ledger

_T, _TAU = "binning.timesteps", "neuron.tau"


def search_section(folder: Path, name: str) -> Section:
    """The section of a search's folder, finished or not.

    Args:
        folder: Contains `search.json`.
        name: Unique on the page; prefix of its figures' ids.

    Raises:
        RunError: If `search.json` is missing or damaged.
    """
    search = read_search(folder)
    findings = read_findings(search, folder)
    config, final = search.config, read_final(folder)
    return Section(
        kind="search",
        folder=folder,
        dataset=config.dataset.name,
        title=f"search over {', '.join(map(short_name, search.fields))} on {config.dataset.name}",
        emulated=search.data.emulated,
        lead=_lead(findings),
        sentences=(
            *findings.sentences(),
            *(() if final is None else (final.sentence(),)),
            f"Search space: {' '.join(search.space)}; scheduler: {search.scheduler}.",
        ),
        cards=_cards(findings),
        tables=(findings.table(),) if findings.ranked else (),
        pictures=_pictures(findings, folder, name),
        errors=tuple(findings.failures()),
        settings=settings_of(config, leave_out=search.fields),
        environment=_environment(findings, folder),
    )


def _lead(findings: Findings) -> str:
    search = findings.search
    if not findings.ranked:
        return f"No trial of the search on {search.about} is complete yet."
    best = findings.ranked[0]
    return (
        f"The best of {len(findings.rows)} trials on {search.about} is {describe_values(best, search.fields)}, with a "
        f"validation accuracy of {format_percent(best['validation_accuracy'])} % ({search.data.validation} validation "
        "samples)."
    )


def _cards(findings: Findings) -> tuple[Card, ...]:
    if not findings.ranked:
        return ()
    best = findings.ranked[0]
    counts = ", ".join(f"{count} {status}" for status, count in findings.counts().items())
    accuracy = f"{format_percent(best['validation_accuracy'])} %"
    return (
        Card("best validation accuracy", accuracy, f"{findings.search.data.validation} samples"),
        Card("best configuration", describe_values(best, findings.search.fields), f"trial {best['trial']}"),
        Card("trials", str(len(findings.rows)), counts),
    )


def _pictures(findings: Findings, folder: Path, name: str) -> tuple[Picture, ...]:
    if not findings.ranked:
        return ()
    search, rows = findings.search, findings.points
    spending = read_spending(search, folder)
    pictures = [
        draw_picture(
            "Validation accuracy by field",
            lambda _: draw_accuracy(rows, search.fields, search.about),
            f"{name}-accuracy",
            "Complete trials only, because the accuracy of a trial that was stopped early is not comparable.",
            wide=True,
        )
    ]
    if _T in search.fields and _TAU in search.fields:
        caption = "The best complete trial of each cell; cells without one show the status of their trials."
        heat = draw_picture(
            "τ against T", lambda _: draw_heat_map(rows, search.about), f"{name}-heat", caption, wide=True
        )
        pictures.append(heat)
    objectives = search.objectives
    if costs_of(rows, objectives):
        caption = (
            "Trials below a line are matched or beaten in both accuracy and cost (Pareto front). Energy is estimated "
            "from operation counts, not measured."
        )
        cost = draw_picture(
            "Accuracy against cost",
            lambda _: draw_trade_off(rows, search.about, objectives),
            f"{name}-pareto",
            caption,
            wide=True,
        )
        pictures.append(cost)
    if spending.epochs:
        caption = "Includes pruned trials: the budget spent on them, and the accuracy that they had reached."
        budget = draw_picture(
            "Budget over time", lambda _: draw_budget(spending, search.about), f"{name}-budget", caption, wide=True
        )
        pictures.append(budget)
    return open_with(pictures, pictures[0].title)


def _environment(findings: Findings, folder: Path) -> dict[str, str]:
    """The environment of the best trial, otherwise of the first that started."""
    best = findings.ranked[0]["trial"] if findings.ranked else None
    for row, config in zip(findings.rows, findings.search.configs(), strict=True):
        if best in (None, row["trial"]) and (environment := _read(folder, config)):
            return environment_of(environment)
    return {}


def _read(folder: Path, config: RunConfig) -> dict[str, Any] | None:
    return read_json(Ledger(folder).trial_folder(config) / "environment.json")

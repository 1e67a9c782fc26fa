"""What a page, a terminal or a file shows of an analysis."""

from __future__ import annotations

from dataclasses import dataclass

from tune.rendering.panels import Panel
from tune.rendering.table import Table


@dataclass(frozen=True)
class AnalysisView:
    """The content of an analysis for readers.

    Attributes:
        lead: What it found, in one or two sentences.
        sentences: Notes on what it shows and what it does not.
        tables: Its tables.
        panels: Its figures, in the order of the page; a file has all of them.
    """

    lead: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...]
    panels: tuple[Panel, ...]

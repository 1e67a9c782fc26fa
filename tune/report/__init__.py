"""The report: one self-contained HTML page of runs, searches and comparisons."""

from tune.report.page import write_report

__all__ = ["write_report"]

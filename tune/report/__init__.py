"""The report: one self-contained HTML page of runs, searches and comparisons, and their files for a paper."""

from tune.report.page import Report, read_report, write_report

__all__ = ["Report", "read_report", "write_report"]

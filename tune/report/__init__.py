"""The report: one self-contained HTML page of runs, searches and comparisons, and their files for a paper.

Calling the package, ``tune.report(folder)``, writes the page.
"""

from preprocess.lazy_exports import make_callable
from tune.report.page import Report, read_report, write_report

__all__ = ["Report", "read_report", "write_report"]

make_callable(__name__, "tune.report.page", "write_report")

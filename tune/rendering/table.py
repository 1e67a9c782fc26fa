"""Tables, which are shown as Markdown, as LaTeX, on a terminal and (by the report's template) as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preprocess.errors import printable_text


@dataclass(frozen=True)
class Table:
    """Rows of texts under named columns.

    Attributes:
        title: Its title.
        columns: The names of the columns.
        rows: Rows with one text per column.
        align: One letter per column: l for texts, r for numbers.
        note: A note below the table, such as the meaning of an abbreviation; "" for none.
        summary: The number of last rows that summarise the others; sorting does not move them.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    note: str = ""
    summary: int = 0

    def __post_init__(self) -> None:
        # Names of files, data sets and classes may be anything.
        object.__setattr__(self, "title", _printable_lines(self.title))
        object.__setattr__(self, "rows", tuple(tuple(map(_printable_lines, row)) for row in self.rows))

    def markdown(self) -> str:
        """As a Markdown section, ending with a line break."""
        rules = ["--:" if side == "r" else "---" for side in self.align]
        lines = [_markdown_row(row) for row in (self.columns, rules, *self.rows)]
        note = f"\n{self.note}\n" if self.note else ""
        return f"## {self.title}\n\n" + "\n".join(lines) + f"\n{note}"

    def latex(self) -> str:
        """As a LaTeX table for the package booktabs, ending with a line break."""
        several = 0 < self.summary < len(self.rows)
        rules = {len(self.rows) - self.summary: "    \\midrule"} if several else {}
        body = [
            line for k, row in enumerate(self.rows) for line in (rules.get(k, ""), f"    {_latex_row(row)}") if line
        ]
        lines = [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{escape_latex(self.title)}}}",
            f"  \\begin{{tabular}}{{{self.align}}}",
            "    \\toprule",
            f"    {_latex_row(self.columns)}",
            "    \\midrule",
            *body,
            "    \\bottomrule",
            "  \\end{tabular}",
            *([f"  \\par\\smallskip{{\\footnotesize {escape_latex(self.note)}}}"] if self.note else []),
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def print(self) -> None:
        """Print it on stdout; texts wrap if the terminal is too narrow."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table as RichTable

        from preprocess.terminal.console import console

        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        table.title, table.caption = escape(self.title), escape(self.note)
        for name, side in zip(self.columns, self.align, strict=True):
            table.add_column(name, justify="right" if side == "r" else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(escape(text) for text in row))
        console().print(table)


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable_text, text.split("\n")))


def _markdown_row(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in texts) + " |"


# Characters that LaTeX reads as commands or whose glyphs its fonts may lack; the report's script uses the same ones.
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---",
    "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\to$",
    "°": r"$^\circ$", "τ": r"$\tau$", "α": r"$\alpha$", "λ": r"$\lambda$", "σ": r"$\sigma$", "Δ": r"$\Delta$",
    "µ": r"$\mu$", "μ": r"$\mu$", "\n": " ",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Escape a text for LaTeX."""
    return "".join(LATEX_ESCAPES.get(letter, letter) for letter in text)


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, texts)) + r" \\"


def format_percent(share: float | None) -> str:
    """A fraction in per cent with one decimal; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f}"


POINTS = "+.2f"
"""The format of differences in percentage points, and of the ends of their intervals, wherever they are shown."""


def points(share: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return number(100 * share, POINTS)


def number(value: float, form: str) -> str:
    """A formatted number with a typographic minus; a number that rounds to zero has no sign."""
    text = format(value, form)
    return format(0.0, form.lstrip("+")) if float(text) == 0 else text.replace("-", "−")

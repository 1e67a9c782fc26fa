"""A table once, shown as Markdown, on a terminal, and (by the report's template) as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of words under named columns.

    Attributes:
        title: What it shows.
        columns: Their names.
        rows: As many words each as there are columns.
        align: A letter a column: l for words, r for numbers.
        note: A line below, such as what an abbreviation means; "" for none.
        summary: How many of the last rows sum up the others; sorting leaves them where they are.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    note: str = ""
    summary: int = 0

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
            f"  \\caption{{{latex_words(self.title)}}}",
            f"  \\begin{{tabular}}{{{self.align}}}",
            "    \\toprule",
            f"    {_latex_row(self.columns)}",
            "    \\midrule",
            *body,
            "    \\bottomrule",
            "  \\end{tabular}",
            *([f"  \\par\\smallskip{{\\footnotesize {latex_words(self.note)}}}"] if self.note else []),
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def print(self) -> None:
        """On stdout; words wrap on a terminal too narrow for them."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table as RichTable

        from preprocess.terminal.console import console

        table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        table.title, table.caption = escape(self.title), escape(self.note)
        for name, side in zip(self.columns, self.align, strict=True):
            table.add_column(name, justify="right" if side == "r" else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(escape(word) for word in row))
        console().print(table)


def _markdown_row(words: Sequence[str]) -> str:
    return "| " + " | ".join(word.replace("|", "\\|").replace("\n", " ") for word in words) + " |"


# What LaTeX reads as a command, and what its fonts may lack; the report's script escapes with the same words.
LATEX_WORDS = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---",
    "×": r"$\times$", "·": r"$\cdot$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\to$",
    "°": r"$^\circ$", "τ": r"$\tau$", "α": r"$\alpha$", "λ": r"$\lambda$", "σ": r"$\sigma$", "Δ": r"$\Delta$",
    "µ": r"$\mu$", "μ": r"$\mu$", "\n": " ",
}  # fmt: skip


def latex_words(words: str) -> str:
    """Words as LaTeX prints them."""
    return "".join(LATEX_WORDS.get(letter, letter) for letter in words)


def _latex_row(words: Sequence[str]) -> str:
    return " & ".join(map(latex_words, words)) + r" \\"


def per_cent(share: float | None) -> str:
    """A share as per cent with one decimal, or a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return number(100 * share, "+.1f")


def number(value: float, form: str) -> str:
    """A formatted number, its minus as wide as a plus; what rounds to nothing has no sign."""
    text = format(value, form)
    return format(0.0, form.lstrip("+")) if float(text) == 0 else text.replace("-", "−")

"""Write the figures of a comparison as files."""

from __future__ import annotations

from pathlib import Path

from tune.comparison.captions import about_figure
from tune.comparison.conclusions import Conclusion
from tune.comparison.figures.learning_curves import learning_panels
from tune.comparison.figures.overview_figures import file_part, overview_figures
from tune.comparison.figures.paired_differences import difference_panels
from tune.rendering.panels import draw_panels
from tune.rendering.style import PAPER, drawing, save


def write_figures(conclusion: Conclusion, folder: Path) -> None:
    """Write every figure as .svg and .png: those of all settings together, then those of each setting."""
    with drawing(PAPER):
        for name, overview in overview_figures(conclusion).items():
            save(overview.draw(overview.about), folder, name)
        for result in conclusion.results:
            if result.test_samples is None:
                continue
            about = about_figure([result])
            suffix = f"-{file_part(result.setting.name)}" if result.setting.name else ""
            save(draw_panels(*learning_panels(conclusion, result), about=about), folder, f"learning-curves{suffix}")
            save(draw_panels(*difference_panels(result), about=about), folder, f"paired-differences{suffix}")

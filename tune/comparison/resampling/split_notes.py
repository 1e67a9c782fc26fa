"""What a comparison over several splits says about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preprocess.datasets.splits import in_folds
from preprocess.terminal.plural import counted
from tune.comparison.setting_analysis import SettingResult
from tune.rendering.table import number

TABLE_NOTE = (
    " A seed is here a pair of seed and split, such as 7/fold0. Test samples differ between splits; the interval over "
    "seeds and samples is here that over splits, which allows for the training samples that they share."
)
"""Added to the notes of the tables of such a comparison."""


def split_sentences(results: Sequence[SettingResult]) -> Iterator[str]:
    """Which splits were repeated, and what that means for the test samples; none if splits are not a factor."""
    by_sentence: dict[str, list[str]] = {}
    for result in results:
        if result.draws:
            by_sentence.setdefault(_sentence(result), []).append(result.dataset)
    several = len(by_sentence) > 1
    for sentence, datasets in by_sentence.items():
        yield f"{', '.join(dict.fromkeys(datasets))}: {sentence}" if several else sentence


def _sentence(result: SettingResult) -> str:
    dataset, draws = result.config.dataset, result.draws
    found = (
        f"A pair is one seed on one of {counted(len(draws), 'split')}, {result.split_title}. Test samples differ "
        "between splits, so that the spread over pairs includes the split. "
    )
    if in_folds(dataset.split):
        tested = {(draw.seed, draw.fold) for draw in draws}
        complete = all((draw.seed, fold) in tested for draw in draws for fold in range(draw.folds))
        found += (
            "Over the folds each group of samples is tested exactly once. "
            if complete
            else f"Not all {dataset.folds} folds were run, so that some groups of samples are never tested. "
        )
    found += (
        "The sign-flip test holds for these splits; the interval over splits, for others like them, is widened because "
        "they share training samples (Nadeau and Bengio 2003)."
    )
    if result.unequal is None:
        return found
    low, high = (number(end, ".2g") for end in result.unequal)
    return (
        f"{found} The splits are very unequal, with {low} to {high} test samples for each training sample; the "
        "interval uses the mean of these ratios and counts every split alike, so it is only rough."
    )

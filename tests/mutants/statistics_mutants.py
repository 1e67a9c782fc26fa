"""Defects of statistics, comparisons and reports."""

from __future__ import annotations

from .mutant import Mutant

_TESTS = "tests/test_tune"
_SUMMARY = f"{_TESTS}/stats/test_summary.py"
_SIGNS = f"{_TESTS}/stats/test_sign_flip.py"
_EQUIVALENCE = f"{_TESTS}/stats/test_equivalence.py"
_BOOTSTRAP = f"{_TESTS}/stats/test_bootstrap.py"
_CONCLUSIONS = f"{_TESTS}/comparison/test_conclusions.py"

MUTANTS = (
    Mutant(
        "Holm: p-values are corrected in the order in which they are given",
        "tune/stats/holm.py",
        "enumerate(sorted(known))",
        "enumerate(known)",
        (f"{_SUMMARY}::test_holm_is_the_table_worked_by_hand",),
    ),
    Mutant(
        "Holm: the smallest p is multiplied by one too few",
        "tune/stats/holm.py",
        "(len(known) - k) * p",
        "(len(known) - k - 1) * p",
        (f"{_SUMMARY}::test_holm_is_the_table_worked_by_hand",),
    ),
    Mutant(
        "Holm: a larger p may become smaller than one before it",
        "tune/stats/holm.py",
        "before = max(before, min(1.0, (len(known) - k) * p))",
        "before = min(1.0, (len(known) - k) * p)",
        (f"{_SUMMARY}::test_holm_is_monotone_and_at_least_the_raw_p",),
    ),
    Mutant(
        "Holm: comparisons without a test count",
        "tune/stats/holm.py",
        "(len(known) - k) * p",
        "(len(p_values) - k) * p",
        (f"{_SUMMARY}::test_holm_passes_over_comparisons_without_a_test",),
    ),
    Mutant(
        "sign flips: patterns as extreme as the observed one do not count",
        "tune/stats/sign_flip.py",
        "far = sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()",
        "far = sums > abs(values.sum()) + 1e-9 * np.abs(values).sum()",
        (f"{_SIGNS}::test_sign_flip_p_counts_every_sign_pattern",),
    ),
    Mutant(
        "sign flips: ties that differ by rounding do not count",
        "tune/stats/sign_flip.py",
        "abs(values.sum()) - 1e-9 * np.abs(values).sum()",
        "abs(values.sum())",
        (
            f"{_SIGNS}::test_ties_that_scipy_misses_are_counted",
            f"{_SIGNS}::test_patterns_that_tie_count_whatever_rounding_makes_of_accuracies",
        ),
    ),
    Mutant(
        "sign flips: one-sided",
        "tune/stats/sign_flip.py",
        "sums = np.abs(signs @ values)",
        "sums = signs @ values",
        (f"{_SIGNS}::test_sign_flip_p_counts_every_sign_pattern",),
    ),
    Mutant(
        "sign flips: the observed pattern does not count among drawn ones",
        "tune/stats/sign_flip.py",
        "return float((far.sum() + 1) / (len(far) + 1))",
        "return float(far.mean())",
        (f"{_SIGNS}::test_the_observed_pattern_is_one_of_those_drawn",),
    ),
    Mutant(
        "sign flips: one pair too few is said to suffice",
        "tune/stats/sign_flip.py",
        "return min(1.0, 2.0 ** (1 - pairs))",
        "return min(1.0, 2.0**-pairs)",
        (f"{_SIGNS}::test_five_pairs_cannot_reach_the_level_and_six_can",),
    ),
    Mutant(
        "equivalence: only one of the two tests counts",
        "tune/stats/equivalence.py",
        "-(margin - abs(summary.mean)) / error",
        "-(margin - summary.mean) / error",
        (f"{_EQUIVALENCE}::test_p_is_the_larger_of_two_one_sided_t_tests_of_scipy",),
    ),
    Mutant(
        "equivalence: equal differences are equivalent within any margin",
        "tune/stats/equivalence.py",
        "error = max(summary.std, least_std) / math.sqrt(summary.n)",
        "error = (summary.std or 1e-12) / math.sqrt(summary.n)",
        (f"{_EQUIVALENCE}::test_equal_differences_are_equivalent_only_by_the_resolution_of_a_test_sample",),
    ),
    Mutant(
        "equivalence: one pair too few is said to decide",
        "tune/stats/equivalence.py",
        "            low = middle + 1\n    return low\n",
        "            low = middle + 1\n    return max(least, low - 1)\n",
        (f"{_EQUIVALENCE}::test_pairs_to_decide_are_the_fewest_with_the_power",),
    ),
    Mutant(
        "summary: the standard deviation divides by n",
        "tune/stats/summary.py",
        "std = float(np.std(values, ddof=1))",
        "std = float(np.std(values, ddof=0))",
        (f"{_SUMMARY}::test_summary_is_the_mean_and_the_sample_standard_deviation",),
    ),
    Mutant(
        "interval of a mean: 90 % instead of 95 %",
        "tune/stats/summary.py",
        "stdtrit(len(values) - 1, 1 - level / 2)",
        "stdtrit(len(values) - 1, 1 - level)",
        (f"{_SUMMARY}::test_t_interval_is_scipys_and_ends_where_the_t_test_says_p_is_the_level",),
    ),
    Mutant(
        "effect size: not corrected for few pairs",
        "tune/stats/summary.py",
        "return mean / std * float(np.exp(gammaln(half) - gammaln(half - 0.5))) / half**0.5",
        "return mean / std",
        (f"{_SUMMARY}::test_effect_size_is_cohens_with_hedges_correction",),
    ),
    Mutant(
        "bootstrap: B minus A",
        "tune/stats/bootstrap.py",
        "_bootstrap(a.astype(np.int64) - b,",
        "_bootstrap(b.astype(np.int64) - a,",
        (f"{_BOOTSTRAP}::test_bootstrap_is_that_of_plain_loops", f"{_BOOTSTRAP}::test_shares_tell_seeds_from_samples"),
    ),
    Mutant(
        "bootstrap: seeds are not drawn again",
        "tune/stats/bootstrap.py",
        "for_seeds.multinomial(seeds, np.full(seeds, 1 / seeds), rows).astype(np.float32)",
        "np.ones((rows, seeds), np.float32)",
        (f"{_BOOTSTRAP}::test_bootstrap_is_that_of_plain_loops",),
    ),
    Mutant(
        "bootstrap: groups of different sizes have the same weight",
        "tune/stats/bootstrap.py",
        "counts = sizes.take(picked).sum(1) if np.ptp(sizes) else sizes.sum()",
        "counts = sizes.sum()",
        (f"{_BOOTSTRAP}::test_bootstrap_is_that_of_plain_loops",),
    ),
    Mutant(
        "learning curves: the area is the mean of the values",
        "tune/stats/curves.py",
        "return float(np.trapezoid(y, x) / (x[-1] - x[0]))",
        "return float(y.mean())",
        (f"{_TESTS}/stats/test_curves.py::test_area_is_the_mean_height",),
    ),
    Mutant(
        "comparison: differences are of the first neuron minus the others",
        "tune/comparison/setting_analysis.py",
        "seed: ours.accuracy[seed] - first.accuracy[seed] for seed",
        "seed: first.accuracy[seed] - ours.accuracy[seed] for seed",
        (f"{_TESTS}/comparison/test_run_comparison.py::test_seed_table_pairs_by_seed",),
    ),
    Mutant(
        "comparison: runs are paired by their order instead of their seed",
        "tune/comparison/setting_analysis.py",
        "{seed: ours.accuracy[seed] - first.accuracy[seed] for seed in ours.accuracy if seed in first.accuracy}",
        "{a: x - y for (a, x), y in zip(ours.accuracy.items(), first.accuracy.values(), strict=False)}",
        (
            f"{_TESTS}/comparison/test_run_comparison.py::test_missing_seeds_are_shown_and_in_no_mean",
            f"{_TESTS}/comparison/test_run_comparison.py::test_seed_table_pairs_by_seed",
        ),
    ),
    Mutant(
        "comparison: a run that diverged is left out",
        "tune/comparison/setting_analysis.py",
        "    accuracy |= {seed: chance for seed in diverged if chance is not None}\n",
        "",
        (f"{_CONCLUSIONS}::test_a_run_that_diverged_counts_as_chance_and_is_counted",),
    ),
    Mutant(
        "comparison: several neurons are not corrected",
        "tune/comparison/conclusions.py",
        "        raw = [difference.p for _, difference in self.differences]\n"
        "        every = holm([1.0 if p is None else p for p in raw])\n",
        "        raw = [difference.p for _, difference in self.differences]\n        every = raw\n",
        (f"{_CONCLUSIONS}::test_several_neurons_are_corrected_by_holm",),
    ),
    Mutant(
        "comparison: a seed that one setting lacks is in the average over settings",
        "tune/comparison/conclusions.py",
        "            if all(seed in by_seed for by_seed in by_setting)\n",
        "            if any(seed in by_seed for by_seed in by_setting)\n",
        (f"{_CONCLUSIONS}::test_a_seed_that_one_setting_lacks_is_in_no_average_over_settings",),
    ),
    Mutant(
        "comparison: a difference is equivalent where it is significant",
        "tune/comparison/margin_verdict.py",
        "if equivalence_p is not None and equivalence_p <= LEVEL:",
        "if equivalence_p is not None and equivalence_p >= LEVEL:",
        (f"{_TESTS}/comparison/test_margin_verdict.py::test_differences_within_the_margin_are_equivalent",),
    ),
    Mutant(
        "report: names are written into the page as they are",
        "tune/report/page.py",
        "autoescape=True",
        "autoescape=False",
        (
            f"{_TESTS}/report/test_report.py::test_words_from_files_cannot_break_the_page",
            f"{_TESTS}/report/test_report.py::test_names_cannot_break_the_page",
        ),
    ),
    Mutant(
        "report: a sentence with a single back quote is written as it is",
        "tune/report/page.py",
        "return Markup.escape(sentence)",
        "return Markup(sentence)",
        (f"{_TESTS}/report/test_report.py::test_what_is_between_back_quotes_is_code",),
    ),
    Mutant(
        "tables for LaTeX: names are written as they are",
        "tune/rendering/table.py",
        'return " & ".join(map(escape_latex, texts)) + r" \\\\"',
        'return " & ".join(texts) + r" \\\\"',
        (
            f"{_TESTS}/report/test_paper_files.py::test_latex_escapes_what_it_would_read_as_commands_and_rules_off_the_summary",
        ),
    ),
)

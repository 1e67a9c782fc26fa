"""Defects of searches: which trials run, are tried again, continue, are proposed and are best."""

from __future__ import annotations

from .mutant import Mutant

_TESTS = "tests/test_tune"
_STOPPING = f"{_TESTS}/trials/test_early_stopping.py"
_QUEUE = f"{_TESTS}/trials/test_queue_and_retries.py"
_LEDGER = f"{_TESTS}/trials/test_ledger.py"
_TPE = f"{_TESTS}/search/test_tpe.py"
_PBT = f"{_TESTS}/search/test_pbt.py"

MUTANTS = (
    Mutant(
        "early stopping: the worst trials continue",
        "tune/trials/successive_halving.py",
        'mode="max"',
        'mode="min"',
        (f"{_STOPPING}::test_trial_below_the_top_quarter_of_its_stratum_stops_at_a_rung",),
    ),
    Mutant(
        "early stopping: the top half continues instead of the top quarter",
        "tune/trials/successive_halving.py",
        "REDUCTION = 4",
        "REDUCTION = 2",
        (f"{_STOPPING}::test_more_than_the_median_is_needed_and_rungs_are_four_times_as_late",),
    ),
    Mutant(
        "early stopping: neurons stop each other",
        "tune/trials/successive_halving.py",
        "return config.neuron.name, config.binning,",
        'return "", config.binning,',
        (f"{_STOPPING}::test_trials_of_another_neuron_or_t_or_length_never_stop_each_other",),
    ),
    Mutant(
        "early stopping: seeds stop each other",
        "tune/trials/successive_halving.py",
        "config.schedule.epochs, config.seed",
        "config.schedule.epochs, 0",
        (f"{_STOPPING}::test_repeats_are_compared_with_the_same_seed",),
    ),
    Mutant(
        "early stopping: a trial is stopped at its last epoch",
        "tune/trials/successive_halving.py",
        'return TrialScheduler.CONTINUE if row["epoch"] >= config.schedule.last_epoch else decision',
        "return decision",
        (f"{_STOPPING}::test_trial_at_its_last_epoch_is_complete_and_never_stopped",),
    ),
    Mutant(
        "early stopping: a stopped trial has no record",
        "tune/trials/successive_halving.py",
        '            self._ledger.end(config, "pruned")\n            return TrialScheduler.STOP',
        "            return TrialScheduler.STOP",
        (f"{_STOPPING}::test_stopped_trial_is_pruned_in_the_ledger",),
    ),
    Mutant(
        "early stopping: a stop that was due at an interruption is forgotten",
        "tune/trials/successive_halving.py",
        "if stops and last and self._ledger.read_done(config) is None:",
        "if False:",
        (f"{_STOPPING}::test_stop_that_was_due_at_the_interruption_is_made_up_for",),
    ),
    Mutant(
        "queue: a trial whose process died is tried once too often",
        "tune/trials/queue_and_retries.py",
        "attempt.number < TRIES:",
        "attempt.number <= TRIES:",
        (f"{_QUEUE}::test_trial_whose_process_died_is_tried_again_first_and_then_failed",),
    ),
    Mutant(
        "queue: a trial whose process died waits behind all others",
        "tune/trials/queue_and_retries.py",
        "self._waiting.appendleft(again)",
        "self._waiting.append(again)",
        (f"{_QUEUE}::test_trial_whose_process_died_is_tried_again_first_and_then_failed",),
    ),
    Mutant(
        "queue: a finished trial whose process died afterwards runs twice",
        "tune/trials/queue_and_retries.py",
        "if record is None and attempt.number < TRIES:",
        "if attempt.number < TRIES:",
        (f"{_QUEUE}::test_trial_that_died_behind_its_record_is_done",),
    ),
    Mutant(
        "queue: one trial more than there is room for",
        "tune/trials/queue_and_retries.py",
        "len(self._running) >= self._limit()",
        "len(self._running) > self._limit()",
        (f"{_QUEUE}::test_unfinished_trials_come_in_order_and_no_more_at_once_than_there_are_places",),
    ),
    Mutant(
        "queue: a failed trial keeps its record while it runs again",
        "tune/trials/queue_and_retries.py",
        "        self._ledger.reopen(attempt.config)\n",
        "",
        (f"{_QUEUE}::test_a_failed_trial_that_starts_again_has_no_end",),
    ),
    Mutant(
        "queue: memory that is full does not halve the micro-batch",
        "tune/trials/smaller_micro_batches.py",
        "config.batch_size) // 2",
        "config.batch_size) // 1",
        (f"{_QUEUE}::test_trial_that_took_all_memory_comes_back_in_halves",),
    ),
    Mutant(
        "worker: done.json is written before the trial is trained",
        "tune/trials/worker.py",
        "            _train(task, config, ledger, site, caches)\n",
        '            ledger.end(config, "done")\n            _train(task, config, ledger, site, caches)\n',
        (f"{_TESTS}/trials/test_trial_ends.py::test_a_trial_has_no_record_before_its_training_ends",),
    ),
    Mutant(
        "worker: done.json is lost",
        "tune/trials/worker.py",
        '            ledger.end(config, "done")\n        ended = True',
        "            pass\n        ended = True",
        (f"{_TESTS}/trials/test_trial_ends.py::test_a_trial_has_no_record_before_its_training_ends",),
    ),
    Mutant(
        "worker: a trial that fails has no cause",
        "tune/trials/worker.py",
        'ledger.end(config, "failed", describe(error))',
        'ledger.end(config, "failed")',
        (f"{_TESTS}/trials/test_trial_ends.py::test_a_trial_that_fails_is_recorded_with_its_cause",),
    ),
    Mutant(
        "ledger: a failed trial is never tried again",
        "tune/trials/ledger.py",
        'return record is not None and record["status"] != "failed"',
        "return record is not None",
        (f"{_LEDGER}::test_states_follow_a_trial_from_waiting_to_its_end",),
    ),
    Mutant(
        "ledger: a trial runs again although it is done",
        "tune/trials/ledger.py",
        "return [config for config in configs if not self.is_final(config)]",
        "return list(configs)",
        (f"{_QUEUE}::test_unfinished_trials_come_in_order_and_no_more_at_once_than_there_are_places",),
    ),
    Mutant(
        "ledger: a record has the last epoch instead of the result",
        "tune/trials/ledger.py",
        "chosen = result or select_epoch(metrics) or {}",
        "chosen = (metrics or [{}])[-1]",
        (f"{_LEDGER}::test_record_of_a_pruned_trial_is_its_best_epoch_and_that_of_a_done_one_its_result",),
    ),
    Mutant(
        "ledger: trials of other data go into the same folder",
        "tune/trials/ledger.py",
        "        if changed:\n            raise RunError(",
        "        if False:\n            raise RunError(",
        (f"{_LEDGER}::test_trials_that_rest_on_other_data_never_meet",),
    ),
    Mutant(
        "ranking: the worst trial is first",
        "tune/trials/trial_ranking.py",
        'key=lambda row: (-row["validation_accuracy"],',
        'key=lambda row: (row["validation_accuracy"],',
        (
            f"{_TESTS}/trials/test_trial_results.py::test_only_complete_trials_are_ranked_and_of_equal_ones_the_cheaper_first",
        ),
    ),
    Mutant(
        "ranking: pruned trials are ranked",
        "tune/trials/trial_ranking.py",
        'row["status"] == "done" and row["validation_accuracy"] is not None',
        'row["validation_accuracy"] is not None',
        (
            f"{_TESTS}/trials/test_trial_results.py::test_only_complete_trials_are_ranked_and_of_equal_ones_the_cheaper_first",
        ),
    ),
    Mutant(
        "Pareto front: equal trials remove each other",
        "tune/search/pareto.py",
        "return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)",
        "return all(a >= b for a, b in pairs)",
        (f"{_TESTS}/search/test_pareto.py::test_equal_rows_are_both_on_the_front",),
    ),
    Mutant(
        "Pareto front: energy is maximised",
        "tune/search/pareto.py",
        '"energy": ("energy_uj", -1.0)',
        '"energy": ("energy_uj", 1.0)',
        (f"{_TESTS}/search/test_pareto.py::test_every_cost_of_an_inference_is_an_objective",),
    ),
    Mutant(
        "TPE: what is to be maximised is minimised",
        "tune/search/tpe.py",
        '"maximize" if OBJECTIVES[name][1] > 0 else "minimize"',
        '"minimize" if OBJECTIVES[name][1] > 0 else "maximize"',
        (
            f"{_TPE}::test_several_objectives_are_told_with_their_directions",
            f"{_TPE}::test_it_finds_better_points_than_as_many_random_ones",
        ),
    ),
    Mutant(
        "TPE: a point is proposed twice",
        "tune/search/tpe.py",
        "        self._known.add(fingerprint(override(self.search.config, changes)))\n",
        "",
        (f"{_TPE}::test_no_configuration_is_asked_for_twice_and_a_small_space_is_exhausted",),
    ),
    Mutant(
        "TPE: running trials are forgotten",
        "tune/search/tpe.py",
        "return create_trial(state=TrialState.RUNNING, **known)",
        "return None",
        (f"{_TPE}::test_the_estimator_knows_which_trials_run",),
    ),
    Mutant(
        "TPE: the estimator passes over running trials",
        "tune/search/tpe.py",
        "constant_liar=True",
        "constant_liar=False",
        (f"{_TPE}::test_a_running_trial_changes_the_next_proposal",),
    ),
    Mutant(
        "PBT: poor members continue from poor ones",
        "tune/search/pbt.py",
        "ranked = sorted(range(len(last)), key=lambda k: (-self._score(last[k]), k))",
        "ranked = sorted(range(len(last)), key=lambda k: (self._score(last[k]), k))",
        (f"{_PBT}::test_lowest_quarter_goes_on_from_the_highest_and_the_others_from_themselves",),
    ),
    Mutant(
        "PBT: the next generation starts before the last member has ended",
        "tune/search/pbt.py",
        "if self.exhausted or any(self._status(changes) is None for changes in self._last()):",
        "if self.exhausted:",
        (f"{_PBT}::test_next_generation_waits_for_the_last_member",),
    ),
    Mutant(
        "random search: a point is drawn twice",
        "tune/search/random_and_grid.py",
        "self._found.setdefault(fingerprint(override(self._config, point)), point)",
        "self._found.setdefault(f'{fingerprint(override(self._config, point))} {len(self._found)}', point)",
        (f"{_TESTS}/search/test_random_and_grid.py::test_samples_are_distinct_valid_and_repeatable",),
    ),
    Mutant(
        "space: a range may be a single value",
        "tune/space/parser.py",
        "if not low < high or math.isinf(low) or math.isinf(high):",
        "if not low <= high or math.isinf(low) or math.isinf(high):",
        (f"{_TESTS}/space/test_space.py::test_faulty_word_says_what_was_expected",),
    ),
    Mutant(
        "space: a logarithmic range is linear",
        "tune/space/parser.py",
        'log = parts[2:3] == ["log"]',
        "log = False",
        (f"{_TESTS}/space/test_space.py::test_words_become_dimensions_of_the_fields_type",),
    ),
    Mutant(
        "space: the split may be searched",
        "tune/space/parser.py",
        "    if path in SCORED_ON:\n",
        "    if False:\n",
        (f"{_TESTS}/space/test_space.py::test_faulty_word_says_what_was_expected",),
    ),
)

"""Defects of configurations, losses, training, resuming and evaluation."""

from __future__ import annotations

from .mutant import Mutant

_TESTS = "tests/test_pipeline"
_LEARNER = f"{_TESTS}/training/test_learner.py"
_TRAIN = f"{_TESTS}/training/test_train_run.py"
_LOSSES = f"{_TESTS}/evaluation/test_losses.py"

MUTANTS = (
    Mutant(
        "loss: the cross-entropy is not weighted",
        "pipeline/evaluation/losses.py",
        "loss = (1.0 - config.mse_weight) * loss + config.mse_weight * error",
        "loss = loss + config.mse_weight * error",
        (f"{_LOSSES}::test_loss_is_the_papers_formula",),
    ),
    Mutant(
        "loss: padding counts in the mean of a sample",
        "pipeline/evaluation/losses.py",
        "(timesteps if by_t else mask.sum(0))).mean()",
        "(timesteps if by_t else steps)).mean()",
        (
            f"{_TESTS}/evaluation/test_lengths.py::test_loss_and_prediction_are_the_mean_and_choice_of_samples_by_themselves",
        ),
    ),
    Mutant(
        "loss of the last steps: one step is missing",
        "pipeline/evaluation/losses.py",
        "return (t >= steps - last_steps).expand(steps, batch)",
        "return (t > steps - last_steps).expand(steps, batch)",
        (
            f"{_TESTS}/evaluation/test_last_steps.py::test_loss_and_prediction_are_those_of_the_last_steps_by_themselves",
        ),
    ),
    Mutant(
        "prediction: padding counts",
        "pipeline/evaluation/losses.py",
        "torch.where(mask[..., None], logits, 0.0).sum(0)",
        "logits.sum(0)",
        (
            f"{_TESTS}/evaluation/test_lengths.py::test_loss_and_prediction_are_the_mean_and_choice_of_samples_by_themselves",
        ),
    ),
    Mutant(
        "prediction: the last step alone counts",
        "pipeline/evaluation/losses.py",
        "return logits.sum(0) if mask is None else",
        "return logits[-1] if mask is None else",
        (f"{_LOSSES}::test_prediction_is_the_largest_sum_over_time",),
    ),
    Mutant(
        "training: the state is not reset between batches",
        "pipeline/training/learner.py",
        "        self._scaler.update()\n        reset_network(self.network)\n",
        "        self._scaler.update()\n",
        (f"{_LEARNER}::test_a_step_leaves_no_state_to_the_next_batch",),
    ),
    Mutant(
        "training: the state is not reset between micro-batches",
        "pipeline/training/learner.py",
        "            total += loss.detach()\n            reset_network(self.network)\n",
        "            total += loss.detach()\n",
        (f"{_TESTS}/training/test_micro_batch.py::test_pieces_add_up_to_the_gradient_of_the_batch",),
    ),
    Mutant(
        "evaluation: the state is not reset between batches",
        "pipeline/evaluation/evaluate.py",
        "                reset_network(network)\n",
        "",
        (f"{_TESTS}/evaluation/test_lengths.py::test_padded_batches_evaluate_as_samples_by_themselves",),
    ),
    Mutant(
        "training: micro-batches of different sizes have the same weight",
        "pipeline/training/learner.py",
        "loss = loss * (len(part.labels) / len(batch.labels))",
        "loss = loss / len(parts)",
        (f"{_TESTS}/training/test_micro_batch.py::test_pieces_add_up_to_the_gradient_of_the_batch",),
    ),
    Mutant(
        "training: gradients are clipped before they are unscaled",
        "pipeline/training/learner.py",
        "            self._scaler.unscale_(self._optimiser)\n",
        "",
        (f"{_LEARNER}::test_gradients_longer_than_the_clip_are_shortened_to_it_and_shorter_ones_stay",),
    ),
    Mutant(
        "training: gradients of earlier batches are kept",
        "pipeline/training/learner.py",
        "        self._optimiser.zero_grad(set_to_none=True)\n",
        "",
        (f"{_LEARNER}::test_a_step_leaves_no_gradient_to_the_next_batch",),
    ),
    Mutant(
        "moving average: the first epochs count as much as later ones",
        "pipeline/training/weight_averaging.py",
        "share = 1.0 - min(self._decay, (1 + n) / (10 + n))",
        "share = 1.0 - self._decay",
        (f"{_LEARNER}::test_the_moving_average_is_the_closed_form_and_is_what_is_evaluated",),
    ),
    Mutant(
        "weight decay applies to biases",
        "pipeline/training/optimiser.py",
        '"weight_decay": 0.0}',
        '"momentum": 0.9}',
        (f"{_TESTS}/training/test_lamb.py::test_weights_alone_have_weight_decay_without_that_of_biases",),
    ),
    Mutant(
        "learning rate: the cosine begins one epoch late",
        "pipeline/training/schedule.py",
        "(epoch - 1 - before) / (schedule.epochs",
        "(epoch - before) / (schedule.epochs",
        (f"{_TRAIN}::test_learning_rate_is_pytorchs_cosine",),
    ),
    Mutant(
        "learning rate: the warm-up ends one epoch early",
        "pipeline/training/schedule.py",
        "    if epoch <= warmup:\n",
        "    if epoch < warmup:\n",
        (f"{_TRAIN}::test_warm_up_rises_to_the_learning_rate_and_constant_keeps_it",),
    ),
    Mutant(
        "learning rate: a step comes one epoch early",
        "pipeline/training/schedule.py",
        "((epoch - 1 - warmup) // schedule.step_epochs)",
        "((epoch - warmup) // schedule.step_epochs)",
        (f"{_LEARNER}::test_step_schedule_is_pytorchs",),
    ),
    Mutant(
        "best epoch: of equal accuracies the larger loss",
        "pipeline/runs/best_epoch.py",
        "return accuracy, -(",
        "return accuracy, (",
        (
            "tests/test_tune/trials/test_ledger.py"
            "::test_selected_epoch_is_the_most_accurate_then_the_one_of_least_loss_then_the_first",
        ),
    ),
    Mutant(
        "best epoch: of equal epochs the last in training",
        "pipeline/runs/best_epoch.py",
        "return _order(accuracy, loss) > _order(*than)",
        "return _order(accuracy, loss) >= _order(*than)",
        ("tests/test_tune/trials/test_ledger.py::test_training_selects_the_epoch_that_the_tables_select",),
    ),
    Mutant(
        "early stopping: one epoch late",
        "pipeline/training/early_stopping.py",
        "0 < best_epoch <= epoch - schedule.patience",
        "0 < best_epoch < epoch - schedule.patience",
        (f"{_LEARNER}::test_patience_stops_after_epochs_without_anything_better_and_resumes_as_stopped",),
    ),
    Mutant(
        "resuming: the optimiser starts without its state",
        "pipeline/training/learner.py",
        '        self._optimiser.load_state_dict(state["optimiser"])\n',
        "",
        (f"{_TRAIN}::test_an_interrupted_run_goes_on_bit_for_bit",),
    ),
    Mutant(
        "resuming: the moving average starts without its state",
        "pipeline/training/learner.py",
        '            self._average.load_state_dict(state["average"])',
        "            pass",
        (f"{_LEARNER}::test_a_run_keeps_the_averaged_weights_and_goes_on_with_them_bit_for_bit",),
    ),
    Mutant(
        "resuming: the random states are not restored",
        "pipeline/training/resume.py",
        "        checkpoints.restore_random_states(state.random)\n",
        "",
        (f"{_TRAIN}::test_an_interrupted_run_goes_on_bit_for_bit",),
    ),
    Mutant(
        "resuming: the last epoch is trained again",
        "pipeline/training/train_run.py",
        "self.epoch, self.best = state.epoch, state.best",
        "self.epoch, self.best = state.epoch - 1, state.best",
        (f"{_TRAIN}::test_an_interrupted_run_goes_on_bit_for_bit",),
    ),
    Mutant(
        "resuming: the selected epoch so far is forgotten",
        "pipeline/training/train_run.py",
        "self.epoch, self.best = state.epoch, state.best",
        "self.epoch = state.epoch",
        (f"{_TRAIN}::test_a_resumed_run_keeps_a_better_epoch_before_the_interruption",),
    ),
    Mutant(
        "resuming: a checkpoint of other frames is used",
        "pipeline/training/resume.py",
        "if state.data != frames:",
        "if False:",
        (f"{_TRAIN}::test_frames_of_other_recordings_stop_a_resumed_run",),
    ),
    Mutant(
        "resuming: a checkpoint of another run is used",
        "pipeline/training/resume.py",
        "if state.fingerprint != run:",
        "if False:",
        (f"{_TESTS}/runs/test_damaged_runs.py::test_a_checkpoint_of_another_run_is_refused_though_its_layers_fit",),
    ),
    Mutant(
        "checkpoints: the selected weights are written after the checkpoint that names their epoch",
        "pipeline/runs/checkpoint.py",
        "        save_weights(folder / BEST, selected, checkpoint.epoch)\n"
        "    save_checkpoint(folder / CHECKPOINT, checkpoint)\n",
        "        save_checkpoint(folder / CHECKPOINT, checkpoint)\n"
        "        save_weights(folder / BEST, selected, checkpoint.epoch)\n"
        "    save_checkpoint(folder / CHECKPOINT, checkpoint)\n",
        (f"{_TRAIN}::test_selected_weights_are_on_the_disk_before_the_checkpoint_that_names_them",),
    ),
    Mutant(
        "a finished run is evaluated on the test samples again",
        "pipeline/training/train_run.py",
        'isinstance(finished, dict) and ("test_accuracy" in finished or not open_test)',
        "False",
        (f"{_TRAIN}::test_a_finished_run_is_read_and_not_trained_again",),
    ),
    Mutant(
        "shuffling: every epoch has the same order",
        "pipeline/data/loader.py",
        "np.random.default_rng([self._seed, epoch]).permutation(order)",
        "np.random.default_rng([self._seed]).permutation(order)",
        (f"{_TESTS}/data/test_loader.py::test_order_depends_on_seed_and_epoch_alone",),
    ),
    Mutant(
        "shuffling: every seed has the same order",
        "pipeline/data/loader.py",
        "np.random.default_rng([self._seed, epoch]).permutation(order)",
        "np.random.default_rng([0, epoch]).permutation(order)",
        (f"{_TESTS}/data/test_loader.py::test_order_depends_on_seed_and_epoch_alone",),
    ),
    Mutant(
        "loading: evaluation leaves out a last batch that is not full",
        "pipeline/data/loader.py",
        "if self._training and not self._keep_last and len(batches[-1]) < size:",
        "if not self._keep_last and len(batches[-1]) < size:",
        (f"{_TESTS}/data/test_loader.py::test_training_drops_a_last_batch_that_is_not_full_and_evaluation_does_not",),
    ),
    Mutant(
        "encoding: ON and OFF are swapped where one polarity is used",
        "pipeline/data/input_encoding.py",
        'return counts[:, :, 1:] if polarity == "on" else counts[:, :, :1]',
        'return counts[:, :, :1] if polarity == "on" else counts[:, :, 1:]',
        (f"{_TESTS}/networks/test_polarity.py::test_channels_are_those_of_the_counts",),
    ),
    Mutant(
        "encoding: the sum of both polarities wraps at 256",
        "pipeline/data/input_encoding.py",
        "counts[:, :, :1].float() + counts[:, :, 1:]",
        "counts[:, :, :1] + counts[:, :, 1:]",
        (f"{_TESTS}/networks/test_polarity.py::test_channels_are_those_of_the_counts",),
    ),
    Mutant(
        "padding: the first step of padding counts",
        "pipeline/data/padding.py",
        "[:, None] < lengths",
        "[:, None] <= lengths",
        (f"{_TESTS}/evaluation/test_lengths.py::test_padded_batches_evaluate_as_samples_by_themselves",),
    ),
    Mutant(
        "confusion matrix: rows are predictions",
        "pipeline/evaluation/evaluate.py",
        "np.add.at(matrix, (self.labels, self.predictions), 1)",
        "np.add.at(matrix, (self.predictions, self.labels), 1)",
        (f"{_TESTS}/evaluation/test_evaluate.py::test_rows_of_the_confusion_matrix_are_true_classes",),
    ),
    Mutant(
        "interval of an accuracy: 90 % instead of 95 %",
        "pipeline/evaluation/wilson_interval.py",
        "inv_cdf(0.975)",
        "inv_cdf(0.95)",
        (f"{_TESTS}/evaluation/test_evaluate.py::test_the_interval_is_wilsons_as_in_scipy",),
    ),
    Mutant(
        "configuration: true is a number",
        "pipeline/config/run_config.py",
        "if isinstance(value, bool) and hint is not bool:",
        "if False:",
        (f"{_TESTS}/config/test_run_config.py::test_booleans_are_no_numbers",),
    ),
    Mutant(
        "configuration: the device is part of a run's fingerprint",
        "pipeline/config/run_config.py",
        "if path not in PLACE_FIELDS and value != defaults[path]",
        "if value != defaults[path]",
        (f"{_TESTS}/config/test_run_config.py::test_fingerprint_is_of_what_is_computed_not_of_where",),
    ),
    Mutant(
        "configuration: fields without effect are part of a run's fingerprint",
        "pipeline/config/run_config.py",
        "for path in (*inactive_fields(plain), *dict(redundant_fields(plain)))}",
        "for path in ()}",
        (f"{_TESTS}/config/test_inactive_fields.py::test_idle_fields_of_a_run",),
    ),
    Mutant(
        "convergence: a run exactly at the limit has not fitted its samples",
        "pipeline/analysis/convergence_rule.py",
        "if accuracy >= FITTED:",
        "if accuracy > 1.01 * FITTED:",
        (f"{_TESTS}/analysis/test_convergence_rule.py::test_a_run_that_fits_its_samples_has_converged_however_short",),
    ),
    Mutant(
        "convergence: more than an accuracy of 1 is projected",
        "pipeline/analysis/convergence_rule.py",
        '_column(known, "learning_rate", 1.0)), 1 - accuracy)',
        '_column(known, "learning_rate", 1.0)), 1.0)',
        (f"{_TESTS}/analysis/test_convergence_rule.py::test_no_gain_beyond_an_accuracy_of_one_is_projected",),
    ),
    Mutant(
        "speed of learning: not interpolated between epochs",
        "pipeline/analysis/convergence_rule.py",
        "((accuracy - before) / rise if rise > 0 else 1.0)",
        "1.0",
        (
            f"{_TESTS}/analysis/test_convergence_rule.py"
            "::test_epochs_to_an_accuracy_are_interpolated_and_none_if_it_was_never_reached",
        ),
    ),
)

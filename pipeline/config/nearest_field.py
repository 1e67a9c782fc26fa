"""Suggest the field that is meant by an unknown name in a search space, a file or an option.

Names of other frameworks (`lr`, `bs`, `T`), parts of names (`warmup`) and typing errors are recognised.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

# Other names of a field, without a section and in lower case.
_SYNONYMS = {
    "optimiser.learning_rate": "lr learningrate base_lr initial_lr init_lr eta",
    "optimiser.weight_decay": "wd l2 l2_penalty weightdecay",
    "optimiser.name": "optim optimizer optimiser opt",
    "optimiser.momentum": "mom",
    "optimiser.weight_decay_of": "filter_bias_and_bn decay_bias decay_norm",
    "optimiser.clip_norm": "clip grad_clip clip_grad gradient_clip gradient_clipping max_grad_norm clip_grad_norm",
    "optimiser.ema_decay": "ema ema_rate average_decay",
    "schedule.epochs": "epoch num_epochs n_epochs max_epochs nepochs total_epochs train_epochs",
    "schedule.name": "scheduler lr_scheduler lr_schedule sched schedule",
    "schedule.warmup_epochs": "warmup warm_up warmup_steps",
    "schedule.warmup_learning_rate": "warmup_lr warmup_lr_init",
    "schedule.min_learning_rate": "min_lr lr_min eta_min minlr",
    "schedule.cooldown_epochs": "cooldown",
    "schedule.patience": "early_stopping early_stop",
    "batch_size": "bs batch batchsize train_batch_size per_device_train_batch_size",
    "keep_last": "drop_last drop_last_batch droplast keep_last_batch",
    "micro_batch": "accumulate accumulation_steps gradient_accumulation gradient_accumulation_steps micro_batch_size",
    "binning.timesteps": "timesteps t timestep time_step time_steps n_steps num_steps steps frames frames_number bins",
    "binning.split_by": "split_mode frame_mode binning",
    "binning.duration_us": "duration time_window_us",
    "dataset.name": "data dataset",
    "dataset.augmentation": "aug augment augmentations data_augmentation transform transforms",
    "dataset.validation_fraction": "val_fraction val_split validation_split val_ratio val_size",
    "input.size": "img_size image_size resolution resize_to input_size",
    "input.polarity": "polarities channels in_channels input_channels n_channels",
    "network.name": "net network model arch architecture backbone",
    "network.width": "width_mult width_multiplier",
    "network.dropout": "drop drop_rate dropout_rate p_drop",
    "network.dropout_mask": "fixed_mask drop_mask",
    "network.batch_norm": "bn",
    "neuron.name": "neuron node neuron_type spiking_neuron",
    "neuron.tau": "tau_m tau_mem membrane_tau time_constant",
    "neuron.v_threshold": "v_th vth threshold thresh thr u_th",
    "neuron.surrogate": "surrogate_function spike_grad surrogate_gradient",
    "neuron.temporal_window": "tbptt tbptt_window truncation_window bptt_steps",
    "loss.mse_weight": "lambda lamb lam lambda_ mse",
    "loss.label_smoothing": "smoothing smooth",
    "precision": "amp fp16 bf16 half mixed_precision dtype",
    "device": "gpu cuda",
    "threads": "num_threads n_threads cpus",
    "seed": "random_seed random_state manual_seed",
}
_FIELD_OF = {word: field for field, words in _SYNONYMS.items() for word in words.split()}
_CLOSE = 0.65


def nearest_field(name: str, fields: Collection[str]) -> str | None:
    """Return the field that a name most likely means; None if none is similar.

    Args:
        name: A wrong field path, such as ``optimiser.lr`` or ``train.num-epochs``.
        fields: The paths of all fields, with underscores.
    """
    plain = name.strip("-").lower().replace("-", "_")
    section, _, leaf = plain.rpartition(".")
    for word in (plain.replace(".", "_"), leaf):
        if (field := _FIELD_OF.get(word)) in fields and field is not None:
            return field
    by_leaf = [field for field in fields if field.rpartition(".")[2] == leaf]
    parts = set(leaf.split("_")) - {""}
    by_parts = [field for field in fields if parts and parts <= set(re.split(r"[._]", field))]
    for found in (by_leaf, by_parts):
        if found:
            return max(found, key=lambda field: (_similarity(section, field.rpartition(".")[0]), -len(field)))
    # A correct section must not compensate for a name that is not similar.
    close = [field for field in fields if _similarity(leaf, field.rpartition(".")[2]) >= _CLOSE]
    return max(close, key=lambda field: _similarity(plain, field), default=None)


def _similarity(a: str, b: str) -> float:
    """Return the similarity of two names, from 0 (nothing in common) to 1 (equal)."""
    return difflib.SequenceMatcher(None, a, b).ratio()

"""Defects of neurons, surrogate gradients and batch norm, forward and backward, in fused kernels and step by step."""

from __future__ import annotations

from .mutant import Mutant

_NEURONS = "pipeline/neurons"
_TESTS = "tests/test_pipeline"
_FUSED = f"{_TESTS}/neurons/test_fused_neurons.py"
_NORM = f"{_TESTS}/kernels/test_norm_neuron.py"
_AT_THE_THRESHOLD = (f"{_FUSED}::test_at_the_threshold_and_at_the_surrogate_s_edges_neurons_are_spikingjellys",)
_BEHIND_NORM = (f"{_FUSED}::test_behind_batch_norm_a_potential_exactly_at_the_threshold_fires",)
_PLAIN_LOOPS = (f"{_FUSED}::test_neurons_equal_the_papers_formulae_as_plain_loops",)

MUTANTS = (
    Mutant(
        "LIF, soft reset: no spike exactly at the threshold",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "s = one if un >= v_threshold else zero\n                    vb[i] = un - s * reset",
        "s = one if un > v_threshold else zero\n                    vb[i] = un - s * reset",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF, hard reset: no reset exactly at the threshold",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "vb[i] = reset if un >= v_threshold else un",
        "vb[i] = reset if un > v_threshold else un",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF, soft reset: by the potential instead of the threshold",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "vb[i] = un - s * reset",
        "vb[i] = un - s * un",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF backward: gradient flows through a hard reset",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "kept = zero if ub[i] >= v_threshold else gv[i]",
        "kept = gv[i]",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF backward: the reset is never detached",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "through = zero if detach_reset else np.float32(1.0)",
        "through = np.float32(1.0)",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF backward: the reset is always detached with the rectangular surrogate",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "du = gv[i] + (gs[i] - through * gv[i] * reset) * slope\n",
        "du = gv[i] + gs[i] * slope\n",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "LIF backward: the first state gets no gradient",
        f"{_NEURONS}/lif/cpu_kernels.py",
        "before_v[first:last] = gv",
        "before_v[first:last] = zero",
        (f"{_FUSED}::test_lif_equals_spikingjelly_in_every_variant",),
    ),
    Mutant(
        "LIF: the potential decays towards 0 instead of v_reset",
        f"{_NEURONS}/lif/node.py",
        "offset=self.v_reset / self.tau if hard else 0.0,",
        "offset=0.0,",
        (f"{_FUSED}::test_lif_equals_spikingjelly_in_every_variant",),
    ),
    Mutant(
        "LIF with batch norm: the input is never divided by tau",
        f"{_NEURONS}/lif/node.py",
        "gain=1.0 / self.tau if self.decay_input else 1.0,\n                v_threshold",
        "gain=1.0,\n                v_threshold",
        (f"{_NORM}::test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart",),
    ),
    Mutant(
        "LIF step by step: a scaled reset is not scaled",
        f"{_NEURONS}/lif/node.py",
        "u - reset * (self.reset_scale * self.v_threshold)",
        "u - reset * self.v_threshold",
        (
            f"{_TESTS}/neurons/test_neuron_controls.py::test_a_soft_reset_lowers_by_the_scaled_threshold",
            f"{_TESTS}/neurons/test_neuron_controls.py::test_single_steps_equal_the_sequence",
        ),
    ),
    Mutant(
        "CLIF: no spike exactly at the threshold",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "s = one if un >= v_threshold else zero\n                mn",
        "s = one if un > v_threshold else zero\n                mn",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "CLIF: the reset is by m of the step before",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "state[i] = un - s * (v_threshold + sigmoid(mn))",
        "state[i] = un - s * (v_threshold + sigmoid(state[i + _BLOCK]))",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF: the reset lacks the sigmoid of m",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "state[i] = un - s * (v_threshold + sigmoid(mn))",
        "state[i] = un - s * (v_threshold + mn)",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF: m decays by u instead of u / tau",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "mn = state[i + _BLOCK] * sigmoid(un * rate) + s",
        "mn = state[i + _BLOCK] * sigmoid(un) + s",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF backward: nothing flows from the reset into m",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "dm = dm - dv * s * raised * (one - raised)",
        "dm = dm",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF backward: the spike of m passes no gradient",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "ds = ds + dm - dv * (v_threshold + raised)",
        "ds = ds - dv * (v_threshold + raised)",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF backward: the decay of m lacks 1 / tau",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "dm * before * decay * (one - decay) * rate, dm",
        "dm * before * decay * (one - decay), dm",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "CLIF with m detached: the m before the first step gets a gradient",
        f"{_NEURONS}/clif/cpu_kernels.py",
        "before_m[first:last] = zero",
        "before_m[first:last] = work[_BLOCK : _BLOCK + n]",
        (f"{_TESTS}/neurons/test_neuron_controls.py::test_detached_m_gives_no_gradient_to_the_m_before_the_sequence",),
    ),
    Mutant(
        "CLIF with m detached, step by step: m is not detached",
        f"{_NEURONS}/clif/node.py",
        "        with torch.no_grad():\n            m =",
        "        with torch.enable_grad():\n            m =",
        (
            f"{_TESTS}/neurons/test_neuron_controls.py::test_detached_m_hands_no_gradient_on",
            f"{_TESTS}/neurons/test_neuron_controls.py::test_single_steps_equal_the_sequence",
        ),
    ),
    Mutant(
        "a plain loop of CLIF, which the kernels are compared with, lacks a term",
        "tests/reference/neurons.py",
        "dm += -dv * spikes[t] * b * (1.0 - b)",
        "dm += 0.0",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "rectangular surrogate: its edges belong to it",
        "pipeline/kernels/surrogate_kernels.py",
        "return alpha if far < edge else (_ZERO if far >= edge else far)",
        "return alpha if far <= edge else (_ZERO if far > edge else far)",
        _AT_THE_THRESHOLD,
    ),
    Mutant(
        "triangular surrogate: alpha is not squared",
        "pipeline/kernels/surrogate_kernels.py",
        "x = alpha * abs(u[i] - v_threshold)",
        "x = abs(u[i] - v_threshold)",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "surrogate of the arc tangent: twice as high",
        "pipeline/kernels/surrogate_kernels.py",
        "slope[i] = _HALF * alpha / (_ONE + x * x)",
        "slope[i] = alpha / (_ONE + x * x)",
        _PLAIN_LOOPS,
    ),
    Mutant(
        "batch norm folded into the neuron: the mean is added",
        "pipeline/kernels/norm_neuron.py",
        "shift = bias * gain - mean * scale",
        "shift = bias * gain + mean * scale",
        (f"{_NORM}::test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart",),
    ),
    Mutant(
        "batch norm folded into the neuron: the running variance is biased",
        "pipeline/kernels/norm_neuron.py",
        "var * (count / (count - 1))",
        "var",
        (f"{_NORM}::test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart",),
    ),
    Mutant(
        "batch norm folded into the neuron: the gradient of the weight lacks the neuron's gain",
        "pipeline/kernels/norm_neuron.py",
        "sums[:, 1] * affine.inverse * gain",
        "sums[:, 1] * affine.inverse",
        (f"{_NORM}::test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart",),
    ),
    Mutant(
        "batch norm folded into CLIF: the first step's state is not carried",
        f"{_NEURONS}/clif/cpu_with_norm_kernels.py",
        "row[i + _STEP] = un - s * (v_threshold + raised)",
        "row[i + _STEP] = un - s * v_threshold",
        (f"{_NORM}::test_spikes_gradients_statistics_and_states_equal_those_of_the_two_apart",),
    ),
    Mutant(
        "batch norm folded into LIF: no spike exactly at the threshold",
        f"{_NEURONS}/lif/cpu_with_norm_kernels.py",
        "s = one if un >= v_threshold else zero\n                state[i] = un",
        "s = one if un > v_threshold else zero\n                state[i] = un",
        _BEHIND_NORM,
    ),
    Mutant(
        "batch norm folded into CLIF: no spike exactly at the threshold",
        f"{_NEURONS}/clif/cpu_with_norm_kernels.py",
        "s = one if un >= v_threshold else zero\n                mn = state",
        "s = one if un > v_threshold else zero\n                mn = state",
        _BEHIND_NORM,
    ),
    Mutant(
        "batch norm of repeated images: the variance is that of one step",
        "pipeline/layers/batch_norm.py",
        "factor = (values - 1) * timesteps / (values * timesteps - 1)",
        "factor = 1.0",
        (f"{_TESTS}/layers/test_repeated_input.py::test_batch_norm_of_a_repeated_step_equals_that_of_its_copies",),
    ),
    Mutant(
        "batch norm per step: all steps have the weights' gradient of one",
        "pipeline/layers/batch_norm.py",
        "grad_weight += of_weight",
        "grad_weight = of_weight",
        (f"{_TESTS}/layers/test_batch_norm.py::test_per_step_equals_a_loop_of_torchs_batch_norm_bit_for_bit",),
    ),
    Mutant(
        "a state is kept from one sequence to the next",
        "pipeline/networks/spiking_layers.py",
        "        if callable(reset):\n            reset()\n",
        "        if callable(reset):\n            pass\n",
        (f"{_TESTS}/training/test_learner.py::test_a_step_leaves_no_state_to_the_next_batch",),
    ),
)

"""Batch norm per time step equals a loop of torch's own over the steps, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.layers.batch_norm import SequenceBatchNorm
from preprocess.errors import ConfigError

SHAPES = [(10, 8, 16, 9, 9), (3, 2, 5, 1, 1), (1, 4, 3, 7, 2), (4, 1, 2, 6, 5)]


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class LoopBatchNorm(nn.BatchNorm2d):
    """One forward pass of torch's batch norm for each time step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([super(LoopBatchNorm, self).forward(step) for step in x.unbind(0)])


def drawn(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    # Steps differ in mean and spread, so that taking them together would show.
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 2.0, shape[0]).view(-1, 1, 1, 1, 1)
    return torch.randn(shape, generator=generator) * scale + scale


def pair(channels: int) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    ours, loop = SequenceBatchNorm(channels, "per-step"), LoopBatchNorm(channels)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        ours.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        ours.bias.copy_(torch.randn(channels, generator=generator))
    loop.load_state_dict(ours.state_dict())
    return ours, loop


def passed(norm: nn.Module, x: torch.Tensor, autocast: bool) -> dict[str, torch.Tensor]:
    """Outputs, gradients and buffers of two training batches and one in evaluation."""
    found = {}
    for batch, training in (("first", True), ("second", True), ("evaluated", False)):
        norm.train(training)
        inputs = {"x": (x * len(batch)).requires_grad_(), **dict(norm.named_parameters())}
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = norm(inputs["x"])
        gradients = torch.autograd.grad((out.float() * drawn(tuple(x.shape), seed=2)).sum(), list(inputs.values()))
        found |= {f"{batch} {name}": grad for name, grad in zip(inputs, gradients, strict=True)}
        found |= {f"{batch} output": out, **{f"{batch} {name}": b.clone() for name, b in norm.named_buffers()}}
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("precision", ["fp32", "bf16 input", "bf16 autocast"])
def test_per_step_equals_a_loop_of_torchs_batch_norm_bit_for_bit(shape: tuple[int, ...], precision: str):
    x = drawn(shape)
    if precision == "bf16 input":
        x = x.bfloat16()
    found, expected = (passed(norm, x, precision == "bf16 autocast") for norm in pair(shape[2]))
    assert len(found) == len(expected) == 21
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        if name in ("evaluated weight", "evaluated bias"):
            # In evaluation all steps are one pass, whose sum over steps rounds elsewhere.
            torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-3)
        else:
            assert torch.equal(found[name], expected[name]), name
    assert found["second num_batches_tracked"] == 2 * shape[0]


def test_a_step_is_normalised_over_its_own_images_alone():
    norm = SequenceBatchNorm(3, "per-step")
    x = drawn((4, 6, 3, 5, 5))
    changed = x.clone()
    changed[2:] *= 7.0
    assert torch.equal(norm(x)[:2], norm(changed)[:2])
    out = norm(x)
    torch.testing.assert_close(out.mean((1, 3, 4)), torch.zeros(4, 3), atol=1e-5, rtol=0.0)


def test_joint_equals_torchs_batch_norm_over_all_images_of_all_steps():
    joint, plain = SequenceBatchNorm(16, "joint"), nn.BatchNorm2d(16)
    x = drawn(SHAPES[0])
    for train in (True, False):
        joint.train(train)
        plain.train(train)
        assert torch.equal(joint(x).flatten(0, 1), plain(x.flatten(0, 1)))
    assert torch.equal(joint.running_var, plain.running_var)


def test_input_that_is_not_contiguous_is_normalised_alike():
    x = drawn((4, 3, 5, 6, 7))
    view = x.transpose(3, 4).contiguous().transpose(3, 4)
    ours, _ = pair(5)
    weights = drawn((4, 3, 5, 6, 7), seed=3)
    gradients = []
    for inputs in (x.requires_grad_(), view.requires_grad_()):
        (ours(inputs) * weights).sum().backward()
        gradients.append(inputs.grad)
    assert torch.equal(*gradients)


def test_without_gradients_the_running_statistics_move_all_the_same():
    ours, loop = pair(5)
    with torch.no_grad():
        assert torch.equal(ours(drawn((4, 3, 5, 6, 7))), loop(drawn((4, 3, 5, 6, 7))))
    assert torch.equal(ours.running_mean, loop.running_mean)


@pytest.mark.parametrize("mode", ["per-step", "joint"])
def test_weights_are_those_of_torchs_batch_norm(mode: str):
    norm = SequenceBatchNorm(4, mode)
    assert norm.state_dict().keys() == nn.BatchNorm2d(4).state_dict().keys()
    nn.BatchNorm2d(4).load_state_dict(norm.state_dict())


def test_a_single_value_a_channel_is_refused_in_training_only():
    norm = SequenceBatchNorm(4, "per-step")
    x = torch.randn(5, 1, 4, 1, 1)
    with pytest.raises(ConfigError, match=r"batch_size: expected at least 2 if feature maps shrink .*, found 1"):
        norm(x)
    assert norm.num_batches_tracked == 0
    assert norm.eval()(x).shape == x.shape

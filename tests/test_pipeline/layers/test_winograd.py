"""3x3 convolutions by Winograd's algorithm: float64's results within a bound, for any shape, memory and threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.layers import spike_conv, winograd
from pipeline.layers.winograd import dense_conv2d, input_gradient, pays

# The bound that the module promises, as a fraction of the norm.
CLOSE = 5e-6
# Images, Cin, Cout, H, W.
LAYERS = {
    "whole-tiles": (2, 32, 16, 8, 12),
    "cut-tiles": (3, 16, 16, 5, 7),
    "channels-that-overlap": (2, 37, 45, 6, 9),
    "one-pixel": (2, 16, 17, 1, 1),
    "one-row": (2, 16, 16, 1, 30),
    "several-blocks": (5, 48, 16, 24, 8),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers here are small: Winograd's algorithm does not pay for them, and one block would be enough."""
    monkeypatch.setattr(winograd, "pays", lambda *_: True)
    monkeypatch.setattr(winograd, "_BLOCK", 1)
    monkeypatch.setattr("pipeline.kernels.threads._LEAST", 1)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def make_layer(layer: tuple[int, int, int, int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Averages of spikes, weight, bias, and a gradient of the result."""
    images, channels, out, height, width = layer
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, 5, (images, channels, height, width), generator=generator) / 4
    weight = torch.randn((out, channels, 3, 3), generator=generator)
    bias = torch.randn(out, generator=generator)
    return channels_last(x), weight, bias, channels_last(torch.randn((images, out, height, width), generator=generator))


def plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=1)


def all_of(function, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """The result and the gradients."""
    leaves = [part.detach().clone(memory_format=torch.preserve_format).requires_grad_() for part in (x, weight, bias)]
    result = function(*leaves)
    gradients = torch.autograd.grad(result, leaves, grad)
    return dict(zip(("result", "input", "weight", "bias"), (result.detach(), *gradients), strict=True))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
def test_result_and_gradients_are_within_the_bound_of_float64(layer):
    given = make_layer(layer)
    expected = all_of(plain, *(part.double() for part in given))
    found = all_of(dense_conv2d, *given)
    for name, value in expected.items():
        apart = float((found[name] - value).norm() / value.norm())
        assert found[name].shape == value.shape and apart < CLOSE, (name, apart)


def test_many_channels_and_tiles_are_within_the_bound_of_float64():
    x, weight, _, grad = make_layer((4, 128, 96, 16, 16))
    for found, expected in [
        (dense_conv2d(x, weight), plain(x.double(), weight.double(), None)),
        (input_gradient(grad, weight), functional.conv_transpose2d(grad.double(), weight.double(), padding=1)),
    ]:
        assert float((found - expected).norm() / expected.norm()) < CLOSE
        # No single result is far away either.
        assert float((found - expected).abs().max() / expected.std()) < 10 * CLOSE


@pytest.mark.parametrize("layer", ["cut-tiles", "channels-that-overlap", "several-blocks"])
def test_one_thread_and_two_give_the_same_bits(layer, threads):
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(all_of(dense_conv2d, *make_layer(LAYERS[layer])))
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name]), name


def test_result_and_weight_gradient_are_channels_last_for_weights_in_any_memory():
    x, weight, bias, grad = make_layer(LAYERS["channels-that-overlap"])
    found = [all_of(dense_conv2d, x, form, bias, grad) for form in (weight, channels_last(weight))]
    for name in ("result", "input", "weight"):
        assert found[0][name].is_contiguous(memory_format=torch.channels_last), name
        assert torch.equal(found[0][name], found[1][name]), name


def test_gradients_that_arrive_in_other_memory_are_read_in_their_order():
    x, weight, bias, grad = make_layer(LAYERS["whole-tiles"])
    found = [all_of(dense_conv2d, x, weight, bias, form) for form in (grad, grad.contiguous())]
    for name in found[0]:
        assert torch.equal(found[0][name], found[1][name]), name


@pytest.mark.parametrize("needed", ["input", "weight", "bias"])
def test_gradients_that_nobody_asked_for_are_not_computed(needed, monkeypatch):
    x, weight, bias, grad = make_layer(LAYERS["whole-tiles"])
    leaves = {"input": x, "weight": weight, "bias": bias}
    leaves[needed].requires_grad_()
    result = dense_conv2d(x, weight, bias)
    if needed != "input":
        monkeypatch.setattr(winograd, "input_gradient", None)
    if needed != "weight":
        monkeypatch.setattr(winograd, "_weight_gradient", None)
    result.backward(grad)
    assert leaves[needed].grad is not None


def test_autocast_of_the_backward_pass_changes_nothing():
    given = make_layer(LAYERS["whole-tiles"])
    expected = all_of(dense_conv2d, *given)
    with torch.autocast("cpu", torch.bfloat16):
        found = all_of(dense_conv2d, *given)
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_inference_mode_works_on_two_threads(threads):
    torch.set_num_threads(2)
    x, weight, bias, _ = make_layer(LAYERS["several-blocks"])
    with torch.inference_mode():
        found = dense_conv2d(x, weight, bias)
    assert torch.equal(found, dense_conv2d(x, weight, bias))


def test_a_value_that_is_not_finite_stays_visible():
    x, weight, bias, _ = make_layer(LAYERS["whole-tiles"])
    x[0, 3, 2, 2] = float("inf")
    found = dense_conv2d(x, weight, bias)
    assert not found[0, :, 1:4, 1:4].isfinite().any()
    assert torch.equal(found[1], dense_conv2d(*make_layer(LAYERS["whole-tiles"])[:3])[1])


def test_second_derivatives_are_refused():
    x, weight, bias, grad = make_layer(LAYERS["whole-tiles"])
    weight.requires_grad_()
    (first,) = torch.autograd.grad(dense_conv2d(x, weight, bias), weight, grad.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize(
    ("images", "channels", "out", "side"),
    [(80, 2, 64, 48), (320, 16, 16, 32), (320, 64, 64, 6), (320, 64, 64, 5), (8, 512, 512, 4), (80, 512, 512, 1)],
)
def test_layers_where_torch_is_faster_go_to_torch(images, channels, out, side):
    assert not pays(torch.Size((images, channels, side, side)), out)


@pytest.mark.parametrize(
    ("images", "channels", "out", "side"), [(80, 64, 128, 48), (80, 512, 512, 6), (80, 512, 512, 3), (320, 48, 96, 8)]
)
def test_wide_layers_are_transformed(images, channels, out, side):
    assert pays(torch.Size((images, channels, side, side)), out)


def test_convolutions_of_other_inputs_than_spikes_and_gradients_of_inputs_arrive_here(monkeypatch):
    monkeypatch.setattr(spike_conv, "paying_density", lambda *_: 1.0)
    x, weight, _, grad = make_layer(LAYERS["whole-tiles"])
    result = spike_conv.spike_conv2d(x, weight.requires_grad_())
    assert type(result.grad_fn).__name__ == "_WinogradBackward"
    spikes = channels_last((x > 0.5).float()).requires_grad_()
    result = spike_conv.spike_conv2d(spikes, weight)
    assert type(result.grad_fn).__name__ == "_SpikeConvBackward"
    (found,) = torch.autograd.grad(result, spikes, grad)
    assert torch.equal(found, input_gradient(grad, weight.detach()))

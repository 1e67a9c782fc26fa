"""3x3 convolutions of spikes: torch's results from sums of rows, and torch itself wherever those cannot be had."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.layers import spike_conv
from pipeline.layers.spike_conv import convolve, find_spikes, paying_density, spike_conv2d

# Only the order of sums differs.
CLOSE = 1e-5
LAYERS = {
    "one-pixel": (1, 1, 1, 1, 1),
    "one-row": (2, 20, 40, 1, 50),
    "one-column": (2, 20, 40, 50, 1),
    "odd": (3, 37, 45, 13, 9),
    "one-channel": (4, 1, 33, 6, 7),
    "few-channels": (2, 5, 7, 4, 6),
    "several-chunks": (2, 150, 33, 10, 11),
    "images-in-a-band": (9, 16, 16, 6, 6),
    "bands-in-an-image": (2, 24, 48, 30, 31),
    "wide": (1, 3, 8, 3, 500),
}


@pytest.fixture(autouse=True)
def always_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers here are small, so that the rule would leave all of them to torch."""
    monkeypatch.setattr(spike_conv, "paying_density", lambda *_: 1.0)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def make_spikes(shape: tuple[int, ...], density: float = 0.15, value: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return channels_last((torch.rand(shape, generator=generator) < density).float() * value)


def make_layer(layer: tuple[int, int, int, int, int], value: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input, weight, bias, and a gradient of the result."""
    images, channels, out, height, width = layer
    generator = torch.Generator().manual_seed(1)
    x = make_spikes((images, channels, height, width), value=value)
    x[-1, -1, -1, -1] = value
    weight = torch.randn((out, channels, 3, 3), generator=generator)
    bias = torch.randn(out, generator=generator)
    return x, weight, bias, torch.randn((images, out, height, width), generator=generator)


def dense(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=1)


def all_of(function, x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """The result and the gradients."""
    leaves = [part.detach().clone(memory_format=torch.preserve_format).requires_grad_() for part in (x, weight, bias)]
    result = function(*leaves)
    gradients = torch.autograd.grad(result, leaves, grad)
    return dict(zip(("result", "input", "weight", "bias"), (result.detach(), *gradients), strict=True))


def check_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        apart = (found[name] - value).norm() / value.norm().clamp_min(1e-12)
        assert found[name].shape == value.shape and float(apart) < CLOSE, (name, float(apart))


def runs_sparse(result: Tensor) -> bool:
    return type(result.grad_fn).__name__ == "_SpikeConvBackward"


@pytest.mark.parametrize("layer", LAYERS.values(), ids=list(LAYERS))
@pytest.mark.parametrize("value", [1.0, 1 / 0.75], ids=["ones", "behind-dropout"])
def test_result_and_gradients_are_those_of_float64(layer, value):
    x, weight, bias, grad = make_layer(layer, value)
    assert runs_sparse(spike_conv2d(x, weight.requires_grad_(), bias))
    expected = all_of(dense, *(part.double() for part in (x, weight, bias, grad)))
    check_close(all_of(spike_conv2d, x, weight, bias, grad), expected)


def test_every_tap_meets_its_own_neighbour():
    x = channels_last(torch.zeros(1, 1, 5, 5))
    x[0, 0, 1, 3] = 1
    weight = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    torch.testing.assert_close(spike_conv2d(x, weight), dense(x, weight, None), rtol=0, atol=0)


@pytest.mark.parametrize("layer", ["odd", "several-chunks", "images-in-a-band"])
def test_one_thread_and_two_give_the_same_bits(layer, threads, monkeypatch):
    monkeypatch.setattr("pipeline.kernels.threads._LEAST", 1)
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(all_of(spike_conv2d, *make_layer(LAYERS[layer])))
    # The input's gradient is torch's own.
    for name in ("result", "weight", "bias"):
        assert torch.equal(found[0][name], found[1][name]), name


def test_no_spikes_give_the_bias_and_no_weight_gradient():
    x, weight, bias, grad = make_layer(LAYERS["odd"])
    found = all_of(spike_conv2d, channels_last(torch.zeros_like(x)), weight, bias, grad)
    assert torch.equal(found["result"], bias.view(1, -1, 1, 1).expand_as(grad))
    assert not found["weight"].any()
    torch.testing.assert_close(found["bias"], grad.sum((0, 2, 3)), rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("layer", ["odd", "several-chunks", "bands-in-an-image", "wide"])
def test_pixels_full_of_spikes_fit_the_lists(layer):
    x, weight, bias, grad = make_layer(LAYERS[layer])
    ones = channels_last(torch.ones_like(x))
    expected = all_of(dense, *(part.double() for part in (ones, weight, bias, grad)))
    assert runs_sparse(spike_conv2d(ones, weight.requires_grad_(), bias))
    check_close(all_of(spike_conv2d, ones, weight.detach(), bias, grad), expected)


def test_empty_batch_gives_an_empty_result():
    assert spike_conv2d(torch.zeros(0, 3, 4, 5), torch.zeros(7, 3, 3, 3)).shape == (0, 7, 4, 5)


def test_result_is_channels_last_and_so_may_be_weights_and_gradients():
    x, weight, bias, grad = make_layer(LAYERS["odd"])
    plain = all_of(spike_conv2d, x, weight, bias, grad)
    assert plain["result"].is_contiguous(memory_format=torch.channels_last)
    other = all_of(spike_conv2d, x, channels_last(weight), bias, channels_last(grad))
    assert other["weight"].is_contiguous(memory_format=torch.channels_last)
    for name in ("result", "weight", "bias"):
        assert torch.equal(plain[name], other[name]), name


def test_weight_that_is_a_view_of_more_memory():
    x, weight, bias, grad = make_layer(LAYERS["odd"])
    wide = torch.cat([weight, weight], 1)[:, : weight.shape[1]]
    check_close(all_of(spike_conv2d, x, wide, bias, grad), all_of(spike_conv2d, x, weight, bias, grad))


@pytest.mark.parametrize("needed", ["input", "weight", "bias"])
def test_gradients_that_nobody_asked_for_are_not_computed(needed, monkeypatch):
    x, weight, bias, grad = make_layer(LAYERS["odd"])
    leaves = {"input": x, "weight": weight, "bias": bias}
    leaves[needed].requires_grad_()
    if needed != "input":
        monkeypatch.setattr(spike_conv, "input_gradient", None)
    if needed != "weight":
        monkeypatch.setattr(spike_conv, "_weight_gradient", None)
    spike_conv2d(x, weight, bias).backward(grad)
    with torch.enable_grad():
        expected = torch.autograd.grad(dense(x, weight, bias), leaves[needed], grad)[0]
    torch.testing.assert_close(leaves[needed].grad, expected, rtol=1e-4, atol=1e-4)


def test_two_calls_before_one_backward_do_not_mix():
    x, weight, bias, _ = make_layer(LAYERS["odd"])
    other = make_spikes(tuple(x.shape), seed=5)

    def twice(function):
        leaf = weight.clone().requires_grad_()
        first, second = function(x, leaf, bias), function(other, leaf, bias)
        (first.square().sum() + second.pow(3).sum()).backward()
        return leaf.grad

    torch.testing.assert_close(twice(spike_conv2d), twice(dense), rtol=1e-4, atol=1e-2)


def test_without_gradients_only_the_result_is_made():
    x, weight, bias, _ = make_layer(LAYERS["odd"])
    with torch.no_grad():
        found = spike_conv2d(x, weight.requires_grad_(), bias)
    assert found.grad_fn is None
    torch.testing.assert_close(found, dense(x, weight.detach(), bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("odd_one", [2.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("at", [(0, 0, 0, 0), (1, 36, 12, 8), (2, 3, 4, 5)])
def test_a_second_value_goes_to_torch(odd_one, at):
    x, weight, bias, _ = make_layer(LAYERS["odd"])
    x[at] = odd_one
    assert find_spikes(x, 45) is None
    result = spike_conv2d(x, weight.requires_grad_(), bias)
    assert not runs_sparse(result) and torch.equal(result.nan_to_num(), dense(x, weight, bias).nan_to_num())


def test_threads_that_found_different_values_go_to_torch(threads, monkeypatch):
    monkeypatch.setattr("pipeline.kernels.threads._LEAST", 1)
    torch.set_num_threads(2)
    x = make_spikes((2, 16, 16, 16))
    x[1] *= 2
    assert find_spikes(x, 16) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_spikes_that_are_no_numbers_go_to_torch(value):
    x = channels_last(torch.zeros(1, 16, 4, 4))
    x[0, 3, 2, 1] = value
    assert find_spikes(x, 16) is None


def test_negative_zero_is_no_spike():
    x = make_spikes((2, 37, 5, 5))
    assert torch.equal(find_spikes(channels_last(torch.where(x > 0, x, -0.0)), 8)[0], find_spikes(x, 8)[0])


@pytest.mark.parametrize("count", [1, 2])
def test_more_spikes_than_pay_go_to_torch(count, threads, monkeypatch):
    # Two threads find half of them each.
    monkeypatch.setattr("pipeline.kernels.threads._LEAST", 1)
    torch.set_num_threads(count)
    monkeypatch.setattr(spike_conv, "paying_density", paying_density)
    limit = paying_density(16 * 16 * 4, 32, 64)
    assert 0.2 < limit < 0.6
    few, many = (make_spikes((4, 32, 16, 16), density) for density in (0.9 * limit, 1.1 * limit))
    assert find_spikes(few, 64) is not None and find_spikes(many, 64) is None


@pytest.mark.parametrize(("pixels", "channels", "out"), [(9000, 2, 64), (9000, 64, 10), (9000, 16, 16), (100, 99, 99)])
def test_layers_where_torch_is_faster_go_to_torch(pixels, channels, out):
    assert paying_density(pixels, channels, out) == 0


def test_convolve_stands_for_a_convolution():
    torch.manual_seed(0)
    for bias in (True, False):
        conv, x = nn.Conv2d(20, 30, 3, padding=1, bias=bias), make_spikes((2, 20, 7, 8))
        result = convolve(conv, x)
        assert runs_sparse(result)
        torch.testing.assert_close(result, conv(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"kernel_size": 3, "padding": 1, "dtype": torch.float64},
    ],
    ids=str,
)
def test_convolve_leaves_other_convolutions_to_torch(options):
    conv = nn.Conv2d(4, 6, **options)
    x = make_spikes((2, 4, 7, 8)).to(conv.weight.dtype)
    result = convolve(conv, x)
    assert not runs_sparse(result) and torch.equal(result, conv(x))


def test_convolve_leaves_other_memory_autocast_and_hooks_to_torch():
    conv, x = nn.Conv2d(4, 6, 3, padding=1), make_spikes((2, 4, 7, 8))
    assert runs_sparse(convolve(conv, x))
    assert not runs_sparse(convolve(conv, x.contiguous()))
    with torch.autocast("cpu", torch.bfloat16):
        result = convolve(conv, x)
    assert result.dtype == torch.bfloat16 and not runs_sparse(result)
    seen = []
    conv.register_forward_hook(lambda *_: seen.append(1))
    assert not runs_sparse(convolve(conv, x)) and seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("values", [2, 5], ids=["spikes", "averages"])
def test_autocast_sums_in_float32_where_bfloat16_is_slow(dtype, values, monkeypatch):
    monkeypatch.setattr(spike_conv, "multiplies_bfloat16_slowly", lambda: True)
    monkeypatch.setattr(spike_conv, "pays", lambda *_: True)
    monkeypatch.setattr("pipeline.layers.winograd.pays", lambda *_: True)
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 16, 3, padding=1)
    x = channels_last(torch.randint(0, values, (2, 32, 8, 9)) / (values - 1))
    grad = torch.randn(2, 16, 8, 9).bfloat16()
    monkeypatch.setattr(functional, "conv2d", None)
    given = x.to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        result = convolve(conv, given)
    found = torch.autograd.grad(result, (given, conv.weight, conv.bias), grad)
    monkeypatch.undo()
    weight, bias = conv.weight.detach().double().requires_grad_(), conv.bias.detach().double().requires_grad_()
    wide = x.double().requires_grad_()
    expected = dense(wide, weight, bias)
    assert result.dtype == torch.bfloat16 and result.is_contiguous(memory_format=torch.channels_last)
    # Nothing but the result itself is rounded.
    assert float((result - expected).detach().norm() / expected.detach().norm()) < 2e-3
    gradients = torch.autograd.grad(expected, (wide, weight, bias), grad.double())
    bounds = 2e-3 if dtype == torch.bfloat16 else CLOSE, CLOSE, CLOSE
    for mine, exact, bound in zip(found, gradients, bounds, strict=True):
        assert float((mine - exact).norm() / exact.norm()) < bound
    assert [part.dtype for part in found] == [dtype, torch.float32, torch.float32]


def test_autocast_keeps_other_precisions_and_small_layers_to_torch(monkeypatch):
    monkeypatch.setattr(spike_conv, "multiplies_bfloat16_slowly", lambda: True)
    conv, x = nn.Conv2d(16, 16, 3, padding=1), make_spikes((2, 16, 8, 9))
    with torch.autocast("cpu", torch.bfloat16):
        assert spike_conv.find_obstacle(conv, x) is not None
    monkeypatch.setattr(spike_conv, "pays", lambda *_: True)
    with torch.autocast("cpu", torch.bfloat16):
        assert spike_conv.find_obstacle(conv, x) is None
        assert spike_conv.find_obstacle(conv, x.double()) is not None
    with torch.autocast("cpu", torch.float16):
        assert spike_conv.find_obstacle(conv, x) is not None


def test_convolve_is_torchs_own_convolution_where_torch_transforms():
    conv, x = nn.Conv2d(4, 6, 3, padding=1), make_spikes((2, 4, 7, 8))
    mapped = torch.func.vmap(lambda image: convolve(conv, image[None])[0])(x)
    torch.testing.assert_close(mapped, conv(x))


def test_a_second_derivative_is_refused():
    x, weight, bias, grad = make_layer(LAYERS["odd"])
    weight.requires_grad_()
    grad.requires_grad_()
    (first,) = torch.autograd.grad(spike_conv2d(x, weight, bias), weight, grad, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()

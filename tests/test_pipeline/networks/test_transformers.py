"""Spike-Driven Transformer and Spikformer: their layers, sizes and weights, and what attention computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import layer as sj_layer
from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer as SJSpikeDriven
from spikingjelly.activation_based.model.spikformer import Spikformer as SJSpikformer
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.attention import SpikeDrivenAttention, SpikingAttention
from pipeline.networks import build_network, neuron_layers, reset_network, spike_driven_transformer, spikformer

# The neuron of the authors' code, which is SpikingJelly's default.
AUTHORS = NeuronConfig(
    "lif", reset="hard", decay_input=True, detach_reset=True, surrogate="sigmoid", alpha=4.0, backend="torch"
)
SPIKE_DRIVEN = list(spike_driven_transformer.SIZES)
TRANSFORMERS = [*SPIKE_DRIVEN, *spikformer.SIZES]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig = AUTHORS, **words: Any) -> nn.Module:
    given = {"channels": 2, "classes": 10, "size": (16, 16), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron, **given)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.poisson(torch.full(shape, 0.5), generator=torch.Generator().manual_seed(seed))


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "classes", "size", "millions"),
    [
        # Zhou et al., Table 2 (CIFAR-10, Spikformer-4-384) and Table 3 (both event-camera sets, Spikformer-2-256).
        ("spikformer", 3, 10, (32, 32), 9.32),
        ("spikformer-dvs", 2, 10, (128, 128), 2.57),
        # The same tokens, channels and blocks: the two papers' attentions have as many weights.
        ("spike-driven-transformer-gesture", 2, 11, (128, 128), 2.57),
    ],
)
def test_networks_have_as_many_parameters_as_the_papers(
    name: str, channels: int, classes: int, size: tuple[int, int], millions: float
):
    network = build(NetworkConfig(name), channels=channels, classes=classes, size=size)
    assert round(count(network) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("blocks", "channels", "millions"),
    [(8, 384, 16.81), (6, 512, 23.37), (8, 512, 29.68), (10, 512, 36.01), (8, 768, 66.34)],
)
def test_spike_driven_transformers_for_imagenet_have_as_many_parameters_as_the_paper(
    blocks: int, channels: int, millions: float, monkeypatch: pytest.MonkeyPatch
):
    """Yao et al., Table 2, where some numbers are cut and others rounded."""
    sizes = spike_driven_transformer.Sizes(blocks, channels, (True,) * 4)
    monkeypatch.setitem(spike_driven_transformer.SIZES, "imagenet", sizes)
    with torch.device("meta"):
        network = spike_driven_transformer.SpikeDrivenTransformer(
            NetworkConfig("imagenet"), lambda threshold_factor=1.0: nn.Identity(), channels=3, classes=1000, size=(9, 9)
        )
    assert count(network) / 1e6 == pytest.approx(millions, abs=0.01)


def weights_in_order(network: nn.Module, skip: Callable[[str], bool] = lambda name: False) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if not skip(name)}


def train_mode_pass(network: nn.Module, x: torch.Tensor, watched: list[nn.Module]) -> tuple[Any, ...]:
    """The mean of the logits, the outputs of modules, and the gradient of the frames, in training mode."""
    seen: list[torch.Tensor] = []
    hooks = [module.register_forward_hook(lambda _m, _i, out: seen.append(out.detach())) for module in watched]
    x = x.clone().requires_grad_()
    logits = network(x)
    logits = logits.mean(0) if logits.dim() == 3 else logits
    (grad,) = torch.autograd.grad(logits.square().sum(), x)
    for hook in hooks:
        hook.remove()
    functional.reset_net(network)
    return logits.detach(), seen, grad


@pytest.mark.parametrize("size", [(16, 16), (18, 13)])
@pytest.mark.parametrize("name", ["spike-driven-transformer", "spike-driven-transformer-gesture"])
def test_the_spike_driven_transformer_equals_spikingjellys_block_by_block(name: str, size: tuple[int, int]):
    ours = build(NetworkConfig(name, width=1 / 8, batch_norm="joint"), size=size).double()
    sizes = spike_driven_transformer.SIZES[name]
    theirs = SJSpikeDriven(
        in_channels=2,
        num_classes=10,
        embed_dims=round(sizes.channels / 8),
        num_heads=8,
        depths=sizes.blocks,
        pooling_stat="".join(str(int(pooled)) for pooled in sizes.pooled),
        detach_reset=True,
    ).double()
    # Theirs have biases before the batch norms of the patch splitting, which the authors' code has not.
    stem_bias = {f"patch_embed.stages.{k}.0.bias" for k in range(3)} | {"patch_embed.final_stage.0.bias"}
    mine = weights_in_order(ours)
    names = weights_in_order(theirs, stem_bias.__contains__)
    theirs.load_state_dict(
        dict(zip(names, mine.values(), strict=True))
        | {bias: torch.zeros_like(theirs.state_dict()[bias]) for bias in stem_bias}
    )
    blocks = list(ours.blocks)
    x = frames(3, 3, 2, *size).double()
    found = train_mode_pass(ours, x, [ours.patches, *blocks])
    pairs = [part for block in theirs.blocks for part in (block.attn, block.mlp)]
    expected = train_mode_pass(theirs, x, [theirs.patch_embed, *pairs])
    assert found[1][1].abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_spikformer_equals_spikingjellys_blocks_behind_its_own_patches():
    """SpikingJelly pools before the neurons of the patch splitting; the authors' code pools after them."""
    ours = build(NetworkConfig("spikformer", width=1 / 8, batch_norm="joint")).double()
    theirs = SJSpikformer(
        in_channels=2, img_size_h=16, img_size_w=16, patch_size=4, num_classes=10, embed_dims=48, num_heads=12, depths=4
    ).double()
    joined = ours.state_dict()
    state = dict(theirs.state_dict())
    for k, block in enumerate(theirs.blocks):
        mine = f"blocks.attention{k + 1}.branch."
        for part in ("weight", "bias", "running_mean", "running_var"):
            thirds = [joined[f"{mine}{kind}.norm.{part}"] for kind in ("query", "key", "value")]
            state[f"blocks.{k}.attn.qkv_conv_bn.1.{part}"] = torch.cat(thirds)
            state[f"blocks.{k}.attn.proj_conv_bn.1.{part}"] = joined[f"{mine}project.norm.{part}"]
            for j in (1, 2):
                state[f"blocks.{k}.mlp.fc{j}.1.{part}"] = joined[f"blocks.mlp{k + 1}.branch.{j - 1}.norm.{part}"]
        thirds = [joined[f"{mine}{kind}.conv.weight"] for kind in ("query", "key", "value")]
        state[f"blocks.{k}.attn.qkv_conv_bn.0.weight"] = torch.cat(thirds).squeeze(-1)
        state[f"blocks.{k}.attn.proj_conv_bn.0.weight"] = joined[f"{mine}project.conv.weight"].squeeze(-1)
        for j in (1, 2):
            weight = joined[f"blocks.mlp{k + 1}.branch.{j - 1}.conv.weight"]
            state[f"blocks.{k}.mlp.fc{j}.0.weight"] = weight.squeeze(-1)
        assert isinstance(block.attn.qkv_conv_bn, sj_layer.SeqToANNContainer)
    theirs.load_state_dict(state)
    theirs.patch_embed, theirs.head = ours.patches, ours.classifier
    theirs.train()
    x = frames(3, 3, 2, 16, 16).double()
    found = train_mode_pass(ours, x, [ours.blocks[2 * k + 1] for k in range(4)])
    expected = train_mode_pass(theirs, x, list(theirs.blocks))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def eroded_attention(attention: SpikeDrivenAttention, x: torch.Tensor, heads: int) -> torch.Tensor:
    """The authors' equations for CIFAR10-DVS, with tokens before channels; runs our layers with weights."""
    pool = nn.MaxPool3d((1, 3, 3), (1, 1, 1), (0, 1, 1))
    (steps, batch, channels, height, width), tokens = x.shape, x.shape[3] * x.shape[4]

    def of_heads(spikes: torch.Tensor) -> torch.Tensor:
        rows = spikes.flatten(3).transpose(-1, -2).reshape(steps, batch, tokens, heads, channels // heads)
        return rows.permute(0, 1, 3, 2, 4)

    spikes = attention.neuron(x)
    q = of_heads(attention.query(spikes))
    k, v = (of_heads(pool(layer(spikes))) for layer in (attention.key, attention.value))
    kv = pool(k * v).sum(-2, keepdim=True)
    gate = attention.gate(kv)
    attended = pool(q * gate).transpose(3, 4).reshape(steps, batch, channels, height, width)
    return attention.norm(attention.project(attended.flatten(0, 1)).unflatten(0, (steps, batch)))


def test_attention_for_cifar10_dvs_equals_the_authors_equations():
    network = build(NetworkConfig("spike-driven-transformer-cifar10dvs", width=1 / 8), seed=3).double()
    attention = network.blocks.attention1.branch
    x = torch.randn(3, 2, 32, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    found = attention(x)
    reset_network(network)
    expected = eroded_attention(attention, x, heads=8)
    assert found.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


class Operands(TorchDispatchMode):
    """Records which operations multiply, and whether their operands are only 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[str, bool]] = []
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::").partition(".")[0]
        self.names.add(name)
        if name in ("mul", "bmm", "mm", "addmm", "convolution", "mkldnn_convolution", "matmul"):
            tensors = [x for x in args if isinstance(x, torch.Tensor)]
            operands = tensors if name in ("mul", "bmm") else tensors[:1]
            self.products.append((name, all(bool(((x == 0) | (x == 1)).all()) for x in operands)))
        return func(*args, **(kwargs or {}))


class Silent(nn.Module):
    """Stands for a neuron, whose own multiplications are its own matter, and records what it was given."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x >= self.threshold).to(x)


@pytest.mark.parametrize("name", SPIKE_DRIVEN)
def test_spike_driven_attention_only_adds_and_masks_with_binary_operands(name: str):
    sizes = spike_driven_transformer.SIZES[name]
    attention = SpikeDrivenAttention(
        16,
        "joint",
        lambda threshold_factor=1.0: Silent(0.3 * threshold_factor),
        0.0,
        heads=8 if sizes.spreads else None,
    )
    for module in attention.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    x = torch.randn(2, 2, 16, 4, 4)
    with torch.no_grad(), Operands() as watch:
        out = attention.eval()(x)
    assert out.std() > 0
    assert not {"_softmax", "softmax", "div", "exp", "bmm", "baddbmm"} & watch.names
    kinds = [name for name, _ in watch.products]
    # q, k, v and the projection; k masked by v, and q by the column sums.
    assert sorted(kinds) == 4 * [next(kind for kind in kinds if "conv" in kind)] + 2 * ["mul"]
    assert all(binary for _, binary in watch.products), watch.products


def test_the_test_of_operands_sees_products_of_other_numbers():
    with torch.no_grad(), Operands() as watch:
        SpikingAttention(8, 2, 0.125, "joint", lambda threshold_factor=1.0: Silent(0.0), 0.0).eval()(
            torch.randn(1, 2, 8, 3, 3)
        )
    assert ("mul", False) in watch.products


@pytest.mark.parametrize("name", SPIKE_DRIVEN)
def test_all_layers_with_weights_receive_spikes_except_the_first(name: str):
    network = build(NetworkConfig(name, width=1 / 8))
    binary: dict[str, bool] = {}
    for module_name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(
                lambda _m, inputs, _out, name=module_name: binary.update(
                    {name: set(inputs[0].unique().tolist()) <= {0.0, 1.0}}
                )
            )
    network(3 * frames(4, 2, 2, 16, 16))
    assert [name for name, only_spikes in binary.items() if not only_spikes] == ["patches.stages.conv1.conv"]
    assert len(binary) == 5 + 2 * 6 + 1


def test_the_neurons_of_sums_have_half_the_threshold():
    thresholds = {
        name: module.v_threshold
        for name, module in neuron_layers(
            build(NetworkConfig("spike-driven-transformer"), NeuronConfig(v_threshold=0.8))
        ).items()
    }
    gates = {name: value for name, value in thresholds.items() if name.endswith("gate")}
    assert len(gates) == 2 and set(gates.values()) == {0.4}
    assert {value for name, value in thresholds.items() if name not in gates} == {0.8}


def test_initial_weights_have_the_authors_spread():
    driven = build(NetworkConfig("spike-driven-transformer", width=0.5))
    for module in driven.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.bias is None or not module.bias.any()
    assert driven.classifier.bias.any() and driven.classifier.weight.abs().max().item() <= 256**-0.5
    spiking = build(NetworkConfig("spikformer-dvs", width=0.5))
    for name, module in spiking.named_modules():
        if isinstance(module, nn.Conv2d):
            spread = 0.02 if module.kernel_size == (1, 1) else (module.in_channels * 27) ** -0.5
            assert module.weight.std().item() == pytest.approx(spread, rel=0.12), name
    assert spiking.classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_dropout_is_before_the_addition_and_keeps_one_mask():
    network = build(NetworkConfig("spikformer-dvs", width=1 / 8, dropout=0.3))
    names = {name for name, module in network.named_modules() if isinstance(module, sj_layer.Dropout)}
    assert names == {
        f"blocks.{part}.dropout" for k in (1, 2) for part in (f"attention{k}.branch.project", f"mlp{k}.branch.1")
    }
    network = build(NetworkConfig("spike-driven-transformer", width=1 / 8, dropout=0.3))
    names = {name for name, module in network.named_modules() if isinstance(module, sj_layer.Dropout)}
    assert names == {f"blocks.{part}{k}.branch.dropout" for k in (1, 2) for part in ("attention", "mlp")}


@pytest.mark.parametrize(
    ("name", "neuron"),
    [
        *((name, "clif") for name in TRANSFORMERS),
        ("spike-driven-transformer-gesture", "lif"),
        ("spikformer-dvs", "lif"),
    ],
)
def test_it_learns_to_tell_two_patterns_apart(name: str, neuron: str):
    network = build(NetworkConfig(name, width=1 / 16, batch_norm="joint"), NeuronConfig(neuron), classes=2)
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    labels = torch.arange(6) % 2
    x = frames(3, 6, 2, 16, 16) * 0.5
    x[:, labels == 1, :, :8] += 1.0
    losses = []
    for _ in range(16):
        loss = nn.functional.cross_entropy(network(x).mean(0), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        reset_network(network)
        losses.append(loss.item())
    assert losses[-1] < 0.3, losses

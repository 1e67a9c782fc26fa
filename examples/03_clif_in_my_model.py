"""Replace the neurons of an existing SpikingJelly model by CLIF: only one argument changes."""

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based.model import spiking_vgg

from pipeline import CLIFNode


def make(node: type, **options: object) -> torch.nn.Module:
    model = spiking_vgg.spiking_vgg11_bn(
        spiking_neuron=node, num_classes=10, surrogate_function=surrogate.ATan(), **options
    )
    functional.set_step_mode(model, "m")
    return model


frames = torch.rand(4, 2, 3, 32, 32)  # (T, B, channels, H, W)
for model in (make(neuron.LIFNode, detach_reset=True), make(CLIFNode)):
    logits = model(frames)
    logits.mean(0).sum().backward()
    functional.reset_net(model)
    kinds = {type(module).__name__ for module in model.modules() if isinstance(module, neuron.BaseNode)}
    print(f"{', '.join(sorted(kinds))}: logits {tuple(logits.shape)}")

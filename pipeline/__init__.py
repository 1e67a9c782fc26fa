"""Networks, neurons, training and evaluation of one run; never loads ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.lazy import lazy_exports

if TYPE_CHECKING:
    from pipeline.config.neuron_traits import NeuronTraits as NeuronTraits
    from pipeline.config.registrations import register_network as register_network
    from pipeline.config.registrations import register_neuron as register_neuron
    from pipeline.config.registrations import register_surrogate as register_surrogate

__all__ = ["NeuronTraits", "register_neuron", "register_network", "register_surrogate"]

__getattr__ = lazy_exports(
    __name__,
    {
        "NeuronTraits": "pipeline.config.neuron_traits",
        "register_neuron": "pipeline.config.registrations",
        "register_network": "pipeline.config.registrations",
        "register_surrogate": "pipeline.config.registrations",
    },
)

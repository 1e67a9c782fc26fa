"""Protects the state of neurons from advancing twice for one forward pass.

`torch.utils.checkpoint` runs a forward pass again inside backward. A neuron that keeps its state would start the second
pass from the end of the first: the gradients would be wrong and the state two sequences old, without any error.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based.base import MemoryModule

from preprocess.errors import ConfigError

_OUTSIDE = -1
"""The number that torch gives the backward pass outside of any."""


class RecomputationError(ConfigError):
    """A stateful neuron was run again inside backward."""


class RunsOnce(MemoryModule):
    """A module that refuses to run inside backward, unless its state was set there.

    SpikingJelly's `memopt.checkpoint_module` handles states: it calls the functional forward, or sets the states before
    it runs a module again and restores them afterwards. A checkpointed function that begins with
    a reset runs from the same state both times.
    """

    _set_in = _OUTSIDE

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not torch.compiler.is_compiling() and name in self.__dict__.get("_memories", ()):
            self.__dict__["_set_in"] = torch._C._current_graph_task_id()

    def reset(self) -> None:
        """SpikingJelly's reset, which sets the state too: what begins with it may run again inside backward."""
        super().reset()
        if not torch.compiler.is_compiling():
            self.__dict__["_set_in"] = torch._C._current_graph_task_id()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """SpikingJelly's forward.

        Raises:
            RecomputationError: Inside backward, unless the state was set there too.
        """
        if not torch.compiler.is_compiling():
            self._refuse_recomputation()
        return super().forward(*args, **kwargs)

    def _refuse_recomputation(self) -> None:
        backward_pass = torch._C._current_graph_task_id()
        if backward_pass not in (_OUTSIDE, self._set_in):
            raise RecomputationError(
                f"{type(self).__name__}: expected one forward pass for each backward pass, found a second one inside "
                "backward, as made by torch.utils.checkpoint: the state would advance twice and the gradients would "
                "be wrong. Use spikingjelly.activation_based.memopt.checkpoint_module, which handles states."
            )

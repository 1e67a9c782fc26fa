"""Sends a program's registrations, such as those of `pipeline.register_neuron`, to the Ray workers of its trials."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from types import ModuleType

from pipeline.config.code_hash import code_sha256, values_sha256
from pipeline.config.registrations import Registration, register_all, registrations
from preprocess.errors import ConfigError

# Packages that are installed wherever workers run.
_INSTALLED = ("preprocess", "pipeline", "tune")


def pack_registrations() -> bytes:
    """Pickle the registrations of this process with their code, which workers may not be able to import.

    Raises:
        ConfigError: If a registered object cannot be pickled.
    """
    from ray import cloudpickle

    with contextlib.ExitStack() as stack:
        for module in {_module_of(one) for one in registrations()} - {None}:
            cloudpickle.register_pickle_by_value(module)
            stack.callback(cloudpickle.unregister_pickle_by_value, module)
        for one in registrations():
            try:
                cloudpickle.dumps(one)
            except Exception as error:  # whatever a user's objects do when they are pickled
                raise ConfigError(
                    f"{one.field}: expected '{one.name}' to be a function or class that can be sent to other "
                    f"processes, found {one.make!r} ({type(error).__name__}: {error}). Name the class "
                    "path/to/file.py:Class instead."
                ) from None
        # What arrives is the same code in other objects, so its hash is taken here.
        sent = tuple(
            replace(one, code=one.code or code_sha256(one.make), values=one.values or values_sha256(one.make))
            for one in registrations()
        )
        packed: bytes = cloudpickle.dumps(sent)
    return packed


def unpack_registrations(packed: bytes) -> None:
    """Register in this process the registrations that another process packed."""
    from ray import cloudpickle

    register_all(cloudpickle.loads(packed))


def _module_of(one: Registration) -> ModuleType | None:
    """The user's module that defines it; None if Ray sends its code anyway or every worker has it."""
    name = getattr(one.make, "__module__", None) or "__main__"
    if name == "__main__" or name.partition(".")[0] in _INSTALLED:
        return None
    return sys.modules.get(name)

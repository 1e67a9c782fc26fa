"""bfloat16 in compiled loops: its bits as uint16, widened when they are read and rounded when they are written.

A loop that reads and writes through `widen` and `narrow` accepts float32 and bfloat16; each is compiled separately.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

_BITS, _FLOAT = ir.IntType(32), ir.FloatType()


def _widen(typing: Any, value: Any) -> Any:
    """A float32, or the bits of a bfloat16, as float32."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if signature.args[0] == types.float32:
            return arguments[0]
        bits = builder.shl(builder.zext(arguments[0], _BITS), _BITS(16))
        return builder.bitcast(bits, _FLOAT)

    return types.float32(value), generate


def _narrow(typing: Any, like: Any, value: Any) -> Any:
    """A float32 as an element of the array `like`: itself, or the bits of the nearest bfloat16, ties to even."""

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = arguments[1]
        if signature.return_type == types.float32:
            return found
        bits = builder.bitcast(found, _BITS)
        even = builder.and_(builder.lshr(bits, _BITS(16)), _BITS(1))
        rounded = builder.add(builder.add(bits, even), _BITS(0x7FFF))
        # For a NaN whose last bits are set, the carry would give infinity or zero.
        rounded = builder.select(builder.fcmp_unordered("uno", found, found), _BITS(0x7FC00000), rounded)
        return builder.trunc(builder.lshr(rounded, _BITS(16)), ir.IntType(16))

    return like.dtype(like, value), generate


# Numba passes the typing context, which a type checker cannot know.
widen: Any = intrinsic(_widen)
narrow: Any = intrinsic(_narrow)


def bits(x: torch.Tensor) -> NDArray[Any]:
    """The tensor's memory, float32 or bfloat16, as a NumPy array for `widen` and `narrow`."""
    x = x.detach()
    return x.view(torch.int16).numpy().view(np.uint16) if x.dtype == torch.bfloat16 else x.numpy()

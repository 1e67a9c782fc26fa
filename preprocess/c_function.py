"""Call C functions from compiled loops by their addresses.

Numba can also call a ctypes function that is passed as an argument, but infers its type again on every call (0.1 ms).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# With its real type, callers would have to pass the typing context, which Numba passes.
_intrinsic: Any = intrinsic


@_intrinsic
def call_c(_: Any, address: Any, arguments: Any) -> Any:
    """Call the C function at an address (intp) with a tuple of arguments, of the function's types; returns int32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in signature.args[1]]
        pointer = ir.FunctionType(ir.IntType(32), kinds).as_pointer()
        return builder.call(builder.inttoptr(values[0], pointer), cgutils.unpack_tuple(builder, values[1], len(kinds)))

    return types.int32(types.intp, arguments), generate

"""Vectors of 16 float32 for compiled loops that the compiler does not vectorise.

One such loop keeps a sum in registers while it follows a list of indices: in plain Numba the array of the sum might
overlap the array that is read, so the sum is stored and loaded at every step. LLVM splits vectors that are longer than
the processor's. Nothing here checks bounds, and negative indices do not count from the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model

LANES = 16

# With its real type, callers would have to pass the typing context, which Numba passes.
_intrinsic: Any = intrinsic

_WORD = ir.IntType(16)
_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_FLOAT_BYTES, _WORD_BYTES = 4, 2


class _Float32x16(types.Type):
    def __init__(self) -> None:
        super().__init__("float32x16")


_float32x16 = _Float32x16()


@register_model(_Float32x16)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _address(context: Any, builder: Any, kind: Any, at: Sequence[Any], pointee: Any) -> Any:
    """The address of element i of a contiguous array, as a pointer to `pointee`; `at` is (array, i)."""
    array, i = at
    element = builder.gep(context.make_array(kind)(context, builder, array).data, [i])
    return builder.bitcast(element, pointee.as_pointer())


def _splat(builder: Any, value: Any, kind: Any) -> Any:
    """The value in every lane."""
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), lanes)


@_intrinsic
def use_widest_vectors(_: Any) -> Any:
    """Have the compiler vectorise the loops of the function that calls this for the widest vectors of the processor.

    For Intel's server processors LLVM prefers vectors of 256 bits, which in older ones kept the clock high. A loop of
    much arithmetic, such as two sigmoids per element, is faster with 512.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        # llvmlite's own method only accepts attributes without a value.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@_intrinsic
def load(_: Any, array: Any, i: Any) -> Any:
    """Elements i .. i + 15 of a float32 array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_address(context, builder, array, values, _VECTOR), align=_FLOAT_BYTES)

    return _float32x16(array, types.intp), generate


@_intrinsic
def load_or_zeros(_: Any, array: Any, i: Any, exists: Any) -> Any:
    """Elements i .. i + 15 of a float32 array of at least 16 elements if they exist, otherwise zeros."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source, at, known = values
        at = builder.select(known, at, ir.Constant(at.type, 0))
        found = builder.load(_address(context, builder, array, (source, at), _VECTOR), align=_FLOAT_BYTES)
        return builder.select(known, found, ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), 0.0)] * LANES))

    return _float32x16(array, types.intp, types.boolean), generate


@_intrinsic
def store(_: Any, array: Any, i: Any, vector: Any) -> Any:
    """Set elements i .. i + 15 of a float32 array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, array, values[:2], _VECTOR)
        builder.store(values[2], address, align=_FLOAT_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.intp, _float32x16), generate


@_intrinsic
def zeros(_: Any) -> Any:
    """Sixteen zeros."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(_VECTOR, [ir.Constant(ir.FloatType(), 0.0)] * LANES)

    return _float32x16(), generate


@_intrinsic
def add(_: Any, x: Any, y: Any) -> Any:
    """The sum of two vectors."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fadd(*values)

    return _float32x16(_float32x16, _float32x16), generate


@_intrinsic
def scale(_: Any, vector: Any, factor: Any) -> Any:
    """A vector times a float32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fmul(values[0], _splat(builder, values[1], _VECTOR))

    return _float32x16(_float32x16, types.float32), generate


@_intrinsic
def add_scaled(_: Any, x: Any, y: Any, factor: Any) -> Any:
    """x + y * factor of two vectors and a float32, with one rounding where the processor can."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        x, y, factor = values
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        fuse = builder.module.declare_intrinsic(f"llvm.fmuladd.v{LANES}f32", (), kind)
        return builder.call(fuse, [y, _splat(builder, factor, _VECTOR), x])

    return _float32x16(_float32x16, _float32x16, types.float32), generate


def _compare(builder: Any, found: Any, value: Any) -> Any:
    bits = builder.bitcast(builder.fcmp_unordered("!=", found, value), _WORD)
    return builder.zext(bits, ir.IntType(64))


@_intrinsic
def unlike(_: Any, array: Any, i: Any, value: Any) -> Any:
    """Bit k is set if element i + k of a float32 array differs from a float32; NaN differs from everything."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        found = builder.load(_address(context, builder, array, values[:2], _VECTOR), align=_FLOAT_BYTES)
        return _compare(builder, found, _splat(builder, values[2], _VECTOR))

    return types.int64(array, types.intp, types.float32), generate


@_intrinsic
def count_bits(_: Any, bits: Any) -> Any:
    """The number of 1 bits of an int64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.int64(types.int64), generate


@_intrinsic
def word(_: Any, array: Any, i: Any) -> Any:
    """Element i of a uint16 array as an integer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.zext(builder.load(_address(context, builder, array, values, _WORD)), ir.IntType(64))

    return types.int64(array, types.intp), generate


def _copy(lanes: int) -> Any:
    kind = ir.VectorType(_WORD, lanes)

    def copy(_: Any, into: Any, i: Any, source: Any, j: Any, plus: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            found = builder.load(_address(context, builder, source, values[2:4], kind), align=_WORD_BYTES)
            found = builder.add(found, _splat(builder, builder.trunc(values[4], _WORD), kind))
            builder.store(found, _address(context, builder, into, values[:2], kind), align=_WORD_BYTES)
            return context.get_dummy_value()

        return types.void(into, types.intp, source, types.intp, types.int64), generate

    copy.__doc__ = f"Copy {lanes} elements of a uint16 array from source[j:] to into[i:], adding a number to each."
    return _intrinsic(copy)


copy_8 = _copy(8)
copy_16 = _copy(16)

"""Words of LLVM's vector language that Numba's compilers lack: loads and stores of whole vectors, gathering, and lanes.

They build the inner operations of `codes_scoring` and of growing; LLVM maps them to what the processor has.
"""

# Builders of another library's intermediate language; it has no types of its own.
# mypy: allow-untyped-defs

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.options import DefaultOptions
from numba.core.registry import cpu_target
from numba.extending import intrinsic

__all__ = [
    "BITS",
    "FUSES",
    "HAS_VECTORS_OF_16",
    "INT8",
    "INT32",
    "INT64",
    "REALS",
    "UNCOUNTED",
    "WORDS",
    "data",
    "every_lane",
    "gather",
    "load",
    "multiply_add",
    "prefetch",
    "store",
]

INT8, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WORDS, REALS, BITS = ir.VectorType(INT32, 16), ir.VectorType(ir.FloatType(), 16), ir.VectorType(ir.IntType(1), 16)


def _has(feature: str) -> bool:
    """Whether Numba compiles for a processor with this feature."""
    return f"+{feature}" in str(cpu_target.target_context.codegen().magic_tuple()[2]).split(",")


UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
"""Options of `njit` for functions whose arrays are all their callers': nothing counts references to them. Numba does
not document the one that says so; without it they are slower."""

HAS_VECTORS_OF_16 = _has("avx512f")
"""Whether 16 values at a time can be gathered, looked up in registers and moved together; else loops do it."""


FUSES = _has("fma") or platform.machine().lower() in ("arm64", "aarch64")
"""Whether a product and a sum are one instruction."""


def data(context, builder, array_type, array):
    """The address of an array's first entry."""
    return context.make_array(array_type)(context, builder, array).data


def load(builder, vector, base, offset):
    """A vector from `offset` entries behind `base` on."""
    value = builder.load(builder.bitcast(builder.gep(base, [offset]), vector.as_pointer()))
    value.align = 1
    return value


def store(builder, vector, base, offset, value):
    """The reverse of `load`."""
    builder.store(value, builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())).align = 1


def every_lane(builder, vector, scalar):
    """A vector whose lanes are all `scalar`."""
    undefined = ir.Constant(vector, ir.Undefined)
    one_lane = builder.insert_element(undefined, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(
        one_lane, undefined, ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    )


def multiply_add(builder, a, b, c):
    """``a * b + c`` of `REALS`, rounded once where the processor can.

    It is never left to the compiler ("contract"), which chooses anew for each of several vectors that a loop takes
    together: the last bit of a row would depend on its place.
    """
    if not FUSES:
        return builder.fadd(builder.fmul(a, b), c)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(REALS, [REALS] * 3), "llvm.fma.v16f32")
    return builder.call(function, [a, b, c])


def gather(builder, vector, base, index, scale):
    """16 values that lie ``index * scale`` bytes behind `base`, of a processor that `HAS_VECTORS_OF_16`."""
    kind = "i" if vector == WORDS else "s"
    pointer = ir.PointerType(INT8)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector, pointer, WORDS, BITS, INT32]),
        f"llvm.x86.avx512.mask.gather.dp{kind}.512",
    )
    nothing, all_lanes = ir.Constant(vector, [0] * 16), ir.Constant(BITS, [1] * 16)
    return builder.call(
        function, [nothing, builder.bitcast(base, pointer), index, all_lanes, ir.Constant(INT32, scale)]
    )


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the cache line of an entry, which may lie behind the array's end."""

    def codegen(context, builder, sig, args):
        address = builder.gep(data(context, builder, sig.args[0], args[0]), [args[1]])
        pointer = ir.PointerType(INT8)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, INT32, INT32, INT32]), "llvm.prefetch.p0"
        )
        to_read, keep, for_data = (ir.Constant(INT32, k) for k in (0, 3, 1))
        builder.call(function, [builder.bitcast(address, pointer), to_read, keep, for_data])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen

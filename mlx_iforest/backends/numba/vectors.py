"""Words of LLVM's vector language that Numba's compilers lack: loads and stores of whole vectors, gathering, and lanes.

They build the inner operations of `coded_scoring` and of growing; LLVM maps them to what the processor has. What only
AVX-512 has an instruction for is also written lane by lane, with the same reads and writes, so that any machine can
test the code that uses it (`EMULATED`).
"""

# Builders of another library's intermediate language; it has no types of its own.
# mypy: allow-untyped-defs

from __future__ import annotations

import os
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
    "EMULATED",
    "FUSES",
    "HALF",
    "HALF_BITS",
    "HAS_VECTORS_OF_16",
    "INT8",
    "INT32",
    "INT64",
    "OFFSETS",
    "REALS",
    "UNCOUNTED",
    "WORDS",
    "compress",
    "data",
    "every_lane",
    "gather",
    "gather_some",
    "load",
    "load_some",
    "multiply_add",
    "permute",
    "prefetch",
    "store",
    "transposed",
]

INT8, INT32, INT64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
WORDS, REALS, BITS = ir.VectorType(INT32, 16), ir.VectorType(ir.FloatType(), 16), ir.VectorType(ir.IntType(1), 16)
HALF, OFFSETS, HALF_BITS = (ir.VectorType(one, 8) for one in (ir.FloatType(), INT64, ir.IntType(1)))


def _has(feature: str) -> bool:
    """Whether Numba compiles for a processor with this feature."""
    return f"+{feature}" in str(cpu_target.target_context.codegen().magic_tuple()[2]).split(",")


UNCOUNTED: dict[str, Any] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
"""Options of `njit` for functions whose arrays are all their callers': nothing counts references to them. Numba does
not document the one that says so; without it they are slower."""

EMULATED = bool(os.environ.get("MLX_IFOREST_EMULATE_VECTORS"))
"""For tests: use the code for vectors of 16 on any processor, lane by lane. Read when this module is imported."""

HAS_VECTORS_OF_16 = _has("avx512f") or EMULATED
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


def load_some(builder, base, offset, lanes):
    """16 floats from `offset` floats behind `base` on; where a lane does not count, 0, and memory is not read."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(REALS, [REALS.as_pointer(), INT32, BITS, REALS]),
        "llvm.masked.load.v16f32.p0",
    )
    address = builder.bitcast(builder.gep(base, [offset]), REALS.as_pointer())
    return builder.call(function, [address, ir.Constant(INT32, 4), lanes, ir.Constant(REALS, [0.0] * 16)])


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
    if EMULATED:
        return _gather_lanes(builder, vector, base, builder.mul(index, ir.Constant(WORDS, [scale] * 16)))
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


def gather_some(builder, base, offsets, lanes, nothing):
    """8 floats, each `offsets` floats behind `base`; where a lane does not count, `nothing`, and memory is not read.

    Offsets have 64 bits: a large table has more values than 32 bits number.
    """
    if EMULATED:
        return _gather_lanes(builder, HALF, base, builder.mul(offsets, ir.Constant(OFFSETS, [4] * 8)), lanes, nothing)
    pointer = ir.PointerType(INT8)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(HALF, [HALF, pointer, OFFSETS, HALF_BITS, INT32]),
        "llvm.x86.avx512.mask.gather.qps.512",
    )
    return builder.call(function, [nothing, builder.bitcast(base, pointer), offsets, lanes, ir.Constant(INT32, 4)])


def permute(builder, low, high, index):
    """``[*low, *high][index]`` for each of 16 lanes; of an index its last five bits count."""
    if EMULATED:
        table = cgutils.alloca_once(builder, ir.ArrayType(WORDS, 2))
        words = builder.bitcast(table, INT32.as_pointer())
        store(builder, WORDS, words, ir.Constant(INT64, 0), low)
        store(builder, WORDS, words, ir.Constant(INT64, 16), high)
        place = builder.and_(index, ir.Constant(WORDS, [31] * 16))
        return _gather_lanes(builder, WORDS, words, builder.mul(place, ir.Constant(WORDS, [4] * 16)))
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(WORDS, [WORDS] * 3), "llvm.x86.avx512.vpermi2var.d.512"
    )
    return builder.call(function, [low, index, high])


def compress(builder, words, lanes):
    """The words of the lanes that count, one after the other, then zeros."""
    if EMULATED:
        packed = cgutils.alloca_once(builder, WORDS)
        builder.store(ir.Constant(WORDS, [0] * 16), packed)
        place, entry = ir.Constant(INT64, 0), builder.bitcast(packed, INT32.as_pointer())
        for k in range(16):
            lane = ir.Constant(INT32, k)
            counts = builder.extract_element(lanes, lane)
            with builder.if_then(counts):
                builder.store(builder.extract_element(words, lane), builder.gep(entry, [place]))
            place = builder.add(place, builder.zext(counts, INT64))
        return builder.load(packed)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(WORDS, [WORDS, WORDS, BITS]), "llvm.x86.avx512.mask.compress.v16i32"
    )
    return builder.call(function, [words, ir.Constant(WORDS, [0] * 16), lanes])


def _gather_lanes(builder, vector, base, offsets, lanes=None, nothing=None):
    """One load a lane from `offsets` bytes behind `base`, none where a lane does not count."""
    found = cgutils.alloca_once(builder, vector)
    if nothing is not None:
        builder.store(nothing, found)
    entry, start = builder.bitcast(found, vector.element.as_pointer()), builder.bitcast(base, INT8.as_pointer())
    for k in range(vector.count):
        lane = ir.Constant(INT32, k)
        counts = ir.Constant(BITS.element, 1) if lanes is None else builder.extract_element(lanes, lane)
        with builder.if_then(counts):
            offset = builder.extract_element(offsets, lane)
            offset = offset if offset.type == INT64 else builder.sext(offset, INT64)
            address = builder.bitcast(builder.gep(start, [offset]), vector.element.as_pointer())
            value = builder.load(address)
            value.align = 1
            builder.store(value, builder.gep(entry, [ir.Constant(INT64, k)]))
    return builder.load(found)


def transposed(builder, rows):
    """The columns of 16 rows of `REALS`, by four rounds of 16 shuffles that every processor has an instruction for.

    A round takes rows that are a power of two apart: two interleave lanes and pairs of lanes within each quarter of the
    vectors, two put quarters together.
    """
    quarters, rows = (0, 4, 8, 12), list(rows)
    lanes = [lane for q in quarters for lane in (q, q + 16, q + 1, q + 17)]
    pairs = [lane for q in quarters for lane in (q, q + 1, q + 16, q + 17)]
    evens = [lane for q in (0, 8, 16, 24) for lane in range(q, q + 4)]
    for step, low, further in ((1, lanes, 2), (2, pairs, 2), (4, evens, 4), (8, evens, 4)):
        high = [lane + further for lane in low]
        for k in range(16):
            if not k & step:
                both = rows[k], rows[k + step]
                for place, way in ((k, low), (k + step, high)):
                    rows[place] = builder.shuffle_vector(*both, ir.Constant(WORDS, way))
    # Of four neighbours the inner two have changed places.
    return [rows[q + k] for q in quarters for k in (0, 2, 1, 3)]


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

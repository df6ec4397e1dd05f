"""Words of LLVM's vector language that Numba's compilers lack: loads and stores of whole vectors, gathering, and lanes.

They build the inner operations of scoring, explaining and growing; LLVM maps them to what the processor has. What only
AVX-512 has an instruction for is also written lane by lane, with the same reads and writes, so that any machine can
test the code that uses it (`EMULATED`). Where LLVM maps badly, there is a form for the processor: AVX2 and NEON look up
bytes, and NEON has no bits for lanes.
"""

# Builders of another library's intermediate language; it has no types of its own.
# mypy: allow-untyped-defs

from __future__ import annotations

import os
import platform
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.options import DefaultOptions
from numba.core.registry import cpu_target
from numba.extending import intrinsic

__all__ = [
    "ARM",
    "BITS",
    "COMPARED",
    "EMULATED",
    "FUSES",
    "HALF",
    "HALF_BITS",
    "HAS_VECTORS_OF_16",
    "INT8",
    "INT32",
    "INT64",
    "LOOKED_UP",
    "MASK",
    "OFFSETS",
    "PACKED",
    "REALS",
    "UNCOUNTED",
    "WORDS",
    "bits_of",
    "compress",
    "data",
    "either",
    "every_lane",
    "gather",
    "gather_some",
    "lanes_of",
    "load",
    "load_mask",
    "load_some",
    "look_up",
    "mask_of",
    "multiply_add",
    "prefetch",
    "store",
    "store_mask",
    "table_parts",
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
"""Whether instructions gather 16 values, look them up in registers and move them together."""

ARM = platform.machine().lower() in ("arm64", "aarch64")
"""Whether the processor has NEON."""

FUSES = _has("fma") or ARM
"""Whether a product and a sum are one instruction."""

LOOKED_UP = 16 if HAS_VECTORS_OF_16 or ARM else 32 if _has("avx2") else 0
"""Rows whose values are looked up in registers together, by words or by bytes, while 16 search their ranks together;
0 where loops do both."""

COMPARED, PACKED = (ir.VectorType(ir.FloatType(), 4), 16) if ARM else (REALS, 1)
"""Values that are compared at a time, and vectors of them whose answers are made one number together: NEON has no
instruction that makes bits of lanes, and shifts those of 16 vectors into one."""

MASK = WORDS if ARM else BITS
"""What `mask_of` gives."""


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
    """16 values that lie ``index * scale`` bytes behind `base`."""
    if EMULATED or not HAS_VECTORS_OF_16:
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


def table_parts(builder, table, width):
    """Tables that add up to one of so many words, as registers hold them for `look_up`.

    By words, or each byte of the words apart. NEON's registers hold half of 128 words at a time.
    """
    if HAS_VECTORS_OF_16:
        return [[load(builder, WORDS, table, ir.Constant(INT64, k)) for k in range(0, width, 16)]]
    parts: list[list[Any]] = [[], [], [], []]
    for k in range(0, width, 16):
        words = load(builder, WORDS, table, ir.Constant(INT64, k))
        for byte, part in enumerate(parts):
            column = builder.lshr(words, ir.Constant(WORDS, [8 * byte] * 16))
            column = builder.trunc(column, ir.VectorType(INT8, 16))
            # AVX2 looks up in each half of a register for itself.
            part.append(_shuffled(builder, column, column, [lane % 16 for lane in range(LOOKED_UP)]))
    return [[*parts[:2], [], []], [[], [], *parts[2:]]] if ARM and width > 64 else [parts]


def look_up(builder, parts, index):
    """What a table has for the `LOOKED_UP` bytes of `index`, as vectors of `WORDS`."""
    if not HAS_VECTORS_OF_16:
        return _joined(builder, [_look_up_bytes(builder, part, index) for part in parts])
    index = builder.zext(index, WORDS)
    value = _permute(builder, parts[0], parts[1], index)
    for k in range(2, len(parts), 2):
        behind = builder.icmp_unsigned(">=", index, ir.Constant(WORDS, [16 * k] * 16))
        value = builder.select(behind, _permute(builder, parts[k], parts[k + 1], index), value)
    return [value]


def _look_up_bytes(builder, parts, index):
    """Bytes of a table of 16 a part, and at most 128; of no part, zeros."""
    vector = index.type
    if not parts:
        return ir.Constant(vector, [0] * vector.count)
    if ARM:
        # Up to four parts are one instruction; for an index behind them it answers 0, or what it was given.
        found = _neon_table(builder, parts[:4], index)
        if len(parts) > 4:
            found = _neon_table(builder, parts[4:], builder.sub(index, ir.Constant(vector, [64] * 16)), found)
        return found
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 2), "llvm.x86.avx2.pshuf.b"
    )
    found = builder.call(function, [parts[0], index])
    for k in range(1, len(parts)):
        behind = builder.icmp_unsigned(">=", index, ir.Constant(vector, [16 * k] * vector.count))
        found = builder.select(behind, builder.call(function, [parts[k], index]), found)
    return found


def _neon_table(builder, parts, index, otherwise=None):
    given = [*parts, index] if otherwise is None else [otherwise, *parts, index]
    name = f"llvm.aarch64.neon.tb{'l' if otherwise is None else 'x'}{len(parts)}.v16i8"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(index.type, [index.type] * len(given)), name
    )
    return builder.call(function, given)


def _joined(builder, octets):
    """Words of their four bytes, 16 in a vector."""
    lower, upper = _zipped(builder, *octets[:2]), _zipped(builder, *octets[2:])
    words = [four for pair in zip(lower, upper, strict=True) for four in _zipped(builder, *pair)]
    found = []
    for block in range(0, words[0].type.count, 4):
        lanes = [first + k for first in (block, words[0].type.count + block) for k in range(4)]
        halves = [_shuffled(builder, words[k], words[k + 1], lanes) for k in (0, 2)]
        found.append(_shuffled(builder, halves[0], halves[1], range(16)))
    return found


def _zipped(builder, a, b):
    """The lanes of two vectors in turns as lanes twice as wide: lower and upper halves of each 16 bytes."""
    count, block = a.type.count, 128 // a.type.element.width
    wide = ir.VectorType(ir.IntType(2 * a.type.element.width), count // 2)
    found = []
    for first in (0, block // 2):
        lanes = [k + lane for k in range(first, count, block) for lane in range(block // 2)]
        turns = [lane for k in lanes for lane in (k, count + k)]
        found.append(builder.bitcast(_shuffled(builder, a, b, turns), wide))
    return found


def _shuffled(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(lanes)), list(lanes)))


def bits_of(builder, *answers):
    """The bits of what `PACKED` comparisons of `COMPARED` found, as one number for `lanes_of`."""
    number = ir.IntType(PACKED * COMPARED.count)
    if not ARM:
        (answer,) = answers
        return builder.bitcast(answer, number)
    words = ir.VectorType(INT32, COMPARED.count)
    shift_in = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(words, [words, words, INT32]), "llvm.aarch64.neon.vsli.v4i32"
    )
    found = builder.sext(answers[0], words)
    for k in range(1, PACKED):
        found = builder.call(shift_in, [found, builder.sext(answers[k], words), ir.Constant(INT32, k)])
    return builder.bitcast(builder.trunc(found, ir.VectorType(ir.IntType(16), COMPARED.count)), number)


def lanes_of(builder, number):
    """The reverse of `bits_of`: a vector of as many lanes as the number has bits."""
    lanes = range(number.type.width)
    if not ARM:
        return builder.bitcast(number, ir.VectorType(BITS.element, len(lanes)))
    octets = builder.bitcast(number, ir.VectorType(INT8, len(lanes) // 8))
    each = _shuffled(builder, octets, octets, [lane % 4 * 2 + lane // 32 for lane in lanes])
    bits = ir.Constant(each.type, [1 << lane // 4 % 8 for lane in lanes])
    return builder.icmp_unsigned("!=", builder.and_(each, bits), ir.Constant(each.type, [0] * len(lanes)))


def mask_of(builder, ask, *given):
    """``ask(*given)`` of 16 lanes as `either` selects by it: `BITS`, or for NEON words of all bits or none.

    There four lanes are asked at a time, and LLVM must not see that the words are bits: it would keep them as bytes,
    and widen them at each use.
    """
    if not ARM:
        return ask(*given)
    four = ir.VectorType(INT32, 4)
    hidden = ir.FunctionType(four, [four])
    quads = []
    for k in range(0, 16, 4):
        found = ask(*(_shuffled(builder, vector, vector, range(k, k + 4)) for vector in given))
        quads.append(builder.asm(hidden, "", "=w,0", [builder.sext(found, four)], False))
    halves = [_shuffled(builder, quads[k], quads[k + 1], range(8)) for k in (0, 2)]
    return _shuffled(builder, halves[0], halves[1], range(16))


def either(builder, mask, a, b):
    """`REALS` of `a` where the mask holds, else of `b`."""
    if not ARM:
        return builder.select(mask, a, b)
    a, b = builder.bitcast(a, WORDS), builder.bitcast(b, WORDS)
    return builder.bitcast(builder.xor(builder.and_(builder.xor(a, b), mask), b), REALS)


def load_mask(builder, place):
    """A mask from 16 bits, as `store_mask` leaves them."""
    bits = builder.load(place)
    if not ARM:
        return builder.bitcast(bits, BITS)
    each = every_lane(builder, WORDS, builder.zext(bits, INT32))
    each = builder.and_(each, ir.Constant(WORDS, [1 << lane for lane in range(16)]))
    return mask_of(builder, partial(builder.icmp_unsigned, "!="), each, ir.Constant(WORDS, [0] * 16))


def store_mask(builder, mask, place):
    """Keep a mask as 16 bits."""
    if not ARM:
        builder.store(builder.bitcast(mask, place.type.pointee), place)
        return
    ones = builder.and_(mask, ir.Constant(WORDS, [1 << lane for lane in range(16)]))
    add_up = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(INT32, [WORDS]), "llvm.vector.reduce.or.v16i32"
    )
    builder.store(builder.trunc(builder.call(add_up, [ones]), place.type.pointee), place)


def _permute(builder, low, high, index):
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

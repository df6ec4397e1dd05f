"""GPU kernels as text: one body that Metal, CUDA and the tests' simulator of a GPU all compile, through macros.

A kernel's text is C++ in what the three have in common. It uses these names, which each language defines its way:

``THREADS``, ``THREAD``, ``GROUP``, ``N_GROUPS``
    Threads of a group (always one of the template's values), this thread's number in the group, this group's number,
    the number of groups.
``LANE``, ``SIMD_GROUP``
    32 threads are a SIMD group; this thread's number in it, and its number in the group.
``BARRIER()``, ``DEVICE_BARRIER()``, ``SIMD_BARRIER()``
    All threads of the group (of the SIMD group) arrive before any goes on, and see each other's writes to shared
    memory. Writes to the arrays of the device are seen after the last two only.
``SIMD_MIN``, ``SIMD_MAX``, ``SIMD_SUM`` of a uint32, ``SIMD_BALLOT`` of a condition, ``SIMD_SHUFFLE(x, lane)``
    Across the SIMD group; all 32 threads have to arrive. They order no memory. Where the template says ``SIMD`` 0 they
    go through the shared array `LANES`, for a GPU without such instructions.
``MUL``, ``ADD``, ``SUB``
    Of float32, each rounded once, never fused. In the body only, not in functions.
``BITS_TO_FLOAT``, ``FLOAT_TO_BITS``, ``POPCOUNT``, ``MULHI`` (upper word of a product of uint32), ``MIN``, ``MAX``,
``UINT2(a, b)`` of type ``uint2``, ``UNROLL`` before a loop
``FUNCTION uint32_t name(...)``
    Begins each function in front of the body. Functions take and return values; several as a struct or ``uint2``.
``LOAD(array, i)``
    An element of an input of 8 elements or more, through the cache of what is only read.
``POINTER(const T) p = array + i``, ``SHARED_POINTER(T)``
    A pointer into an array of the device (of 8 elements or more: MLX puts smaller ones elsewhere) or of shared memory.
    A bare ``T*`` does not compile in the simulator, which checks every access.
``AT_ADDRESS(T, words)``
    The host's memory at an address of two words. Not in Metal, where no address is the host's.
``VIEW(T, array)``
    An input read as elements of another type, such as uint2.
``BYTES_AT(T, array, offset)``
    The element of an array in shared memory, of type T, that lies so many bytes behind its beginning.

An element of an array in shared memory or of an output is read into a variable with its type written out, not
``auto``. No thread may return before a barrier or a SIMD operation that others reach.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

__all__ = ["BODY", "LANES", "Kernel", "Language", "kernel_text"]

Language = Literal["metal", "cuda", "host"]

BODY = "// ---- body ----\n"
"""The line that separates the functions of a kernel's text from the body of the kernel."""

LANES = ("uint32_t", "lanes", "THREADS * (1 - SIMD)")
"""Shared memory of a kernel that uses SIMD operations and can do without the device's; its template has ``SIMD``."""

C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
}
SIZES = {"uint2": 8, **{c_type: int(re.sub(r"\D", "", dtype)) // 8 for dtype, c_type in C_TYPES.items()}}

MAX_BUFFERS = 31
MAX_THREADS = {"metal": 256, "cuda": 1024, "host": 1024}
MAX_SHARED = {"metal": 32 << 10, "cuda": 227 << 10, "host": 227 << 10}
"""Bytes of shared memory of a group: of every Apple chip, of an H100."""

STATIC_SHARED = 48_000
"""Bytes above which CUDA wants shared memory to be asked for when a kernel is launched."""

# MLX declares the attributes that it finds in the source, and does not look into the header.
PREFACES = {
    "metal": """\
// thread_position_in_threadgroup threadgroup_position_in_grid threadgroups_per_grid
// thread_index_in_simdgroup simdgroup_index_in_threadgroup
const float NEGATIVE_ZERO = as_type<float>(0x80000000u | static_cast<uint32_t>(N_GROUPS == 0));
(void)NEGATIVE_ZERO;
""",
    "cuda": "",
    "host": "",
}


def kernel_text(name: str) -> str:
    """The text of ``kernels/<name>.h``."""
    return (files("mlx_iforest.backends.mlx") / "kernels" / f"{name}.h").read_text("utf-8")


@dataclass(frozen=True)
class Kernel:
    """One kernel, to be specialised by the whole numbers of a template.

    Attributes
    ----------
    name : str
        An identifier.
    text : str
        Functions, the line ``BODY``, and the body. Without that line all is body.
    inputs, outputs : tuple of (name, dtype)
        dtypes by NumPy's and MLX's names, such as "float32".
    shared : tuple of (C type, name, count)
        Arrays in shared memory, which the body finds declared. `count` is an expression of the template's names in
        Python, such as ``"max(ROWS, 64) * N_FEATURES // 2"``; an array of count 0 is left out.
    """

    name: str
    text: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    shared: tuple[tuple[str, str, str], ...] = ()

    def header(self, language: Language, **template: int) -> str:
        """What stands in front of the kernel: macros, the template's values, the kernel's functions."""
        self._check(language, template)
        prelude = '#include "host.h"\n' if language == "host" else kernel_text(language)
        values = "".join(f"#define {name} {int(value)}\n" for name, value in sorted(template.items()))
        lanes = "" if template.get("SIMD", 1) else kernel_text("lanes")
        return prelude + values + lanes + self._parts()[0]

    def source(self, language: Language, **template: int) -> str:
        """What stands between the braces of the kernel: its shared memory and its body.

        Raises
        ------
        ValueError
            If the kernel asks for more buffers, threads or shared memory than the language has.
        """
        self._check(language, template)
        return PREFACES[language] + self._declarations(language, template) + self._parts()[1]

    def identifier(self, language: Language, **template: int) -> str:
        """A name that no other text has: MLX takes kernels of one name, even of another run, for the same kernel."""
        text = self.header(language, **template) + self.source(language, **template)
        values = "".join(f"_{name}{int(value)}" for name, value in sorted(template.items()))
        return f"{self.name}{values}_{hashlib.sha256(text.encode()).hexdigest()[:8]}".replace("-", "m")

    def shared_bytes(self, **template: int) -> int:
        """Shared memory of a group, in bytes."""
        return sum(_padded(SIZES[c_type] * count) for c_type, _, count in self._arrays(template))

    def dynamic_shared_bytes(self, **template: int) -> int:
        """What CUDA is to be asked for at launch (`shared_memory`): nothing where the kernel can declare it itself."""
        size = self.shared_bytes(**template)
        return size if size > STATIC_SHARED else 0

    def _parts(self) -> tuple[str, str]:
        functions, mark, body = self.text.partition(BODY)
        if not mark:
            return "", f'#line 1 "{self.name}"\n{self.text}\n'
        line = functions.count("\n") + 2
        return f'#line 1 "{self.name}"\n{functions}\n', f'#line {line} "{self.name}"\n{body}\n'

    def _arrays(self, template: dict[str, int]) -> list[tuple[str, str, int]]:
        values = {name: int(value) for name, value in template.items()}
        counts = [int(eval(count, {"__builtins__": {}, "min": min, "max": max}, values)) for _, _, count in self.shared]
        return [(c_type, name, n) for (c_type, name, _), n in zip(self.shared, counts, strict=True) if n]

    def _declarations(self, language: Language, template: dict[str, int]) -> str:
        arrays = self._arrays(template)
        if language != "cuda" or not self.dynamic_shared_bytes(**template):
            return "".join(f"SHARED({c_type}, {name}, {n});\n" for c_type, name, n in arrays)
        lines = ["extern __shared__ uint4 shared_pool[];\n"]
        at = 0
        for c_type, name, n in arrays:
            lines.append(f"{c_type}* const {name} = reinterpret_cast<{c_type}*>(shared_pool + {at // 16});\n")
            at += _padded(SIZES[c_type] * n)
        return "".join(lines)

    def _check(self, language: Language, template: dict[str, int]) -> None:
        threads = template.get("THREADS", 0)
        if threads < 32 or threads % 32 or threads > MAX_THREADS[language]:
            raise ValueError(
                f"{self.name}: THREADS is {threads}; {language} needs a multiple of 32 up to {MAX_THREADS[language]}."
            )
        names = [name for name, _ in (*self.inputs, *self.outputs)]
        if twice := sorted(template.keys() & {*names, *(name for _, name, _ in self.shared)}):
            raise ValueError(f"{self.name}: {twice} is both a value of the template and an array; rename one.")
        buffers = len(names)
        if buffers > MAX_BUFFERS:
            raise ValueError(f"{self.name}: {buffers} inputs and outputs; at most {MAX_BUFFERS} can be passed.")
        size = self.shared_bytes(**template)
        if size > MAX_SHARED[language]:
            raise ValueError(
                f"{self.name}: {size} bytes of shared memory for {template}; {language} has {MAX_SHARED[language]}: "
                "take smaller tiles."
            )


def _padded(size: int) -> int:
    """Up to the next multiple of 16 bytes, so that every array begins at one."""
    return (size + 15) // 16 * 16

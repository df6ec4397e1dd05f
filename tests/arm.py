"""Compiled functions on another processor: their LLVM code, compiled for ARM and run there by `qemu-aarch64`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

MISSING = [program for program in (COMPILER, EMULATOR) if shutil.which(program) is None]

RUNTIME = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct { int64_t count; void *destroy, *info, *data; int64_t size; void *outside; } Memory;
void *NRT_MemInfo_alloc_aligned(int64_t size, uint32_t edge) {
    Memory *memory = calloc(1, sizeof(Memory));
    memory->count = 1, memory->size = size;
    memory->data = aligned_alloc(64, (size + 127) / 64 * 64);
    return memory;
}
void *NRT_MemInfo_alloc(int64_t size) { return NRT_MemInfo_alloc_aligned(size, 64); }
void NRT_MemInfo_call_dtor(void *memory) { free(((Memory *)memory)->data), free(memory); }
int numba_attempt_nocopy_reshape(
    int64_t, int64_t *, int64_t *, int64_t count, int64_t *sizes, int64_t *strides, int64_t step, int fortran) {
    for (; count--; step *= sizes[count]) strides[count] = step;
    return 1;
}
void *NRT_Allocate(int64_t size) { return malloc(size); }
void NRT_Free(void *place) { free(place); }
int8_t sub_cc(int64_t *count, int64_t by, int32_t condition) { return (*count -= by) == 0; }
"""
"""What Numba's code asks of its runtime, for arrays in C order; `sub_cc` stands for LLVM's word
for an x86 instruction. What only Python's side of a function calls, is not there."""


class OnArm:
    """A function of `compiled` that also runs on ARM and must leave the same bits in all of its arrays.

    Parameters
    ----------
    function
        Its arguments are whole numbers, bools and arrays in C order.
    folder : Path
        For what is built.

    Attributes
    ----------
    calls : int
        How often both were compared.
    """

    def __init__(self, function: Any, folder: Path) -> None:
        self.function, self.folder, self.calls = function, folder, 0

    def __call__(self, *arguments: Any) -> None:
        before = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]
        self.function(*arguments)
        for place, (own, theirs) in enumerate(zip(arguments, self._run(before), strict=True)):
            if isinstance(own, np.ndarray):
                assert own.tobytes() == theirs, f"argument {place} of {self.function.__name__} differs on ARM"
        self.calls += 1

    def _run(self, arguments: list[Any]) -> list[Any]:
        types = tuple(numba.typeof(argument) for argument in arguments)
        program = self.folder / f"{self.function.__name__}{abs(hash((types, tuple(map(np.shape, arguments)))))}"
        arrays = {k: argument for k, argument in enumerate(arguments) if isinstance(argument, np.ndarray)}
        begins = dict(
            zip(arrays, np.cumsum([0, *(-(-a.nbytes // 64) * 64 + 64 for a in arrays.values())]), strict=False)
        )
        blob = bytearray(sum(-(-a.nbytes // 64) * 64 + 64 for a in arrays.values()))
        for k, array in arrays.items():
            blob[begins[k] : begins[k] + array.nbytes] = array.tobytes()
        if not program.exists():
            self._build(program, types, arguments, begins, len(blob))
        data = program.with_suffix(".data")
        data.write_bytes(blob)
        subprocess.run([EMULATOR, program, data], check=True)
        after = data.read_bytes()
        return [after[begins[k] : begins[k] + arrays[k].nbytes] if k in arrays else None for k in range(len(arguments))]

    def _build(self, program: Path, types: Any, arguments: list[Any], begins: dict[int, int], size: int) -> None:
        # Numba passes an array as its owner, its parent, sizes, address, shape and strides.
        passed = []
        for k, argument in enumerate(arguments):
            if isinstance(argument, np.ndarray):
                sizes = [*argument.shape, *argument.strides]
                passed += [0, 0, argument.size, argument.itemsize, f"(int64_t)(blob + {begins[k]})", *sizes]
            else:
                passed.append(int(argument))
        fresh = numba.njit(nogil=True)(self.function.py_func)
        fresh.compile(types)
        (found,) = fresh.overloads.values()
        name = found.fndesc.mangled_name
        code = found.library.get_llvm_str().replace("llvm.x86.atomic.sub.cc.i64", "sub_cc").replace("i32 immarg", "i32")
        lines = [line for line in code.splitlines() if not line.startswith("target ")]
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        target = llvm.Target.from_triple("aarch64-linux-gnu").create_target_machine(cpu="apple-m1", opt=3)
        module = llvm.parse_assembly("\n".join(lines))
        module.triple, module.data_layout = "aarch64-linux-gnu", str(target.target_data)
        program.with_suffix(".o").write_bytes(target.emit_object(module))
        main = f"""{RUNTIME}
int32_t call(void *, void *{", int64_t" * len(passed)}) __asm__("{name}");
int main(int count, char **names) {{
    char *blob = aligned_alloc(64, {size}), *result[16] = {{0}}, *error[16] = {{0}};
    FILE *file = fopen(names[1], "r+b");
    if (fread(blob, 1, {size}, file) != {size} || call(result, error, {", ".join(map(str, passed))})) return 1;
    rewind(file);
    return fwrite(blob, 1, {size}, file) != {size} || fclose(file);
}}
"""
        program.with_suffix(".c").write_text(main)
        subprocess.run(
            [COMPILER, "-O1", "-static", "-Wl,--unresolved-symbols=ignore-all", "-o", program,
             program.with_suffix(".c"), program.with_suffix(".o"), "-lm"], check=True,
        )  # fmt: skip

"""Compiled functions on another processor: compiled for ARM as Numba does there, and run by `qemu-aarch64`.

A process of its own compiles: it believes that it runs on an M1, so the package takes the forms for NEON.
"""

from __future__ import annotations

import importlib
import os
import pickle
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

MISSING = [program for program in (COMPILER, EMULATOR) if shutil.which(program) is None]

TRIPLE, PROCESSOR = "aarch64-linux-gnu", "apple-m1"

RUNTIME = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
static void *guarded(int64_t size) {
    int64_t page = 4096, whole = (size + page - 1) / page * page;
    char *at = mmap(0, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED || mprotect(at + whole, page, PROT_NONE)) exit(2);
    return at + whole - size;
}
typedef struct { int64_t count; void *destroy, *info, *data; int64_t size; void *outside; } Memory;
void *NRT_MemInfo_alloc_aligned(int64_t size, uint32_t edge) {
    Memory *memory = calloc(1, sizeof(Memory));
    memory->count = 1, memory->size = size, memory->data = guarded(size);
    return memory;
}
void *NRT_MemInfo_alloc(int64_t size) { return NRT_MemInfo_alloc_aligned(size, 64); }
void NRT_MemInfo_call_dtor(void *memory) { free(memory); }
int numba_attempt_nocopy_reshape(
    int64_t, int64_t *, int64_t *, int64_t count, int64_t *sizes, int64_t *strides, int64_t step, int fortran) {
    for (; count--; step *= sizes[count]) strides[count] = step;
    return 1;
}
void *NRT_Allocate(int64_t size) { return malloc(size); }
void NRT_Free(void *place) { free(place); }
"""
"""What Numba's code asks of its runtime, for arrays in C order, each of which ends where a page begins that nothing may
touch. What only Python's side of a function calls, is not there."""

MAIN = """
int32_t call(void *, void *PARAMETERS) __asm__("NAME");
int main(int count, char **names) {
    int64_t passed[COUNT], sizes[COUNT];
    char *result[16] = {0}, *error[16] = {0};
    FILE *file = fopen(names[1], "r+b");
    if (fread(passed, 8, COUNT, file) != COUNT || fread(sizes, 8, COUNT, file) != COUNT) return 1;
    for (int k = 0; k < COUNT; k++) if (sizes[k] >= 0) {
        passed[k] = (int64_t)guarded(sizes[k]);
        if (fread((void *)passed[k], 1, sizes[k], file) != sizes[k]) return 1;
    }
    if (call(result, errorARGUMENTS)) return 1;
    rewind(file);
    for (int k = 0; k < COUNT; k++) if (sizes[k] >= 0) fwrite((void *)passed[k], 1, sizes[k], file);
    return fclose(file);
}
"""
"""Reads what is passed, and of each array its size and content; writes the contents back."""


class OnArm:
    """A function of `compiled` that also runs on ARM and must leave the same bits in its last array.

    The others are read, or room for what rows behind the last leave behind.

    Parameters
    ----------
    function
        Its arguments are whole numbers, bools and arrays in C order.
    folder : Path
        For what is built, once for each types of arguments.

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
        assert arguments[-1].tobytes() == self._run(before), f"{self.function.__name__} differs on ARM"
        self.calls += 1

    def _run(self, arguments: list[Any]) -> bytes:
        # Numba passes an array as its owner, its parent, sizes, address, shape and strides.
        passed, sizes, content = [], [], b""
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                more = [0, 0, argument.size, argument.itemsize, 0, *argument.shape, *argument.strides]
                sizes += [argument.nbytes if k == 4 else -1 for k in range(len(more))]
                content += argument.tobytes()
            else:
                more = [int(argument)]
                sizes.append(-1)
            passed += more
        types = tuple(numba.typeof(argument) for argument in arguments)
        program = self.folder / f"{self.function.__name__}{abs(hash(types))}"
        if not program.exists():
            self._build(program, types, len(passed))
        data = program.with_suffix(".data")
        data.write_bytes(np.array(passed + sizes, np.int64).tobytes() + content)
        subprocess.run([EMULATOR, program, data], check=True)
        return data.read_bytes()[: len(content)][-arguments[-1].nbytes :]

    def _build(self, program: Path, types: Any, count: int) -> None:
        theirs = {"NUMBA_CPU_NAME": PROCESSOR, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(self.folder)}
        name, target = self.function.__name__, program.with_suffix(".o")
        compiled = subprocess.run(
            [sys.executable, "-m", "tests.arm", self.function.__module__, name, target],
            input=pickle.dumps(types), stdout=subprocess.PIPE, check=True, env={**os.environ, **theirs},
        )  # fmt: skip
        main = MAIN.replace("NAME", compiled.stdout.decode()).replace("COUNT", str(count))
        main = main.replace("PARAMETERS", ", int64_t" * count)
        main = main.replace("ARGUMENTS", "".join(f", passed[{k}]" for k in range(count)))
        program.with_suffix(".c").write_text(RUNTIME + main)
        subprocess.run(
            [COMPILER, "-O1", "-static", "-Wl,--unresolved-symbols=ignore-all", "-o", program,
             program.with_suffix(".c"), program.with_suffix(".o"), "-lm"], check=True,
        )  # fmt: skip


def compile_for_arm(module: str, name: str, target: Path) -> None:
    """Compile a function for the types that standard input tells, and say its symbol. Nothing of it can run here."""
    platform.machine = lambda: "arm64"
    llvm.get_process_triple = lambda: TRIPLE
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    function = numba.njit(nogil=True)(getattr(importlib.import_module(module), name).py_func)
    function.compile(pickle.load(sys.stdin.buffer))
    (found,) = function.overloads.values()
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=PROCESSOR, opt=3)
    code = found.library.get_llvm_str()
    target.with_suffix(".ll").write_text(code)
    target.write_bytes(machine.emit_object(llvm.parse_assembly(code)))
    sys.stdout.write(found.fndesc.mangled_name)


if __name__ == "__main__":
    compile_for_arm(*sys.argv[1:3], Path(sys.argv[3]))

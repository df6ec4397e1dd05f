/* malloc, once switched on, puts every block at the end (or the start) of pages that nothing may touch behind (or before).

   For LD_PRELOAD. Blocks come from one reserved stretch of addresses and are not used twice, so that what was freed stays
   forbidden as well. Linux only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define PAGES ((size_t)1 << 25)

enum { OFF, AT_END, AT_START };

static atomic_int mode = OFF;
static char *stretch;
static uint32_t *sizes; /* of the block that begins in each page */
static atomic_size_t next_page = 1;
static atomic_size_t n_guarded;

/* Numba puts a header before an array's data and lets the data begin at a multiple of 32 bytes, with room for both. */
static uintptr_t numba_begin, numba_end;
static size_t numba_header;
#define NUMBA_ALIGNED 32

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

int guard_set_up(uintptr_t begin, uintptr_t end, size_t header) {
    numba_begin = begin, numba_end = end, numba_header = header;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    if (!stretch) {
        stretch = mmap(0, PAGES * PAGE, PROT_NONE, flags, -1, 0);
        sizes = mmap(0, PAGES * sizeof *sizes, PROT_READ | PROT_WRITE, flags, -1, 0);
    }
    return stretch == MAP_FAILED || sizes == MAP_FAILED;
}

void guard_switch(int to) { mode = to; }

size_t guard_count(void) { return n_guarded; }

static int is_guarded(const void *p) {
    return stretch && (const char *)p >= stretch && (const char *)p < stretch + PAGES * PAGE;
}

static void *guarded(size_t size, uintptr_t caller) {
    size_t pages = (size + PAGE - 1) / PAGE + !size;
    /* One page more in front, since a header of Numba's may need it; one behind that stays forbidden. */
    size_t first = atomic_fetch_add(&next_page, pages + 2) + 1;
    if (first + pages + 1 >= PAGES || size > UINT32_MAX) {
        errno = ENOMEM;
        return 0;
    }
    char *begin = stretch + first * PAGE, *end = begin + pages * PAGE, *p = begin;
    size_t room = numba_header + 2 * NUMBA_ALIGNED;
    if (caller >= numba_begin && caller < numba_end && size > room && mode == AT_END) {
        p = (char *)((uintptr_t)(end - (size - room)) & -(uintptr_t)NUMBA_ALIGNED) - numba_header;
        if (p < begin) {
            mprotect(begin - PAGE, PAGE, PROT_READ | PROT_WRITE);
        }
    } else if (mode == AT_END) {
        size_t aligned = size & -size; /* what the size is a multiple of */
        p = (char *)((uintptr_t)(end - size) & -(aligned && aligned < 16 ? aligned : 16));
    }
    if (mprotect(begin, pages * PAGE, PROT_READ | PROT_WRITE)) return 0;
    sizes[(p - stretch) / PAGE] = (uint32_t)size;
    n_guarded++;
    return p;
}

static void forbid(void *p) {
    char *begin = (char *)((uintptr_t)p & -PAGE);
    size_t size = sizes[(begin - stretch) / PAGE] + ((char *)p - begin);
    size_t length = (size + PAGE - 1) / PAGE * PAGE;
    madvise(begin, length, MADV_DONTNEED);
    mprotect(begin, length, PROT_NONE);
}

void *malloc(size_t size) {
    return mode ? guarded(size, (uintptr_t)__builtin_return_address(0)) : __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    if (!mode) return __libc_calloc(n, size);
    if (size && n > SIZE_MAX / size) return 0;
    return guarded(n * size, (uintptr_t)__builtin_return_address(0)); /* new pages are zero */
}

void free(void *p) {
    if (is_guarded(p)) forbid(p);
    else __libc_free(p);
}

void *realloc(void *p, size_t size) {
    if (!mode && !is_guarded(p)) return __libc_realloc(p, size);
    void *moved = malloc(size);
    if (moved && p) {
        size_t old;
        if (is_guarded(p)) {
            old = sizes[((char *)p - stretch) / PAGE];
        } else {
            size_t (*usable)(void *) = (size_t (*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
            old = usable(p);
        }
        memcpy(moved, p, old < size ? old : size);
        free(p);
    }
    return moved;
}

size_t malloc_usable_size(void *p) {
    if (is_guarded(p)) return sizes[((char *)p - stretch) / PAGE];
    size_t (*usable)(void *) = (size_t (*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
    return p ? usable(p) : 0;
}

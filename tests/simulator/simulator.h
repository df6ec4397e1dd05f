// A GPU's threadgroup on the CPU: every thread of the group is a fiber, and barriers and SIMD operations switch between
// them. It checks what a GPU lets pass: accesses outside an array, reads of what was never written, accesses of two
// threads to one element with no barrier between them, and threads that wait at different places.
#pragma once

#ifdef __APPLE__
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

struct uint2 {
    uint32_t x, y;
};

namespace simulator {

constexpr int STACK = 256 << 10;
constexpr int MAX_SHARED_ARRAYS = 32;
constexpr int MESSAGE = 1000;

enum Wait { NONE, AT_BARRIER, AT_DEVICE_BARRIER, AT_SIMD_BARRIER,
            AT_MIN, AT_MAX, AT_SUM, AT_BALLOT, AT_SHUFFLE, ENDED };
const char* const WAIT_NAMES[] = {"runs",        "BARRIER",  "DEVICE_BARRIER", "SIMD_BARRIER", "SIMD_MIN",
                                  "SIMD_MAX",    "SIMD_SUM", "SIMD_BALLOT",    "SIMD_SHUFFLE", "has ended"};

struct Fiber {
    ucontext_t start;
    jmp_buf context;
    bool started;
    Wait wait;
    int line;
    uint32_t value, lane, result;
};

// When and by whom an element was touched; -1 stands for several threads, SIMD groups or groups.
struct Access {
    int64_t group = -2;
    int32_t thread = 0, simd = 0;
    uint32_t epoch = 0, simd_epoch = 0;
};

struct Shadow {
    Access read, write;
    bool written = false;
};

struct Array {
    const char* name;
    char* data;
    int64_t size;
    Shadow* shadow;  // none for what is only read
    bool shared;
};

struct Machine {
    uint32_t threads, group, n_groups;
    Fiber* fibers;
    char* stacks;
    uint32_t thread;  // the one that runs
    jmp_buf scheduler;
    uint32_t epoch, device_epoch;
    int64_t accesses, max_accesses;
    uint32_t simd_epochs[32];
    Array shared[MAX_SHARED_ARRAYS];
    int n_shared;
    bool failed;
    char* message;
    void (*kernel)();
};
inline Machine machine;

[[noreturn]] inline void to_scheduler() { _longjmp(machine.scheduler, 1); }

[[noreturn]] __attribute__((format(printf, 1, 2))) inline void fail(const char* format, ...) {
    int n = snprintf(machine.message, MESSAGE, "group %u, thread %u: ", machine.group, machine.thread);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(machine.message + n, MESSAGE - n, format, arguments);
    va_end(arguments);
    machine.failed = true;
    to_scheduler();
}

inline bool before_now(const Access& a, bool shared) {
    const int32_t simd = machine.thread / 32;
    if (a.group == -2) return true;
    if (a.group != machine.group) return false;
    if (a.thread == int32_t(machine.thread)) return true;
    if (a.epoch < (shared ? machine.epoch : machine.device_epoch)) return true;
    return a.simd == simd && a.simd_epoch < machine.simd_epochs[simd];
}

inline Access access_now(bool shared) {
    const int32_t simd = machine.thread / 32;
    const uint32_t epoch = shared ? machine.epoch : machine.device_epoch;
    return {machine.group, int32_t(machine.thread), simd, epoch, machine.simd_epochs[simd]};
}

inline void check_bounds(const Array* array, int64_t i) {
    if (++machine.accesses > machine.max_accesses) fail("%lld accesses and no end", (long long)machine.max_accesses);
    if (i < 0 || i >= array->size)
        fail("%s[%lld], which has %lld elements", array->name, (long long)i, (long long)array->size);
}

[[noreturn]] inline void fail_race(const Array* array, int64_t i, const char* what, const char* other,
                                   const Access& a) {
    fail("%s %s[%lld], which thread %d of group %lld %s with no %s between (-1: several)", what, array->name,
         (long long)i, a.thread, (long long)a.group, other, array->shared ? "barrier" : "DEVICE_BARRIER");
}

inline void check_read(const Array* array, int64_t i) {
    check_bounds(array, i);
    if (!array->shadow) return;
    Shadow& shadow = array->shadow[i];
    if (!shadow.written) fail("reads %s[%lld] before anything was written there", array->name, (long long)i);
    if (!before_now(shadow.write, array->shared)) fail_race(array, i, "reads", "wrote", shadow.write);
    const Access now = access_now(array->shared);
    Access& read = shadow.read;
    if (read.group != -2 && read.group != now.group) {
        read = now;
        read.group = -1;
    } else if (read.group == now.group && read.epoch == now.epoch) {
        if (read.simd != now.simd) read.simd = -1;
        if (read.thread != now.thread) read.thread = -1;
        read.simd_epoch = now.simd_epoch;
    } else {
        read = now;
    }
}

inline void check_write(const Array* array, int64_t i, bool same) {
    check_bounds(array, i);
    Shadow& shadow = array->shadow[i];
    // Threads that write one value to one place do no harm.
    if (!(same && shadow.written) && !before_now(shadow.write, array->shared))
        fail_race(array, i, "writes", "wrote", shadow.write);
    if (!before_now(shadow.read, array->shared)) fail_race(array, i, "writes", "read", shadow.read);
    shadow.written = true;
    shadow.write = access_now(array->shared);
}

// An element that can be written. It turns into its value once: `auto x = array[i]` would read it later than it seems.
template <typename T>
struct Element {
    Array* array;
    int64_t i;
    T& value() const { return reinterpret_cast<T*>(array->data)[i]; }
    operator T() && {
        check_read(array, i);
        return value();
    }
    T operator=(T x) && {
        check_bounds(array, i);
        check_write(array, i, memcmp(&value(), &x, sizeof(T)) == 0);
        return value() = x;
    }
    T operator=(Element&& other) && {
        return static_cast<Element&&>(*this) = static_cast<T>(static_cast<Element&&>(other));
    }
#define SIMULATOR_UPDATE(op)                                    \
    template <typename U>                                       \
    T operator op##=(U x) && {                                  \
        check_read(array, i);                                   \
        return static_cast<Element&&>(*this) = T(value() op x); \
    }
    SIMULATOR_UPDATE(+)
    SIMULATOR_UPDATE(-)
    SIMULATOR_UPDATE(*)
    SIMULATOR_UPDATE(|)
    SIMULATOR_UPDATE(&)
    SIMULATOR_UPDATE(^)
#undef SIMULATOR_UPDATE
    T operator++() && { return static_cast<Element&&>(*this) += T(1); }
    void operator++(int) && { static_cast<Element&&>(*this) += T(1); }
};

template <typename T>
struct Pointer {
    Array* array;
    int64_t at;
    Element<T> operator[](int64_t i) const { return {array, at + i}; }
    Element<T> operator*() const { return {array, at}; }
    Pointer operator+(int64_t i) const { return {array, at + i}; }
    Pointer operator-(int64_t i) const { return {array, at - i}; }
    Pointer& operator+=(int64_t i) { return at += i, *this; }
    operator Pointer<const T>() const { return {array, at}; }
};

template <typename T>
struct Pointer<const T> {
    Array* array;
    int64_t at;
    T operator[](int64_t i) const {
        check_read(array, at + i);
        return reinterpret_cast<const T*>(array->data)[at + i];
    }
    T operator*() const { return (*this)[0]; }
    Pointer operator+(int64_t i) const { return {array, at + i}; }
    Pointer operator-(int64_t i) const { return {array, at - i}; }
    Pointer& operator+=(int64_t i) { return at += i, *this; }
};

// An input as elements of another type; only what is never written can be seen so, since it needs no shadow.
template <typename To, typename From>
struct Viewed {
    Pointer<const From> from;
    To operator[](int64_t i) const {
        static_assert(sizeof(To) % sizeof(From) == 0, "a view's elements are as large as some of the array's");
        constexpr int64_t n = sizeof(To) / sizeof(From);
        if (from.array->shadow) fail("VIEW of %s, which can be written", from.array->name);
        if ((from.at + i * n) % n)
            fail("VIEW of %s at an address that is no multiple of %d", from.array->name, int(sizeof(To)));
        check_bounds(from.array, from.at + i * n);
        check_bounds(from.array, from.at + i * n + n - 1);
        To x;
        memcpy(&x, reinterpret_cast<const From*>(from.array->data) + from.at + i * n, sizeof(To));
        return x;
    }
};
template <typename To, typename From>
Viewed<To, From> view(Pointer<From> pointer) {
    return {Pointer<const From>(pointer)};
}
template <typename To, typename From>
Viewed<To, From> view(Pointer<const From> pointer) {
    return {pointer};
}

template <typename T>
Pointer<T> shared(const char* name, int64_t n) {
    for (int i = 0; i < machine.n_shared; i++)
        if (strcmp(machine.shared[i].name, name) == 0) return {&machine.shared[i], 0};
    if (machine.n_shared == MAX_SHARED_ARRAYS) fail("more than %d shared arrays", MAX_SHARED_ARRAYS);
    char* data = static_cast<char*>(malloc(n * sizeof(T)));
    memset(data, 0xA5, n * sizeof(T));
    machine.shared[machine.n_shared] = {name, data, n, new Shadow[n], true};
    return {&machine.shared[machine.n_shared++], 0};
}

inline uint32_t wait(Wait wait, int line, uint32_t value = 0, uint32_t lane = 0) {
    Fiber& fiber = machine.fibers[machine.thread];
    if (lane >= 32) fail("SIMD_SHUFFLE from lane %u in line %d", lane, line);
    fiber.wait = wait;
    fiber.line = line;
    fiber.value = value;
    fiber.lane = lane;
    if (!_setjmp(fiber.context)) to_scheduler();
    return machine.fibers[machine.thread].result;
}

template <typename To, typename From>
To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "as many bits");
    To to;
    memcpy(&to, &from, sizeof(to));
    return to;
}
inline uint32_t shuffle(int line, uint32_t x, uint32_t lane) { return wait(AT_SHUFFLE, line, x, lane); }
inline int32_t shuffle(int line, int32_t x, uint32_t lane) {
    return int32_t(wait(AT_SHUFFLE, line, uint32_t(x), lane));
}
inline float shuffle(int line, float x, uint32_t lane) {
    return same_bits<float>(wait(AT_SHUFFLE, line, same_bits<uint32_t>(x), lane));
}

inline void entry() {
    machine.kernel();
    machine.fibers[machine.thread].wait = ENDED;
    to_scheduler();
}

__attribute__((noinline)) inline void resume(uint32_t thread) {
    machine.thread = thread;
    Fiber& fiber = machine.fibers[thread];
    if (_setjmp(machine.scheduler)) return;
    if (fiber.started) _longjmp(fiber.context, 1);
    fiber.started = true;
    setcontext(&fiber.start);
}

inline bool all_at_one_place(const Fiber* fibers, uint32_t n) {
    for (uint32_t i = 1; i < n; i++)
        if (fibers[i].wait != fibers[0].wait || (fibers[0].wait != ENDED && fibers[i].line != fibers[0].line))
            return false;
    return true;
}

inline void finish_simd(Fiber* fibers) {
    uint32_t low = 0xffffffffu, high = 0, sum = 0, ballot = 0;
    for (int i = 0; i < 32; i++) {
        const uint32_t x = fibers[i].value;
        low = x < low ? x : low;
        high = x > high ? x : high;
        sum += x;
        ballot |= uint32_t(x != 0) << i;
    }
    for (int i = 0; i < 32; i++) {
        Fiber& f = fibers[i];
        f.result = f.wait == AT_MIN    ? low
                   : f.wait == AT_MAX  ? high
                   : f.wait == AT_SUM  ? sum
                   : f.wait == AT_BALLOT ? ballot
                                         : fibers[f.lane].value;
    }
    for (int i = 0; i < 32; i++) fibers[i].wait = NONE;
}

// Runs the threads of a SIMD group until none can go on without the others of the group.
inline void run_simd(uint32_t simd) {
    Fiber* fibers = machine.fibers + 32 * simd;
    while (true) {
        for (uint32_t lane = 0; lane < 32; lane++) {
            if (fibers[lane].wait != NONE) continue;
            resume(32 * simd + lane);
            if (machine.failed) return;
        }
        const bool at_simd = fibers[0].wait >= AT_SIMD_BARRIER && fibers[0].wait <= AT_SHUFFLE;
        if (!at_simd || !all_at_one_place(fibers, 32)) return;
        machine.simd_epochs[simd] += fibers[0].wait == AT_SIMD_BARRIER;
        finish_simd(fibers);
    }
}

inline void report_divergence() {
    char places[2][80];
    uint32_t at[2] = {0, 0};
    for (uint32_t i = 1; i < machine.threads && at[1] == 0; i++) {
        const Fiber two[2] = {machine.fibers[0], machine.fibers[i]};
        if (!all_at_one_place(two, 2)) at[1] = i;
    }
    for (int i = 0; i < 2; i++) {
        const Fiber& f = machine.fibers[at[i]];
        if (f.wait == ENDED) snprintf(places[i], sizeof(places[i]), "has ended");
        else snprintf(places[i], sizeof(places[i]), "waits at %s in line %d", WAIT_NAMES[f.wait], f.line);
    }
    machine.failed = true;
    snprintf(machine.message, MESSAGE, "group %u: the threads went apart: thread %u %s, thread %u %s", machine.group,
             at[0], places[0], at[1], places[1]);
}

inline void run_group() {
    for (uint32_t i = 0; i < machine.threads; i++) {
        Fiber& fiber = machine.fibers[i];
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = machine.stacks + size_t(i) * STACK;
        fiber.start.uc_stack.ss_size = STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, entry, 0);
        fiber.started = false;
        fiber.wait = NONE;
    }
    while (true) {
        for (uint32_t simd = 0; simd < machine.threads / 32 && !machine.failed; simd++) run_simd(simd);
        if (machine.failed) return;
        const Wait wait = machine.fibers[0].wait;
        const bool at_barrier = wait == AT_BARRIER || wait == AT_DEVICE_BARRIER;
        if (!all_at_one_place(machine.fibers, machine.threads) || !(at_barrier || wait == ENDED))
            return report_divergence();
        if (wait == ENDED) return;
        machine.epoch++;
        machine.device_epoch += wait == AT_DEVICE_BARRIER;
        for (uint32_t i = 0; i < machine.threads; i++) machine.fibers[i].wait = NONE;
    }
}

// Runs the groups one after another. Returns whether all went well; if not, `message` (of MESSAGE bytes) says why.
inline bool run_groups(void (*kernel)(), uint32_t threads, uint32_t n_groups, int64_t max_accesses, char* message) {
    machine = Machine();
    machine.max_accesses = max_accesses;
    machine.kernel = kernel;
    machine.threads = threads;
    machine.n_groups = n_groups;
    machine.message = message;
    machine.fibers = new Fiber[threads];
    machine.stacks = static_cast<char*>(malloc(size_t(threads) * STACK));
    for (machine.group = 0; machine.group < n_groups && !machine.failed; machine.group++) {
        machine.n_shared = 0;
        run_group();
        for (int i = 0; i < machine.n_shared; i++) {
            free(machine.shared[i].data);
            delete[] machine.shared[i].shadow;
        }
    }
    delete[] machine.fibers;
    free(machine.stacks);
    return !machine.failed;
}

}  // namespace simulator

// What a kernel's text means in the simulator. The same names are in the package's metal.h and cuda.h.
#include "simulator.h"

#define THREAD (simulator::machine.thread)
#define GROUP (simulator::machine.group)
#define N_GROUPS (simulator::machine.n_groups)
#define LANE (simulator::machine.thread & 31u)
#define SIMD_GROUP (simulator::machine.thread >> 5)

#define FUNCTION static inline
#define DEVICE
#define POINTER(T) simulator::Pointer<T>
#define SHARED_POINTER(T) simulator::Pointer<T>
#define SHARED(T, name, n) const simulator::Pointer<T> name = simulator::shared<T>(#name, n)
#define VIEW(T, pointer) (simulator::view<T>(pointer))
#define BYTES_AT(T, array, offset) (static_cast<T>((array)[(offset) / sizeof(T)]))
#define LOAD(pointer, i) ((pointer)[i])
// What lies at an address of the host, given in two words; not in Metal, where no address is the host's.
#define AT_ADDRESS(T, words) \
    (reinterpret_cast<T*>(static_cast<uint64_t>((words)[0]) | static_cast<uint64_t>((words)[1]) << 32))

#define BARRIER() ((void)simulator::wait(simulator::AT_BARRIER, __LINE__))
#define DEVICE_BARRIER() ((void)simulator::wait(simulator::AT_DEVICE_BARRIER, __LINE__))
#define SIMD_BARRIER() ((void)simulator::wait(simulator::AT_SIMD_BARRIER, __LINE__))

#define BITS_TO_FLOAT(u) (simulator::same_bits<float>(static_cast<uint32_t>(u)))
#define FLOAT_TO_BITS(x) (simulator::same_bits<uint32_t>(static_cast<float>(x)))
// Compiled with -ffp-contract=off.
#define MUL(a, b) (static_cast<float>(a) * static_cast<float>(b))
#define ADD(a, b) (static_cast<float>(a) + static_cast<float>(b))
#define SUB(a, b) (static_cast<float>(a) - static_cast<float>(b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MULHI(a, b) \
    (static_cast<uint32_t>((static_cast<uint64_t>(static_cast<uint32_t>(a)) * static_cast<uint32_t>(b)) >> 32))
#define POPCOUNT(u) (static_cast<uint32_t>(__builtin_popcount(u)))
#define UINT2(a, b) (uint2{static_cast<uint32_t>(a), static_cast<uint32_t>(b)})
#define UNROLL

#define SIMD_MIN(u) (simulator::wait(simulator::AT_MIN, __LINE__, static_cast<uint32_t>(u)))
#define SIMD_MAX(u) (simulator::wait(simulator::AT_MAX, __LINE__, static_cast<uint32_t>(u)))
#define SIMD_SUM(u) (simulator::wait(simulator::AT_SUM, __LINE__, static_cast<uint32_t>(u)))
#define SIMD_BALLOT(p) (simulator::wait(simulator::AT_BALLOT, __LINE__, (p) ? 1u : 0u))
#define SIMD_SHUFFLE(x, lane) (simulator::shuffle(__LINE__, (x), static_cast<uint32_t>(lane)))

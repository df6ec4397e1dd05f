// What a kernel's text means in the Metal shading language. The same names are in cuda.h and in the tests' host.h.
#define THREAD (thread_position_in_threadgroup.x)
#define GROUP (threadgroup_position_in_grid.x)
#define N_GROUPS (threadgroups_per_grid.x)
#define LANE (thread_index_in_simdgroup)
#define SIMD_GROUP (simdgroup_index_in_threadgroup)

#define FUNCTION inline
#define DEVICE device
#define POINTER(T) device T*
#define SHARED_POINTER(T) threadgroup T*
#define SHARED(T, name, n) threadgroup T name[n]
#define VIEW(T, pointer) (reinterpret_cast<const device T*>(pointer))
#define BYTES_AT(T, array, offset) \
    (*reinterpret_cast<const threadgroup T*>(reinterpret_cast<const threadgroup char*>(array) + (offset)))
#define LOAD(pointer, i) ((pointer)[i])

#define BARRIER() metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup)
#define DEVICE_BARRIER() \
    metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device)
#define SIMD_BARRIER() \
    metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device)

#define BITS_TO_FLOAT(u) (as_type<float>(static_cast<uint32_t>(u)))
#define FLOAT_TO_BITS(x) (as_type<uint32_t>(static_cast<float>(x)))
// A compiler may make one rounding of a product and a sum, but not of two fused operations. NEGATIVE_ZERO (see
// kernel_source.py) is known only when the kernel runs: of a constant the compiler would make a plain product again.
#define MUL(a, b) (metal::fma((a), (b), NEGATIVE_ZERO))
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MULHI(a, b) (metal::mulhi(static_cast<uint32_t>(a), static_cast<uint32_t>(b)))
#define POPCOUNT(u) (metal::popcount(static_cast<uint32_t>(u)))
#define UINT2(a, b) (uint2((a), (b)))
#define UNROLL _Pragma("unroll")

#define SIMD_MIN(u) (metal::simd_min(static_cast<uint32_t>(u)))
#define SIMD_MAX(u) (metal::simd_max(static_cast<uint32_t>(u)))
#define SIMD_SUM(u) (metal::simd_sum(static_cast<uint32_t>(u)))
#define SIMD_BALLOT(p) \
    (static_cast<uint32_t>(static_cast<metal::simd_vote::vote_t>(metal::simd_ballot(static_cast<bool>(p)))))
#define SIMD_SHUFFLE(x, lane) (metal::simd_shuffle((x), static_cast<ushort>(lane)))

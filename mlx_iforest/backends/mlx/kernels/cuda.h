// What a kernel's text means in CUDA. The same names are in metal.h and in the tests' host.h.
#define THREAD (threadIdx.x)
#define GROUP (blockIdx.x)
#define N_GROUPS (gridDim.x)
#define LANE (threadIdx.x & 31u)
#define SIMD_GROUP (threadIdx.x >> 5)

#define FUNCTION __device__ inline
#define DEVICE
#define POINTER(T) T*
#define SHARED_POINTER(T) T*
#define SHARED(T, name, n) __shared__ T name[n]
#define VIEW(T, pointer) (reinterpret_cast<const T*>(pointer))
#define BYTES_AT(T, array, offset) (*reinterpret_cast<const T*>(reinterpret_cast<const char*>(array) + (offset)))
#define LOAD(pointer, i) (__ldg((pointer) + (i)))
// What lies at an address of the host, given in two words; not in Metal, where no address is the host's.
#define AT_ADDRESS(T, words) \
    (reinterpret_cast<T*>(static_cast<uint64_t>((words)[0]) | static_cast<uint64_t>((words)[1]) << 32))

#define BARRIER() __syncthreads()
#define DEVICE_BARRIER() __syncthreads()
#define SIMD_BARRIER() __syncwarp()

#define BITS_TO_FLOAT(u) (__uint_as_float(u))
#define FLOAT_TO_BITS(x) (__float_as_uint(x))
#define MUL(a, b) (__fmul_rn((a), (b)))
#define ADD(a, b) (__fadd_rn((a), (b)))
#define SUB(a, b) (__fsub_rn((a), (b)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MULHI(a, b) (__umulhi((a), (b)))
#define POPCOUNT(u) (static_cast<uint32_t>(__popc(u)))
#define UINT2(a, b) (make_uint2((a), (b)))
#define UNROLL _Pragma("unroll")

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define SIMD_REDUCTION(name, combined)                                               \
    __device__ inline uint32_t name(uint32_t mine) {                                 \
        for (int distance = 16; distance > 0; distance >>= 1) {                      \
            const uint32_t other = __shfl_xor_sync(0xffffffffu, mine, distance);     \
            mine = combined;                                                         \
        }                                                                            \
        return mine;                                                                 \
    }
SIMD_REDUCTION(SIMD_MIN, MIN(mine, other))
SIMD_REDUCTION(SIMD_MAX, MAX(mine, other))
SIMD_REDUCTION(SIMD_SUM, mine + other)
#else
#define SIMD_MIN(u) (__reduce_min_sync(0xffffffffu, static_cast<uint32_t>(u)))
#define SIMD_MAX(u) (__reduce_max_sync(0xffffffffu, static_cast<uint32_t>(u)))
#define SIMD_SUM(u) (__reduce_add_sync(0xffffffffu, static_cast<uint32_t>(u)))
#endif
#define SIMD_BALLOT(p) (__ballot_sync(0xffffffffu, (p)))
#define SIMD_SHUFFLE(x, lane) (__shfl_sync(0xffffffffu, (x), static_cast<int>(lane)))

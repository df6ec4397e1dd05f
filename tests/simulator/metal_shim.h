// As much of the Metal shading language as kernels may use, for a C++ parser that does not know Metal.
typedef unsigned char uint8_t;
typedef unsigned short uint16_t, ushort;
typedef unsigned int uint32_t, uint;
typedef unsigned long uint64_t, ulong;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef _Float16 half;
typedef uint uint2 __attribute__((ext_vector_type(2)));
typedef uint uint3 __attribute__((ext_vector_type(3)));
#define uint2(a, b) uint2{static_cast<uint>(a), static_cast<uint>(b)}

#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#define thread __attribute__((address_space(5)))
// Words of the language that would be legal names in C++.
#define vertex <- a keyword of Metal ->
#define fragment <- a keyword of Metal ->
#define sampler <- a keyword of Metal ->
#define texture <- a keyword of Metal ->

template <typename To, typename From>
To as_type(From);

namespace metal {
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
float fma(float, float, float);
uint mulhi(uint, uint);
uint popcount(uint);
uint simd_min(uint);
uint simd_max(uint);
uint simd_sum(uint);
struct simd_vote {
    typedef ulong vote_t;
    explicit operator vote_t() const;
};
simd_vote simd_ballot(bool);
float simd_shuffle(float, ushort);
int simd_shuffle(int, ushort);
uint simd_shuffle(uint, ushort);
}  // namespace metal
using namespace metal;

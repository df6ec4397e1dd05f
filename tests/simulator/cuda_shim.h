// As much of CUDA as kernels may use, for a C++ parser that does not know CUDA.
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
struct uint2 {
    unsigned x, y;
};
struct uint3 {
    unsigned x, y, z;
};
struct uint4 {
    unsigned x, y, z, w;
};
uint2 make_uint2(unsigned, unsigned);

#define __CUDACC__
#define __global__ __attribute__((annotate("device")))
#define __device__ __attribute__((annotate("device")))
#define __shared__
#define inf <- a macro of MLX ->
extern const uint3 threadIdx, blockIdx, blockDim, gridDim;
void __syncthreads();
void __syncwarp(unsigned = 0xffffffffu);
float __uint_as_float(unsigned);
unsigned __float_as_uint(float);
float __fmul_rn(float, float);
float __fadd_rn(float, float);
float __fsub_rn(float, float);
unsigned __umulhi(unsigned, unsigned);
int __popc(unsigned);
unsigned __byte_perm(unsigned, unsigned, unsigned);
unsigned __reduce_min_sync(unsigned, unsigned);
unsigned __reduce_max_sync(unsigned, unsigned);
unsigned __reduce_add_sync(unsigned, unsigned);
unsigned __ballot_sync(unsigned, int);
int __shfl_sync(unsigned, int, int);
unsigned __shfl_sync(unsigned, unsigned, int);
float __shfl_sync(unsigned, float, int);
template <typename T>
T __ldg(const T*);

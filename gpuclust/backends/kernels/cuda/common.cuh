// What every kernel shares. Header-free: NVRTC built-ins and inline PTX only, so that no toolkit is needed. Tests run
// the same source on the CPU, where an emulator defines GPUCLUST_EMULATED and everything below it.
#ifndef GPUCLUST_EMULATED
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)

// The block's dynamic shared memory; there is no other kind here.
#define SHARED(T, name) \
    extern __shared__ __align__(16) unsigned char shared_memory_[]; \
    T* name = reinterpret_cast<T*>(shared_memory_)

// Copies of 16 bytes from global to shared memory that run beside the arithmetic.
#if __CUDA_ARCH__ >= 800
__device__ __forceinline__ void copy16(void* to, const void* from) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ __forceinline__ void copies_begun() { asm volatile("cp.async.commit_group;" ::: "memory"); }
__device__ __forceinline__ void copies_done() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }
#else
__device__ __forceinline__ void copy16(void* to, const void* from) { *(float4*)to = *(const float4*)from; }
__device__ __forceinline__ void copies_begun() {}
__device__ __forceinline__ void copies_done() {}
#endif
#endif

#define ALL_LANES 0xffffffffu

__device__ __forceinline__ int lane_id() { return threadIdx.x & 31; }

// The calling thread's number in the grid, and how many there are (one-dimensional).
__device__ __forceinline__ int64_t thread_id() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t thread_count() { return (int64_t)gridDim.x * blockDim.x; }

// The calling warp's number in the grid, and how many there are (grids of whole warps).
__device__ __forceinline__ int64_t warp_id() { return thread_id() >> 5; }
__device__ __forceinline__ int64_t warp_count() { return thread_count() >> 5; }

// Finite for sure: false for NaN and infinities.
template <class T>
__device__ __forceinline__ bool finite(T x) { return x - x == T(0); }

// The definition of a cost: a sum over the features in order, in float64, one rounding for each operation.
template <class T, bool L1>
__device__ __forceinline__ double direct(const T* x, const double* center, int64_t stride, int64_t d) {
    double cost = 0.0;
    for (int64_t f = 0; f < d; f++) {
        const double t = (double)x[f] - center[f * stride];
        cost = cost + (L1 ? fabs(t) : t * t);
    }
    return cost;
}

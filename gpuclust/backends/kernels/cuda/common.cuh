// What every kernel shares. Header-free: NVRTC built-ins and inline PTX only, so that no toolkit is needed. Tests run
// the same source on the CPU, where an emulator defines GPUCLUST_EMULATED and everything below it.
#ifndef GPUCLUST_EMULATED
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)
#define ALL_LANES 0xffffffffu
__device__ __forceinline__ int lane_id() { return threadIdx.x & 31; }

// The block's dynamic shared memory; there is no other kind here. `wgmma` wants tiles at multiples of 1024 bytes.
#define SHARED(T, name) \
    extern __shared__ __align__(1024) unsigned char shared_memory_[]; \
    T* name = reinterpret_cast<T*>(shared_memory_)

// Copies of 16 bytes from global to shared memory that run beside the arithmetic.
#if __CUDA_ARCH__ >= 800
__device__ __forceinline__ void copy16(void* to, const void* from) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
}
__device__ __forceinline__ void copies_begun() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LATER>  // groups of copies that need not have landed
__device__ __forceinline__ void copies_done_but() { asm volatile("cp.async.wait_group %0;" ::"n"(LATER) : "memory"); }
#else
__device__ __forceinline__ void copy16(void* to, const void* from) { *(float4*)to = *(const float4*)from; }
__device__ __forceinline__ void copies_begun() {}
template <int LATER>
__device__ __forceinline__ void copies_done_but() {}
#endif

// fp16, as its bits.
__device__ __forceinline__ uint16_t to_half(float x) {
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
__device__ __forceinline__ float from_half(uint16_t bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

// Four matrices of 8 x 8 fp16, each lane the address of a row of 8: lane l gets the two of row l / 4 from 2 (l % 4) on.
__device__ __forceinline__ void load_matrices(uint32_t (&out)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row)) : "memory");
}

// sum f32 [16, 8] += a fp16 [16, 16] times b fp16 [16, 8], spread over the lanes of a warp.
__device__ __forceinline__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}
#endif

// The calling thread's number in the grid, and how many there are (one-dimensional).
__device__ __forceinline__ int64_t thread_id() { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t thread_count() { return (int64_t)gridDim.x * blockDim.x; }

// The calling warp's number in the grid, and how many there are (grids of whole warps).
__device__ __forceinline__ int64_t warp_id() { return thread_id() >> 5; }
__device__ __forceinline__ int64_t warp_count() { return thread_count() >> 5; }

// Finite for sure: false for NaN and infinities.
template <class T>
__device__ __forceinline__ bool finite(T x) { return x - x == T(0); }

// sum + t * t, rounded once.
__device__ __forceinline__ float with_square(float sum, float t) { return fmaf(t, t, sum); }
__device__ __forceinline__ double with_square(double sum, double t) { return fma(t, t, sum); }

// A number of twice the digits: high + low, which are not added up.
struct Pair {
    double high, low;
};

// a + b exactly (Knuth's two-sum).
__device__ __forceinline__ Pair sum_of(double a, double b) {
    const double s = a + b, t = s - a;
    return Pair{s, (a - (s - t)) + (b - t)};
}
__device__ __forceinline__ Pair added(Pair sum, double value) {
    const Pair s = sum_of(sum.high, value);
    return Pair{s.high, sum.low + s.low};
}
__device__ __forceinline__ Pair added(Pair sum, Pair other) {
    sum = added(sum, other.high);
    return Pair{sum.high, sum.low + other.low};
}

// The definition of a cost: a sum over the features in order, in float64, one rounding for each operation.
template <bool L1>
__device__ __forceinline__ double term(double x, double center) {
    const double t = x - center;
    return L1 ? fabs(t) : t * t;
}
template <class T, bool L1>
__device__ __forceinline__ double direct(const T* x, const double* center, int64_t stride, int64_t d) {
    double cost = 0.0;
    for (int64_t f = 0; f < d; f++) cost += term<L1>((double)x[f], center[f * stride]);
    return cost;
}

// What a multiprocessor can do at most: products on tensor cores, and differences of tiles that lie in shared memory,
// one by one (float), two at a time (fp16) and four at a time (bytes, VABSDIFF4). Timed by `benchmarks/rates.py`.
#include "common.cuh"

#define SIDE 8    // a thread's rows, and columns, of a tile
#define DEPTH 16  // steps that lie in shared memory

struct Float {  // |x - y| twice an element pair: FADD, FADD
    typedef float T;
    static __device__ __forceinline__ float with(float sum, float x, float y) { return sum + fabsf(x - y); }
};
struct Bytes {  // four element pairs
    typedef uint32_t T;
    static __device__ __forceinline__ uint32_t with(uint32_t sum, uint32_t x, uint32_t y) {
        uint32_t out;
        asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(y), "r"(sum));
        return out;
    }
};
struct Halves {  // two element pairs
    typedef uint32_t T;
    static __device__ __forceinline__ uint32_t with(uint32_t sum, uint32_t x, uint32_t y) {
        uint32_t t;
        asm("{ sub.f16x2 %0, %1, %2; }" : "=r"(t) : "r"(x), "r"(y));
        t &= 0x7fff7fffu;
        asm("{ add.f16x2 %0, %1, %2; }" : "=r"(t) : "r"(sum), "r"(t));
        return t;
    }
};

// out [threads of the grid] <- something of every sum, so that none is left out.
template <class Op>
__device__ __forceinline__ void tile(typename Op::T* out, int64_t rounds) {
    typedef typename Op::T T;
    SHARED(T, stage);  // DEPTH steps of 128 rows, then of 128 columns
    for (int e = threadIdx.x; e < 2 * DEPTH * 128; e += blockDim.x) stage[e] = (T)(e * 40503u % 251u);
    __syncthreads();
    T sums[SIDE][SIDE];
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
        for (int j = 0; j < SIDE; j++) sums[i][j] = T(0);
    const int row = threadIdx.x / 16 * SIDE, column = threadIdx.x % 16 * SIDE;
#pragma unroll 1
    for (int64_t round = 0; round < rounds; round++) {
#pragma unroll 1
        for (int step = 0; step < DEPTH; step++) {
            T x[SIDE], y[SIDE];
#pragma unroll
            for (int i = 0; i < SIDE; i++) x[i] = stage[step * 128 + row + i], y[i] = stage[(DEPTH + step) * 128 + column + i];
#pragma unroll
            for (int i = 0; i < SIDE; i++)
#pragma unroll
                for (int j = 0; j < SIDE; j++) sums[i][j] = Op::with(sums[i][j], x[i], y[j]);
        }
    }
    T all = T(0);
#pragma unroll
    for (int i = 0; i < SIDE; i++)
#pragma unroll
        for (int j = 0; j < SIDE; j++) all += sums[i][j];
    out[thread_id()] = all;
}

extern "C" __global__ void __launch_bounds__(256, 2) tile_float(float* out, int64_t rounds) { tile<Float>(out, rounds); }
extern "C" __global__ void __launch_bounds__(256, 2) tile_bytes(uint32_t* out, int64_t rounds) { tile<Bytes>(out, rounds); }
extern "C" __global__ void __launch_bounds__(256, 2) tile_halves(uint32_t* out, int64_t rounds) {
    tile<Halves>(out, rounds);
}

// out f32 [threads of the grid] <- 8 products of 16 x 16 by 16 x 8 a round and warp, in fp16.
extern "C" __global__ void __launch_bounds__(256, 2) products(float* out, int64_t rounds) {
    float sums[8][4] = {};
    const uint32_t a[4] = {0x3c003c00u, 0x3c003c00u + threadIdx.x, 0x3c003c00u, 0x3c003c00u};
#pragma unroll 1
    for (int64_t round = 0; round < rounds; round++)
#pragma unroll
        for (int i = 0; i < 8; i++) multiply_add(sums[i], a, 0x3c003c00u, 0x3c003c00u);
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) all += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    out[thread_id()] = all;
}

// out f32 [threads of the grid] <- sums of values f32 [4 * quads] that are read once.
extern "C" __global__ void __launch_bounds__(256) read_once(const float4* values, int64_t quads, float* out) {
    float sum = 0.0f;
    for (int64_t i = thread_id(); i < quads; i += thread_count()) {
        const float4 v = values[i];
        sum += v.x + v.y + v.z + v.w;
    }
    out[thread_id()] = sum;
}

// Sums of the distances from rows to all rows of a cluster: the arithmetic, and its order, of `kernels/between.py`.
#include "common.cuh"
#include "staged.cuh"

#define WIDTH 16  // rows that each of them is compared with at once

__device__ __forceinline__ float root(float square) { return sqrtf(square); }
__device__ __forceinline__ double root(double square) { return sqrt(square); }

// Shared memory: the block's rows and, feature by feature, those that they are compared with, DEPTH features of each.
template <class T, bool L1>
__device__ __forceinline__ void add(
    const T* X, int64_t n, int64_t d, const T* Y, const int64_t* start, int64_t c, T scale, double* out, int64_t k) {
    SHARED(T, stage);
    T* others = stage + ROWS * STRIDE;
    const int64_t last = start[c + 1];
    for (int64_t row0 = (int64_t)blockIdx.x * ROWS; row0 < n; row0 += (int64_t)gridDim.x * ROWS) {
        const int64_t i = row0 + threadIdx.x;
        double sum = i < n ? out[i * k + c] : 0.0;
        for (int64_t first = start[c]; first < last; first += WIDTH) {
            T part[WIDTH];
#pragma unroll
            for (int j = 0; j < WIDTH; j++) part[j] = T(0);
            for (int64_t f0 = 0; f0 < d; f0 += DEPTH) {
                const int deep = d - f0 < DEPTH ? (int)(d - f0) : DEPTH;
                __syncthreads();
                if (d > DEPTH || first == start[c])
                    stage_rows(stage, X, n, d, row0, f0, deep, [&](T x, int64_t, int64_t) { return x * scale; });
                const int r = threadIdx.x / DEPTH, f = threadIdx.x % DEPTH;
                if (f < deep && first + r < last) others[f * WIDTH + r] = Y[(first + r) * d + f0 + f] * scale;
                __syncthreads();
#pragma unroll 1  // with more, registers are spilled
                for (int f = 0; f < deep; f++) {
                    const T x = stage[threadIdx.x * STRIDE + f];
#pragma unroll
                    for (int j = 0; j < WIDTH; j++) {
                        const T t = x - others[f * WIDTH + j];
                        part[j] = L1 ? part[j] + (t < T(0) ? -t : t) : with_square(part[j], t);
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < WIDTH; j++)
                if (first + j < last) sum += (double)(L1 ? part[j] : root(part[j]));
        }
        if (i < n) out[i * k + c] = sum;
    }
}

// out f64 [n, k] += sums over the rows of Y [start[c], start[c + 1]) for cluster first + c; c: the grid's other axis.
#define ADD(name, T, L1)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 3) name(                                                     \
        const T* X, int64_t n, int64_t d, const T* Y, const int64_t* start, int64_t clusters, int64_t first,       \
        T scale, double* out, int64_t k) {                                                                         \
        for (int64_t c = blockIdx.y; c < clusters; c += gridDim.y)                                                 \
            add<T, L1>(X, n, d, Y, start, c, scale, out + first, k);                                               \
    }
ADD(add_l1_f32, float, true)
ADD(add_l1_f64, double, true)
ADD(add_l2_f32, float, false)
ADD(add_l2_f64, double, false)

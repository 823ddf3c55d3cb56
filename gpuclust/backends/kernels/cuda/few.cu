// Certified nearest centres where they are few: rows are read once and scored as they come, see `bounds.cuh`.
#include "bounds.cuh"
#include "staged.cuh"

#define WIDTH 16  // centres scored at once

// Shared memory: the centres, f32 [d, wide], and the block's rows, DEPTH features at a time. columns f32 [d, k].
template <class T, bool L1>
__device__ __forceinline__ void score(
    const T* X, int64_t n, int64_t d, const T* shift, T scale, const float* columns, int k, int wide, float slack,
    float* norm, int32_t* label, Doubt doubt) {
    SHARED(float, centers);
    float* stage = centers + d * wide;
    for (uint32_t e = threadIdx.x, width = wide; e < d * width; e += ROWS) {  // in 32 bits: division takes long
        const uint32_t f = e / width, j = e % width;
        centers[e] = j < k ? columns[f * k + j] : 0.0f;
    }
    for (int64_t row0 = (int64_t)blockIdx.x * ROWS; row0 < n; row0 += (int64_t)gridDim.x * ROWS) {
        const int64_t i = row0 + threadIdx.x;
        float one = INFINITY, two = INFINITY, size = 0.0f;
        int at = 0;
        for (int first = 0; first < wide; first += WIDTH) {
            float sum[WIDTH];
#pragma unroll
            for (int j = 0; j < WIDTH; j++) sum[j] = 0.0f;
            for (int64_t f0 = 0; f0 < d; f0 += DEPTH) {
                const int deep = d - f0 < DEPTH ? (int)(d - f0) : DEPTH;
                __syncthreads();
                if (d > DEPTH || first == 0)
                    stage_rows(stage, X, n, d, row0, f0, deep, [&](T x, int64_t f, int64_t) {
                        return centred(x, shift[f], scale);
                    });
                __syncthreads();
                for (int f = 0; f < deep; f++) {
                    const float x = stage[threadIdx.x * STRIDE + f];
                    const float4* c = (const float4*)(centers + (f0 + f) * wide + first);
                    if (first == 0) size += L1 ? fabsf(x) : x * x;
#pragma unroll
                    for (int q = 0; q < WIDTH / 4; q++) {
                        sum[4 * q] = add_term<L1>(sum[4 * q], x, c[q].x);
                        sum[4 * q + 1] = add_term<L1>(sum[4 * q + 1], x, c[q].y);
                        sum[4 * q + 2] = add_term<L1>(sum[4 * q + 2], x, c[q].z);
                        sum[4 * q + 3] = add_term<L1>(sum[4 * q + 3], x, c[q].w);
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < WIDTH; j++) {
                const float value = first + j < k ? sum[j] : INFINITY;
                const bool less = value < one;
                two = less ? one : fminf(two, value);
                at = less ? first + j : at;
                one = less ? value : one;
            }
        }
        if (i >= n) continue;
        norm[i] = length<L1>(size, d);
        decide<L1>(Listed{nullptr, nullptr, n}, i, one, two, at, norm[i], slack, label, doubt, Kept{});
    }
}

#define SCORE(name, T, L1)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const T* X, int64_t n, int64_t d, const T* shift, T scale, const float* columns, int64_t k, int64_t wide,  \
        float slack, float* norm, int32_t* label, int32_t* doubts, int32_t* doubt_row, float* doubt_limit) {       \
        score<T, L1>(X, n, d, shift, scale, columns, (int)k, (int)wide, slack, norm, label,                        \
                     Doubt{doubts, doubt_row, doubt_limit});                                                       \
    }
SCORE(score_l1_f32, float, true)
SCORE(score_l1_f64, double, true)
SCORE(score_l2_f32, float, false)
SCORE(score_l2_f64, double, false)

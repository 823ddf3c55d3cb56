// Rows by group, and the exact sums of rows that changed cluster. With k clusters, a row that moves enters group `new`
// and leaves group k + `old`; -1 as the old label is nowhere, as is every row where there are no old labels (null). Which entry of its group a row gets is by chance: the
// sums do not depend on the order, since every addition is exact.
#include "common.cuh"

__device__ __forceinline__ int32_t left(const int32_t* before, int64_t i) { return before ? before[i] : -1; }
__device__ __forceinline__ bool moved(int32_t now, int32_t before) { return now != before && now >= 0; }

// counts i32 [2 k + 1] += rows that enter and leave, and rows that have no label.
extern "C" __global__ void __launch_bounds__(256) count_moves(
    const int32_t* now, const int32_t* before, int64_t n, int64_t k, int32_t* counts) {
    for (int64_t i = thread_id(); i < n; i += thread_count()) {
        const int32_t old = left(before, i);
        if (now[i] < 0) atomicAdd(counts + 2 * k, 1);
        if (!moved(now[i], old)) continue;
        atomicAdd(counts + now[i], 1);
        if (old >= 0) atomicAdd(counts + k + old, 1);
    }
}

// Each group's rows, one group after another; `next` i32 [2 k] goes from the groups' first entries to their ends.
extern "C" __global__ void __launch_bounds__(256) place_moves(
    const int32_t* now, const int32_t* before, int64_t n, int64_t k, int32_t* next, int32_t* row, int32_t* group) {
    for (int64_t i = thread_id(); i < n; i += thread_count()) {
        const int32_t old = left(before, i);
        if (!moved(now[i], old)) continue;
        int32_t entry = atomicAdd(next + now[i], 1);
        row[entry] = (int32_t)i;
        group[entry] = now[i];
        if (old < 0) continue;
        entry = atomicAdd(next + k + old, 1);
        row[entry] = (int32_t)i;
        group[entry] = (int32_t)k + old;
    }
}

#define SPAN 64   // entries that a warp sums before it adds to memory
#define LEVELS 4  // of the sums, held in registers at once

// Cut `value`, and the error of a product from level 1 on, at each level's rounding constant: see `kernels.sums`.
__device__ __forceinline__ double cut(double& value, double& error, double anchor, bool first) {
    double piece = (value + anchor) - anchor;
    value -= piece;
    if (!first) {
        const double extra = (error + anchor) - anchor;
        error -= extra;
        piece += extra;
    }
    return piece;
}

// A warp SPAN entries by 32 columns. delta f64 [k, K, d + 1], column d is the mass; magic f64 [K, d + 1]; weight may be
// null. `end` is the number of entries.
template <class T>
__device__ __forceinline__ void sum_moves(
    const int32_t* row, const int32_t* group, const int32_t* end, const T* X, const double* weight, int64_t d,
    const double* magic, int64_t K, int64_t k, double* delta) {
    const int64_t column = blockIdx.y * 32 + lane_id(), entries = *end;
    if (column > d) return;  // no lane of a warp waits for another here
    for (int64_t low = 0; low < K; low += LEVELS) {
        for (int64_t first = warp_id() * SPAN; first < entries; first += warp_count() * SPAN) {
            const int64_t last = first + SPAN < entries ? first + SPAN : entries;
            double sum[LEVELS] = {0.0, 0.0, 0.0, 0.0};
            for (int64_t e = first; e < last; e++) {
                const int64_t i = row[e];
                const double w = weight ? weight[i] : 1.0, x = column < d ? (double)X[i * d + column] : 1.0;
                double value = w * x, error = weight ? fma(w, x, -value) : 0.0;
                for (int64_t b = 0; b < low; b++) cut(value, error, magic[b * (d + 1) + column], b == 0);
#pragma unroll
                for (int b = 0; b < LEVELS; b++)
                    if (low + b < K) sum[b] += cut(value, error, magic[(low + b) * (d + 1) + column], low + b == 0);
                if (e + 1 < last && group[e + 1] == group[e]) continue;
                const bool leaves = group[e] >= k;
                double* to = delta + ((group[e] - (leaves ? k : 0)) * K + low) * (d + 1) + column;
#pragma unroll
                for (int b = 0; b < LEVELS; b++) {
                    if (low + b < K && sum[b] != 0.0) atomicAdd(to + b * (d + 1), leaves ? -sum[b] : sum[b]);
                    sum[b] = 0.0;
                }
            }
        }
    }
}

#define SUM(name, T)                                                                                               \
    extern "C" __global__ void __launch_bounds__(256, 3) name(                                                        \
        const int32_t* row, const int32_t* group, const int32_t* end, const T* X, const double* weight, int64_t d, \
        const double* magic, int64_t K, int64_t k, double* delta) {                                                \
        sum_moves<T>(row, group, end, X, weight, d, magic, K, k, delta);                                           \
    }
SUM(sum_moves_f32, float)
SUM(sum_moves_f64, double)

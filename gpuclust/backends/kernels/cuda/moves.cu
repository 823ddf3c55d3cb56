// Rows by group, and the exact sums of rows that changed cluster. With k clusters, a row that moves enters group `new`
// and leaves group k + `old`; -1 as the old label is nowhere, as is every row where there are no old labels (null).
// Which entry of its group a row gets is by chance: the sums do not depend on the order, since every addition is exact.
#include "common.cuh"
#include "counts.cuh"

__device__ __forceinline__ int32_t left(const int32_t* before, int64_t i) { return before ? before[i] : -1; }
__device__ __forceinline__ bool moved(int32_t now, int32_t before) { return now != before && now >= 0; }

#define ROWS 8  // of a thread, before a block adds its counts to memory: many rows, few additions to the same place

// counts i32 [2 k + 1] += rows that enter and leave, and rows that have no label. In shared memory: counts of the
// block, where 2 k + 1 of them fit (`room`).
extern "C" __global__ void __launch_bounds__(256) count_moves(
    const int32_t* now, const int32_t* before, int64_t n, int64_t k, int64_t room, int32_t* counts) {
    SHARED(int32_t, own);
    for (int64_t g = threadIdx.x; g < room; g += blockDim.x) own[g] = 0;
    __syncthreads();
    for (int64_t i = thread_id(); i < n; i += thread_count()) {
        const int32_t old = left(before, i), label = now[i];
        if (label < 0) count_one(room, own, counts, 2 * k);
        if (!moved(label, old)) continue;
        count_one(room, own, counts, label);
        if (old >= 0) count_one(room, own, counts, k + old);
    }
    __syncthreads();
    for (int64_t g = threadIdx.x; g < room; g += blockDim.x)
        if (own[g]) atomicAdd(counts + g, own[g]);
}

// Each group's rows, one group after another; `next` i32 [2 k] goes from the groups' first entries to their ends. In
// shared memory: how many rows of the block enter and leave; then where the first of them goes.
extern "C" __global__ void __launch_bounds__(256) place_moves(
    const int32_t* now, const int32_t* before, int64_t n, int64_t k, int64_t room, int32_t* next, int32_t* row,
    int32_t* group) {
    SHARED(int32_t, own);
    for (int64_t first = (int64_t)blockIdx.x * 256 * ROWS; first < n; first += (int64_t)gridDim.x * 256 * ROWS) {
        int32_t entered[ROWS], gone[ROWS];  // places among the block's, or in memory
        for (int64_t g = threadIdx.x; g < room; g += blockDim.x) own[g] = 0;
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int64_t i = first + r * 256 + threadIdx.x;
            if (i >= n || !moved(now[i], left(before, i))) continue;
            entered[r] = count_one(room, own, next, now[i]);
            if (left(before, i) >= 0) gone[r] = count_one(room, own, next, k + before[i]);
        }
        __syncthreads();
        for (int64_t g = threadIdx.x; g < room; g += blockDim.x)
            if (own[g]) own[g] = atomicAdd(next + g, own[g]);
        __syncthreads();
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int64_t i = first + r * 256 + threadIdx.x;
            if (i >= n || !moved(now[i], left(before, i))) continue;
            const int32_t at = entered[r] + (room ? own[now[i]] : 0);
            row[at] = (int32_t)i;
            group[at] = now[i];
            if (left(before, i) < 0) continue;
            const int32_t old = (int32_t)k + before[i], there = gone[r] + (room ? own[old] : 0);
            row[there] = (int32_t)i;
            group[there] = old;
        }
        __syncthreads();
    }
}

#define SPAN 64   // entries that are summed before they are added to memory
#define LEVELS 4  // of the sums, held in registers at once

// Cut `value`, and the error of a product with a weight from level 1 on, at each level's rounding constant: see
// `kernels.sums`.
template <bool WEIGHTED>
__device__ __forceinline__ double cut(double& value, double& error, double anchor, bool first) {
    double piece = (value + anchor) - anchor;
    value -= piece;
    if (WEIGHTED && !first) {
        const double extra = (error + anchor) - anchor;
        error -= extra;
        piece += extra;
    }
    return piece;
}

// 2^bits lanes SPAN entries by as many columns, of those from `from` on. delta f64 [k, K, d + 1], column d is the mass;
// magic f64 [K, d + 1]. `end` is the number of entries.
template <class T, bool WEIGHTED>
__device__ __forceinline__ void sum_moves(
    const int32_t* row, const int32_t* group, const int32_t* end, const T* X, const double* weight, int64_t d,
    const double* magic, int64_t K, int64_t k, double* delta, int bits, int from) {
    constexpr int AHEAD = sizeof(T) == 4 && !WEIGHTED ? 8 : 4;  // entries that are read at once
    const int64_t column = from + blockIdx.y * 32 + (lane_id() & ((1 << bits) - 1)), entries = *end;
    if (column > d) return;  // no lane of a warp waits for another here
    for (int64_t low = 0; low < K; low += LEVELS) {
        for (int64_t first = (thread_id() >> bits) * SPAN; first < entries; first += (thread_count() >> bits) * SPAN) {
            const int64_t last = first + SPAN < entries ? first + SPAN : entries;
            double sum[LEVELS] = {0.0, 0.0, 0.0, 0.0};
            for (int64_t batch = first; batch < last; batch += AHEAD) {
                int32_t of[AHEAD + 1];  // groups; of another one behind the last
                double w[AHEAD];
                T x[AHEAD];
#pragma unroll
                for (int q = 0; q < AHEAD; q++) {
                    const int64_t e = batch + q < last ? batch + q : last - 1, i = row[e];
                    of[q] = batch + q < last ? group[e] : -1;
                    w[q] = WEIGHTED ? weight[i] : 1.0;
                    x[q] = column < d ? X[i * d + column] : T(1);
                }
                of[AHEAD] = batch + AHEAD < last ? group[batch + AHEAD] : -1;
#pragma unroll
                for (int q = 0; q < AHEAD; q++) {
                    if (of[q] < 0) break;
                    double value = w[q] * x[q], error = WEIGHTED ? fma(w[q], (double)x[q], -value) : 0.0;
                    for (int64_t b = 0; b < low; b++) cut<WEIGHTED>(value, error, magic[b * (d + 1) + column], b == 0);
#pragma unroll
                    for (int b = 0; b < LEVELS; b++)
                        if (low + b < K)
                            sum[b] += cut<WEIGHTED>(value, error, magic[(low + b) * (d + 1) + column], low + b == 0);
                    if (of[q + 1] == of[q]) continue;
                    const bool leaves = of[q] >= k;
                    double* to = delta + ((of[q] - (leaves ? k : 0)) * K + low) * (d + 1) + column;
#pragma unroll
                    for (int b = 0; b < LEVELS; b++) {
                        if (low + b < K && sum[b] != 0.0) atomicAdd(to + b * (d + 1), leaves ? -sum[b] : sum[b]);
                        sum[b] = 0.0;
                    }
                }
            }
        }
    }
}

#define SUM(name, T, WEIGHTED)                                                                                     \
    extern "C" __global__ void __launch_bounds__(256, 3) name(                                                     \
        const int32_t* row, const int32_t* group, const int32_t* end, const T* X, const double* weight, int64_t d, \
        const double* magic, int64_t K, int64_t k, double* delta, int64_t bits, int64_t from) {                    \
        sum_moves<T, WEIGHTED>(row, group, end, X, weight, d, magic, K, k, delta, (int)bits, (int)from);           \
    }
SUM(sum_moves_f32, float, false)
SUM(sum_moves_f64, double, false)
SUM(sum_weighted_f32, float, true)
SUM(sum_weighted_f64, double, true)

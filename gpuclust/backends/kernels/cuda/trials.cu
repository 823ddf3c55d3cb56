// Seeding: what each trial centre leaves of the rows' costs. A row's sum runs over the features in order, in the rows'
// own precision, and stands alone; potentials are integers, so that their sums do not depend on any order.
#include "common.cuh"

#define ROWS 256  // of a block: a thread each
#define DEPTH 16  // features staged at once
#define STRIDE (DEPTH + 1)

// sum [M] <- distances of the block's rows to centers [d, M] (padded with zeros). The block stages X * scale together.
template <class T, bool L1, int M>
__device__ __forceinline__ void reach(
    const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t row0, T* stage, T (&sum)[M]) {
#pragma unroll
    for (int t = 0; t < M; t++) sum[t] = T(0);
    for (int64_t f0 = 0; f0 < d; f0 += DEPTH) {
        const int deep = d - f0 < DEPTH ? (int)(d - f0) : DEPTH;
        __syncthreads();
        for (int e = threadIdx.x; e < ROWS * DEPTH; e += ROWS) {
            const int r = e / DEPTH, f = e % DEPTH;
            if (f < deep && row0 + r < n) stage[r * STRIDE + f] = X[(row0 + r) * d + f0 + f] * scale;
        }
        __syncthreads();
        for (int f = 0; f < deep; f++) {
            const T x = stage[threadIdx.x * STRIDE + f];
            const T* c = centers + (f0 + f) * M;
#pragma unroll
            for (int t = 0; t < M; t++) {
                const T diff = x - c[t];
                sum[t] = sum[t] + (L1 ? (T)fabs(diff) : diff * diff);
            }
        }
    }
}

__device__ __forceinline__ int64_t potential(double cost, const double* weight, int64_t i, double per_grid) {
    if (weight && !(weight[i] > 0.0)) return 0;
    return (int64_t)floor((weight ? cost * weight[i] : cost) * per_grid);
}

// Costs are not negative: their bits are ordered as integers are.
__device__ __forceinline__ void raise(double* most, double value) {
    if (value <= *(volatile double*)most) return;  // it only grows: what was read may be old
    atomicMax((unsigned long long*)most, (unsigned long long)__double_as_longlong(value));
}

// cost [n] <- the least of itself and the distance to centre 0, if that is `known`; for each of the other `trials`
// columns, the sums of the potentials left by blocks of 1024 rows (by the row's global index), blocks i64 [trials,
// count], and the largest cost left [trials]. With no trial there is one column, of the costs as they are.
template <class T, bool L1, int M>
__device__ __forceinline__ void try_centers(
    const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, int64_t trials, const double* weight,
    double per_grid, int64_t first, int64_t count, T* cost, int64_t* blocks, double* largest) {
    SHARED(T, stage);
    const int64_t row0 = (int64_t)blockIdx.x * ROWS, i = row0 + threadIdx.x;
    T sum[M];
    reach<T, L1, M>(X, n, d, scale, centers, row0, stage, sum);
    const bool real = i < n;
    T own = real ? cost[i] : T(0);
    if (known && real) cost[i] = own = sum[0] < own ? sum[0] : own;
    const int64_t block = (first + i) / 1024;
    const bool same = (first + (i & ~(int64_t)31)) / 1024 == (first + (i | 31)) / 1024;  // for all lanes of the warp
    const int64_t columns = trials ? trials : 1;
#pragma unroll
    for (int t = 0; t < M; t++) {
        const int64_t column = t - known;
        if (column < 0 || column >= columns) continue;
        const T left = trials && sum[t] < own ? sum[t] : own;
        int64_t share = real ? potential((double)left, weight, i, per_grid) : 0;
        double most = real && (!weight || weight[i] > 0.0) ? (double)left : 0.0;
        for (int step = 16; step; step >>= 1) {
            most = fmax(most, __shfl_xor_sync(ALL_LANES, most, step));
            const int64_t other = __shfl_xor_sync(ALL_LANES, share, step);
            if (same) share += other;
        }
        if ((lane_id() == 0 || !same) && real && share)
            atomicAdd((unsigned long long*)(blocks + column * count + block), (unsigned long long)share);
        if (lane_id() == 0 && most > 0.0) raise(largest + column, most);
    }
}

#define TRY(name, T, L1, M)                                                                                        \
    extern "C" __global__ void __launch_bounds__(ROWS, 2) name(                                                       \
        const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, int64_t trials,                \
        const double* weight, double per_grid, int64_t first, int64_t count, T* cost, int64_t* blocks,             \
        double* largest) {                                                                                         \
        try_centers<T, L1, M>(X, n, d, scale, centers, known, trials, weight, per_grid, first, count, cost, blocks, \
                              largest);                                                                            \
    }
TRY(try_centers_l1_f32_4, float, true, 4)
TRY(try_centers_l1_f32_12, float, true, 12)
TRY(try_centers_l1_f64_4, double, true, 4)
TRY(try_centers_l1_f64_12, double, true, 12)
TRY(try_centers_l2_f32_4, float, false, 4)
TRY(try_centers_l2_f32_12, float, false, 12)
TRY(try_centers_l2_f64_4, double, false, 4)
TRY(try_centers_l2_f64_12, double, false, 12)

// out i64 [n] <- the rows' potentials, with centre 0 of `centers` [d, 4] folded in if it is `known`.
template <class T, bool L1>
__device__ __forceinline__ void row_potentials(
    const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, const double* weight, double per_grid,
    const T* cost, int64_t* out) {
    SHARED(T, stage);
    const int64_t row0 = (int64_t)blockIdx.x * ROWS, i = row0 + threadIdx.x;
    T sum[4];
    reach<T, L1, 4>(X, n, d, scale, centers, row0, stage, sum);
    if (i < n) out[i] = potential((double)(known && sum[0] < cost[i] ? sum[0] : cost[i]), weight, i, per_grid);
}

#define POTENTIALS(name, T, L1)                                                                                    \
    extern "C" __global__ void __launch_bounds__(ROWS, 2) name(                                                       \
        const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, const double* weight,          \
        double per_grid, const T* cost, int64_t* out) {                                                            \
        row_potentials<T, L1>(X, n, d, scale, centers, known, weight, per_grid, cost, out);                        \
    }
POTENTIALS(row_potentials_l1_f32, float, true)
POTENTIALS(row_potentials_l1_f64, double, true)
POTENTIALS(row_potentials_l2_f32, float, false)
POTENTIALS(row_potentials_l2_f64, double, false)

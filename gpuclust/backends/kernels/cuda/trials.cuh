// What centres leave of the rows' costs, for seeding. A row's sum runs over the features in order, in the rows' own
// precision, and stands alone: of fewer than 256 features it is that of the CPU (`kernels/tile.py`). Potentials are
// integers, so that their sums do not depend on any order.
#include "common.cuh"
#include "staged.cuh"

#define BLOCK 1024  // rows whose potentials are summed together, by the row's global index

// Blocks at once, so that rows come while others are scored; more would spill registers.
#if __CUDA_ARCH__ < 1000
#define RESIDENT(T) (sizeof(T) == 4 ? 4 : 2)
#else
#define RESIDENT(T) (sizeof(T) == 4 ? 3 : 2)
#endif

// sum [M] <- distances of the block's rows to centers [d, M] (padded with zeros), which are scaled, or `PLAIN` as the
// rows are. The block stages X * scale together.
template <class T, bool L1, int M, bool PLAIN = false>
__device__ __forceinline__ void reach(
    const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t row0, T* stage, T (&sum)[M]) {
#pragma unroll
    for (int t = 0; t < M; t++) sum[t] = T(0);
    for (int64_t f0 = 0; f0 < d; f0 += DEPTH) {
        const int deep = d - f0 < DEPTH ? (int)(d - f0) : DEPTH;
        __syncthreads();
        stage_rows(stage, X, n, d, row0, f0, deep, [&](T x, int64_t, int64_t) { return x * scale; });
        __syncthreads();
        for (int f = 0; f < deep; f++) {
            const T x = stage[threadIdx.x * STRIDE + f];
            const T* c = centers + (f0 + f) * M;
#pragma unroll
            for (int t = 0; t < M; t++) {
                const T diff = x - (PLAIN ? c[t] * scale : c[t]);
                sum[t] = L1 ? sum[t] + (T)fabs(diff) : with_square(sum[t], diff);
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

// Row i costs `own`, and sum[offset + t] at trial t: blocks i64 [trials, count] += its potential under each trial,
// largest [trials] <- the largest cost left. Without trials there is one column, of the costs as they are. `first` is
// the global index of row 0.
template <class T, int M>
__device__ __forceinline__ void spread(
    const T (&sum)[M], T own, int64_t i, bool real, int64_t offset, int64_t trials, const double* weight,
    double per_grid, int64_t first, int64_t count, int64_t* blocks, double* largest) {
    const int64_t block = (first + i) / BLOCK;
    const bool same = (first + (i & ~(int64_t)31)) / BLOCK == (first + (i | 31)) / BLOCK;  // for all lanes of the warp
    const int64_t columns = trials ? trials : 1, mine = trials ? lane_id() - offset : lane_id();
    double own_most = 0.0;  // of column `mine`: a warp reads all that are there at once, since all warps read them
#pragma unroll
    for (int t = 0; t < M; t++) {
        const int64_t column = trials ? t - offset : t;
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
        if (lane_id() == t) own_most = most;
    }
    if (own_most > 0.0) raise(largest + mine, own_most);
}

// A block's rows: cost [n] <- the least of itself and the distance to centre 0, if that is `known`; then see `spread`.
template <class T, bool L1, int M, bool PLAIN = false>
__device__ __forceinline__ void try_rows(
    int64_t row0, const T* X, int64_t n, int64_t d, T scale, const T* centers, bool known, int64_t offset,
    int64_t trials, const double* weight, double per_grid, int64_t first, int64_t count, T* cost, int64_t* blocks,
    double* largest) {
    SHARED(T, stage);
    const int64_t i = row0 + threadIdx.x;
    T sum[M];
    reach<T, L1, M, PLAIN>(X, n, d, scale, centers, row0, stage, sum);
    const bool real = i < n;
    T own = real ? cost[i] : T(0);
    if (known && real) cost[i] = own = sum[0] < own ? sum[0] : own;
    spread<T, M>(sum, own, i, real, offset, trials, weight, per_grid, first, count, blocks, largest);
}

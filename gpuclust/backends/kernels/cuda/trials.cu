// Seeding step by step, see `trials.cuh`.
#include "trials.cuh"

// Centre 0 of `centers` is `known`, or a trial as the others are.
#define TRY(name, T, L1, M)                                                                                        \
    extern "C" __global__ void __launch_bounds__(ROWS, RESIDENT(T)) name(                                          \
        const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, int64_t trials,                \
        const double* weight, double per_grid, int64_t first, int64_t count, T* cost, int64_t* blocks,             \
        double* largest) {                                                                                         \
        try_rows<T, L1, M>((int64_t)blockIdx.x * ROWS, X, n, d, scale, centers, known, known, trials, weight,      \
                           per_grid, first, count, cost, blocks, largest);                                         \
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
    extern "C" __global__ void __launch_bounds__(ROWS, RESIDENT(T)) name(                                          \
        const T* X, int64_t n, int64_t d, T scale, const T* centers, int64_t known, const double* weight,          \
        double per_grid, const T* cost, int64_t* out) {                                                            \
        row_potentials<T, L1>(X, n, d, scale, centers, known, weight, per_grid, cost, out);                        \
    }
POTENTIALS(row_potentials_l1_f32, float, true)
POTENTIALS(row_potentials_l1_f64, double, true)
POTENTIALS(row_potentials_l2_f32, float, false)
POTENTIALS(row_potentials_l2_f64, double, false)

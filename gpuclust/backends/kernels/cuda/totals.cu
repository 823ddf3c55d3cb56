// Sums of float64 that carry twice its digits: 2^-104 relative for any order, so that the rounded sum is the same in
// practice whatever the grid.
#include "common.cuh"

// parts f64 [blocks, 2] <- each block's share of the sum of weight * value; weight may be null.
extern "C" __global__ void __launch_bounds__(256) total(
    const double* value, const double* weight, int64_t n, double* parts) {
    SHARED(Pair, shared);
    Pair sum{0.0, 0.0};
    for (int64_t i = thread_id(); i < n; i += thread_count())
        sum = added(sum, weight ? weight[i] * value[i] : value[i]);
    for (int step = 16; step; step >>= 1) {
        const double high = __shfl_xor_sync(ALL_LANES, sum.high, step);
        sum = added(sum, Pair{high, __shfl_xor_sync(ALL_LANES, sum.low, step)});
    }
    if (lane_id() == 0) shared[threadIdx.x >> 5] = sum;
    __syncthreads();
    if (threadIdx.x) return;
    for (int warp = 1; warp < 8; warp++) sum = added(sum, shared[warp]);
    parts[2 * blockIdx.x] = sum.high;
    parts[2 * blockIdx.x + 1] = sum.low;
}

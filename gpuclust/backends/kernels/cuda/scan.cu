// The first pass over the rows: range and sums of every feature. A lane is a feature, a warp takes row after row.
#include "common.cuh"

#define LANES 32
#define FIELDS 7

struct Column {
    double low, high, least;  // least: the smallest |x| above 0
    Pair sum, square;         // of x - origin
};

__device__ __forceinline__ Column merged(Column a, Column b) {
    a.low = fmin(a.low, b.low);
    a.high = fmax(a.high, b.high);
    a.least = fmin(a.least, b.least);
    a.sum = added(a.sum, b.sum);
    a.square = added(a.square, b.square);
    return a;
}

// Block (x, y): features of group x, share y of the rows. parts f64 [shares, FIELDS, d] <- each share's low, high,
// least, sum in two pieces, sum of squares in two pieces.
// Shared memory: 256 columns.
template <class T>
__device__ __forceinline__ void scan(const T* X, int64_t n, int64_t d, const double* origin, double* parts) {
    SHARED(Column, shared);
    const int64_t f = (int64_t)blockIdx.x * LANES + lane_id(), warps = blockDim.x >> 5;
    Column mine{INFINITY, -INFINITY, INFINITY, Pair{0.0, 0.0}, Pair{0.0, 0.0}};
    if (f < d) {
        const double zero = origin[f];
#pragma unroll 4
        for (int64_t i = blockIdx.y * warps + (threadIdx.x >> 5); i < n; i += warps * gridDim.y) {
            const double x = (double)X[i * d + f], size = fabs(x), r = x - zero;
            mine.low = fmin(mine.low, x);
            mine.high = fmax(mine.high, x);
            mine.least = size > 0.0 ? fmin(mine.least, size) : mine.least;
            mine.sum = added(mine.sum, r);
            mine.square = added(mine.square, r * r);
        }
    }
    shared[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x >= LANES || f >= d) return;
    for (int warp = 1; warp < warps; warp++) mine = merged(mine, shared[warp * LANES + threadIdx.x]);
    const double out[FIELDS] = {
        mine.low, mine.high, mine.least, mine.sum.high, mine.sum.low, mine.square.high, mine.square.low};
#pragma unroll
    for (int field = 0; field < FIELDS; field++) parts[((int64_t)blockIdx.y * FIELDS + field) * d + f] = out[field];
}

extern "C" __global__ void __launch_bounds__(256, 4) scan_f32(
    const float* X, int64_t n, int64_t d, const double* origin, double* parts) {
    scan<float>(X, n, d, origin, parts);
}
extern "C" __global__ void __launch_bounds__(256, 4) scan_f64(
    const double* X, int64_t n, int64_t d, const double* origin, double* parts) {
    scan<double>(X, n, d, origin, parts);
}

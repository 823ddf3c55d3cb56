// Greedy k-means++ without the host: `solvers/seeding.py`, step by step. A step is `choose` (the best trial of the step
// before becomes a centre, the row whose cost it takes part in next is `state.row`), `refine` and `choose` once more
// (nothing but where the grid of the potentials has become too coarse), `locate` (the rows that the shares drawn fall
// on, which are the next trials) and `try_next`. Rows are counted from 0.
#include "trials.cuh"

#define CHOOSERS 512  // threads of `choose`
#define EACH 4        // blocks of rows that one of them adds up
#define COARSE 274877906944  // a total below this many grid steps is measured again on a finer grid

struct State {  // between kernels
    int64_t total;     // of the potentials as they stand
    int64_t row;       // the centre chosen last
    int64_t known;     // whether it is still to be folded into the rows' costs
    int64_t fine;      // whether potentials are to be measured again
    double largest;    // cost
    double per_grid;   // 1 / grid of the potentials
    double next_grid;  // and of those that come next
};

// 1 / the power of two of which `bound` is at most 2^53, and more than 2^52: `seeding.grid_of`.
__device__ __forceinline__ double per_grid_of(double bound) {
    if (!(bound > 0.0)) return 1.0;
    const int64_t bits = __double_as_longlong(bound), exponent = (bits >> 52) - 1023;
    const int64_t up = 53 - exponent - ((bits & 0xfffffffffffffll) != 0 && exponent < 1024);
    return __longlong_as_double(((up < 1023 ? up : 1023) + 1023) << 52);
}

// What the threads before this one have together, and `all` what all of them have; memory [CHOOSERS / 32].
__device__ __forceinline__ int64_t before_of(int64_t value, int64_t* memory, int64_t& all) {
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    int64_t sum = value;
    for (int step = 1; step < 32; step <<= 1) {
        const int64_t other = __shfl_sync(ALL_LANES, sum, (lane - step) & 31);
        if (lane >= step) sum += other;
    }
    __syncthreads();
    if (lane == 31) memory[warp] = sum;
    __syncthreads();
    int64_t before = sum - value;
    all = 0;
    for (int w = 0; w < warps; w++) {
        if (w < warp) before += memory[w];
        all += memory[w];
    }
    return before;
}

// One block. blocks i64 [columns, count] and largest [columns], of the trials at `rows` [columns]: the first of least
// total becomes index[step]; `again`: of the one column that `refine` left, if it did: index[step] is one more. running
// [count] <- its cumulative sums. blocks and largest are left as zeros.
extern "C" __global__ void __launch_bounds__(CHOOSERS) choose(
    int64_t* blocks, double* largest, const int64_t* rows, int64_t columns, int64_t count, double mass, int64_t again,
    int64_t step, int64_t* running, int64_t* index, State* state) {
    if (again && !state->fine) return;
    SHARED(int64_t, memory);
    int64_t best = 0, total = 0, all;
    for (int64_t column = 0; column < columns; column++) {
        int64_t sum = 0;
        for (int64_t b = threadIdx.x; b < count; b += CHOOSERS) sum += blocks[column * count + b];
        before_of(sum, memory, all);
        if (column == 0 || all < total) total = all, best = column;
    }
    int64_t so_far = 0;
    for (int64_t first = 0; first < count; first += CHOOSERS * EACH) {
        const int64_t at = first + threadIdx.x * EACH;
        int64_t own[EACH], sum = 0;
#pragma unroll
        for (int e = 0; e < EACH; e++) own[e] = sum += at + e < count ? blocks[best * count + at + e] : 0;
        const int64_t before = so_far + before_of(sum, memory, all);
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (at + e < count) running[at + e] = before + own[e];
        so_far += all;
    }
    const double most = largest[best];
    __syncthreads();
    for (int64_t e = threadIdx.x; e < columns * count; e += CHOOSERS) blocks[e] = 0;
    for (int64_t c = threadIdx.x; c < columns; c += CHOOSERS) largest[c] = 0.0;
    if (threadIdx.x) return;
    if (again) index[step] += 1;
    else index[step] = state->row = rows[best];
    state->known = !again;
    state->fine = !again && total < COARSE && most != 0.0;
    state->total = total;
    state->largest = most;
    state->per_grid = state->next_grid;
    state->next_grid = per_grid_of(mass * most);
}

// Fold the centre chosen last into the rows' costs; blocks [count] and largest [1] <- the potentials on a finer grid.
template <class T, bool L1>
__device__ __forceinline__ void refine(
    const T* X, int64_t n, int64_t d, T scale, const double* weight, int64_t count, T* cost, int64_t* blocks,
    double* largest, const State* state) {
    if (!state->fine) return;
    for (int64_t row0 = (int64_t)blockIdx.x * ROWS; row0 < n; row0 += (int64_t)gridDim.x * ROWS)
        try_rows<T, L1, 1, true>(row0, X, n, d, scale, X + state->row * d, true, 0, 0, weight, state->next_grid, 0,
                                 count, cost, blocks, largest);
}

// A block a share drawn: the row at which the cumulative sum of potentials passes it. Without any potential, the first
// centre. The row becomes trial t: rows[t], and column 1 + t % (M - 1) of the centers [d, M] that are tried together
// with it, scaled. Before the first of them stands the centre chosen last.
template <class T, bool L1>
__device__ __forceinline__ void locate(
    const T* X, int64_t n, int64_t d, T scale, const double* weight, const T* cost, const int64_t* running,
    int64_t count, const double* shares, const State* state, const int64_t* index, int64_t M, int64_t* rows,
    T* centers) {
    SHARED(T, stage);
    int64_t* memory = (int64_t*)(stage + ROWS * STRIDE);  // [ROWS / 32], then the row
    int64_t* found = memory + ROWS / 32;
    if (threadIdx.x == 0) *found = index[0];
    if (state->total > 0) {
        int64_t value = (int64_t)(shares[blockIdx.x] * (double)state->total);
        value = value < state->total ? value : state->total - 1;
        int64_t low = 0, high = count - 1;  // the first block of rows beyond it
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (running[middle] > value) high = middle;
            else low = middle + 1;
        }
        int64_t so_far = low ? running[low - 1] : 0, all;
        for (int64_t row0 = low * BLOCK; row0 < (low + 1) * BLOCK && row0 < n; row0 += ROWS) {
            const int64_t i = row0 + threadIdx.x;
            T sum[1];
            reach<T, L1, 1, true>(X, n, d, scale, X + state->row * d, row0, stage, sum);
            int64_t share = 0;
            if (i < n)
                share = potential((double)(state->known && sum[0] < cost[i] ? sum[0] : cost[i]), weight, i,
                                  state->per_grid);
            const int64_t before = so_far + before_of(share, memory, all);
            if (before <= value && value < before + share) *found = i;
            so_far += all;
        }
    }
    __syncthreads();
    const int64_t row = *found, t = blockIdx.x;
    if (threadIdx.x == 0) rows[t] = row;
    T* to = centers + t / (M - 1) * d * M;
    for (int64_t f = threadIdx.x; f < d; f += ROWS) {
        to[f * M + 1 + t % (M - 1)] = X[row * d + f] * scale;
        if (t == 0) to[f * M] = X[state->row * d + f] * scale;
    }
}

// The potentials under some trials, in columns 1 to `trials` of centers [d, M]; centre 0 is folded into the rows' costs
// `once`, with the first trials, if that is still to be done.
#define TRY(name, T, L1, M)                                                                                        \
    extern "C" __global__ void __launch_bounds__(ROWS, RESIDENT(T)) name(                                          \
        const T* X, int64_t n, int64_t d, T scale, const double* weight, const T* centers, int64_t once,           \
        int64_t trials, int64_t count, T* cost, int64_t* blocks, double* largest, const State* state) {            \
        try_rows<T, L1, M>((int64_t)blockIdx.x * ROWS, X, n, d, scale, centers, once && state->known, 1, trials,   \
                           weight, state->next_grid, 0, count, cost, blocks, largest);                             \
    }
#define KERNELS(kind, T, L1)                                                                                       \
    extern "C" __global__ void __launch_bounds__(ROWS, 2) refine_##kind(                                           \
        const T* X, int64_t n, int64_t d, T scale, const double* weight, int64_t count, T* cost, int64_t* blocks,  \
        double* largest, const State* state) {                                                                     \
        refine<T, L1>(X, n, d, scale, weight, count, cost, blocks, largest, state);                                \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(ROWS, 2) locate_##kind(                                           \
        const T* X, int64_t n, int64_t d, T scale, const double* weight, const T* cost, const int64_t* running,    \
        int64_t count, const double* shares, const State* state, const int64_t* index, int64_t M, int64_t* rows,   \
        T* centers) {                                                                                              \
        locate<T, L1>(X, n, d, scale, weight, cost, running, count, shares, state, index, M, rows, centers);       \
    }
KERNELS(l1_f32, float, true)
KERNELS(l1_f64, double, true)
KERNELS(l2_f32, float, false)
KERNELS(l2_f64, double, false)
TRY(try_next_l1_f32_9, float, true, 9)
TRY(try_next_l1_f32_12, float, true, 12)
TRY(try_next_l2_f32_9, float, false, 9)
TRY(try_next_l2_f32_12, float, false, 12)
TRY(try_next_l1_f64_12, double, true, 12)
TRY(try_next_l2_f64_12, double, false, 12)

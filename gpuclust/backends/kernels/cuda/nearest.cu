// Certified nearest centres. `prepare` centres and scales rows in float32; `score` finds the two best float32 scores
// of each row without storing any other, and certifies the label where no rounding can have changed it; `recheck`
// decides the other rows by the definition: sums over the features in order, in float64, lowest index on ties. Of the
// centres, it looks only at those that float32 cannot exclude.
//
// A score r is the distance itself: sum |x - c|, or the root of sum (x - c)^2. With u = 2^-24, rounding x and c
// moves it by at most u (|x| + |c|) <= u (2 |x| + t), t the exact distance; subtracting, d additions and the root are
// off by (d + 3) u relative. So least(r) <= t <= most(r) for `slack` = 1.05 (d + 8) u, which covers the rounding of
// the bounds as well (slack < 0.1). SHIFTED bounds 2 u with room, TINY what underflow can add: rows are scaled to 2^56.
#include "common.cuh"

#define SHIFTED 1.3e-7f
#define TINY 1e-19f
#define FAR 1.6e19f  // beyond this, squares may overflow: nothing is certain

__device__ __forceinline__ float least(float r, float norm, float slack) {
    return (r - SHIFTED * norm) * (1.0f - slack) - TINY;
}
__device__ __forceinline__ float most(float r, float norm, float slack) {
    return (r + SHIFTED * norm) * (1.0f + slack) + TINY;
}

// --- centres and rows ---

// A thread an entry of `rows` [tall, pitch]: centres f64 [k, d] as exact f64 [d, k]; centred and scaled, as columns f32
// [d, k] and rows, which are zero around them.
extern "C" __global__ void __launch_bounds__(256) pack_centers(
    const double* centers, int64_t k, int64_t d, const double* shift, double scale, double* exact, float* columns,
    float* rows, int64_t tall, int64_t pitch) {
    for (int64_t e = thread_id(); e < tall * pitch; e += thread_count()) {
        const int64_t j = e / pitch, f = e % pitch;
        rows[e] = 0.0f;
        if (j >= k || f >= d) continue;
        const double c = centers[j * d + f];
        exact[f * k + j] = c;
        rows[e] = columns[f * k + j] = (float)((c - shift[f]) * scale);
    }
}

// The rows that are meant: the first *count of `row`, or all n where `row` is null. Images and norms have them one after
// another.
struct Listed {
    const int32_t* row;
    const int32_t* count;
    int64_t n;
    __device__ __forceinline__ int64_t size() const { return row ? *count : n; }
    __device__ __forceinline__ int64_t operator[](int64_t i) const { return row ? row[i] : i; }
};
#define LISTED const int32_t *listed, const int32_t *list_count, int64_t n
#define THE_LIST (Listed{listed, list_count, n})

// A warp a row: image f32 [n, pitch] <- (X - shift) * scale, zeros behind d; norm [n] <- upper bound of |row|.
template <class T, bool L1>
__device__ __forceinline__ void prepare(
    Listed list, const T* X, int64_t d, const T* shift, T scale, float* image, int64_t pitch, float* norm) {
    const int lane = lane_id();
    const int64_t count = list.size();
    for (int64_t i = warp_id(); i < count; i += warp_count()) {
        const T* x = X + list[i] * d;
        float size = 0.0f;
        for (int64_t f = lane; f < pitch; f += 32) {
            float y = f < d ? (float)((x[f] - shift[f]) * scale) : 0.0f;
            image[i * pitch + f] = y;
            size += L1 ? fabsf(y) : y * y;
        }
        for (int step = 16; step; step >>= 1) size += __shfl_xor_sync(ALL_LANES, size, step);
        if (lane == 0) norm[i] = (L1 ? size : sqrtf(size)) * (1.0f + (d + 8) * 6e-8f) + TINY;
    }
}

#define PREPARE(name, T, L1)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        LISTED, const T* X, int64_t d, const T* shift, T scale, float* image, int64_t pitch, float* norm) {        \
        prepare<T, L1>(THE_LIST, X, d, shift, scale, image, pitch, norm);                                                 \
    }
PREPARE(prepare_l1_f32, float, true)
PREPARE(prepare_l1_f64, double, true)
PREPARE(prepare_l2_f32, float, false)
PREPARE(prepare_l2_f64, double, false)

// --- float32 scores ---

#define TILE 128  // rows, and centres, of a block's tile
#define DEEP 16   // features of a step
#define PITCH (DEEP + 4)  // words: 16-byte loads of 8 lanes in rows next to each other meet no bank twice
#define STAGE (2 * TILE * PITCH)

// DEEP features of 128 rows and 128 centres into shared memory: 256 threads, 2 x 2 copies of 16 bytes each.
__device__ __forceinline__ void load_step(float* stage, const float* rows, const float* centers, uint32_t half) {
    copy16(stage, rows);
    copy16(stage + 64 * PITCH, rows + half);
    copy16(stage + TILE * PITCH, centers);
    copy16(stage + (TILE + 64) * PITCH, centers + half);
}

template <bool L1>
__device__ __forceinline__ float add_term(float sum, float x, float c) {
    const float t = x - c;
    return L1 ? sum + fabsf(t) : fmaf(t, t, sum);
}

// sum [8, 8] += the terms of DEEP features. A thread has rows 0, 4, 8, ... and centres 0, 8, 16, ... from its own on.
template <bool L1>
__device__ __forceinline__ void add_step(float (&sum)[8][8], const float* rows, const float* centers) {
#pragma unroll 1  // unrolled, loads of the next features are moved up and registers spilled
    for (int f = 0; f < DEEP; f += 4) {
        float4 x[8];
#pragma unroll
        for (int i = 0; i < 8; i++) x[i] = *(const float4*)(rows + 4 * i * PITCH + f);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float4 c = *(const float4*)(centers + 8 * j * PITCH + f);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[i][j] = add_term<L1>(sum[i][j], x[i].x, c.x);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[i][j] = add_term<L1>(sum[i][j], x[i].y, c.y);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[i][j] = add_term<L1>(sum[i][j], x[i].z, c.z);
#pragma unroll
            for (int i = 0; i < 8; i++) sum[i][j] = add_term<L1>(sum[i][j], x[i].w, c.w);
        }
    }
}

// Two best scores and the best one's index, of two disjoint sets of centres; of equal ones either, `recheck` decides.
__device__ __forceinline__ void merge(float& one, float& two, int& at, float other, float second, int there) {
    const bool theirs = other < one;
    two = fminf(fmaxf(one, other), fminf(two, second));
    one = theirs ? other : one;
    at = theirs ? there : at;
}

struct Doubt {  // rows that `recheck` decides
    int32_t* count;
    int32_t* row;   // [n], as they are numbered in the list
    float* limit;   // [n]: upper bound of the distance to the nearest centre
};

// Label of the i-th row listed, or an entry for `recheck`. NaN makes every comparison false: such rows are rechecked.
template <bool L1>
__device__ __forceinline__ void decide(
    Listed list, int64_t i, float one, float two, int at, const float* norm, float slack, int32_t* label, Doubt doubt) {
    const float best = most(L1 ? one : sqrtf(one), norm[i], slack);
    const bool near = best < FAR;
    if (near && least(L1 ? two : sqrtf(two), norm[i], slack) > best) {
        label[list[i]] = at;
    } else {
        const int32_t entry = atomicAdd(doubt.count, 1);
        doubt.row[entry] = (int32_t)i;
        doubt.limit[entry] = near ? best : INFINITY;
    }
}

// A block 128 rows against all centres, 128 at a time (both padded to multiples of it): 8 warps of 32 rows by 64 centres, threads of 8 by 8.
// Shared memory: 2 stages of rows and centres, then each thread's best scores so far.
template <bool L1>
__device__ __forceinline__ void score(
    Listed list, const float* rows, const float* centers, int k, int pitch, const float* norm, float slack,
    int32_t* label, Doubt doubt) {
    const int64_t row0 = (int64_t)blockIdx.x * TILE;
    if (row0 >= list.size()) return;
    SHARED(float, stages);
    const int lane = lane_id(), warp = threadIdx.x >> 5;
    const int row = (warp >> 1) * 32 + (lane >> 3), center = (warp & 1) * 64 + (lane & 7);
    float* one = stages + 2 * STAGE + threadIdx.x;
    float* two = one + 8 * 256;
    int32_t* at = (int32_t*)(two + 8 * 256);
#pragma unroll
    for (int i = 0; i < 8; i++) one[i * 256] = two[i * 256] = INFINITY, at[i * 256] = 0;
    // this thread's part of a copy: 4 features of rows and centres (threadIdx.x / 4) and that + 64
    const int own = threadIdx.x >> 2, part = (threadIdx.x & 3) * 4;
    float* to = stages + own * PITCH + part;
    rows += (row0 + own) * pitch + part;
    centers += own * pitch + part;
    const uint32_t half = 64 * pitch;
    float sum[8][8];
    int stage = 0;
    load_step(to, rows, centers, half);
    copies_begun();
    for (int j0 = 0; j0 < k; j0 += TILE) {
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 8; j++) sum[i][j] = 0.0f;
        for (int f0 = 0; f0 < pitch; f0 += DEEP) {
            const bool last = f0 + DEEP == pitch;
            copies_done_but<0>();
            __syncthreads();
            rows += last ? DEEP - pitch : DEEP;
            centers += last ? DEEP + (TILE - 1) * pitch : DEEP;
            if (!last || j0 + TILE < k) load_step(to + (stage ^ 1) * STAGE, rows, centers, half);
            copies_begun();
            const float* here = stages + stage * STAGE;
            add_step<L1>(sum, here + row * PITCH, here + (TILE + center) * PITCH);
            stage ^= 1;
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float best = one[i * 256], second = two[i * 256];
            int index = at[i * 256];
#pragma unroll
            for (int j = 0; j < 8; j++) {
                const int there = j0 + center + 8 * j;
                const float value = there < k ? sum[i][j] : INFINITY;
                const bool less = value < best;
                second = less ? best : fminf(second, value);
                index = less ? there : index;
                best = less ? value : best;
            }
            one[i * 256] = best, two[i * 256] = second, at[i * 256] = index;
        }
    }
    float* shared_one = stages;  // of the warps with the upper centres
    float* shared_two = stages + TILE;
    int32_t* shared_at = (int32_t*)(stages + 2 * TILE);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float best = one[i * 256], second = two[i * 256];
        int index = at[i * 256];
#pragma unroll
        for (int step = 1; step < 8; step <<= 1) {
            const float other = __shfl_xor_sync(ALL_LANES, best, step), next = __shfl_xor_sync(ALL_LANES, second, step);
            merge(best, second, index, other, next, __shfl_xor_sync(ALL_LANES, index, step));
        }
        one[i * 256] = best, two[i * 256] = second, at[i * 256] = index;
        if ((warp & 1) && (lane & 7) == 0) {
            const int r = row + 4 * i;
            shared_one[r] = best, shared_two[r] = second, shared_at[r] = index;
        }
    }
    __syncthreads();
    if (!(warp & 1) && (lane & 7) == 0) {
#pragma unroll 1
        for (int i = 0; i < 8; i++) {
            const int r = row + 4 * i;
            float best = one[i * 256], second = two[i * 256];
            int index = at[i * 256];
            merge(best, second, index, shared_one[r], shared_two[r], shared_at[r]);
            if (row0 + r < list.size()) decide<L1>(list, row0 + r, best, second, index, norm, slack, label, doubt);
        }
    }
}

#define SCORE(name, L1)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 2) name(                                                     \
        LISTED, const float* rows, const float* centers, int64_t k, int64_t pitch, const float* norm, float slack, \
        int32_t* label, int32_t* doubts, int32_t* doubt_row, float* doubt_limit) {                                 \
        score<L1>(THE_LIST, rows, centers, (int)k, (int)pitch, norm, slack, label, Doubt{doubts, doubt_row, doubt_limit});     \
    }
SCORE(score_l1, true)
SCORE(score_l2, false)

// --- the definition ---

// A warp a listed row, a lane every 32nd centre. columns f32 [d, k] and exact f64 [d, k]: centres scaled, and as they are.
template <class T, bool L1>
__device__ __forceinline__ void recheck(
    Listed list, Doubt doubt, const T* X, int64_t d, const float* image, int64_t pitch, const float* norm, const float* columns,
    const double* exact, int64_t k, float slack, int32_t* label) {
    const int lane = lane_id();
    const int64_t entries = *doubt.count;
    for (int64_t entry = warp_id(); entry < entries; entry += warp_count()) {
        const int64_t i = doubt.row[entry];
        const float limit = doubt.limit[entry], size = norm[i];
        const T* x = X + list[i] * d;
        const float* y = image + i * pitch;
        bool good = true;
        for (int64_t f = lane; f < d; f += 32) good = good && finite(x[f]);
        good = __all_sync(ALL_LANES, good);
        double best = INFINITY;
        int64_t at = k;
        for (int64_t j = lane; j < k; j += 32) {
            float sum = 0.0f;
            for (int64_t f = 0; f < d; f++) sum = add_term<L1>(sum, y[f], columns[f * k + j]);
            if (least(L1 ? sum : sqrtf(sum), size, slack) > limit) continue;
            const double cost = direct<T, L1>(x, exact + j, k, d);
            if (cost < best) best = cost, at = j;
        }
        for (int step = 16; step; step >>= 1) {
            const double other = __shfl_xor_sync(ALL_LANES, best, step);
            const int64_t there = __shfl_xor_sync(ALL_LANES, at, step);
            if (other < best || (other == best && there < at)) best = other, at = there;
        }
        if (lane == 0) label[list[i]] = !good ? -1 : at < k ? (int32_t)at : 0;  // 0: all distances overflow
    }
}

#define RECHECK(name, T, L1)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        LISTED, int32_t* doubts, int32_t* doubt_row, float* doubt_limit, const T* X, int64_t d, const float* image, \
        int64_t pitch, const float* norm, const float* columns, const double* exact, int64_t k, float slack,       \
        int32_t* label) {                                                                                          \
        recheck<T, L1>(THE_LIST, Doubt{doubts, doubt_row, doubt_limit}, X, d, image, pitch, norm, columns, exact, k, slack,  \
                       label);                                                                                     \
    }
RECHECK(recheck_l1_f32, float, true)
RECHECK(recheck_l1_f64, double, true)
RECHECK(recheck_l2_f32, float, false)
RECHECK(recheck_l2_f64, double, false)

// Certified nearest centres. `prepare` centres and scales rows in float32; `score` finds the two best float32 scores
// of each row without storing any other, and certifies the label where no rounding can have changed it; `recheck`
// decides the other rows by the definition: sums over the features in order, in float64, lowest index on ties. Of the
// centres, it looks only at those that float32 cannot exclude.
// Bounds: see `bounds.cuh`.
#include "bounds.cuh"

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

// Four lanes a row, 4 features each at a time: image f32 [n, pitch] <- the rows as they are scored, zeros behind d;
// norm [n] <- upper bound of |row|.
template <class T, bool L1>
__device__ __forceinline__ void prepare(
    Listed list, const T* X, int64_t d, const T* shift, T scale, float* image, int64_t pitch, float* norm) {
    const int part = lane_id() & 3;
    const int64_t count = list.size();
    for (int64_t first = warp_id() * 8; first < count; first += warp_count() * 8) {
        const int64_t i = first + (lane_id() >> 2);
        const T* x = X + (i < count ? list[i] : 0) * d;
        float size = 0.0f;
        for (int64_t f = 4 * part; f < (i < count ? pitch : 0); f += 16) {
            float y[4];
#pragma unroll
            for (int q = 0; q < 4; q++) {
                y[q] = f + q < d ? centred(x[f + q], shift[f + q], scale) : 0.0f;
                size += L1 ? fabsf(y[q]) : y[q] * y[q];
            }
            *(float4*)(image + i * pitch + f) = float4{y[0], y[1], y[2], y[3]};
        }
        for (int step = 2; step; step >>= 1) size += __shfl_xor_sync(ALL_LANES, size, step);
        if (part == 0 && i < count) norm[i] = length<L1>(size, d);
    }
}

#define PREPARE(name, T, L1)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        LISTED, const T* X, int64_t d, const T* shift, T scale, float* image, int64_t pitch, float* norm) {        \
        prepare<T, L1>(THE_LIST, X, d, shift, scale, image, pitch, norm);                                          \
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

// A block 128 rows, from row0 on, against all centres, 128 at a time (both padded to multiples of it): 8 warps of 32
// rows by 64 centres, threads of 8 by 8. Shared memory: 2 stages of rows and centres, then each thread's best scores.
template <bool L1>
__device__ __forceinline__ void score_tile(
    int64_t row0, Listed list, const float* rows, const float* centers, int k, int pitch, const float* norm,
    float slack, int32_t* label, Doubt doubt, Kept kept) {
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
            if (row0 + r < list.size())
                decide<L1>(list, row0 + r, best, second, index, norm[row0 + r], slack, label, doubt, kept);
        }
    }
}

#define SCORE(name, L1)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256, 2) name(                                                     \
        LISTED, const float* rows, const float* centers, int64_t k, int64_t pitch, const float* norm, float slack, \
        int32_t* label, int32_t* doubts, int32_t* doubt_row, float* doubt_limit, KEPT) {                           \
        const Listed list = THE_LIST;                                                                              \
        for (int64_t row0 = (int64_t)blockIdx.x * TILE; row0 < list.size(); row0 += (int64_t)gridDim.x * TILE) {   \
            score_tile<L1>(row0, list, rows, centers, (int)k, (int)pitch, norm, slack, label,                      \
                           Doubt{doubts, doubt_row, doubt_limit}, THE_KEPT);                                       \
            __syncthreads();                                                                                       \
        }                                                                                                          \
    }
SCORE(score_l1, true)
SCORE(score_l2, false)

// --- the definition ---

// A warp a listed row, a lane every 32nd centre. columns f32 [d, k] and exact f64 [d, k]: centres scaled, and as they
// are.
template <class T, bool L1>
__device__ __forceinline__ void recheck(
    Listed list, Doubt doubt, const T* X, int64_t d, const T* shift, T scale, const float* norm, const float* columns,
    const double* exact, int64_t k, float slack, int32_t* label) {
    const int lane = lane_id();
    const int64_t entries = *doubt.count;
    for (int64_t entry = warp_id(); entry < entries; entry += warp_count()) {
        const int64_t i = doubt.row[entry];
        const float limit = doubt.limit[entry], size = norm[i];
        const T* x = X + list[i] * d;
        bool good = true;
        for (int64_t f = lane; f < d; f += 32) good = good && finite(x[f]);
        good = __all_sync(ALL_LANES, good);
        double best = INFINITY;
        int64_t at = k;
        for (int64_t j = lane; j < k; j += 32) {
            float sum = 0.0f;
            for (int64_t f = 0; f < d; f++) sum = add_term<L1>(sum, centred(x[f], shift[f], scale), columns[f * k + j]);
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
        LISTED, int32_t* doubts, int32_t* doubt_row, float* doubt_limit, const T* X, int64_t d, const T* shift,    \
        T scale, const float* norm, const float* columns, const double* exact, int64_t k, float slack,             \
        int32_t* label) {                                                                                          \
        recheck<T, L1>(THE_LIST, Doubt{doubts, doubt_row, doubt_limit}, X, d, shift, scale, norm, columns, exact,  \
                       k, slack, label);                                                                           \
    }
RECHECK(recheck_l1_f32, float, true)
RECHECK(recheck_l1_f64, double, true)
RECHECK(recheck_l2_f32, float, false)
RECHECK(recheck_l2_f64, double, false)

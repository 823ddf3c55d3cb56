// Exact middle values by radix selection: the values of a (cluster, feature) are searched digit by digit, 8 bits at a
// time from the top, for the one of a given rank. A lane is a feature, so that the counts of a warp lie in 32 banks.
// Rows come grouped by cluster and cut into items of rows of one cluster; a slot is one of the clusters searched.
#include "common.cuh"

#define BINS 256
#define LANES 32

// Values as unsigned integers of the same order; both zeros are one.
__device__ __forceinline__ uint32_t to_key(float x) {
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ uint64_t to_key(double x) {
    const uint64_t bits = (uint64_t)__double_as_longlong(x + 0.0);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}
__device__ __forceinline__ float to_value(uint32_t key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}
__device__ __forceinline__ double to_value(uint64_t key) {
    return __longlong_as_double((int64_t)(key >> 63 ? key & 0x7fffffffffffffffu : ~key));
}

struct Items {  // i32 [items] each
    const int32_t* slot;
    const int32_t* first;  // entry of `row`
    const int32_t* last;
};

// Block (x, y): item x by the features of group y. counts u32 [slots, groups, BINS, LANES] += values that share the
// bits `above` with the slot's prefix [slots, groups * LANES], by their next digit. Shared memory: BINS * LANES words.
template <class T, class Key>
__device__ __forceinline__ void count_digits(
    const T* X, int64_t d, const int32_t* row, Items items, const Key* prefix, Key above, int64_t shift,
    uint32_t* counts) {
    SHARED(uint32_t, own);
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t place = (int64_t)items.slot[blockIdx.x] * gridDim.y + blockIdx.y, f = blockIdx.y * LANES + lane;
    for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x) own[bin] = 0;
    __syncthreads();
    if (f < d) {
        const Key wanted = prefix[place * LANES + lane];
        for (int64_t e = items.first[blockIdx.x] + warp; e < items.last[blockIdx.x]; e += warps) {
            const Key key = to_key(X[row[e] * d + f]);
            if ((key & above) == wanted) atomicAdd(own + (int)(key >> shift & (BINS - 1)) * LANES + lane, 1u);
        }
    }
    __syncthreads();
    for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x)
        if (own[bin]) atomicAdd(counts + place * BINS * LANES + bin, own[bin]);
}

// A thread a (slot, feature): the digit in which the rank lies; the rank [slots, groups * LANES] goes on among its
// values, of which there are `same`.
template <class Key>
__device__ __forceinline__ void choose_digits(
    const uint32_t* counts, int64_t pairs, int64_t shift, Key* prefix, uint32_t* rank, uint32_t* same) {
    for (int64_t p = thread_id(); p < pairs; p += thread_count()) {
        const uint32_t* bins = counts + p / LANES * BINS * LANES + p % LANES;
        uint32_t left = rank[p];
        int digit = 0;
        while (digit < BINS - 1 && bins[digit * LANES] <= left) left -= bins[digit++ * LANES];
        prefix[p] |= (Key)digit << shift;
        rank[p] = left;
        same[p] = bins[digit * LANES];
    }
}

// next [slots, groups * LANES] <- the least value above the prefix, of slots where the rank is the last of its value.
template <class T, class Key>
__device__ __forceinline__ void find_next(
    const T* X, int64_t d, const int32_t* row, Items items, const Key* prefix, const uint32_t* rank,
    const uint32_t* same, Key* next) {
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t place = (int64_t)items.slot[blockIdx.x] * gridDim.y + blockIdx.y, f = blockIdx.y * LANES + lane;
    const int64_t pair = place * LANES + lane;
    if (f >= d || rank[pair] + 1 < same[pair]) return;
    const Key low = prefix[pair];
    Key least = ~(Key)0;
    for (int64_t e = items.first[blockIdx.x] + warp; e < items.last[blockIdx.x]; e += warps) {
        const Key key = to_key(X[row[e] * d + f]);
        if (key > low && key < least) least = key;
    }
    if (least != ~(Key)0) atomicMin(next + pair, least);
}

// one, two [pairs] <- the lower and the upper middle value; the same where the count is odd (bool [slots]).
template <class T, class Key>
__device__ __forceinline__ void finish(
    const Key* prefix, const uint32_t* rank, const uint32_t* same, const Key* next, const bool* odd, int64_t pairs,
    int64_t width, T* one, T* two) {
    for (int64_t p = thread_id(); p < pairs; p += thread_count()) {
        one[p] = to_value(prefix[p]);
        two[p] = odd[p / width] || rank[p] + 1 < same[p] ? one[p] : to_value(next[p]);
    }
}

#define MEDIANS(type, T, Key)                                                                                      \
    extern "C" __global__ void __launch_bounds__(256, 4) count_digits_##type(                                      \
        const T* X, int64_t d, const int32_t* row, const int32_t* slot, const int32_t* first, const int32_t* last, \
        const Key* prefix, Key above, int64_t shift, uint32_t* counts) {                                           \
        count_digits<T, Key>(X, d, row, Items{slot, first, last}, prefix, above, shift, counts);                   \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 4) choose_digits_##type(                                     \
        const uint32_t* counts, int64_t pairs, int64_t shift, Key* prefix, uint32_t* rank, uint32_t* same) {       \
        choose_digits<Key>(counts, pairs, shift, prefix, rank, same);                                              \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 4) find_next_##type(                                         \
        const T* X, int64_t d, const int32_t* row, const int32_t* slot, const int32_t* first, const int32_t* last, \
        const Key* prefix, const uint32_t* rank, const uint32_t* same, Key* next) {                                \
        find_next<T, Key>(X, d, row, Items{slot, first, last}, prefix, rank, same, next);                          \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 4) finish_##type(                                            \
        const Key* prefix, const uint32_t* rank, const uint32_t* same, const Key* next, const bool* odd,           \
        int64_t pairs, int64_t width, T* one, T* two) {                                                            \
        finish<T, Key>(prefix, rank, same, next, odd, pairs, width, one, two);                                     \
    }
MEDIANS(f32, float, uint32_t)
MEDIANS(f64, double, uint64_t)

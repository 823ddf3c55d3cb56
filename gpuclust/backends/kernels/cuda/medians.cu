// Exact middle values by radix selection: the values of a (cluster, feature) are searched digit by digit, 8 bits at a
// time from the top, for the one of a given rank. A lane is a feature, so that the counts of a warp lie in 32 banks.
// Rows come grouped by cluster; a slot is one of some clusters that follow each other, and an item some rows of one.
// Nothing here is known to the host: it launches as many items as there can be.
#include "common.cuh"

#define BINS 256
#define LANES 32
#define AHEAD 8   // rows of a warp that are on their way at once
#define ASKED 16  // and bins of a thread

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

struct Slots {
    const int32_t* row;     // grouped by cluster
    const int32_t* counts;  // rows of each cluster
    const int32_t* ends;    // behind its last entry of `row`
    const int32_t* items;   // of all clusters up to and with it
    int64_t from, slots;    // the first slot's cluster, and how many
    int64_t size;           // rows of an item
};

struct Item {
    int64_t slot, begin, end;  // entries of `row`; none behind the last item
};

__device__ __forceinline__ Item item_of(const Slots& s, int64_t number) {
    number += s.from ? s.items[s.from - 1] : 0;
    int64_t low = s.from, high = s.from + s.slots;
    while (low < high) {  // the first cluster whose items end behind it
        const int64_t middle = (low + high) / 2;
        if (s.items[middle] > number) high = middle;
        else low = middle + 1;
    }
    if (low == s.from + s.slots) return Item{0, 0, 0};
    const int64_t end = s.ends[low], begin = end - s.counts[low] + (number - (low ? s.items[low - 1] : 0)) * s.size;
    return Item{low - s.from, begin, begin + s.size < end ? begin + s.size : end};
}

// A thread a (slot, feature): no digit is known yet; the lower middle value's rank.
template <class Key>
__device__ __forceinline__ void start(
    const int32_t* counts, int64_t pairs, int64_t width, Key* prefix, uint32_t* rank, Key* next) {
    for (int64_t p = thread_id(); p < pairs; p += thread_count()) {
        const int32_t count = counts[p / width];
        prefix[p] = 0;
        rank[p] = count ? (count - 1) / 2 : 0;
        next[p] = ~(Key)0;
    }
}

// bins u32 [slots, groups, BINS, LANES] <- 0 for slots that have rows.
extern "C" __global__ void __launch_bounds__(256, 4) clear_digits(
    const int32_t* counts, int64_t slots, int64_t groups, uint32_t* bins) {
    for (int64_t place = blockIdx.x; place < slots * groups; place += gridDim.x) {
        if (!counts[place / groups]) continue;
        uint32_t* own = bins + place * BINS * LANES;
        for (int e = threadIdx.x; e < BINS * LANES; e += blockDim.x) own[e] = 0;
    }
}

// Block (x, y): item x by the features of groups y, y + gridDim.y, ... bins u32 [slots, groups, BINS, LANES] += values
// that share the bits `above` with the slot's prefix [slots, groups * LANES], by their next digit. Shared memory: BINS
// * LANES words.
template <class T, class Key>
__device__ __forceinline__ void count_digits(
    const T* X, int64_t d, const Slots& slots, const Key* prefix, Key above, int64_t shift, uint32_t* bins) {
    SHARED(uint32_t, own);
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t groups = (d + LANES - 1) / LANES;
    const Item item = item_of(slots, blockIdx.x);
    if (item.begin == item.end) return;
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
        const int64_t place = item.slot * groups + group, f = group * LANES + lane;
        for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x) own[bin] = 0;
        __syncthreads();
        const Key wanted = prefix[place * LANES + lane];
        for (int64_t first = item.begin + warp; f < d && first < item.end; first += AHEAD * warps) {
            Key key[AHEAD];  // all are asked for before the first is counted
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const int64_t e = first + q * warps;
                key[q] = to_key(X[slots.row[e < item.end ? e : first] * d + f]);
            }
#pragma unroll
            for (int q = 0; q < AHEAD; q++)
                if (first + q * warps < item.end && (key[q] & above) == wanted)
                    atomicAdd(own + (int)(key[q] >> shift & (BINS - 1)) * LANES + lane, 1u);
        }
        __syncthreads();
        for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x)
            if (own[bin]) atomicAdd(bins + place * BINS * LANES + bin, own[bin]);
        __syncthreads();
    }
}

// A thread a (slot, feature): the digit in which the rank lies; the rank [slots, groups * LANES] goes on among its
// values, of which there are `same`.
template <class Key>
__device__ __forceinline__ void choose_digits(
    const uint32_t* bins, const int32_t* counts, int64_t pairs, int64_t width, int64_t shift, Key* prefix,
    uint32_t* rank, uint32_t* same) {
    for (int64_t p = thread_id(); p < pairs; p += thread_count()) {
        if (!counts[p / width]) continue;
        const uint32_t* own = bins + p / LANES * BINS * LANES + p % LANES;
        uint32_t left = rank[p], values = 0;
        int digit = -1;
        for (int first = 0; digit < 0; first += ASKED) {  // the last bin holds the rank if none before does
            uint32_t count[ASKED];
#pragma unroll
            for (int q = 0; q < ASKED; q++) count[q] = own[(first + q) * LANES];
#pragma unroll
            for (int q = 0; q < ASKED; q++) {
                if (digit >= 0) continue;
                if (first + q < BINS - 1 && count[q] <= left) {
                    left -= count[q];
                } else {
                    digit = first + q;
                    values = count[q];
                }
            }
        }
        prefix[p] |= (Key)digit << shift;
        rank[p] = left;
        same[p] = values;
    }
}

// next [slots, groups * LANES] <- the least value above the prefix, of slots with an even number of rows where the rank
// is the last of its value.
template <class T, class Key>
__device__ __forceinline__ void find_next(
    const T* X, int64_t d, const Slots& slots, const Key* prefix, const uint32_t* rank, const uint32_t* same,
    Key* next) {
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t groups = (d + LANES - 1) / LANES;
    const Item item = item_of(slots, blockIdx.x);
    if (item.begin == item.end || slots.counts[slots.from + item.slot] % 2) return;
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
        const int64_t f = group * LANES + lane, pair = (item.slot * groups + group) * LANES + lane;
        if (f >= d || rank[pair] + 1 < same[pair]) continue;
        const Key low = prefix[pair];
        Key least = ~(Key)0;
        for (int64_t e = item.begin + warp; e < item.end; e += warps) {
            const Key key = to_key(X[slots.row[e] * d + f]);
            if (key > low && key < least) least = key;
        }
        if (least != ~(Key)0) atomicMin(next + pair, least);
    }
}

// one, two f64 [slots, d] <- the lower and the upper middle value; the same where the count is odd, NaN without rows.
template <class T, class Key>
__device__ __forceinline__ void finish(
    const Key* prefix, const uint32_t* rank, const uint32_t* same, const Key* next, const int32_t* counts,
    int64_t slots, int64_t d, int64_t width, double* one, double* two) {
    for (int64_t e = thread_id(); e < slots * d; e += thread_count()) {
        const int64_t slot = e / d, p = slot * width + e % d;
        const int32_t count = counts[slot];
        const double low = count ? (double)to_value(prefix[p]) : (double)INFINITY - (double)INFINITY;
        one[e] = low;
        two[e] = !count || count % 2 || rank[p] + 1 < same[p] ? low : (double)to_value(next[p]);
    }
}

#define MEDIANS(type, T, Key)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 4) start_##type(                                               \
        const int32_t* counts, int64_t pairs, int64_t width, Key* prefix, uint32_t* rank, Key* next) {               \
        start<Key>(counts, pairs, width, prefix, rank, next);                                                        \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) count_digits_##type(                                        \
        const int32_t* row, const int32_t* counts, const int32_t* ends, const int32_t* items, int64_t from,          \
        int64_t slots, int64_t size, const T* X, int64_t d, const Key* prefix, Key above, int64_t shift,             \
        uint32_t* bins) {                                                                                            \
        count_digits<T, Key>(X, d, Slots{row, counts, ends, items, from, slots, size}, prefix, above, shift, bins);  \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) choose_digits_##type(                                       \
        const uint32_t* bins, const int32_t* counts, int64_t pairs, int64_t width, int64_t shift, Key* prefix,       \
        uint32_t* rank, uint32_t* same) {                                                                            \
        choose_digits<Key>(bins, counts, pairs, width, shift, prefix, rank, same);                                   \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) find_next_##type(                                           \
        const int32_t* row, const int32_t* counts, const int32_t* ends, const int32_t* items, int64_t from,          \
        int64_t slots, int64_t size, const T* X, int64_t d, const Key* prefix, const uint32_t* rank,                 \
        const uint32_t* same, Key* next) {                                                                           \
        find_next<T, Key>(X, d, Slots{row, counts, ends, items, from, slots, size}, prefix, rank, same, next);       \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) finish_##type(                                              \
        const Key* prefix, const uint32_t* rank, const uint32_t* same, const Key* next, const int32_t* counts,       \
        int64_t slots, int64_t d, int64_t width, double* one, double* two) {                                         \
        finish<T, Key>(prefix, rank, same, next, counts, slots, d, width, one, two);                                 \
    }
MEDIANS(f32, float, uint32_t)
MEDIANS(f64, double, uint64_t)

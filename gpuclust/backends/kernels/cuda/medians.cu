// Exact middle values by radix selection, of what `samples.cu` left: the values of a (cluster, feature) are searched
// digit by digit, 8 bits at a time from the top, for the one of a given rank; among the rows, or among values that were
// kept. A lane is a feature, so that the counts of a warp lie in 32 banks.
#include "medians.cuh"

#define AHEAD 8   // rows of a warp that are on their way at once

// The values of an item that a lane searches: `count` of them.
template <class T, class Key>
struct Values {
    const Job<T, Key>& job;
    const Item& item;
    const Column<T> column;
    const Key* slab;
    int64_t pitch;
    uint32_t count;

    __device__ Values(const Job<T, Key>& job, const Item& item, const Slab<Key>& kept, int64_t group)
        : job(job), item(item), column(job.column(job.feature + group * LANES + lane_id())), slab(nullptr),
          pitch(kept.pitch), count(0) {
        const uint32_t mode = job.mode()[(item.slot * job.groups() + group) * LANES + lane_id()];
        if (mode == SETTLED) return;
        count = (uint32_t)(item.end - item.begin);
        if (mode != KEPT) return;
        slab = kept.of(group, item, lane_id());
        count = kept.kept[blockIdx.x * job.width + group * LANES + lane_id()];
    }
    __device__ Key key(uint32_t e) const {
        return slab ? slab[e * pitch] : to_key(column[job.slots.row[item.begin + e]]);
    }
};

// In which of a lane's bins the rank lies, which goes on among its values.
__device__ __forceinline__ int digit_of(const uint32_t* bins, uint32_t& rank, uint32_t& same) {
    int digit = 0;
#pragma unroll 8
    for (; digit < BINS - 1 && bins[digit * LANES] <= rank; digit++) rank -= bins[digit * LANES];
    same = bins[digit * LANES];
    return digit;
}

// Block (x, y): item x by the features of groups y, y + gridDim.y, ... bins u32 [slots, groups, BINS, LANES] += values
// that share the bits `above` with the pair's prefix, by their next digit. The last item of a slot to do so finds the
// digit in which the rank lies, and clears them. Shared memory: BINS * LANES words and one.
template <class T, class Key>
__device__ __forceinline__ void count_digits(
    const Job<T, Key>& job, const Slab<Key>& kept, Key above, int64_t shift, uint32_t* bins, uint32_t* open) {
    SHARED(uint32_t, own);
    if (!*open) return;
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t groups = job.groups();
    const Item item = item_of(job.slots, blockIdx.x);
    if (item.begin == item.end) return;
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
        const int64_t place = item.slot * groups + group, pair = place * LANES + lane;
        const Values<T, Key> values(job, item, kept, group);
        const bool left = job.mode()[pair] != SETTLED;
        if (!__ballot_sync(ALL_LANES, left)) continue;
        for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x) own[bin] = 0;
        __syncthreads();
        const Key wanted = job.prefix()[pair];
#pragma unroll 1
        for (uint32_t first = warp; first < values.count; first += AHEAD * warps) {
            Key key[AHEAD];  // all are asked for before the first is counted
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const uint32_t e = first + q * warps;
                key[q] = e < values.count ? values.key(e) : 0;
            }
#pragma unroll
            for (int q = 0; q < AHEAD; q++)
                if (first + q * warps < values.count && (key[q] & above) == wanted)
                    atomicAdd(own + (int)(key[q] >> shift & (BINS - 1)) * LANES + lane, 1u);
        }
        __syncthreads();
        uint32_t* all = bins + place * BINS * LANES;
        if (item.parts > 1) {
            for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x)
                if (own[bin]) atomicAdd(all + bin, own[bin]);
            __threadfence();
            __syncthreads();
            if (threadIdx.x == 0) own[BINS * LANES] = atomicAdd(open + 1 + place, 1u);
            __syncthreads();
            const bool last = own[BINS * LANES] + 1 == item.parts;
            if (last) {
                for (int bin = threadIdx.x; bin < BINS * LANES; bin += blockDim.x) own[bin] = atomicExch(all + bin, 0u);
                if (threadIdx.x == 0) open[1 + place] = 0;
            }
            __syncthreads();
            if (!last) continue;
        }
        if (warp == 0 && left) {
            uint32_t rank = job.rank()[pair], same;
            job.prefix()[pair] = wanted | (Key)digit_of(own + lane, rank, same) << shift;
            job.rank()[pair] = rank;
            job.same()[pair] = same;
        }
        __syncthreads();
    }
}

// next [slots, width] <- the least value above the prefix, of slots with an even number of rows where the rank is the
// last of its value; what was there, if that is less.
template <class T, class Key>
__device__ __forceinline__ void find_next(const Job<T, Key>& job, const Slab<Key>& kept, const uint32_t* open) {
    if (!*open) return;
    const int warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const Item item = item_of(job.slots, blockIdx.x);
    if (item.begin == item.end || job.slots.counts[job.slots.from + item.slot] % 2) return;
    for (int64_t group = blockIdx.y; group < job.groups(); group += gridDim.y) {
        const int64_t pair = (item.slot * job.groups() + group) * LANES + lane_id();
        const Values<T, Key> values(job, item, kept, group);
        if (!values.count || job.rank()[pair] + 1 < job.same()[pair]) continue;
        const Key low = job.prefix()[pair];
        Key least = ~(Key)0;
        for (uint32_t e = warp; e < values.count; e += warps) {
            const Key key = values.key(e);
            if (key > low && key < least) least = key;
        }
        if (least != ~(Key)0) atomicMin(job.next() + pair, least);
    }
}

// one, two f64 [slots, d] <- the lower and the upper middle value; the same where the count is odd, NaN without rows.
template <class T, class Key>
__device__ __forceinline__ void finish(const Job<T, Key>& job, double* one, double* two) {
    const int64_t left = job.d - job.feature, wide = left < job.width ? left : job.width;
    for (int64_t e = thread_id(); e < job.slots.slots * wide; e += thread_count()) {
        const int64_t slot = e / wide, p = slot * job.width + e % wide, out = slot * job.d + job.feature + e % wide;
        const int32_t count = job.slots.counts[job.slots.from + slot];
        const double low = count ? (double)to_value(job.prefix()[p]) : (double)INFINITY - (double)INFINITY;
        one[out] = low;
        two[out] = !count || count % 2 || job.rank()[p] + 1 < job.same()[p] ? low : (double)to_value(job.next()[p]);
    }
}

#define MEDIANS(type, T, Key)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 4) count_digits_##type(                                        \
        JOB_PARAMETERS(T, Key), SLAB_PARAMETERS(Key), Key above, int64_t shift, uint32_t* bins, uint32_t* open) {    \
        count_digits(JOB(T, Key), SLAB(Key), above, shift, bins, open);                                              \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) find_next_##type(                                           \
        JOB_PARAMETERS(T, Key), SLAB_PARAMETERS(Key), const uint32_t* open) {                                        \
        find_next(JOB(T, Key), SLAB(Key), open);                                                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) finish_##type(                                              \
        JOB_PARAMETERS(T, Key), double* one, double* two) {                                                          \
        finish(JOB(T, Key), one, two);                                                                               \
    }
MEDIANS(f32, float, uint32_t)
MEDIANS(f64, double, uint64_t)

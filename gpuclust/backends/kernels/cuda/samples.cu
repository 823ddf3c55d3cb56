// Exact middle values in one reading of the rows. A sample of a cluster's rows gives brackets that hold its middle
// values, feature by feature, with a high probability; then the rows are read: what lies below a bracket is counted,
// what lies inside is kept, and the middle values are selected among that. Values equal to the ends of a bracket are
// counted only, so that many equal values take no room. A cluster that is no larger than a sample is its own one.
// What a bracket missed, or had no room for, is left to `medians.cu`. The choice of the sample does not show in the
// result (Floyd and Rivest, 1975, "Expected time bounds for selection").
#include "medians.cuh"

#define PARTS 16    // of the bins
#define WORK 35584  // bytes of a `Work`
#define GUESSERS 512   // threads of a block
#define COLLECTORS 640
#define AHEAD (64 / (int)sizeof(T))  // rows of a warp that are on their way at once

struct Work {  // in shared memory, and behind it the values
    uint32_t bins[BINS * LANES], parts[PARTS * LANES];
    uint32_t counts[4 * LANES];
    uint64_t least[LANES];
};
static_assert(sizeof(Work) == WORK, "as the host knows it");

template <class Key>
struct Found {
    Key key;
    uint32_t rank, same;  // among values equal to it, and how many there are
};

// All threads of a block: the one of rank `rank` among the lane's first `count` values [.., LANES].
template <class Key>
__device__ __forceinline__ Found<Key> selected(Work* work, const Key* values, uint32_t count, uint32_t rank) {
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    Found<Key> found{0, rank, 0};
    Key above = 0;
#pragma unroll 1
    for (int shift = 8 * sizeof(Key) - 8; shift >= 0; shift -= 8) {
        for (int four = threadIdx.x; four < BINS * LANES / 4; four += blockDim.x)
            ((float4*)work->bins)[four] = float4{0.0f, 0.0f, 0.0f, 0.0f};
        __syncthreads();
#pragma unroll 4
        for (uint32_t e = warp; e < count; e += warps) {
            const Key key = values[e * LANES + lane];
            if ((key & above) == found.key) atomicAdd(work->bins + (int)(key >> shift & (BINS - 1)) * LANES + lane, 1u);
        }
        __syncthreads();
#pragma unroll 1
        for (int part = warp; part < PARTS; part += warps) {
            uint32_t sum = 0;
#pragma unroll
            for (int q = 0; q < BINS / PARTS; q++) sum += work->bins[(part * (BINS / PARTS) + q) * LANES + lane];
            work->parts[part * LANES + lane] = sum;
        }
        __syncthreads();
        int part = 0, digit = 0;
        for (; part < PARTS - 1 && work->parts[part * LANES + lane] <= found.rank; part++)
            found.rank -= work->parts[part * LANES + lane];
        for (digit = part * (BINS / PARTS); digit < (part + 1) * (BINS / PARTS) - 1; digit++) {
            if (work->bins[digit * LANES + lane] > found.rank) break;
            found.rank -= work->bins[digit * LANES + lane];
        }
        found.same = work->bins[digit * LANES + lane];
        found.key |= (Key)digit << shift;
        above |= (Key)(BINS - 1) << shift;
        __syncthreads();
        if (__ballot_sync(ALL_LANES, found.same > 1)) continue;
        Key* only = (Key*)work->parts;  // the one that has these digits tells the others
        for (uint32_t e = warp; e < count; e += warps)
            if ((values[e * LANES + lane] & above) == found.key) only[lane] = values[e * LANES + lane];
        __syncthreads();
        found.key = only[lane];
        break;
    }
    return found;
}

// All threads of a block: the least of the lane's values above `key`, and of `most`.
template <class Key>
__device__ __forceinline__ Key least_above(Work* work, const Key* values, uint32_t count, Key key, Key most) {
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    Key* least = (Key*)work->least;
    if (warp == 0) least[lane] = most;
    __syncthreads();
    Key mine = most;
    for (uint32_t e = warp; e < count; e += warps) {
        const Key other = values[e * LANES + lane];
        if (other > key && other < mine) mine = other;
    }
    if (mine < most) atomicMin(least + lane, mine);
    __syncthreads();
    return least[lane];
}

// Entry `s` of a cluster's rows of which so many are sampled: one of each stretch, by chance (MurmurHash3's mixer).
__device__ __forceinline__ int64_t sampled(uint32_t s, uint64_t step) {
    uint32_t bits = s * 0x9e3779b9u;
    bits = (bits ^ bits >> 16) * 0x85ebca6bu;
    bits = (bits ^ bits >> 13) * 0xc2b2ae35u;
    return (int64_t)((((uint64_t)s << 16 | bits >> 16) * step) >> 32);
}

// Block (x, y): slot x by the features of groups y, y + gridDim.y, ... The middle values of clusters of at most `most`
// rows; of others the bracket of `sample` ones, `margin` to either side of their middle. Shared memory: a `Work` and
// most * LANES keys.
template <class T, class Key>
__device__ __forceinline__ void guess(const Job<T, Key>& job, int64_t most, int64_t sample, int64_t margin) {
    SHARED(Work, work);
    Key* values = (Key*)(work + 1);
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t cluster = job.slots.from + blockIdx.x, groups = job.groups();
    const uint32_t count = job.slots.counts[cluster];
    const bool all = count <= most;
    const uint32_t size = all ? count : (uint32_t)sample;
    const int64_t begin = job.slots.ends[cluster] - (int64_t)count;
    const uint64_t step = all ? 0 : ((uint64_t)count << 16) / sample;
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
        const int64_t pair = (blockIdx.x * groups + group) * LANES + lane, f = job.feature + group * LANES + lane;
        if (warp == 0) job.mode()[pair] = all || f >= job.d ? SETTLED : ROWS;
        if (!count) continue;
        const Column<T> column = job.column(f);
        for (uint32_t first = warp * AHEAD; first < size; first += warps * AHEAD) {
            const uint32_t s = first + lane < size ? first + lane : size - 1;
            const int32_t mine = job.slots.row[begin + (all ? s : sampled(s, step))];
            T x[AHEAD];
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const int32_t row = __shfl_sync(ALL_LANES, mine, q);
                x[q] = first + q < size && f < job.d ? column[row] : T(0);
            }
#pragma unroll
            for (int q = 0; q < AHEAD; q++)
                if (first + q < size) values[(first + q) * LANES + lane] = to_key(x[q]);
        }
        const uint32_t there = f < job.d ? size : 0, middle = (size - 1) / 2;
        const uint32_t low = middle < margin ? 0 : middle - margin;
        const Found<Key> found = selected(work, values, there, all ? middle : low);
        Key other = found.key;
        if (!all) {
            const uint32_t high = size / 2 + margin < size ? size / 2 + margin : size - 1;
            other = selected(work, values, there, high).key;
        } else if (count % 2 == 0) {
            const Key least = least_above(work, values, there, found.key, ~(Key)0);
            if (found.rank + 1 >= found.same) other = least;
        }
        if (warp == 0) {
            job.low()[pair] = found.key;
            job.high()[pair] = other;
            job.prefix()[pair] = all ? found.key : 0;
            job.next()[pair] = all ? other : ~(Key)0;
            job.rank()[pair] = all ? 0 : (count - 1) / 2;
            job.same()[pair] = job.below()[pair] = job.upto()[pair] = job.kept()[pair] = job.within()[pair] = 0;
        }
    }
}

// Where the middle values lie, of a pair with so many values in all, below the bracket, up to its lower end, kept, and
// up to its upper end.
struct Where {
    bool missed, low, inside, both_low, high;

    __device__ Where(uint32_t count, uint32_t below, uint32_t upto, uint32_t kept, uint32_t within) {
        const uint32_t one = (count - 1) / 2, two = count / 2;
        missed = one < below || two >= within;
        low = one < upto;
        both_low = two < upto;
        high = one >= upto + kept;
        inside = !low && !high;
    }
};

// What is compared with the ends of a bracket: the values, or their keys where arithmetic in float64 may be slow.
__device__ __forceinline__ float compared(float x) { return x; }
__device__ __forceinline__ uint64_t compared(double x) { return to_key(x); }
__device__ __forceinline__ float compared(uint32_t key) { return to_value(key); }
__device__ __forceinline__ uint64_t compared(uint64_t key) { return key; }
__device__ __forceinline__ uint32_t stored(float x) { return __float_as_uint(x); }
__device__ __forceinline__ uint64_t stored(uint64_t key) { return key; }
__device__ __forceinline__ uint32_t key_of(uint32_t stored) { return to_key(__uint_as_float(stored)); }
__device__ __forceinline__ uint64_t key_of(uint64_t stored) { return stored; }

struct Tally {
    uint32_t below, upto, within;
};

// What a thread reads of as many values as an item has: of every `parts`-th AHEAD rows of the cluster, since rows are
// often in an order that would have one item hold all that lies in a bracket. Those inside of it go to `values` [room,
// LANES]; `kept` [LANES]: how many there were. More than there is room for are not needed.
template <class T, class Value, class Key>
__device__ __forceinline__ Tally tally(
    const Job<T, Key>& job, const Item& item, int64_t f, Value low, Value high, uint32_t room, uint32_t* kept,
    Key* values) {
    const int lane = lane_id();
    const int32_t* rows = job.slots.row + item.first;
    const uint32_t count = (uint32_t)(item.last - item.first), step = (blockDim.x >> 5) * AHEAD * item.parts;
    const Column<T> column = job.column(f);
    const bool there = f < job.d;
    uint32_t read = 0, above = 0, inside = 0, lowest = 0, highest = 0;
    uint32_t first = ((threadIdx.x >> 5) * item.parts + item.number) * AHEAD;
    int32_t mine = first + lane < count ? rows[first + lane] : 0;
#pragma unroll 1
    for (; first < count; first += step) {
        T x[AHEAD];  // all are asked for before the first is compared
        if (first + AHEAD <= count) {
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const int32_t row = __shfl_sync(ALL_LANES, mine, q);
                x[q] = there ? column[row] : T(0);
            }
        } else {
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const int32_t row = __shfl_sync(ALL_LANES, mine, q);
                x[q] = there && first + q < count ? column[row] : T(INFINITY);  // not inside, and not up to `low`
            }
        }
        const uint32_t later = first + step + lane;
        mine = later < count ? rows[later] : 0;
        uint32_t own = 0;
        bool ends = false;
#pragma unroll
        for (int q = 0; q < AHEAD; q++) {
            const Value value = compared(x[q]);
            above += value > low;
            own += value > low && value < high;
            ends |= value == low || value == high;
        }
        read += AHEAD;
        inside += own;
        if (ends) {  // rarely: compared by their bits, so that nothing is remembered for it
#pragma unroll
            for (int q = 0; q < AHEAD; q++) {
                const Value value = compared(x[q]) + Value(0);  // one zero
                lowest += stored(value) == stored(low);
                highest += stored(value) == stored(high);
            }
        }
        if (!own) continue;
        uint32_t at = atomicAdd(kept + lane, own);
        if (at + own > room) continue;
        Key* to = values + at * LANES + lane;
#pragma unroll
        for (int q = 0; q < AHEAD; q++) {
            const Value value = compared(x[q]);
            if (value > low && value < high) {
                *to = stored(value);
                to += LANES;
            }
        }
    }
    const uint32_t upto = read - above;
    return Tally{upto - lowest, upto, low == high ? upto : upto + inside + highest};
}

// Block (x, y): item x by the features of groups y, y + gridDim.y, ... The middle values of clusters of one item; of
// others, what lies inside of the brackets goes to the slab. Shared memory: a `Work` and room * LANES keys.
template <class T, class Key>
__device__ __forceinline__ void collect(const Job<T, Key>& job, const Slab<Key>& slab) {
    SHARED(Work, work);
    Key* values = (Key*)(work + 1);
    const int lane = lane_id(), warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
    const int64_t groups = job.groups();
    const Item item = item_of(job.slots, blockIdx.x);
    if (item.begin == item.end || (item.parts > 1 && !slab.key)) return;
    const uint32_t count = job.slots.counts[job.slots.from + item.slot];
    for (int64_t group = blockIdx.y; group < groups; group += gridDim.y) {
        const int64_t pair = (item.slot * groups + group) * LANES + lane, f = job.feature + group * LANES + lane;
        const Key low = job.low()[pair], high = job.high()[pair];
        const uint32_t room = item.parts > 1 ? slab.room_of(item) : (uint32_t)slab.room;
        if (warp < 4) work->counts[warp * LANES + lane] = 0;
        __syncthreads();
        const Tally own = tally<T>(job, item, f, compared(low), compared(high), room, work->counts, values);
        atomicAdd(work->counts + LANES + lane, own.below);
        atomicAdd(work->counts + 2 * LANES + lane, own.upto);
        atomicAdd(work->counts + 3 * LANES + lane, own.within);
        __syncthreads();
        const uint32_t kept = work->counts[lane], below = work->counts[LANES + lane];
        const uint32_t upto = work->counts[2 * LANES + lane], within = work->counts[3 * LANES + lane];
        const uint32_t held = kept <= room ? kept : 0;
        if (item.parts > 1) {
            if (f < job.d) {
                Key* to = slab.of(group, item, lane);
                for (uint32_t e = warp; e < held; e += warps) to[e * slab.pitch] = key_of(values[e * LANES + lane]);
                if (warp == 0) {
                    slab.kept[blockIdx.x * job.width + group * LANES + lane] = held;
                    if (kept > room) job.mode()[pair] = LOST;
                    atomicAdd(job.below() + pair, below);
                    atomicAdd(job.upto() + pair, upto);
                    atomicAdd(job.kept() + pair, kept);
                    atomicAdd(job.within() + pair, within);
                }
            }
        } else {
            for (uint32_t e = warp; e < held; e += warps) {
                Key* value = values + e * LANES + lane;
                *value = key_of(*value);
            }
            const Where where(count, below, upto, kept, within);
            const bool good = f < job.d && !where.missed && kept <= room;
            Key one = where.low ? low : high, two = where.both_low ? low : high;
            bool open = good && !where.both_low && !where.high && count % 2 == 0;
            if (__ballot_sync(ALL_LANES, good && where.inside)) {
                const Found<Key> found = selected(work, values, held, where.inside ? (count - 1) / 2 - upto : 0);
                if (where.inside) one = found.key;
                if (where.inside && (count % 2 || found.rank + 1 < found.same)) two = one, open = false;
            }
            if (__ballot_sync(ALL_LANES, open)) {
                const Key least = least_above(work, values, held, one, high);
                if (open) two = least;
            }
            if (warp == 0 && good) {
                job.mode()[pair] = SETTLED;
                job.prefix()[pair] = one;
                job.next()[pair] = two;
                job.rank()[pair] = 0;
            }
        }
        __syncthreads();
    }
}

// What is left to do, once all items have been read: *open += places, and of each of them the bins u32 [slots, groups,
// BINS, LANES] <- 0.
template <class T, class Key>
__device__ __forceinline__ void judge(const Job<T, Key>& job, uint32_t* bins, uint32_t* open) {
    for (int64_t place = blockIdx.x; place < job.slots.slots * job.groups(); place += gridDim.x) {
        const int64_t pair = place * LANES + lane_id(), cluster = job.slots.from + place / job.groups();
        const int32_t parts = job.slots.items[cluster] - (cluster ? job.slots.items[cluster - 1] : 0);
        const uint32_t count = job.slots.counts[cluster], upto = job.upto()[pair], kept = job.kept()[pair];
        const Where where(count, job.below()[pair], upto, kept, job.within()[pair]);
        const uint32_t mode = job.mode()[pair];
        const bool known = parts > 1 && mode == ROWS && !where.missed, ends = where.both_low || where.high || !kept;
        const bool left = mode != SETTLED && !(known && !where.inside && ends);
        __syncthreads();  // all warps have read what the first one writes
        if (threadIdx.x < LANES && known && where.inside) {
            job.mode()[pair] = KEPT;
            job.rank()[pair] = (count - 1) / 2 - upto;
            job.next()[pair] = job.high()[pair];
        } else if (threadIdx.x < LANES && known && ends) {
            job.mode()[pair] = SETTLED;
            job.prefix()[pair] = where.low ? job.low()[pair] : job.high()[pair];
            job.next()[pair] = where.both_low ? job.low()[pair] : job.high()[pair];
            job.rank()[pair] = 0;
        }
        const uint32_t any = __ballot_sync(ALL_LANES, left);
        if (threadIdx.x == 0 && any) atomicAdd(open, 1u);
        for (int e = threadIdx.x; any && e < BINS * LANES; e += blockDim.x) bins[place * BINS * LANES + e] = 0;
    }
}

#define SAMPLES(type, T, Key)                                                                                       \
    extern "C" __global__ void __launch_bounds__(GUESSERS, 2) guess_##type(                                         \
        JOB_PARAMETERS(T, Key), int64_t most, int64_t sample, int64_t margin) {                                     \
        guess(JOB(T, Key), most, sample, margin);                                                                   \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(COLLECTORS, 1) collect_##type(                                     \
        JOB_PARAMETERS(T, Key), SLAB_PARAMETERS(Key)) {                                                             \
        collect(JOB(T, Key), SLAB(Key));                                                                            \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(256, 4) judge_##type(                                              \
        JOB_PARAMETERS(T, Key), uint32_t* bins, uint32_t* open) {                                                   \
        judge(JOB(T, Key), bins, open);                                                                             \
    }
SAMPLES(f32, float, uint32_t)
SAMPLES(f64, double, uint64_t)

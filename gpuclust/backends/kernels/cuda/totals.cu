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

#define LIMBS 67  // digits of 32 bits, from 2^-1074 on, that hold a sum of fewer than 2^32 weights

// limbs u64 [copies, k, LIMBS] += the weights by label; those of 0, and rows without a label, count for nothing.
// Integers: the sums are exact. A block adds to one of the copies, so that few clusters are not added to by all.
extern "C" __global__ void __launch_bounds__(256) add_masses(
    const double* weight, const int32_t* label, int64_t n, int64_t k, int64_t copies, uint64_t* limbs) {
    uint64_t* own = limbs + blockIdx.x % copies * k * LIMBS;
    for (int64_t i = thread_id(); i < n; i += thread_count()) {
        if (label[i] < 0 || !(weight[i] > 0.0)) continue;
        const uint64_t bits = (uint64_t)__double_as_longlong(weight[i]), power = bits >> 52;
        const uint64_t digits = (bits & 0xfffffffffffffull) | (power ? 1ull << 52 : 0);
        const int place = power ? (int)power - 1 : 0, shift = place & 31;  // the weight is digits * 2^(place - 1074)
        unsigned long long* to = (unsigned long long*)(own + label[i] * (int64_t)LIMBS + place / 32);
        atomicAdd(to, (unsigned long long)(uint32_t)(digits << shift));
        atomicAdd(to + 1, (unsigned long long)(uint32_t)(digits >> (32 - shift)));
        const unsigned long long top = digits >> 32 >> (32 - shift);
        if (top) atomicAdd(to + 2, top);
    }
}

// A thread a cluster: mass f64 [k, 2] <- what all copies of its limbs, which it changes, are together.
extern "C" __global__ void __launch_bounds__(256) masses(uint64_t* limbs, int64_t k, int64_t copies, double* mass) {
    for (int64_t j = thread_id(); j < k; j += thread_count()) {
        uint64_t* own = limbs + j * LIMBS;
        uint64_t carry = 0;
        for (int limb = 0; limb < LIMBS; limb++) {
            for (int64_t copy = 0; copy < copies; copy++) carry += own[copy * k * LIMBS + limb];
            own[limb] = (uint32_t)carry;
            carry >>= 32;
        }
        Pair sum{0.0, 0.0};
        for (int limb = LIMBS - 1; limb >= 0; limb--)
            if (own[limb]) sum = added(sum, ldexp((double)own[limb], 32 * limb - 1074));
        mass[2 * j] = sum.high;
        mass[2 * j + 1] = sum.low;
    }
}

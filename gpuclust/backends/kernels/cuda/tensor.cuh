// Certified nearest centres on tensor cores, for Euclidean distances: one pass in half precision decides most rows and
// lists the others. `candidates.cu` compares those with the few centres that half precision cannot exclude; rows for
// which there are many are left to `nearest.cu`.
//
// `halve` (tensor.cu) writes rows, centred and scaled to about 2^10, as fp16 and keeps what that loses of each: with y
// = x + r, |r| is the row's `lost`. `score` (there by `mma.sync`, in hopper.cu by `wgmma`) finds the two smallest lower
// bounds of |y|^2 - 2 y.c + |c|^2 (with more than |y|^2, so that it is positive and its bits are ordered as the number
// is) over the centres c. Bounds: for centre c = e + s, e its fp16, the tensor core returns x.e up to g |x| |e|, where
// g = (d + 32) 2^-22 holds for any order of additions that truncate. So y.c is x.e up to |r| |c| + |x| |s| + g |x| |e|,
// at most reach * `size` of the centre where
//     size  = max(|c|, 2^12 |s|), and
//     reach = |r| + (2^-12 + g) (|x| + |r|), times 1 + 2^-10 for |e| and rounding.
// The other terms and the low bits that carry the index cost 2^-17 of the bounds, see `most_of`.
//
// Turing's to Ada's tensor cores cut 8 products and the sum before off 24 bits behind the largest exponent, Hopper's
// and Blackwell's 16 products 25 bits, then the sum to float32: d 2^-23.5 |x| |e| in all. In that exponent a subnormal
// fp16 counts as 2^-14. Products are multiples of 2^-48, so this matters beside entries of more than 2^-10 only, and
// costs less than 2^-25 (|x|^2 + |e|^2) more: a rounding.
// References: Fasi, Higham, Mikaitis, Pranesh (2021), Numerical behavior of NVIDIA tensor cores, PeerJ CS 7:e330; Xie,
// Wang, Yang, Yang (2025), MMA-Sim: bit-accurate reference model of tensor cores and matrix cores, arXiv:2511.10909.

#include "common.cuh"

#define TILE 128  // rows, and centres, of a tile
#define NONE 0x7f7fffffu  // no bound is larger

// ~bits, from a register: no grid here has a second axis, which the compiler cannot know. (x & ~bits) | number is one
// operation then; it is two where both are part of the instruction.
__device__ __forceinline__ uint32_t all_but(uint32_t bits) { return ~bits + gridDim.y - 1; }

// The two smallest so far, and the smallest one's centre, of disjoint sets of centres.
struct Two {
    uint32_t one, two;
    int32_t at;
};
__device__ __forceinline__ void merge(Two& here, uint32_t one, uint32_t two, int32_t at) {
    here.two = min(max(here.one, one), min(here.two, two));
    here.at = one < here.one ? at : here.at;
    here.one = min(here.one, one);
}

// Of a row of `width` features: 2 reach, and what is added to |y|^2 so that no bound is below zero. A bound is |y -
// c|^2 less 4 reach * size at most, and size <= 2 |c| + 2^-13 sqrt(width), since no entry of s is above 2^-11 of c's or
// 2^-25. Centres up to 4 |y| long are seen to by 32 reach |y|; for longer ones |y - c|^2 > |c|^2 / 2 is more than
// enough as long as reach < |c| / 16 but for the 2^-24 sqrt(width) that underflow adds to it; so for g < 2^-5. No row
// is certain elsewhere, and where a centre is not to be had in fp16.
__device__ __forceinline__ float2 edge(float2 stats, int width, bool far) {
    const float lost = stats.x, norm = stats.y, g = (width + 32) * 0x1p-22f;
    const float twice = 2.0f * (lost + (0x1p-12f + g) * (norm + lost)) * (1.0f + 0x1p-10f);
    const float more = twice * (16.0f * norm + 0x1p-12f * sqrtf((float)width)) + 0x1p-40f * width;
    return make_float2(far || g >= 0x1p-5f ? INFINITY : twice, norm * norm * (1.0f + 0x1p-8f) + more);
}

// What is exact for the centre of the smallest bound lies at most 2 reach * size * 2 above that, and 2^-17 of it for
// rounding, up to 5 bits of the index, and the definition in float64: |c|^2 < 2 |y|^2 + 2 |y - c|^2 bounds what
// `halve_centers` took off. Centres whose bounds are above this are farther away.
__device__ __forceinline__ float most_of(Two best, float2 edge, float size) {
    return (__uint_as_float(best.one) + 2.0f * edge.x * size) * (1.0f + 0x1p-17f) + 0x1p-18f * edge.y;
}

struct Rest {  // the rows that are not certain
    int32_t* count;
    int32_t* row;  // [n]
    float* most;   // [n]: centres whose bounds are above it are not the nearest; not a finite number: nothing is known
};

// The two smallest of the four lanes that share a row.
__device__ __forceinline__ void merge_lanes(Two& best) {
#pragma unroll
    for (int step = 1; step < 4; step <<= 1) {
        const uint32_t one = __shfl_xor_sync(ALL_LANES, best.one, step);
        const uint32_t two = __shfl_xor_sync(ALL_LANES, best.two, step);
        merge(best, one, two, __shfl_xor_sync(ALL_LANES, best.at, step));
    }
}

// A row's label, or an entry for `candidates.cu`.
__device__ __forceinline__ void settle(
    int64_t row, Two best, float2 edge, const float4* pairs, int32_t* label, Rest rest) {
    const float4 pair = pairs[best.at / 2];
    const float most = most_of(best, edge, best.at & 1 ? pair.w : pair.y);
    if (__uint_as_float(best.two) > most) {  // false for NaN
        label[row] = best.at;
    } else {
        const int32_t entry = atomicAdd(rest.count, 1);
        rest.row[entry] = (int32_t)row;
        rest.most[entry] = most;
    }
}


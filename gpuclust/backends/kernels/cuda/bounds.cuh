// Float32 scores of rows at centres: how far they may be off, and what becomes of rows that they cannot decide.
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

// A row's entry as it is scored; and an upper bound of a row's length from what was summed of it.
template <class T>
__device__ __forceinline__ float centred(T x, T shift, T scale) { return (float)((x - shift) * scale); }
template <bool L1>
__device__ __forceinline__ float length(float size, int64_t d) {
    return (L1 ? size : sqrtf(size)) * (1.0f + (d + 8) * 6e-8f) + TINY;
}

// The rows that are meant: the first *count of `row`, or all n where `row` is null. Images and norms have them one
// after another.
struct Listed {
    const int32_t* row;
    const int32_t* count;
    int64_t n;
    __device__ __forceinline__ int64_t size() const { return row ? *count : n; }
    __device__ __forceinline__ int64_t operator[](int64_t i) const { return row ? row[i] : i; }
};
#define LISTED const int32_t *listed, const int32_t *list_count, int64_t n
#define THE_LIST (Listed{listed, list_count, n})

template <bool L1>
__device__ __forceinline__ float add_term(float sum, float x, float c) {
    const float t = x - c;
    return L1 ? sum + fabsf(t) : fmaf(t, t, sum);
}

// What rows keep between iterations, null where they do not: bounds to their own centre, less the way that it has gone,
// and to all others, more the way of the fastest one. See `kernels.bounds`.
struct Kept {
    float* upper;        // [n]
    float* lower;        // [n]
    const float* own;    // [k]: each centre's way
    const float* other;  // [k]: that of the fastest other one
};
#define KEPT float *upper, float *lower, const float *own, const float *other
#define THE_KEPT (Kept{upper, lower, own, other})
#define UP (1.0f + 0x1p-20f)  // outward rounding
#define DOWN (1.0f - 0x1p-20f)
__device__ __forceinline__ float since_upper(float bound, float way) {
    const float kept = bound - way * DOWN;
    return kept + fabsf(kept) * 0x1p-22f;
}
__device__ __forceinline__ float since_lower(float bound, float way) {
    return (fmaxf(bound, 0.0f) + way * DOWN) * DOWN;
}
__device__ __forceinline__ float now_lower(float kept, float way) { return fmaxf(kept - way * UP, 0.0f) * DOWN; }

struct Doubt {  // rows that `recheck` decides
    int32_t* count;
    int32_t* row;   // [n], as they are numbered in the list
    float* limit;   // [n]: upper bound of the distance to the nearest centre
};

// Label of the i-th row listed, or an entry for `recheck`. NaN makes every comparison false: such rows are rechecked.
template <bool L1>
__device__ __forceinline__ void decide(
    Listed list, int64_t i, float one, float two, int at, float norm, float slack, int32_t* label, Doubt doubt,
    Kept kept) {
    const float best = most(L1 ? one : sqrtf(one), norm, slack), next = least(L1 ? two : sqrtf(two), norm, slack);
    const bool near = best < FAR, certain = near && next > best;
    if (kept.upper) {  // none for a row in doubt
        kept.upper[list[i]] = certain ? since_upper(best, kept.own[at]) : INFINITY;
        kept.lower[list[i]] = certain ? since_lower(next, kept.other[at]) : 0.0f;
    }
    if (certain) {
        label[list[i]] = at;
    } else {
        const int32_t entry = atomicAdd(doubt.count, 1);
        doubt.row[entry] = (int32_t)i;
        doubt.limit[entry] = near ? best : INFINITY;
    }
}

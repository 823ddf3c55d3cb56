// Rows whose label no centre's step can have changed, by the bounds that they keep (Hamerly, 2010, Making k-means even
// faster, SDM), for Manhattan distances; the others are listed for `nearest.cu`.
#include "bounds.cuh"

// row [*count] <- rows whose bounds, as they are kept, do not settle the label; apart [k] is own + other, rounded up.
extern "C" __global__ void __launch_bounds__(256) list_open(
    const int32_t* label, const float* upper, const float* lower, const float* apart, int64_t n, int32_t* count,
    int32_t* row) {
    const int lane = lane_id();
    for (int64_t first = warp_id() * 32; first < n; first += warp_count() * 32) {
        const int64_t i = first + lane;
        const int32_t own = i < n ? label[i] : 0;
        const bool open = i < n && (own < 0 || !(lower[i] - upper[i] > apart[own]));
        const uint32_t those = __ballot_sync(ALL_LANES, open);
        if (!those) continue;
        int32_t at = lane == 0 ? atomicAdd(count, __popc(those)) : 0;
        at = __shfl_sync(ALL_LANES, at, 0);
        if (open) row[at + __popc(those & ((1u << lane) - 1))] = (int32_t)i;
    }
}

// A warp a row: its own centre's distance as it is now; left_row [*lefts] <- the rows that this does not settle.
template <class T>
__device__ __forceinline__ void tighten(
    Listed list, const T* X, int64_t d, const T* shift, T scale, const float* centers, int64_t pitch, float slack,
    const int32_t* label, Kept kept, int32_t* lefts, int32_t* left_row) {
    const int64_t count = list.size();
    for (int64_t entry = warp_id(); entry < count; entry += warp_count()) {
        const int64_t i = list[entry];
        const int32_t own = label[i];
        float sum = 0.0f, size = 0.0f;
        for (int64_t f = lane_id(); f < (own < 0 ? 0 : d); f += 32) {
            const float y = centred(X[i * d + f], shift[f], scale);
            sum = add_term<true>(sum, y, centers[own * pitch + f]);
            size += fabsf(y);
        }
        for (int step = 16; step; step >>= 1) {
            sum += __shfl_xor_sync(ALL_LANES, sum, step);
            size += __shfl_xor_sync(ALL_LANES, size, step);
        }
        if (lane_id()) continue;
        const float bound = most(sum, length<true>(size, d), slack);
        if (own >= 0 && bound < FAR && bound * UP < now_lower(kept.lower[i], kept.other[own])) {
            kept.upper[i] = since_upper(bound, kept.own[own]);
        } else {
            left_row[atomicAdd(lefts, 1)] = (int32_t)i;
        }
    }
}

#define TIGHTEN(name, T)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        LISTED, const T* X, int64_t d, const T* shift, T scale, const float* centers, int64_t pitch, float slack,  \
        const int32_t* label, KEPT, int32_t* lefts, int32_t* left_row) {                                           \
        tighten<T>(THE_LIST, X, d, shift, scale, centers, pitch, slack, label, THE_KEPT, lefts, left_row);         \
    }
TIGHTEN(tighten_f32, float)
TIGHTEN(tighten_f64, double)

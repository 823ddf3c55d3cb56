// Where the values of rows lie about brackets around the medians of their clusters, feature by feature: a thread takes
// value after value. Counts are integers and sums of weights exact, so the order in which they are added tells nothing;
// which place a value that is kept gets is by chance.
#include "common.cuh"
#include "counts.cuh"

// The calling thread's values of rows [n, d], one after another.
struct Walk {
    int64_t i, f, rows, features, d;
    __device__ __forceinline__ explicit Walk(int64_t d)
        : i(thread_id() / d), f(thread_id() % d), rows(thread_count() / d), features(thread_count() % d), d(d) {}
    __device__ __forceinline__ void next() {
        i += rows;
        f += features;
        if (f < d) return;
        f -= d;
        i++;
    }
};

template <class T>
struct Brackets {  // [k * d]; those of closed pairs are empty
    const T *low, *mid, *high;
};

// Values inside brackets, of which pairs, as long as there is `room`; `filled`: how many there would be.
template <class T>
struct Inside {
    int64_t room;
    unsigned long long* filled;
    uint32_t* lost;  // [k * d]: values for which there was no room
    int32_t* pair;
    T* value;
    double* load;  // their weights, or null
};

template <class T>
__device__ __forceinline__ void keep(const Inside<T>& to, int64_t pair, T x, double w) {
    const unsigned long long room = (unsigned long long)to.room;
    // it only grows: once it is full, nobody need add to it
    const unsigned long long at = *(volatile unsigned long long*)to.filled < room ? atomicAdd(to.filled, 1ull) : room;
    if (at >= room) {
        atomicAdd(to.lost + pair, 1u);
        return;
    }
    to.pair[at] = (int32_t)pair;
    to.value[at] = x;
    if (to.load) to.load[at] = w;
}

// less, same u32 [k * d] += values below the bracket and at its middle; total u32 [k] += rows. In shared memory: those
// of the block, where they fit (`own_pairs` = k * d, or 0), so that few clusters are not added to by all rows.
template <class T>
__device__ __forceinline__ void count_ranks(
    const T* X, int64_t n, int64_t d, const int32_t* label, const Brackets<T>& at, int64_t own_pairs, uint32_t* less,
    uint32_t* same, uint32_t* total, const Inside<T>& inside) {
    SHARED(uint32_t, below);
    uint32_t *equal = below + own_pairs, *rows = equal + own_pairs;
    const int64_t own_clusters = own_pairs / d;
    for (int64_t p = threadIdx.x; p < 2 * own_pairs + own_clusters; p += blockDim.x) below[p] = 0;
    __syncthreads();
    for (Walk value(d); value.i < n; value.next()) {
        const int32_t j = label[value.i];
        if (j < 0) continue;  // it is refused later
        if (value.f == 0) count_one(own_pairs, rows, total, j);
        const int64_t p = j * d + value.f;
        const T low = at.low[p], high = at.high[p];
        if (!(low <= high)) continue;
        const T x = X[value.i * d + value.f];
        if (x < low) count_one(own_pairs, below, less, p);
        else if (x == at.mid[p]) count_one(own_pairs, equal, same, p);
        else if (x <= high) keep(inside, p, x, 1.0);
    }
    __syncthreads();
    for (int64_t p = threadIdx.x; p < own_pairs; p += blockDim.x) {
        if (below[p]) atomicAdd(less + p, below[p]);
        if (equal[p]) atomicAdd(same + p, equal[p]);
    }
    for (int64_t j = threadIdx.x; j < own_clusters; j += blockDim.x)
        if (rows[j]) atomicAdd(total + j, rows[j]);
}

// sums f64 [levels] += the pieces of a weight, which no rounding touches: see `kernels.sums`.
__device__ __forceinline__ void add_pieces(double* sums, double w, const double* magic, int64_t levels) {
    for (int64_t b = 0; b < levels; b++) {
        const double piece = (w + magic[b]) - magic[b];
        w -= piece;
        if (piece != 0.0) atomicAdd(sums + b, piece);
    }
}

// The same with weights f64 [n], of which those of 0 count for nothing: less, same f64 [k * d, levels], total f64 [k,
// levels] += their pieces; magic f64 [levels].
template <class T>
__device__ __forceinline__ void weigh_ranks(
    const T* X, int64_t n, int64_t d, const int32_t* label, const Brackets<T>& at, const double* weight,
    const double* magic, int64_t levels, double* less, double* same, double* total, const Inside<T>& inside) {
    for (Walk value(d); value.i < n; value.next()) {
        const int32_t j = label[value.i];
        const double w = weight[value.i];
        if (j < 0 || !(w > 0.0)) continue;
        if (value.f == 0) add_pieces(total + j * levels, w, magic, levels);
        const int64_t p = j * d + value.f;
        const T low = at.low[p], high = at.high[p];
        if (!(low <= high)) continue;
        const T x = X[value.i * d + value.f];
        if (x < low) add_pieces(less + p * levels, w, magic, levels);
        else if (x == at.mid[p]) add_pieces(same + p * levels, w, magic, levels);
        else if (x <= high) keep(inside, p, x, w);
    }
}

// counts u32 [u, buckets] += values of the pairs that have a `place` i32 [k * d] (or -1), by bucket: see
// `brackets.Fine`; mid, per f64 [k * d].
template <class T>
__device__ __forceinline__ void count_fine(
    const T* X, int64_t n, int64_t d, const int32_t* label, const int32_t* place, const double* mid, const double* per,
    int64_t buckets, uint32_t* counts) {
    for (Walk value(d); value.i < n; value.next()) {
        const int32_t j = label[value.i];
        if (j < 0) continue;
        const int64_t p = j * d + value.f;
        if (place[p] < 0) continue;
        const double u = fmin(fmax(((double)X[value.i * d + value.f] - mid[p]) * per[p], -1e300), 1e300);
        const double bucket = fmin((1.0 + u / (1.0 + fabs(u))) * (double)(buckets / 2), (double)(buckets - 1));
        atomicAdd(counts + place[p] * buckets + (int64_t)bucket, 1u);
    }
}

#define RANKS(type, T)                                                                                               \
    extern "C" __global__ void __launch_bounds__(256, 4) count_ranks_##type(                                         \
        const T* X, int64_t n, int64_t d, const int32_t* label, const T* low, const T* mid, const T* high,           \
        int64_t room, unsigned long long* filled, uint32_t* lost, int32_t* pair, T* value, int64_t own_pairs,        \
        uint32_t* less, uint32_t* same, uint32_t* total) {                                                           \
        count_ranks<T>(X, n, d, label, Brackets<T>{low, mid, high}, own_pairs, less, same, total,                    \
                       Inside<T>{room, filled, lost, pair, value, nullptr});                                         \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) weigh_ranks_##type(                                         \
        const T* X, int64_t n, int64_t d, const int32_t* label, const T* low, const T* mid, const T* high,           \
        int64_t room, unsigned long long* filled, uint32_t* lost, int32_t* pair, T* value, double* load,             \
        const double* weight, const double* magic, int64_t levels, double* less, double* same, double* total) {      \
        weigh_ranks<T>(X, n, d, label, Brackets<T>{low, mid, high}, weight, magic, levels, less, same, total,        \
                       Inside<T>{room, filled, lost, pair, value, load});                                            \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(256, 4) count_fine_##type(                                          \
        const T* X, int64_t n, int64_t d, const int32_t* label, const int32_t* place, const double* mid,             \
        const double* per, int64_t buckets, uint32_t* counts) {                                                      \
        count_fine<T>(X, n, d, label, place, mid, per, buckets, counts);                                             \
    }
RANKS(f32, float)
RANKS(f64, double)

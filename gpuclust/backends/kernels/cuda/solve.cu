// From exact sums to means, and what the assignment behind them costs: `kernels/solve.py`, operation by operation.
#include "common.cuh"

// a * b exactly.
__device__ __forceinline__ Pair product_of(double a, double b) {
    const double p = a * b;
    return Pair{p, fma(a, b, -p)};
}

// The exact pieces of a column, one for each level, together.
__device__ __forceinline__ Pair total_of(const double* pieces, int64_t levels, int64_t pitch) {
    Pair sum{0.0, 0.0};
    for (int64_t b = 0; b < levels; b++) sum = added(sum, pieces[b * pitch]);
    return sum_of(sum.high, sum.low);
}

// c (m c - 2 S) about the origin, of one feature: S the sum of the coordinates, m the mass.
__device__ __forceinline__ Pair term_of(Pair sum, Pair mass, double center, double origin) {
    const Pair c = sum_of(center, -origin), p = product_of(mass.high, origin), about = sum_of(sum.high, -p.high);
    const double about_low = sum.low + (about.low - p.low - mass.low * origin);
    const Pair q = product_of(mass.high, c.high), u = sum_of(q.high, -2.0 * about.high);
    const double u_low = u.low + (q.low + mass.high * c.low + mass.low * c.high - 2.0 * about_low);
    const Pair t = product_of(c.high, u.high);
    return Pair{t.high, t.low + c.high * u_low + c.low * u.high};
}

// total f64 [k, levels, d + 1] <- sums + delta; without a delta, total holds them. A warp a cluster: its mean, rounded
// once; without mass, the old centre. record f64 [5 k + 1] <- by cluster, its mass, the cost of the assignment in two
// pieces, the square of the way from the old centre, and the counts of `moves` that matter: rows that entered it, and
// behind the last cluster those without a label. Sums over the features go in order, from lane to lane.
extern "C" __global__ void __launch_bounds__(256) means(
    const double* sums, const double* delta, const int64_t* counts, const double* old, const double* origin, int64_t k,
    int64_t levels, int64_t d, double* total, double* out, double* record) {
    const int lane = lane_id();
    const int64_t pitch = d + 1;
    for (int64_t j = warp_id(); j < k; j += warp_count()) {
        const int64_t at = j * levels * pitch;
        double* own = total + at;
        if (delta)
            for (int64_t e = lane; e < levels * pitch; e += 32) own[e] = sums[at + e] + delta[at + e];
        __syncwarp();
        const Pair mass = total_of(own + d, levels, pitch);
        double high = 0.0, low = 0.0, way = 0.0;
        for (int64_t first = 0; first < d; first += 32) {
            const int64_t f = first + lane;
            Pair term{0.0, 0.0};
            double step = 0.0;
            if (f < d) {
                const Pair sum = total_of(own + f, levels, pitch);
                const double before = old[j * d + f], q = sum.high / mass.high;
                const double mean = q + (fma(-q, mass.high, sum.high) + (sum.low - q * mass.low)) / mass.high;
                out[j * d + f] = mass.high > 0.0 ? mean : before;
                term = term_of(sum, mass, before, origin[f]);
                step = mass.high > 0.0 ? mean - before : 0.0;
            }
            const int count = d - first < 32 ? (int)(d - first) : 32;
            for (int i = 0; i < count; i++) {
                const Pair s = sum_of(high, __shfl_sync(ALL_LANES, term.high, i));
                const double error = __shfl_sync(ALL_LANES, term.low, i), moved = __shfl_sync(ALL_LANES, step, i);
                high = s.high;
                low += s.low + error;
                way += moved * moved;
            }
        }
        if (lane) continue;
        const Pair cost = sum_of(high, low);
        record[j] = mass.high;
        record[k + j] = cost.high;
        record[2 * k + j] = cost.low;
        record[3 * k + j] = way;
        if (!counts) continue;
        record[4 * k + j] = (double)counts[j];
        if (j == 0) record[5 * k] = (double)counts[2 * k];
    }
}

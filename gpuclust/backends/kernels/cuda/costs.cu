// Costs by their definition.
#include "common.cuh"
#include "staged.cuh"

// A thread a row: cost f64 [n] at its own centre (at the first where it has none: it is refused later); centers f64 [k,
// d]. The block stages the terms of its rows together: threads that read a centre each would ask for 32 lines at once.
template <class T, bool L1>
__device__ __forceinline__ void own(
    const T* X, int64_t n, int64_t d, const double* centers, const int32_t* label, double* cost) {
    SHARED(double, stage);
    for (int64_t row0 = (int64_t)blockIdx.x * ROWS; row0 < n; row0 += (int64_t)gridDim.x * ROWS) {
        const int64_t i = row0 + threadIdx.x;
        double sum = 0.0;
        for (int64_t f0 = 0; f0 < d; f0 += DEPTH) {
            const int deep = d - f0 < DEPTH ? (int)(d - f0) : DEPTH;
            __syncthreads();
            stage_rows(stage, X, n, d, row0, f0, deep, [&](T x, int64_t f, int64_t row) {
                return term<L1>((double)x, centers[(label[row] > 0 ? label[row] : 0) * d + f]);
            });
            __syncthreads();
            for (int f = 0; f < (i < n ? deep : 0); f++) sum += stage[threadIdx.x * STRIDE + f];
        }
        if (i < n) cost[i] = sum;
    }
}

#define OWN(name, T, L1)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const T* X, int64_t n, int64_t d, const double* centers, const int32_t* label, double* cost) {             \
        own<T, L1>(X, n, d, centers, label, cost);                                                                 \
    }
OWN(own_l1_f32, float, true)
OWN(own_l1_f64, double, true)
OWN(own_l2_f32, float, false)
OWN(own_l2_f64, double, false)

// A thread an entry: distances [n, k], rounded once to their type; columns f64 [d, k].
#define ALL(name, T, L1, Out)                                                                                      \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const T* X, int64_t n, int64_t d, const double* columns, int64_t k, Out* distance) {                       \
        for (int64_t e = thread_id(); e < n * k; e += thread_count()) {                                            \
            const double cost = direct<T, L1>(X + e / k * d, columns + e % k, k, d);                               \
            distance[e] = (Out)(L1 ? cost : sqrt(cost));                                                           \
        }                                                                                                          \
    }
ALL(all_l1_f32_f32, float, true, float)
ALL(all_l1_f32_f64, float, true, double)
ALL(all_l1_f64_f32, double, true, float)
ALL(all_l1_f64_f64, double, true, double)
ALL(all_l2_f32_f32, float, false, float)
ALL(all_l2_f32_f64, float, false, double)
ALL(all_l2_f64_f32, double, false, float)
ALL(all_l2_f64_f64, double, false, double)

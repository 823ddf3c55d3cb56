// Costs by their definition.
#include "common.cuh"

// A thread a row: cost f64 [n] at its own centre; centers f64 [k, d].
#define OWN(name, T, L1)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const T* X, int64_t n, int64_t d, const double* centers, const int32_t* label, double* cost) {             \
        for (int64_t i = thread_id(); i < n; i += thread_count())                                                  \
            cost[i] = direct<T, L1>(X + i * d, centers + label[i] * d, 1, d);                                      \
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

// The primitives of hopper.cu alone: a warp group multiplies TILE rows by TILE centres of 64 features.
#include "hopper.cu"

// tiles: rows, then centres, swizzled; sums [2, 64, 128]: those of rows 0 to 63, then the others, as threads hold them.
extern "C" __global__ void __launch_bounds__(GROUP) products(const unsigned char* tiles, float* sums) {
    SHARED(unsigned char, memory);
    uint64_t* barrier = (uint64_t*)(memory + 2 * BYTES);
    if (threadIdx.x == 0) {
        barrier_begin(barrier, 1);
        barriers_begun();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        barrier_expect(barrier, 2 * BYTES);
        for (int t = 0; t < 2; t++) copy_tile(memory + t * BYTES, tiles + t * BYTES, barrier);
    }
    barrier_wait(barrier, 0);
    float low[64], high[64];
#pragma unroll
    for (int i = 0; i < 64; i++) low[i] = high[i] = 0.0f;
    products_begin();
#pragma unroll
    for (int step = 0; step < 4; step++) {
        multiply_add(low, memory + 32 * step, memory + BYTES + 32 * step, step);
        multiply_add(high, memory + BYTES / 2 + 32 * step, memory + BYTES + 32 * step, step);
    }
    products_begun();
    products_done_but<0>();
    untouched(low);
    untouched(high);
#pragma unroll
    for (int i = 0; i < 64; i++) {
        sums[i * GROUP + threadIdx.x] = low[i];
        sums[(64 + i) * GROUP + threadIdx.x] = high[i];
    }
}

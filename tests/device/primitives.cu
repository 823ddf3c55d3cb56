// The primitives of common.cuh, each alone, a warp a kernel.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) halves(const float* x, int64_t n, uint16_t* bits, float* back) {
    for (int64_t i = thread_id(); i < n; i += thread_count()) {
        bits[i] = to_half(x[i]);
        back[i] = from_half((uint16_t)i);
    }
}

// a fp16 [16, 16], b fp16 [8, 16], sum f32 [16, 8] += a times b transposed; read f32 [32, 4]: the parts of a, as lanes
// have them, by way of shared memory.
extern "C" __global__ void __launch_bounds__(256) products(
    const uint16_t* a, const uint16_t* b, float* sum, uint32_t* read) {
    SHARED(uint16_t, memory);
    const int lane = lane_id();
    if (threadIdx.x < 32) {
        copy16(memory + 8 * lane, a + 8 * lane);
        copies_begun();
        if (lane < 16) copy16(memory + 256 + 8 * lane, b + 8 * lane);
        copies_begun();
        copies_done_but<0>();
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    uint32_t x[4], y[4];
    load_matrices(x, memory + (lane & 15) * 16 + (lane >> 4) * 8);
    load_matrices(y, memory + 256 + (lane & 7) * 16 + (lane >> 3 & 1) * 8);
    for (int i = 0; i < 4; i++) read[4 * lane + i] = x[i];
    float own[4];
    for (int i = 0; i < 4; i++) own[i] = sum[(lane / 4 + (i >> 1) * 8) * 8 + lane % 4 * 2 + (i & 1)];
    multiply_add(own, x, y[0], y[1]);
    for (int i = 0; i < 4; i++) sum[(lane / 4 + (i >> 1) * 8) * 8 + lane % 4 * 2 + (i & 1)] = own[i];
}

extern "C" __global__ void __launch_bounds__(256) lanes(
    const int32_t* x, int32_t* swapped, uint32_t* votes, int32_t* all, int32_t* told) {
    const int lane = lane_id();
    if (threadIdx.x >= 32) return;
    for (int bits = 1, i = 0; bits < 32; bits <<= 1, i++) swapped[32 * i + lane] = __shfl_xor_sync(ALL_LANES, x[lane], bits);
    votes[lane] = __ballot_sync(ALL_LANES, x[lane] > 0);
    all[lane] = __all_sync(ALL_LANES, x[lane] > -1000);
    told[lane] = x[lane];
    __syncwarp();
    told[lane] = __shfl_sync(ALL_LANES, told[lane], 9);
}

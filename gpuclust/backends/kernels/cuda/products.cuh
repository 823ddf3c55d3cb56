// Products of half precision, 128 rows by 128 centres of a block, by `mma.sync`: for `tensor.cu` and `candidates.cu`.
#include "tensor.cuh"

#define STAGES 3       // of centres, and of rows where not all features fit

// Where 8 features (`part`) of row r lie in an image of rows of `parts` times 16 bytes: rows that a warp reads at once
// meet no bank twice.
__device__ __forceinline__ int placed(int r, int part, int parts) {
    return r * parts * 16 + ((part ^ (r / (8 / parts) & (parts - 1))) << 4);
}

// A tile of an image into shared memory, by all threads.
template <int PARTS>
__device__ __forceinline__ void load_tile(unsigned char* to, const uint16_t* image, int tile) {
    const unsigned char* from = (const unsigned char*)image + (int64_t)tile * (TILE * PARTS * 16);
#pragma unroll
    for (int at = 0; at < TILE * PARTS * 16; at += 256 * 16)
        copy16(to + at + threadIdx.x * 16, from + at + threadIdx.x * 16);
}

// sum [4][4] of 16 rows by 8 centres each += the products of 16 features of 64 rows and 32 centres.
template <int PARTS>
__device__ __forceinline__ void add_products(
    float (&sum)[4][4][4], const unsigned char* rows, const unsigned char* centers, int row, int center, int step) {
    const int lane = lane_id();
    uint32_t x[4][4], c[2][4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        load_matrices(x[i], rows + placed(row + 16 * i + (lane & 15), 2 * step + (lane >> 4), PARTS));
#pragma unroll
    for (int j = 0; j < 2; j++)
        load_matrices(
            c[j], centers + placed(center + 16 * j + (lane & 7) + (lane >> 4) * 8, 2 * step + (lane >> 3 & 1), PARTS));
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) multiply_add(sum[i][j], x[i], c[j >> 1][(j & 1) * 2], c[j >> 1][(j & 1) * 2 + 1]);
}

// The products of a block's TILE rows with all centres, TILE at a time: 8 warps of 64 rows from `row` on by 32 centres
// from `center` on. `load_rows(to, chunk)` copies the rows' tile of some features to shared memory, where there is
// room for all of them (`stay`) or for STAGES; behind it, at `columns`, for STAGES tiles of centres. `fold(sum, own)`
// gets the sums of a tile of centres; this thread's first centre is `own`.
template <int PARTS, class Load, class Fold>
__device__ __forceinline__ void multiply_tiles(
    unsigned char* memory, unsigned char* columns, const uint16_t* centers, int k, int chunks, bool stay, int row,
    int center, Load load_rows, Fold fold) {
    constexpr int BYTES = TILE * PARTS * 16;
    float sum[4][4][4];
    const int tiles = (k + TILE - 1) / TILE * chunks;  // of centres
#pragma unroll
    for (int t = 0; t < STAGES - 1; t++) {
        if (t < tiles) {
            if (!stay || t < chunks) load_rows(memory + t * BYTES, t % chunks);
            load_tile<PARTS>(columns + t * BYTES, centers, t);
        }
        copies_begun();
    }
    int chunk = 0, stage = 0;
    for (int t = 0; t < tiles; t++) {
        copies_done_but<STAGES - 2>();
        __syncthreads();
        const int next = t + STAGES - 1, to = stage == 0 ? STAGES - 1 : stage - 1;
        if (next < tiles) {
            if (!stay || next < chunks) load_rows(memory + (stay ? next : to) * BYTES, next % chunks);
            load_tile<PARTS>(columns + to * BYTES, centers, next);
        }
        copies_begun();
        if (chunk == 0) {
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
#pragma unroll
                    for (int q = 0; q < 4; q++) sum[i][j][q] = 0.0f;
        }
        const unsigned char* here = memory + (stay ? chunk : stage) * BYTES;
#pragma unroll 1
        for (int step = 0; step < PARTS / 2; step++)
            add_products<PARTS>(sum, here, columns + stage * BYTES, row, center, step);
        if (++chunk == chunks) {
            chunk = 0;
            fold(sum, t / chunks * TILE + center + (lane_id() & 3) * 2);
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    copies_done_but<0>();
    __syncthreads();
}

// The first pass on Hopper's tensor cores by `wgmma`, for rows of more than 32 features: see `tensor.cuh`. Images are
// those of tensor.cu with 8 parts, which is how `wgmma` wants its operands: rows of 128 bytes, swizzled.
//
// A block of three warp groups: one of its threads copies tiles, two groups of 128 threads have TILE rows each. A block
// takes 2 TILE rows, then others. Rows stay in shared memory, in as many places as `places` says (0: they come with
// every tile of centres); STAGES tiles of centres go round. Where a centre's features fit these, the groups take turns:
// one multiplies, the other folds. Otherwise one would wait for tiles that the other, waiting too, does not give back.
#include "tensor.cuh"

#define STAGES 4
#define BYTES (TILE * 128)  // of a tile of 64 features
#define LOW_BITS 31u        // of a bound: the centre's number among the 32 of a thread
#define GROUP 128

#ifndef GPUCLUST_EMULATED
__device__ __forceinline__ uint32_t shared_address(const void* at) { return (uint32_t)__cvta_generic_to_shared(at); }

// Barriers that count threads and bytes; each time all have come, the phase turns.
__device__ __forceinline__ void barrier_begin(uint64_t* barrier, int threads) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(threads) : "memory");
}
__device__ __forceinline__ void barriers_begun() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, int phase) {  // until it is over
    uint32_t over;
    do {
        asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                     : "=r"(over) : "r"(shared_address(barrier)), "r"(phase) : "memory");
    } while (!over);
}

// A tile into shared memory, counted by a barrier.
__device__ __forceinline__ void copy_tile(void* to, const void* from, uint64_t* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 ::"r"(shared_address(to)), "l"(from), "r"(BYTES), "r"(shared_address(barrier)) : "memory");
}

// Barrier `number` of the two groups that multiply: wait for the other, or only tell it.
__device__ __forceinline__ void turn_wait(int number) { asm volatile("bar.sync %0, 256;" ::"r"(number) : "memory"); }
__device__ __forceinline__ void turn_give(int number) { asm volatile("bar.arrive %0, 256;" ::"r"(number) : "memory"); }

__device__ __forceinline__ void give_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 40;"); }
__device__ __forceinline__ void take_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 232;"); }

__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void products_begun() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LATER>  // groups of products that need not be there
__device__ __forceinline__ void products_done_but() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LATER) : "memory");
}

// The compiler does not know that `wgmma` still writes these registers after the statement: no use moves above this.
__device__ __forceinline__ void untouched(float (&sum)[64]) {
#pragma unroll
    for (int i = 0; i < 64; i++) asm volatile("" : "+f"(sum[i])::"memory");
}

// sum (of 64 rows by 128 centres, spread over a group) = or += the products of 16 features from `rows`, `centers` on.
__device__ __forceinline__ void multiply_add(float (&sum)[64], const void* rows, const void* centers, bool add) {
    // addresses in 16 bytes; 8 rows are 1024 bytes (64); swizzled by 128 bytes (1 << 62)
    const uint64_t form = (uint64_t)1 << 62 | (uint64_t)64 << 32 | (uint64_t)1 << 16;
    const uint64_t a = form | (shared_address(rows) & 0x3ffff) >> 4;
    const uint64_t b = form | (shared_address(centers) & 0x3ffff) >> 4;
#define FOUR(i) "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3])
#define SIXTEEN(i) FOUR(i), FOUR(i + 4), FOUR(i + 8), FOUR(i + 12)
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %66, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,"
        "%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,"
        "%56,%57,%58,%59,%60,%61,%62,%63}, %64, %65, p, 1, 1, 0, 0;}"
        : SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48)
        : "l"(a), "l"(b), "r"((int)add));
}
#endif

struct Barriers {
    uint64_t full[STAGES], empty[STAGES];  // of centres
    uint64_t rows_full[2], rows_empty[2];
};

// Where in a round of places something is, and how often it has gone round.
struct Round {
    int at, phase;
    __device__ __forceinline__ void next(int places) {
        at = at + 1 == places ? 0 : at + 1;
        phase ^= at == 0;
    }
};

// The one thread that copies: everything that the block will need, as room for it becomes free.
__device__ __forceinline__ void copy_all(
    const unsigned char* rows, const unsigned char* centers, int pairs, int tiles, int chunks, int places,
    unsigned char* row_tiles, unsigned char* center_tiles, Barriers* barriers) {
    Round stage{0, 0}, place{0, 0};
    for (int pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
        const unsigned char* own = rows + (int64_t)pair * (2 * chunks * BYTES);
        if (places) {
            uint64_t* full = barriers->rows_full + place.at;
            barrier_wait(barriers->rows_empty + place.at, place.phase ^ 1);
            barrier_expect(full, 2 * chunks * BYTES);
            for (int t = 0; t < 2 * chunks; t++)
                copy_tile(row_tiles + (place.at * 2 * chunks + t) * BYTES, own + t * BYTES, full);
            place.next(places);
        }
        for (int t = 0, chunk = 0; t < tiles; t++, chunk = chunk + 1 == chunks ? 0 : chunk + 1) {
            uint64_t* full = barriers->full + stage.at;
            barrier_wait(barriers->empty + stage.at, stage.phase ^ 1);
            barrier_expect(full, places ? BYTES : 3 * BYTES);
            copy_tile(center_tiles + stage.at * BYTES, centers + (int64_t)t * BYTES, full);
            if (!places)
                for (int half = 0; half < 2; half++) {
                    const int64_t tile = half * chunks + chunk;
                    copy_tile(row_tiles + (2 * stage.at + half) * BYTES, own + tile * BYTES, full);
                }
            stage.next(STAGES);
        }
    }
}

// The bounds of a thread's 32 centres for two rows 8 apart, folded into their two smallest.
__device__ __forceinline__ void fold_rows(
    Two* best, const float (&sum)[64], const float4* pairs, const float2* edges, int32_t center) {
    uint32_t one[2] = {NONE, NONE}, two[2] = {NONE, NONE};
    const uint32_t keep = all_but(LOW_BITS);
#pragma unroll
    for (int q = 0; q < 16; q++) {
        const float4 c = pairs[4 * q];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float left = fmaf(-2.0f, sum[4 * q + 2 * h], c.x) + fmaf(-edges[h].x, c.y, edges[h].y);
            const float right = fmaf(-2.0f, sum[4 * q + 2 * h + 1], c.z) + fmaf(-edges[h].x, c.w, edges[h].y);
            const uint32_t a = (__float_as_uint(left) & keep) | (2 * q);
            const uint32_t b = (__float_as_uint(right) & keep) | (2 * q + 1);
            const uint32_t low = min(a, b);
            two[h] = min(min(two[h], max(a, b)), max(one[h], low));
            one[h] = min(one[h], low);
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int32_t at = center + (int32_t)((one[h] & 30u) << 2) + (int32_t)(one[h] & 1u);
        merge(best[h], one[h] & ~LOW_BITS, two[h] & ~LOW_BITS, at);
    }
}

// A group's TILE rows against all centres; the pair of tiles is the block's `turn`-th.
__device__ __forceinline__ void multiply_all(
    const float2* stats, int64_t n, const float4* pairs_of_centers, bool far, int pairs, int tiles, int chunks,
    int places, const unsigned char* row_tiles, const unsigned char* center_tiles, Barriers* barriers, int32_t* label,
    Rest rest) {
    const int group = threadIdx.x / GROUP - 1, lane = lane_id(), warp = (threadIdx.x >> 5) & 3;
    const bool speaks = lane == 0, turns = chunks <= STAGES;  // a warp gives back for itself
    Round stage{0, 0}, place{0, 0};
    bool waited = false;
    float low[64], high[64];  // of rows 0 to 63, and 64 to 127
#pragma unroll
    for (int i = 0; i < 64; i++) low[i] = high[i] = 0.0f;  // undefined, `wgmma` goes one by one by CUDA 12.4's compiler
    for (int pair = blockIdx.x; pair < pairs; pair += gridDim.x) {
        const int64_t row0 = ((int64_t)pair * 2 + group) * TILE + warp * 16 + (lane >> 2);
        float2 edges[4];
        Two best[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int64_t row = row0 + (i >> 1) * 64 + (i & 1) * 8;
            edges[i] = edge(stats[row < n ? row : n - 1], chunks * 64, far);
            best[i] = Two{NONE, NONE, 0};
        }
        if (places) barrier_wait(barriers->rows_full + place.at, place.phase);
        for (int tile = 0; tile < tiles / chunks; tile++) {
            if (turns && (group || waited)) turn_wait(1 + group);
            waited = true;
            for (int chunk = 0; chunk < chunks; chunk++) {
                barrier_wait(barriers->full + stage.at, stage.phase);
                const int at = places ? place.at * 2 * chunks + group * chunks + chunk : 2 * stage.at + group;
                const unsigned char *x = row_tiles + at * BYTES, *c = center_tiles + stage.at * BYTES;
                products_begin();
#pragma unroll
                for (int step = 0; step < 4; step++) {
                    multiply_add(low, x + 32 * step, c + 32 * step, chunk || step);
                    multiply_add(high, x + BYTES / 2 + 32 * step, c + 32 * step, chunk || step);
                }
                products_begun();
                if (chunk) {
                    products_done_but<1>();
                    if (speaks) barrier_arrive(barriers->empty + (stage.at + STAGES - 1) % STAGES);
                }
                stage.next(STAGES);
            }
            if (turns) turn_give(2 - group);  // its products queue behind these
            products_done_but<0>();
            untouched(low);
            untouched(high);
            if (speaks) barrier_arrive(barriers->empty + (stage.at + STAGES - 1) % STAGES);
            const int own = tile * TILE + (lane & 3) * 2;
            fold_rows(best, low, pairs_of_centers + own / 2, edges, own);
            fold_rows(best + 2, high, pairs_of_centers + own / 2, edges + 2, own);
        }
        if (places) {
            if (speaks) barrier_arrive(barriers->rows_empty + place.at);
            place.next(places);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            merge_lanes(best[i]);
            const int64_t row = row0 + (i >> 1) * 64 + (i & 1) * 8;
            if ((lane & 3) == 0 && row < n) settle(row, best[i], edges[i], pairs_of_centers, label, rest);
        }
    }
    if (turns && group == 0 && waited) turn_wait(1);  // the other group's last turn
}

extern "C" __global__ void __launch_bounds__(3 * GROUP, 1) score(
    const unsigned char* rows, const float2* stats, int64_t n, const unsigned char* centers, const float4* pairs,
    const int32_t* far, int64_t k, int64_t chunks, int64_t places, int32_t* label, int32_t* rests, int32_t* rest_row,
    float* rest_most) {
    SHARED(unsigned char, memory);
    unsigned char* row_tiles = memory + STAGES * BYTES;
    Barriers* barriers = (Barriers*)(row_tiles + (places ? places * chunks : STAGES) * 2 * BYTES);
    const int tiles = (int)((k + TILE - 1) / TILE * chunks), row_pairs = (int)((n + 2 * TILE - 1) / (2 * TILE));
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_begin(barriers->full + i, 1);
            barrier_begin(barriers->empty + i, 2 * GROUP / 32);
        }
        for (int i = 0; i < 2; i++) {
            barrier_begin(barriers->rows_full + i, 1);
            barrier_begin(barriers->rows_empty + i, 2 * GROUP / 32);
        }
        barriers_begun();
    }
    __syncthreads();
    if (threadIdx.x < GROUP) {
        give_registers();
        if (threadIdx.x == 0)
            copy_all(rows, centers, row_pairs, tiles, (int)chunks, (int)places, row_tiles, memory, barriers);
    } else {
        take_registers();
        multiply_all(stats, n, pairs, *far, row_pairs, tiles, (int)chunks, (int)places, row_tiles, memory, barriers,
                     label, Rest{rests, rest_row, rest_most});
    }
}

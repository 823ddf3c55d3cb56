// Rows that half precision left undecided, and the centres that it could not exclude: few of both. The bounds of
// `tensor.cu` are made once more for these rows; where at most MOST centres are not above `most_of`, the definition
// decides between those: sums over the features in order, in float64, lowest index on ties. Rows with more candidates
// are listed for `nearest.cu`.
#include "products.cuh"

#define MOST 8  // candidates of a row

struct Lists {  // of a block's rows
    int32_t row[TILE];
    float most[TILE];
    float2 edge[TILE];
    int32_t found[TILE];          // so many candidates
    int32_t center[MOST * TILE];  // the first of all rows, the second, ...
};

struct Best {  // of a block's rows, where their tiles were
    uint64_t cost[MOST * TILE];  // the bits of a candidate's cost, ordered as the cost is; NOTHING
    uint64_t least[TILE];
    int32_t center[TILE];
};
#define NOTHING 0xffffffffffffffffull
#define OVERFLOWN 0x7ff0000000000000ull  // infinity

// A tile of some rows of an image, which lie anywhere in it, into shared memory.
template <int PARTS>
__device__ __forceinline__ void gather_tile(
    unsigned char* to, const uint16_t* image, const int32_t* row, int chunk, int chunks) {
#pragma unroll
    for (int first = 0; first < TILE * PARTS; first += 256) {
        const int r = (first + threadIdx.x) / PARTS, part = threadIdx.x % PARTS, i = row[r];
        const int64_t tile = (int64_t)(i / TILE) * chunks + chunk;
        copy16(to + placed(r, part, PARTS),
               (const unsigned char*)image + tile * (TILE * PARTS * 16) + placed(i % TILE, part, PARTS));
    }
}

// This thread's 8 centres of each of its 8 rows, listed where their bounds are low enough.
__device__ __forceinline__ void list_candidates(
    Lists* lists, const float (&sum)[4][4][4], const float4* pairs, int row, int32_t center) {
    float4 c[4];
#pragma unroll
    for (int j = 0; j < 4; j++) c[j] = pairs[4 * j];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int r = row + (i >> 1) * 16 + (i & 1) * 8;
        const float2 e = lists->edge[r];
        const float most = lists->most[r];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float* products = sum[i >> 1][j] + (i & 1) * 2;
            const float left = fmaf(-2.0f, products[0], c[j].x) + fmaf(-e.x, c[j].y, e.y);
            const float right = fmaf(-2.0f, products[1], c[j].z) + fmaf(-e.x, c[j].w, e.y);
#pragma unroll
            for (int side = 0; side < 2; side++) {
                if (!((side ? right : left) <= most)) continue;
                const int at = atomicAdd(lists->found + r, 1);
                if (at < MOST) lists->center[at * TILE + r] = center + 8 * j + side;
            }
        }
    }
}

// Costs of the block's candidates, the least of each row, and the first centre that has it. X is f64 if `wide`.
__device__ __forceinline__ void compare(
    Best* best, const Lists* lists, const void* X, bool wide, int64_t d, const double* given) {
    if (threadIdx.x < TILE) best->least[threadIdx.x] = NOTHING, best->center[threadIdx.x] = 0x7fffffff;
    __syncthreads();
#pragma unroll 1
    for (int slot = threadIdx.x; slot < MOST * TILE; slot += 256) {
        const int r = slot % TILE, found = lists->found[r];
        best->cost[slot] = NOTHING;
        if (found > MOST || slot / TILE >= found) continue;
        const double* center = given + lists->center[slot] * d;
        const int64_t at = lists->row[r] * d;
        const double cost = wide ? direct<double, false>((const double*)X + at, center, 1, d)
                                 : direct<float, false>((const float*)X + at, center, 1, d);
        best->cost[slot] = (uint64_t)__double_as_longlong(cost);
        atomicMin((unsigned long long*)best->least + r, (unsigned long long)best->cost[slot]);
    }
    __syncthreads();
    for (int slot = threadIdx.x; slot < MOST * TILE; slot += 256) {
        const int r = slot % TILE;
        if (best->cost[slot] != NOTHING && best->cost[slot] == best->least[r])
            atomicMin(best->center + r, lists->center[slot]);
    }
    __syncthreads();
}

// A block TILE of the rows that `rest` lists, from `first` on. Shared memory as `tensor.score` has it, then the block's
// lists: at the end a thread reads its own row's, at the beginning it writes no other's.
template <int PARTS>
__device__ __forceinline__ void narrow_tile(
    int64_t first, const uint16_t* rows, const float2* stats, const void* X, bool wide, int64_t d,
    const uint16_t* centers, const float4* pairs, const int32_t* far, const double* given, int k, int chunks,
    bool stay, Rest rest, int32_t* label, int32_t* lefts, int32_t* left_row) {
    const int64_t still = *rest.count - first;
    const int count = still < TILE ? (int)still : TILE;
    SHARED(unsigned char, memory);
    constexpr int BYTES = TILE * PARTS * 16;
    static_assert(sizeof(Best) <= STAGES * BYTES && sizeof(Lists) == (20 + 4 * MOST) * TILE, "as the host has it");
    unsigned char* columns = memory + (stay ? chunks : STAGES) * BYTES;
    Lists* lists = (Lists*)(columns + STAGES * BYTES);
    const int r = threadIdx.x;
    if (r < TILE) {
        const int64_t entry = first + (r < count ? r : count - 1);
        const int32_t i = rest.row[entry];
        const float most = rest.most[entry];
        lists->row[r] = i;
        lists->most[r] = r < count && most < 1e38f ? most : __int_as_float(0x7fffffff);  // NaN: nothing is below it
        lists->edge[r] = edge(stats[i], chunks * PARTS * 8, *far);
        lists->found[r] = 0;
    }
    __syncthreads();
    const int lane = lane_id(), warp = r >> 5, row = (warp >> 2) * 64, center = (warp & 3) * 32;
    multiply_tiles<PARTS>(
        memory, columns, centers, k, chunks, stay, row, center,
        [&](unsigned char* to, int chunk) { gather_tile<PARTS>(to, rows, lists->row, chunk, chunks); },
        [&](const float(&sum)[4][4][4], int own) {
            list_candidates(lists, sum, pairs + own / 2, row + (lane >> 2), own);
        });
    Best* best = (Best*)memory;
    compare(best, lists, X, wide, d, given);
    if (r >= count) return;
    const int32_t i = lists->row[r], found = lists->found[r];
    if (found == 0 || found > MOST) {
        left_row[atomicAdd(lefts, 1)] = i;
    } else {
        label[i] = best->least[r] == OVERFLOWN ? 0 : best->center[r];
    }
}

#define NARROW(name, PARTS)                                                                                        \
    extern "C" __global__ void __launch_bounds__(256, 2) name(                                                     \
        const uint16_t* rows, const float2* stats, const void* X, int64_t wide, int64_t d, const uint16_t* centers,\
        const float4* pairs, const int32_t* far, const double* given, int64_t k, int64_t chunks, int64_t places,   \
        int32_t* rests, int32_t* rest_row, float* rest_most, int32_t* label, int32_t* lefts, int32_t* left_row) {  \
        for (int64_t first = (int64_t)blockIdx.x * TILE; first < *rests; first += (int64_t)gridDim.x * TILE)       \
            narrow_tile<PARTS>(first, rows, stats, X, wide, d, centers, pairs, far, given, (int)k, (int)chunks,    \
                               places, Rest{rests, rest_row, rest_most}, label, lefts, left_row);                  \
    }
NARROW(narrow_16, 2)
NARROW(narrow_32, 4)
NARROW(narrow_64, 8)

// Rows and centres in half precision, and the first pass over rows by `mma.sync`: see `tensor.cuh`.
#include "products.cuh"

#define DOWN 0x1p-46f  // from the frame's scale, 2^56, to that of fp16
#define FLOOR 1e-15f   // more than what underflow can take from a norm
#define FARTHEST 65504.0
#define LOW_BITS 7u  // of a bound: the centre's number among the 8 of a thread

// Images are made of tiles [TILE rows, 8 parts features], tile after tile along the features, then the rows.
__device__ __forceinline__ uint16_t* image_at(uint16_t* image, int64_t i, int64_t f, int parts, int64_t chunks) {
    const int64_t tile = i / TILE * chunks + f / (8 * parts);
    const int at = placed((int)(i % TILE), (int)(f / 8 % parts), parts) / 2 + (int)(f % 8);
    return image + tile * TILE * parts * 8 + at;
}

struct alignas(16) Part {
    uint16_t half[8];
};

// As many lanes a row as a tile has parts: image fp16 <- the rows; stats [n] <- upper bounds of what is lost, and of
// the norm.
template <class T>
__device__ __forceinline__ void halve(
    const T* X, int64_t n, int64_t d, const T* shift, T scale, uint16_t* image, int parts, int64_t chunks,
    float2* stats) {
    const int part = lane_id() % parts, rows = 32 / parts;
    for (int64_t first = warp_id() * rows; first < n; first += warp_count() * rows) {
        const int64_t i = first + lane_id() / parts;
        uint16_t* to = image_at(image, i, 8 * part, parts, chunks);
        float size = 0.0f, lost = 0.0f;
        for (int64_t chunk = 0; chunk < (i < n ? chunks : 0); chunk++) {
            const int64_t f0 = (chunk * parts + part) * 8;
            Part out;
#pragma unroll
            for (int q = 0; q < 8; q++) {
                const T y = f0 + q < d ? (X[i * d + f0 + q] - shift[f0 + q]) * scale * (T)DOWN : T(0);
                out.half[q] = to_half((float)y);
                const float rest = (float)(y - (T)from_half(out.half[q]));
                size += (float)y * (float)y;
                lost += rest * rest;
            }
            *(Part*)(to + chunk * (TILE * 8 * parts)) = out;
        }
        for (int step = parts / 2; step; step >>= 1) {
            size += __shfl_xor_sync(ALL_LANES, size, step);
            lost += __shfl_xor_sync(ALL_LANES, lost, step);
        }
        const float room = 1.0f + (d + 8) * 6e-8f, norm = sqrtf(size) * room + FLOOR;
        if (part == 0 && i < n) stats[i] = make_float2(sqrtf(lost) * room + 1.2e-7f * norm, norm);
    }
}

#define HALVE(name, T)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const T* X, int64_t n, int64_t d, const T* shift, T scale, uint16_t* image, int64_t parts, int64_t chunks, \
        float2* stats) {                                                                                           \
        halve<T>(X, n, d, shift, scale, image, (int)parts, chunks, stats);                                         \
    }
HALVE(halve_f32, float)
HALVE(halve_f64, double)

// The same for centres f64 [k, d], a warp a centre, up to whole tiles; pairs [rows of the image] <- (|c|^2, less what
// rounding can add; size), out of reach behind the last one. far <- 1 if a centre is too far for fp16.
extern "C" __global__ void __launch_bounds__(256) halve_centers(
    const double* centers, int64_t k, int64_t d, const double* shift, double scale, uint16_t* image, int64_t parts,
    int64_t chunks, float2* pairs, int32_t* far) {
    const int lane = lane_id();
    for (int64_t j = warp_id(); j < (k + TILE - 1) / TILE * TILE; j += warp_count()) {
        double square = 0.0, lost = 0.0;
        bool close = true;
        for (int64_t f = lane; f < chunks * parts * 8; f += 32) {
            const double c = j < k && f < d ? (centers[j * d + f] - shift[f]) * scale * (double)DOWN : 0.0;
            const uint16_t half = to_half((float)c);
            const double rest = c - (double)from_half(half);
            *image_at(image, j, f, (int)parts, chunks) = half;
            close = close && fabs(c) < FARTHEST;
            square += c * c;
            lost += rest * rest;
        }
        for (int step = 16; step; step >>= 1) {
            square += __shfl_xor_sync(ALL_LANES, square, step);
            lost += __shfl_xor_sync(ALL_LANES, lost, step);
        }
        if (!close) *far = 1;
        if (lane) continue;
        const double size = fmax(sqrt(square), 4096.0 * sqrt(lost)) * (1.0 + 0x1p-22);
        pairs[j] = j < k ? make_float2((float)(square * (1.0 - 0x1p-20)), (float)size) : make_float2(3e38f, 0.0f);
    }
}

// Two smallest bounds over this thread's 8 centres of each of its 8 rows, merged into `best`. edge [TILE] of the rows:
// (2 reach, what makes bounds positive).
__device__ __forceinline__ void fold_tile(
    Two (&best)[8], const float (&sum)[4][4][4], const float4* pairs, const float2* edge, int32_t center) {
    const uint32_t keep = all_but(LOW_BITS);
    float4 c[4];
#pragma unroll
    for (int j = 0; j < 4; j++) c[j] = pairs[4 * j];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float2 e = edge[(i >> 1) * 16 + (i & 1) * 8];
        uint32_t one = NONE, two = NONE;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float* products = sum[i >> 1][j] + (i & 1) * 2;
            const float left = fmaf(-2.0f, products[0], c[j].x) + fmaf(-e.x, c[j].y, e.y);
            const float right = fmaf(-2.0f, products[1], c[j].z) + fmaf(-e.x, c[j].w, e.y);
            const uint32_t a = (__float_as_uint(left) & keep) | (2 * j);
            const uint32_t b = (__float_as_uint(right) & keep) | (2 * j + 1);
            const uint32_t low = min(a, b);
            two = min(min(two, max(a, b)), max(one, low));
            one = min(one, low);
        }
        merge(best[i], one & ~LOW_BITS, two & ~LOW_BITS, center + (int32_t)((one & 6u) << 2) + (int32_t)(one & 1u));
    }
}

// A block TILE rows against all centres, TILE at a time: 8 warps of 64 rows by 32 centres. Shared memory: the rows'
// tiles (all of them, or STAGES), STAGES tiles of centres, and the rows' `edge`.
template <int PARTS>
__device__ __forceinline__ void score(
    const uint16_t* rows, const float2* stats, int64_t n, const uint16_t* centers, const float4* pairs,
    const int32_t* far, int k, int chunks, bool stay, int32_t* label, Rest rest) {
    SHARED(unsigned char, memory);
    constexpr int BYTES = TILE * PARTS * 16;
    unsigned char* columns = memory + (stay ? chunks : STAGES) * BYTES;
    float2* edges = (float2*)(columns + STAGES * BYTES);
    const int lane = lane_id(), warp = threadIdx.x >> 5, row = (warp >> 2) * 64, center = (warp & 3) * 32;
    const int64_t row0 = (int64_t)blockIdx.x * TILE;
    if (threadIdx.x < TILE)
        edges[threadIdx.x] = edge(stats[row0 + threadIdx.x < n ? row0 + threadIdx.x : n - 1], chunks * PARTS * 8, *far);
    Two best[8];
#pragma unroll
    for (int i = 0; i < 8; i++) best[i] = Two{NONE, NONE, 0};
    rows += blockIdx.x * (int64_t)chunks * (BYTES / 2);
    multiply_tiles<PARTS>(
        memory, columns, centers, k, chunks, stay, row, center,
        [&](unsigned char* to, int chunk) { load_tile<PARTS>(to, rows, chunk); },
        [&](const float(&sum)[4][4][4], int own) {
            fold_tile(best, sum, pairs + own / 2, edges + row + (lane >> 2), own);
        });
    Two* parts = (Two*)memory;  // [4, TILE]: the best of the four warps that share rows
#pragma unroll
    for (int i = 0; i < 8; i++) {
        merge_lanes(best[i]);
        if ((lane & 3) == 0) parts[(warp & 3) * TILE + row + (i >> 1) * 16 + (i & 1) * 8 + (lane >> 2)] = best[i];
    }
    __syncthreads();
    if (threadIdx.x >= TILE || row0 + threadIdx.x >= n) return;
    Two found = parts[threadIdx.x];
#pragma unroll
    for (int w = 1; w < 4; w++) {
        const Two other = parts[w * TILE + threadIdx.x];
        merge(found, other.one, other.two, other.at);
    }
    settle(row0 + threadIdx.x, found, edges[threadIdx.x], pairs, label, rest);
}

#define SCORE(name, PARTS)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256, 2) name(                                                     \
        const uint16_t* rows, const float2* stats, int64_t n, const uint16_t* centers, const float4* pairs,        \
        const int32_t* far, int64_t k, int64_t chunks, int64_t places, int32_t* label, int32_t* rests,             \
        int32_t* rest_row, float* rest_most) {                                                                     \
        score<PARTS>(rows, stats, n, centers, pairs, far, (int)k, (int)chunks, places, label,                      \
                     Rest{rests, rest_row, rest_most});                                                            \
    }
SCORE(score_16, 2)
SCORE(score_32, 4)
SCORE(score_64, 8)

// A block's rows in shared memory, some features at a time: read together, though each thread has a row of its own.
// Comes after common.cuh.
#define ROWS 256  // of a block: a thread each
#define DEPTH 16  // features staged at once
#define STRIDE (DEPTH + 1)

// stage [ROWS, STRIDE] <- `deep` features from f0 on of the rows from row0 on, each as(value, feature, row).
template <class T, class Out, class As>
__device__ __forceinline__ void stage_rows(
    Out* stage, const T* X, int64_t n, int64_t d, int64_t row0, int64_t f0, int deep, As as) {
    const auto put = [&](int r, int f) {
        if (row0 + r < n) stage[r * STRIDE + f] = as(X[(row0 + r) * d + f0 + f], f0 + f, row0 + r);
    };
    if (deep == DEPTH)
        for (int e = threadIdx.x; e < ROWS * DEPTH; e += ROWS) put(e / DEPTH, e % DEPTH);
    else
        for (uint32_t e = threadIdx.x, width = deep; e < ROWS * width; e += ROWS) put(e / width, e % width);
}

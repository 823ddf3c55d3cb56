// Counts of a block in shared memory, which it adds to those of all at its end; where they do not fit, those of all.
// Comes after common.cuh.

// One more at `at`; what it was. Two instructions: one for either memory would know the address at run time only.
template <class T>
__device__ __forceinline__ T count_one(bool is_own, T* own, T* all, int64_t at) {
    return is_own ? atomicAdd(own + at, T(1)) : atomicAdd(all + at, T(1));
}

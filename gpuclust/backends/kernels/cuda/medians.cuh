// What the kernels for middle values share. Rows come grouped by cluster; a slot is one of some clusters that follow
// each other, and an item some rows of one. A lane is a feature; a pair is a slot and a feature, and a place a slot and
// LANES features. Nothing here is known to the host: it launches as many items as there can be.
#include "common.cuh"

#define BINS 256  // values of a digit
#define LANES 32

// Values as unsigned integers of the same order; both zeros are one.
__device__ __forceinline__ uint32_t to_key(float x) {
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ uint64_t to_key(double x) {
    const uint64_t bits = (uint64_t)__double_as_longlong(x + 0.0);
    return bits >> 63 ? ~bits : bits | 0x8000000000000000u;
}
__device__ __forceinline__ float to_value(uint32_t key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}
__device__ __forceinline__ double to_value(uint64_t key) {
    return __longlong_as_double((int64_t)(key >> 63 ? key & 0x7fffffffffffffffu : ~key));
}

struct Slots {
    const int32_t* row;     // grouped by cluster
    const int32_t* counts;  // rows of each cluster
    const int32_t* ends;    // behind its last entry of `row`
    const int32_t* items;   // of all clusters up to and with it; small ones have none
    int64_t from, slots;    // the first slot's cluster, and how many
};

struct Item {
    int64_t slot, begin, end;  // entries of `row`; none behind the last item
    int32_t number, parts;     // of the cluster's items, and how many there are
    int64_t first, last;       // the cluster's entries
};

__device__ __forceinline__ Item item_of(const Slots& s, int64_t number) {
    number += s.from ? s.items[s.from - 1] : 0;
    int64_t low = s.from, high = s.from + s.slots - 1;
    if (number >= s.items[high]) return Item{};
    while (low < high) {  // the first cluster whose items end behind it
        const int64_t middle = (low + high) / 2;
        if (s.items[middle] > number) high = middle;
        else low = middle + 1;
    }
    const int32_t before = low ? s.items[low - 1] : 0, parts = s.items[low] - before, count = s.counts[low];
    const int64_t size = ((int64_t)count + parts - 1) / parts, end = s.ends[low];
    const int64_t begin = end - count + (number - before) * size;
    const int64_t stop = begin + size < end ? begin + size : end;
    return Item{low - s.from, begin, stop, (int32_t)(number - before), parts, end - count, end};
}

// A feature of all rows.
template <class T>
struct Column {
    const char* first;
    uint32_t pitch;  // bytes of a row

    __device__ T operator[](int32_t row) const { return *(const T*)(first + (uint64_t)(uint32_t)row * pitch); }
};

enum Mode {   // what is left to do for a pair
    SETTLED,  // nothing: the middle values are `prefix` and `next`
    KEPT,     // the lower middle value is among those that were kept
    ROWS,     // nothing is known of it
    LOST      // there was no room for all that was to be kept
};

// Features from `feature` on of some slots: X [n, d], and what is known of the pairs [slots, width].
template <class T, class Key>
struct Job {
    Slots slots;
    const T* X;
    int64_t d, feature, width;
    Key* keys;
    uint32_t* words;

    __device__ int64_t pairs() const { return slots.slots * width; }
    __device__ int64_t groups() const { return width / LANES; }
    __device__ Key* low() const { return keys; }  // the ends of a bracket
    __device__ Key* high() const { return keys + pairs(); }
    __device__ Key* prefix() const { return keys + 2 * pairs(); }  // digits of the lower middle value; all, at the end
    __device__ Key* next() const { return keys + 3 * pairs(); }    // the upper one, unless it is the same
    __device__ uint32_t* mode() const { return words; }
    __device__ uint32_t* rank() const { return words + pairs(); }  // of the lower one, among those of its digits
    __device__ uint32_t* same() const { return words + 2 * pairs(); }  // how many those are
    __device__ uint32_t* below() const { return words + 3 * pairs(); }
    __device__ uint32_t* upto() const { return words + 4 * pairs(); }  // of the lower end of the bracket
    __device__ uint32_t* kept() const { return words + 5 * pairs(); }
    __device__ uint32_t* within() const { return words + 6 * pairs(); }  // of the upper end

    __device__ Column<T> column(int64_t f) const { return {(const char*)(X + f), (uint32_t)(d * sizeof(T))}; }
};

#define JOB_PARAMETERS(T, Key)                                                                          \
    const int32_t *row, const int32_t *counts, const int32_t *ends, const int32_t *items, int64_t from, \
        int64_t slots, const T *X, int64_t d, int64_t feature, int64_t width, Key *keys, uint32_t *words
#define JOB(T, Key) (Job<T, Key>{Slots{row, counts, ends, items, from, slots}, X, d, feature, width, keys, words})

// Values that items keep: key [groups, places, pitch], those of an item one after another.
template <class Key>
struct Slab {
    Key* key;
    uint32_t* kept;         // how many, of each item and feature
    int64_t places, pitch;  // pitch: features of a group
    int64_t room, size;     // places of so many rows

    __device__ int64_t first(int64_t entry) const { return entry * room / size; }
    __device__ uint32_t room_of(const Item& item) const { return (uint32_t)(first(item.end) - first(item.begin)); }
    __device__ Key* of(int64_t group, const Item& item, int lane) const {
        return key + (group * places + first(item.begin)) * pitch + lane;
    }
};
#define SLAB_PARAMETERS(Key) Key *slab, uint32_t *kept, int64_t places, int64_t pitch, int64_t room, int64_t size
#define SLAB(Key) (Slab<Key>{slab, kept, places, pitch, room, size})

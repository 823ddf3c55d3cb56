// CUDA C++ on the CPU, enough of it for the kernels of this project: a fiber for every thread of a block, blocks one
// after another, under several schedules. A launch fails, with a message, where threads wait for each other in vain,
// where lanes of a warp or threads of a block meet at different places, where a copy is misaligned, and where memory
// outside a fenced array is touched. Shared memory starts as NaN; copies by threads land as late as they may, bulk ones
// late or soon. Tensor cores cut their addends off as those of a GPU do, see `accumulated`. Not emulated: speed; the
// memory model only by `races.h`.
#pragma once
#define GPUCLUST_EMULATED 1
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <tuple>
#include <utility>
#include <vector>
#ifdef __F16C__
#include <immintrin.h>
#endif

#define __global__ [[gnu::used]]
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 { unsigned x = 1, y = 1, z = 1; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
using std::max;
using std::min;

namespace emulator {

constexpr int MOST = 1024;
constexpr size_t STACK = 64 << 10;
enum Schedule { FORWARD, BACKWARD, SHUFFLED, GREEDY };  // GREEDY: one warp runs as far as it can, then another
enum State { READY, AT_BARRIER, AT_MEETING, DONE };

struct Copy { void* to; const void* from; int group; };
struct Product { float* sum; uint32_t rows, centers; bool add; int group; };
struct Fiber {
    void* stack;
    dim3 index;
    State state;
    int line;
    std::vector<Copy> copies;
    int groups;  // of copies, begun
    std::vector<Product> products;
    int product_groups;
};
struct Bulk { void* to; const void* from; int bytes; void* barrier; bool soon; };
struct Half { double value; int exponent; };  // of an fp16
struct Warp {
    uint32_t arrived;
    int line;
    unsigned parity;
    alignas(16) unsigned char mail[2][32][32];
    Half rows[2][16][16], columns[2][8][16];  // operands of a tensor core, by features
};
struct Block {
    Fiber fibers[MOST];
    Warp warps[MOST / 32];
    int threads, current, living;
    dim3 index, shape, grid;
    unsigned char* shared;
    void* scheduler;
    void (*entry)(void*);
    void* arguments;
    char* stacks;
    int schedule;
    uint64_t random;
    bool failed;
    char* message;
    std::vector<Bulk> bulk;       // copies under way
    struct { int count, turn; } numbered[16];  // barriers
    bool spun;                    // whether a thread waits in a loop
    int64_t spins;                // since anything happened
};
static thread_local Block* block;

extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.local emulator_switch
.type emulator_switch,@function
emulator_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");

inline Fiber& self() { return block->fibers[block->current]; }
inline void yield() { emulator_switch(&self().stack, block->scheduler); }

[[noreturn]] inline void fail(const char* what) {
    const dim3 b = block->index;
    snprintf(block->message, 256, "block (%u, %u), thread %d: %s", b.x, b.y, block->current, what);
    block->failed = true;
    yield();
    abort();
}
inline void on_signal(int number) {
    fail(number == SIGILL ? "memory that is not aligned for its type" : "memory outside an array");
}
}  // namespace emulator

#ifdef GPUCLUST_RACES
#include "races.h"
#else
namespace races {  // see there
static bool atomic;
inline void touch(const void*, int, bool, bool) {}
inline void tell(const void*) {}
inline void fence() {}
inline void block_met() {}
inline void warp_met() {}
inline void begin_block() {}
inline void begin(unsigned char*, size_t) {}
inline void end() {}
}  // namespace races
#endif

namespace emulator {

// All lanes of a warp come together; afterwards each may read what any of them deposited.
inline void meet(uint32_t mask, int line, bool memory = false) {
    Block* b = block;
    const int own = b->current;
    Warp& warp = b->warps[own >> 5];
    if (mask != 0xffffffffu) fail("a meeting of some lanes only is not emulated");
    if (warp.arrived && warp.line != line) fail("lanes of a warp meet at different places");
    warp.line = line;
    warp.arrived |= 1u << (own & 31);
    if (warp.arrived != 0xffffffffu) {
        self().state = AT_MEETING;
        yield();
        return;
    }
    warp.arrived = 0;
    warp.parity ^= 1;
    if (memory) races::warp_met();
    for (int lane = 0; lane < 32; lane++)
        if (b->fibers[(own & ~31) + lane].state == AT_MEETING) b->fibers[(own & ~31) + lane].state = READY;
}

// What lane `source` passed to this meeting.
template <class T, class Source>
inline T exchange(uint32_t mask, T mine, Source source, int line) {
    static_assert(sizeof(T) <= 32, "larger than a mailbox");
    Warp& warp = block->warps[block->current >> 5];
    const unsigned parity = warp.parity;
    const int lane = block->current & 31;
    memcpy(warp.mail[parity][lane], &mine, sizeof(T));
    meet(mask, line);
    T out;
    memcpy(&out, warp.mail[parity][source(lane)], sizeof(T));
    return out;
}

// What a lane passed to the last meeting.
template <class T>
inline const T& posted(int lane) {
    const Warp& warp = block->warps[block->current >> 5];
    return *(const T*)warp.mail[warp.parity ^ 1][lane];
}

inline void start_fiber() {
    block->entry(block->arguments);
    if (!self().copies.empty()) fail("the thread ends before its copies have landed");
    if (!self().products.empty()) fail("the thread ends before its products are there");
    self().state = DONE;
    block->living--;
    yield();
    abort();
}

inline void prepare_fiber(int number) {
    Block* b = block;
    Fiber& fiber = b->fibers[number];
    fiber.index = {number % b->shape.x, number / b->shape.x % b->shape.y, number / (b->shape.x * b->shape.y)};
    fiber.state = READY;
    fiber.copies.clear();
    fiber.groups = 0;
    fiber.products.clear();
    fiber.product_groups = 0;
    void** top = (void**)(b->stacks + (number + 1) * STACK);
    *--top = nullptr;
    *--top = (void*)&start_fiber;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack = top;
}

inline bool run_fiber(int number) {
    if (block->failed || block->fibers[number].state != READY) return false;
    block->current = number;
    emulator_switch(&block->scheduler, block->fibers[number].stack);
    return true;
}

inline unsigned draw(unsigned below) {
    block->random = block->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(block->random >> 33) % below;
}

// The thread waits in a loop for what others do.
inline void happened() { block->spins = 0; }
inline void land(bool soon);
inline void spin() {
    block->spun = true;
    if (draw(400) == 0) land(false);
    else if (draw(10) == 0) land(true);
    if (++block->spins > 1000000) fail("deadlock: a thread waits in a loop for what does not come");
    yield();
}

// Every thread that can run runs once; or, greedily, one warp as long as any of its lanes can.
inline bool run_round(int* order) {
    Block* b = block;
    bool any = false;
    if (b->schedule == GREEDY) {
        const int warps = b->threads / 32, first = draw(warps);
        for (int w = 0; w < warps && !any; w++) {
            const int base = (first + w) % warps * 32;
            for (bool more = true; more;) {
                more = false;
                b->spun = false;
                for (int lane = 0; lane < 32; lane++) more |= run_fiber(base + lane);
                any |= more;
                more &= !b->spun;
            }
        }
        return any;
    }
    if (b->schedule == SHUFFLED)
        for (int i = b->threads - 1; i > 0; i--) std::swap(order[i], order[draw(i + 1)]);
    for (int i = 0; i < b->threads; i++) any |= run_fiber(order[i]);
    return any;
}

// Nobody can run: a barrier that all have reached opens, anything else is an error.
inline void open_barrier() {
    Block* b = block;
    int waiting = 0, line = -1;
    for (int i = 0; i < b->threads; i++) {
        if (b->fibers[i].state != AT_BARRIER) continue;
        b->current = i;
        if (waiting++ && b->fibers[i].line != line) return (void)(b->failed = true, snprintf(b->message, 256, "threads of a block wait at different barriers"));
        line = b->fibers[i].line;
    }
    if (waiting != b->threads) return (void)(b->failed = true, snprintf(b->message, 256, "deadlock: a barrier or a warp waits for threads that do not come"));
    for (int i = 0; i < b->threads; i++) b->fibers[i].state = READY;
    races::block_met();
}

inline void run_block(size_t shared_bytes) {
    static thread_local int order[MOST];
    Block* b = block;
    b->living = b->threads;
    b->bulk.clear();
    b->spins = 0;
    for (auto& each : b->numbered) each = {0, 0};
    races::begin_block();
    memset(b->shared, 0xff, shared_bytes);
    for (auto& warp : b->warps) warp.arrived = 0, warp.parity = 0;
    for (int i = 0; i < b->threads; i++) {
        prepare_fiber(i);
        order[i] = b->schedule == BACKWARD ? b->threads - 1 - i : i;
    }
    while (b->living && !b->failed)
        if (!run_round(order) && b->living && !b->failed) open_barrier();
    if (!b->failed && !b->bulk.empty()) b->failed = true, snprintf(b->message, 256, "the block ends before its copies have landed");
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    std::tuple<A...> arguments;
    static void enter(void* self) { std::apply(((Call*)self)->kernel, ((Call*)self)->arguments); }
};

// Stacks and shared memory with a page behind them that nobody may touch.
inline unsigned char* fenced(size_t bytes) {
    const size_t pages = (bytes + 4095) / 4096 * 4096;
    unsigned char* base = (unsigned char*)mmap(nullptr, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mprotect(base + pages, 4096, PROT_NONE);
    return base + (pages - bytes);
}
inline void unfenced(unsigned char* memory, size_t bytes) {
    const size_t pages = (bytes + 4095) / 4096 * 4096;
    munmap(memory - (pages - bytes), pages + 4096);
}

template <class... A, size_t... I>
int launch(void (*kernel)(A...), std::index_sequence<I...>, const unsigned* grid, const unsigned* shape, size_t shared_bytes,
           void** arguments, int schedule, uint64_t seed, char* message) {
    static thread_local char* stacks = (char*)fenced(MOST * STACK);
    static thread_local Block state;
    Call<A...> call{kernel, {*(A*)arguments[I]...}};
    Block* b = block = &state;
    b->grid = {grid[0], grid[1], grid[2]}, b->shape = {shape[0], shape[1], shape[2]};
    b->threads = shape[0] * shape[1] * shape[2];
    b->entry = &Call<A...>::enter, b->arguments = &call, b->stacks = stacks;
    b->schedule = schedule, b->random = seed, b->failed = false, b->message = message;
    const size_t room = (shared_bytes + 15) / 16 * 16;
    b->shared = fenced(room);
    struct sigaction before, trapped, ours = {};
    ours.sa_handler = on_signal, ours.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &ours, &before);
    sigaction(SIGILL, &ours, &trapped);
    races::begin(b->shared, room);
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    for (unsigned i = 0; i < blocks && !b->failed; i++) {
        const unsigned number = schedule == BACKWARD ? blocks - 1 - i : i;
        b->index = {number % grid[0], number / grid[0] % grid[1], number / (grid[0] * grid[1])};
        run_block(room);
    }
    races::end();
    sigaction(SIGSEGV, &before, nullptr);
    sigaction(SIGILL, &trapped, nullptr);
    unfenced(b->shared, room);
    block = nullptr;
    return b->failed;
}
}  // namespace emulator

#define EMULATED(name)                                                                                             \
    extern "C" int emulated_##name(const unsigned* grid, const unsigned* shape, size_t shared, void** arguments,   \
                                   int schedule, uint64_t seed, char* message) {                                   \
        return emulator::launch(name, arity(name), grid, shape, shared, arguments, schedule, seed, message);       \
    }
template <class... A>
constexpr std::index_sequence_for<A...> arity(void (*)(A...)) { return {}; }

// --- what a kernel sees ---

#define threadIdx (emulator::self().index)
#define blockIdx (emulator::block->index)
#define blockDim (emulator::block->shape)
#define gridDim (emulator::block->grid)
#define SHARED(T, name) T* name = reinterpret_cast<T*>(emulator::block->shared)
#define LINE int line = __builtin_LINE()

inline void __syncthreads(LINE) {
    emulator::self().state = emulator::AT_BARRIER;
    emulator::self().line = line;
    emulator::yield();
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T value, int bits, LINE) {
    return emulator::exchange(mask, value, [=](int lane) { return lane ^ bits; }, line);
}
template <class T>
inline T __shfl_sync(uint32_t mask, T value, int from, LINE) {
    return emulator::exchange(mask, value, [=](int) { return from; }, line);
}
inline void __syncwarp(uint32_t mask = 0xffffffffu, LINE) { emulator::meet(mask, line, true); }
inline uint32_t __ballot_sync(uint32_t mask, int vote, LINE) {
    uint32_t votes = 0;
    emulator::exchange(mask, vote, [&](int lane) { return lane; }, line);
    for (int lane = 0; lane < 32; lane++) votes |= (uint32_t)(emulator::posted<int>(lane) != 0) << lane;
    return votes;
}
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline int __all_sync(uint32_t mask, int vote, LINE) { return __ballot_sync(mask, vote, line) == 0xffffffffu; }

template <class T, class Next>
inline T atomically(T* at, Next next) {
    races::tell(at);
    races::atomic = true;
    const T old = *at;
    *at = next(old);
    races::atomic = false;
    return old;
}
template <class T>
inline T atomicAdd(T* at, T value) { return atomically(at, [=](T old) { return old + value; }); }
template <class T>
inline T atomicMax(T* at, T value) { return atomically(at, [=](T old) { return std::max(old, value); }); }
template <class T>
inline T atomicMin(T* at, T value) { return atomically(at, [=](T old) { return std::min(old, value); }); }
template <class T>
inline T atomicExch(T* at, T value) { return atomically(at, [=](T) { return value; }); }
inline void __threadfence() { races::fence(); }

inline uint32_t __float_as_uint(float x) { uint32_t out; memcpy(&out, &x, 4); return out; }
inline float __uint_as_float(uint32_t x) { float out; memcpy(&out, &x, 4); return out; }
inline int64_t __double_as_longlong(double x) { int64_t out; memcpy(&out, &x, 8); return out; }
inline int32_t __float_as_int(float x) { return (int32_t)__float_as_uint(x); }
inline float __int_as_float(int32_t x) { return __uint_as_float((uint32_t)x); }
inline double __longlong_as_double(int64_t x) { double out; memcpy(&out, &x, 8); return out; }

// --- the primitives of common.cuh ---

#define ALL_LANES 0xffffffffu
inline int lane_id() { return threadIdx.x & 31; }

inline void copy16(void* to, const void* from) {
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16) emulator::fail("a copy of 16 bytes is not aligned");
    races::touch(to, 16, true, true);  // it may land at once, or
    races::touch(from, 16, false, true);
    emulator::self().copies.push_back({to, from, emulator::self().groups});
}
inline void copies_begun() { emulator::self().groups++; }
template <int LATER>
inline void copies_done_but() {
    auto& own = emulator::self();
    size_t landed = 0;
    for (; landed < own.copies.size() && own.copies[landed].group < own.groups - LATER; landed++) {
        races::touch(own.copies[landed].to, 16, true, true);
        memcpy(own.copies[landed].to, own.copies[landed].from, 16);
    }
    own.copies.erase(own.copies.begin(), own.copies.begin() + landed);
}

inline uint16_t to_half(float x) {
    const uint16_t sign = __float_as_uint(x) >> 16 & 0x8000;
    const float size = fabsf(x);
    if (size != size) return 0x7fff;
    if (size >= 65520.0f) return sign | 0x7c00;
    if (size < 0x1p-14f) return sign | (uint16_t)nearbyintf(size * 0x1p24f);
    int exponent;
    const float digits = frexpf(size, &exponent);  // in [0.5, 1)
    return sign | (uint16_t)(((exponent + 13) << 10) + (int)nearbyintf(digits * 2048.0f));
}
inline float from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, digits = bits & 1023;
    const float size = exponent == 31  ? (digits ? NAN : INFINITY)
                       : exponent == 0 ? digits * 0x1p-24f
                                       : ldexpf((float)(1024 + digits), exponent - 25);
    return bits & 0x8000 ? -size : size;
}

inline void load_matrices(uint32_t (&out)[4], const void* row, LINE) {
    if ((uintptr_t)row % 16) emulator::fail("a row of a matrix is not aligned");
    emulator::exchange(ALL_LANES, row, [](int lane) { return lane; }, line);
    for (int i = 0; i < 4; i++) out[i] = ((const uint32_t*)emulator::posted<const void*>(8 * i + lane_id() / 4))[lane_id() % 4];
}

inline float half_value(uint16_t bits) {
#ifdef __F16C__
    return _cvtsh_ss(bits);
#endif
    static const std::vector<float> value = [] {
        std::vector<float> all(1 << 16);
        for (int bits = 0; bits < 1 << 16; bits++) all[bits] = from_half(bits);
        return all;
    }();
    return value[bits];
}
inline emulator::Half half_of(uint16_t bits) {
    return {half_value(bits), bits & 0x7fff ? std::max(bits >> 10 & 31, 1) - 15 : -999};
}
inline float cut_off(double exact) {
    const float near = (float)exact;
    return fabs((double)near) > fabs(exact) ? nextafterf(near, 0.0f) : near;
}

// 2^exponent.
inline double power(int exponent) {
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double out;
    memcpy(&out, &bits, 8);
    return out;
}

// before + the products of `COUNT` fp16, as tensor cores add them: each is cut off `BITS` bits behind the largest
// exponent, in which that of a subnormal fp16 is -14, and so is the sum to float32.
// Reference: Xie, Wang, Yang, Yang (2025), MMA-Sim: bit-accurate reference model of tensor cores and matrix cores,
// arXiv:2511.10909.
template <int COUNT, int BITS>
inline float accumulated(float before, const emulator::Half* a, const emulator::Half* b) {
    const int own = before == 0.0f ? -999 : std::max((int)(__float_as_uint(before) >> 23 & 255), 1) - 127;
    int most = own;
    bool finite = own < 128;
    for (int k = 0; k < COUNT; k++) {
        most = std::max(most, a[k].exponent + b[k].exponent);
        finite &= a[k].exponent < 16 && b[k].exponent < 16;
    }
    double sum = finite ? 0.0 : before;
    if (!finite)
        for (int k = 0; k < COUNT; k++) sum += a[k].value * b[k].value;
    if (!finite || most < -200) return (float)sum;
    const double unit = power(most - BITS), units = power(BITS - most);
    for (int k = 0; k < COUNT; k++) sum += std::trunc(a[k].value * b[k].value * units);
    return cut_off((sum + std::trunc(before * units)) * unit);
}

inline void multiply_add(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, LINE) {
    emulator::Warp& warp = emulator::block->warps[emulator::block->current >> 5];
    const int own = lane_id() / 4, two = lane_id() % 4 * 2;
    auto& rows = warp.rows[warp.parity];
    auto& columns = warp.columns[warp.parity];
    for (int odd = 0; odd < 2; odd++) {
        for (int i = 0; i < 4; i++) rows[own + i % 2 * 8][two + odd + i / 2 * 8] = half_of(a[i] >> 16 * odd);
        columns[own][two + odd] = half_of(b0 >> 16 * odd);
        columns[own][two + odd + 8] = half_of(b1 >> 16 * odd);
    }
    emulator::meet(ALL_LANES, line);
    for (int out = 0; out < 4; out++)
        for (int k = 0; k < 16; k += 8)  // Ampere's
            sum[out] = accumulated<8, 24>(sum[out], rows[own + out / 2 * 8] + k, columns[two + out % 2] + k);
}

// --- the primitives of hopper.cu ---

namespace emulator {

struct Counter { int32_t bytes; int16_t missing; uint8_t threads, phase; };  // lies where a barrier of 8 bytes does
inline void turn(Counter* counter) {
    if (counter->missing < 0) fail("more threads than expected arrive at a barrier");
    if (counter->missing || counter->bytes) return;
    counter->missing = counter->threads;
    counter->phase ^= 1;
    happened();
}
inline uint32_t shared_address(const void* at) { return (uint32_t)((const unsigned char*)at - block->shared); }

// One of the copies under way lands: late ones show what does not wait for them, soon ones what they overwrite.
inline void land(bool soon) {
    auto& all = block->bulk;
    if (all.empty()) return;
    const Bulk copy = all[draw(all.size())];
    if (soon && !copy.soon) return;
    all.erase(std::find_if(all.begin(), all.end(), [&](const Bulk& each) { return each.to == copy.to && each.from == copy.from; }));
    memcpy(copy.to, copy.from, copy.bytes);
    auto* counter = (Counter*)copy.barrier;
    counter->bytes -= copy.bytes;
    turn(counter);
}

// 16 features of row r of an operand, fp16 in rows of 128 bytes whose 16-byte parts are swizzled.
inline void operand(const unsigned char* shared, uint32_t start, int r, Half (&out)[16]) {
    for (int k = 0; k < 16; k++) {
        uint32_t at = start + r / 8 * 1024 + r % 8 * 128 + 2 * k;
        at ^= (at >> 7 & 7) << 4;
        uint16_t bits;
        memcpy(&bits, shared + at, 2);
        out[k] = half_of(bits);
    }
}

inline void multiply(const Product& product) {
    const int thread = block->current % 128, lane = thread % 32;
    const unsigned char* shared = block->shared;
    Half rows[2][16], column[16];
    for (int second = 0; second < 2; second++)
        operand(shared, product.rows, thread / 32 * 16 + lane / 4 + second * 8, rows[second]);
    for (int first = 0; first < 64; first += 4) {
        for (int odd = 0; odd < 2; odd++) {
            operand(shared, product.centers, first / 4 * 8 + lane % 4 * 2 + odd, column);
            for (int second = 0; second < 2; second++) {
                float& sum = product.sum[first + second * 2 + odd];
                sum = accumulated<16, 25>(product.add ? sum : 0.0f, rows[second], column);
            }
        }
    }
}
}  // namespace emulator

inline void barrier_begin(uint64_t* barrier, int threads) {
    *(emulator::Counter*)barrier = {0, (int16_t)threads, (uint8_t)threads, 0};
}
inline void barriers_begun() {}
inline void barrier_arrive(uint64_t* barrier) {
    auto* counter = (emulator::Counter*)barrier;
    counter->missing--;
    emulator::turn(counter);
}
inline void barrier_expect(uint64_t* barrier, int bytes) {
    ((emulator::Counter*)barrier)->bytes += bytes;
    barrier_arrive(barrier);
}
inline void barrier_wait(uint64_t* barrier, int phase) {
    while (((emulator::Counter*)barrier)->phase == phase) emulator::spin();
}
inline void copy_tile(void* to, const void* from, uint64_t* barrier) {
    if (emulator::shared_address(to) % 1024 || (uintptr_t)from % 16) emulator::fail("a tile is not aligned");
    emulator::block->bulk.push_back({to, from, 16384, barrier, emulator::draw(2) == 0});
}

inline void turn_give(int number) {
    auto& barrier = emulator::block->numbered[number];
    if (++barrier.count < 256) return;
    barrier.count = 0;
    barrier.turn++;
    emulator::happened();
}
inline void turn_wait(int number) {
    const int turn = emulator::block->numbered[number].turn;
    turn_give(number);
    while (emulator::block->numbered[number].turn == turn) emulator::spin();
}
inline void give_registers() {}
inline void take_registers() {}
inline void products_begin(LINE) { emulator::meet(ALL_LANES, line); }
inline void products_begun() { emulator::self().product_groups++; }
template <int LATER>
inline void products_done_but(LINE) {
    emulator::meet(ALL_LANES, line);
    auto& own = emulator::self();
    size_t done = 0;
    for (; done < own.products.size() && own.products[done].group < own.product_groups - LATER; done++)
        emulator::multiply(own.products[done]);
    own.products.erase(own.products.begin(), own.products.begin() + done);
    emulator::meet(ALL_LANES, line);
}
inline void untouched(float (&)[64]) {}
inline void multiply_add(float (&sum)[64], const void* rows, const void* centers, bool add) {
    auto& own = emulator::self();
    own.products.push_back({sum, emulator::shared_address(rows), emulator::shared_address(centers), add, own.product_groups});
}

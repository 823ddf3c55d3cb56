// Races, for sources compiled with -fsanitize=thread and linked without its library: this takes the library's place.
// Two threads touch the same memory, one of them writes, not both by atomic operations, and nothing orders them: no
// barrier of the block, no __syncwarp of the warp (shuffles and votes order no memory), and between blocks no fence
// before an atomic operation on what the other block has then changed by one. A write of what was there is none.
// Barriers that count bytes, and copies in bulk, are not known here: not for hopper.cu.
#pragma once
#include <map>
#include <set>

namespace races {

#define QUIET __attribute__((no_sanitize_thread, noinline))
struct Access {
    uint64_t time;  // 0: there was none
    unsigned block;
    int thread, barriers, meetings;  // of the block and of the warp, so far
    bool atomic;
};
struct Cell {  // two bytes
    Access write, read, other;  // other: the last read by another block than the last one, or by another thread
};
struct Range {
    uintptr_t from, to;
    Cell* cells;
};
using Clock = std::map<unsigned, uint64_t>;  // by block: until when all that it did is known

static Range ranges[64];  // the first one is shared memory
static int watched;
static std::map<uintptr_t, Clock> told;
static Clock known;               // to the present block
static std::set<uintptr_t> met;  // where it did atomic operations: after those of blocks before it
static const uintptr_t* arrays;
static uint64_t now, fenced;
static int barriers, meetings[emulator::MOST / 32];
static volatile bool atomic;        // volatile: what reads it is put in when dead stores are gone
static bool busy = true;            // nothing is watched
static struct {  // a write that may turn out to change nothing
    const void* at;
    int size;
    unsigned char old[16];
    char message[200];
} doubtful;

QUIET inline unsigned block_number() {
    const emulator::Block* b = emulator::block;
    return b->index.x + b->grid.x * b->index.y;
}

QUIET inline bool ordered(const Access& before, const Access& after, uintptr_t at, bool shared) {
    if (!before.time || (before.atomic && after.atomic)) return true;
    if (before.block != after.block) {
        if (shared || (before.atomic && met.count(at))) return true;
        return known.count(before.block) && known[before.block] >= before.time;
    }
    if (before.thread == after.thread || before.barriers != after.barriers) return true;
    return before.thread / 32 == after.thread / 32 && before.meetings != after.meetings;
}

QUIET inline void see(const Range& range, uintptr_t at, int size, bool write, bool sure) {
    const int thread = emulator::block->current;
    const Access mine{++now, block_number(), thread, barriers, meetings[thread / 32], atomic};
    const bool shared = &range == ranges;
    for (uintptr_t cell = (at - range.from) / 2; cell < (at - range.from + size + 1) / 2; cell++) {
        Cell& own = range.cells[cell];
        const Access* before = nullptr;
        const Access* those[] = {&own.write, &own.read, &own.other};
        for (int i = 0; i < (write ? 3 : 1) && !before; i++)
            if (!ordered(*those[i], mine, at, shared)) before = those[i];
        if (before && !doubtful.at) {
            const char* first = before == &own.write ? "written" : "read";
            snprintf(doubtful.message, 200, "a race: %s memory %s by block %u, thread %d, is %s",
                     shared ? "shared" : "global", first, before->block, before->thread, write ? "written" : "read");
            if (sure || !write) busy = false, emulator::fail(doubtful.message);
            doubtful.at = (const void*)at, doubtful.size = std::min(size, 16);
            memcpy(doubtful.old, (const void*)at, doubtful.size);
        }
        const bool strange = own.read.block != mine.block, more = shared || own.other.block == mine.block;
        if (!write && (strange || (own.read.thread != thread && (more || !own.other.time)))) own.other = own.read;
        (write ? own.write : own.read) = mine;
    }
}

// Whether the last write that was doubtful has changed something.
QUIET inline bool was_a_race() {
    const void* at = doubtful.at;
    doubtful.at = nullptr;
    return at && memcmp(at, doubtful.old, doubtful.size);
}

// The present thread is about to read or write.
QUIET inline void touch(const void* memory, int size, bool write, bool sure = false) {
    if (busy) return;
    busy = true;
    if (was_a_race()) busy = false, emulator::fail(doubtful.message);
    for (int i = 0; i < watched; i++)
        if ((uintptr_t)memory >= ranges[i].from && (uintptr_t)memory < ranges[i].to) {
            see(ranges[i], (uintptr_t)memory, size, write, sure);
            break;
        }
    busy = false;
}

// An atomic operation begins: its block knows what others told by one there, and tells what is fenced.
QUIET inline void tell(const void* memory) {
    busy = true;
    Clock& clock = told[(uintptr_t)memory];
    met.insert((uintptr_t)memory);
    for (const auto& each : clock) known[each.first] = std::max(known[each.first], each.second);
    if (fenced) {
        for (const auto& each : known) clock[each.first] = std::max(clock[each.first], each.second);
        clock[block_number()] = fenced;
    }
    busy = false;
}
QUIET inline void fence() { fenced = now; }
QUIET inline void block_met() { barriers++; }
QUIET inline void warp_met() { meetings[emulator::block->current / 32]++; }
QUIET inline void begin_block() {
    busy = true;
    known.clear();
    met.clear();
    fenced = 0;
    busy = false;
}
QUIET inline void watch(uintptr_t from, uintptr_t to) {
    ranges[watched++] = {from, to, (Cell*)calloc((to - from) / 2 + 9, sizeof(Cell))};
}
QUIET inline void begin(unsigned char* shared, size_t bytes) {
    told.clear();
    now = 0, doubtful.at = nullptr;
    watch((uintptr_t)shared, (uintptr_t)shared + bytes);
    for (const uintptr_t* array = arrays; array && *array; array += 2) watch(array[0], array[1]);
    busy = false;
}
QUIET inline void end() {
    busy = true;
    if (was_a_race() && !emulator::block->failed) {
        emulator::block->failed = true;
        snprintf(emulator::block->message, 256, "%s", doubtful.message);
    }
    while (watched) free(ranges[--watched].cells);
}
}  // namespace races

extern "C" {
QUIET void emulated_watch(const uintptr_t* arrays) { races::arrays = arrays; }
#define TOUCH(kind, size, write)                                                   \
    QUIET void __tsan_##kind##size(void* at) { races::touch(at, size, write); }     \
    QUIET void __tsan_unaligned_##kind##size(void* at) { races::touch(at, size, write); } \
    QUIET void __tsan_volatile_##kind##size(void* at) {                             \
        races::atomic = true, races::touch(at, size, write), races::atomic = false; \
    }
#define TOUCHES(size) TOUCH(read, size, false) TOUCH(write, size, true)
TOUCHES(1) TOUCHES(2) TOUCHES(4) TOUCHES(8) TOUCHES(16)
QUIET void __tsan_read_range(void* at, long size) { races::touch(at, (int)size, false); }
QUIET void __tsan_write_range(void* at, long size) { races::touch(at, (int)size, true); }
QUIET void __tsan_vptr_update(void*, void*) {}
QUIET void __tsan_func_entry(void*) {}
QUIET void __tsan_func_exit() {}
QUIET void __tsan_init() {}
}

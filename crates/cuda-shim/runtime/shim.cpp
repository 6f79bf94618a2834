// Runs a launch on the CPU: the blocks of the grid one after the other, the threads of a block as fibers that take turns
// where they wait for each other. Compiled without instrumentation; kernels are compiled with it and report every access.
#include "shim.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <random>
#include <string>
#include <vector>

// Saves the registers that a call preserves on this stack, and goes on on another.
extern "C" void shim_switch(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl shim_switch
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
#else
#error "fibers are written for x86-64 alone"
#endif

// Of the block that runs.
alignas(128) uint4 shared_memory[233472 / 16];
// From the linker: where the program's own tables are.
extern "C" char __executable_start, end;

namespace shim {
Dim thread, block, block_dim, grid_dim;

namespace {
constexpr size_t STACK = 64 << 10;
constexpr uint32_t NONE = ~0u, MANY = ~0u - 1;

struct Known {
    Kernel kernel;
    size_t params;
};
std::map<std::string, Known>& kernels() {
    static std::map<std::string, Known> known;
    return known;
}

enum class State { Ready, AtBarrier, InWarp, Done };

struct Fiber {
    void* stack_pointer;
    State state;
    Dim index;
    uint32_t turn;  // collectives so far
    bool waited;    // for the launches ahead
};

// What a lane brings to what all do together.
struct Brought {
    uint32_t words[6];
};

// Lanes deposit by the parity of their turn: none can be two ahead of another.
struct Warp {
    Brought brought[2][32];
    uint32_t arrived[2], mask[2], operation[2];
    uint32_t syncs;
};

// Who touched a word of shared memory, and when: in which barrier epoch of the block, and behind how many syncs of the warp.
struct Mark {
    uint32_t thread = NONE, warp = NONE, epoch = 0, syncs = 0;
};

struct Touch {
    Mark write, read;
};

// Which block wrote two bytes of device memory in which launch, and which has read them.
struct Used {
    uint32_t launch = 0, block = 0;
    uint32_t read_launch = 0, reader = 0;
};

struct Region {
    uintptr_t start;
    size_t bytes;
    // The latest launch that wrote anything, or none.
    uint32_t launch;
    std::vector<Used> halves;
};

struct Machine {
    std::map<uintptr_t, Region> regions;
    Region nothing{0, 0, 0, {}};
    Region* recent[4] = {&nothing, &nothing, &nothing, &nothing};
    uint32_t turn = 0;
    char* stacks = nullptr;
    size_t stack_bytes = 0;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<uint32_t> order;
    std::vector<Touch> touches;
    void* scheduler = nullptr;
    uint32_t running = 0, waiting = 0, done = 0, epoch = 0, launch = 0, block = 0;
    // Blocks that wrote, fenced and told so by an atomic; whether this block has asked by one.
    std::vector<bool> fenced, published;
    bool asked = false, atomic = false;
    size_t shared_bytes = 0;
    Kernel kernel = nullptr;
    const void* params = nullptr;
    size_t params_bytes = 0;
    std::string name, error;
    std::mt19937 random;
};
Machine machine;

void rest() { shim_switch(&machine.fibers[machine.running].stack_pointer, machine.scheduler); }

void fiber_main() {
    machine.kernel(machine.params);
    if (!machine.fibers[machine.running].waited) fail("returns and has not waited for the launches ahead");
    machine.fibers[machine.running].state = State::Done;
    machine.done++;
    rest();
}

void begin(Fiber& fiber, char* stack) {
    // As shim_switch left it: six registers, then where it returns to; calls expect the stack off by eight there.
    auto top = reinterpret_cast<void**>(stack + STACK - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(fiber_main);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber.stack_pointer = top;
}

std::string place() {
    char text[160];
    snprintf(text, sizeof text, "%s, block (%u, %u, %u), thread %u", machine.name.c_str(), shim::block.x, shim::block.y,
             shim::block.z, machine.running);
    return text;
}

void run_fiber(uint32_t i) {
    machine.running = i;
    thread = machine.fibers[i].index;
    shim_switch(&machine.scheduler, machine.fibers[i].stack_pointer);
}

bool run_block(uint32_t threads) {
    machine.done = machine.waiting = machine.epoch = 0;
    machine.asked = false;
    memset(shared_memory, 0xff, machine.shared_bytes);
    std::fill(machine.touches.begin(), machine.touches.end(), Touch{});
    std::fill(machine.warps.begin(), machine.warps.end(), Warp{});
    for (uint32_t i = 0; i < threads; i++) {
        unsigned x = i % block_dim.x, y = i / block_dim.x % block_dim.y, z = i / block_dim.x / block_dim.y;
        machine.fibers[i] = {nullptr, State::Ready, {x, y, z}, 0, false};
        begin(machine.fibers[i], machine.stacks + STACK * i);
    }
    while (machine.done < threads) {
        bool moved = false;
        for (uint32_t i : machine.order) {
            if (machine.fibers[i].state != State::Ready) continue;
            moved = true;
            run_fiber(i);
            if (!machine.error.empty()) return false;
        }
        if (machine.waiting > 0 && machine.waiting == threads - machine.done) {
            if (machine.done > 0) {
                machine.error = machine.name + ": some threads wait at a barrier and others have returned";
                return false;
            }
            for (Fiber& fiber : machine.fibers) fiber.state = State::Ready;
            machine.waiting = 0;
            machine.epoch++;
        } else if (!moved) {
            machine.error = machine.name + ": threads wait for lanes that do not come";
            return false;
        }
    }
    return true;
}

// The order of so many things: as they are, backwards, or shuffled.
void arrange(std::vector<uint32_t>& order, size_t count, uint32_t seed) {
    order.resize(count);
    for (size_t i = 0; i < count; i++) order[i] = seed == 1 ? uint32_t(count - 1 - i) : uint32_t(i);
    if (seed > 1) std::shuffle(order.begin(), order.end(), machine.random);
}

// Whether another thread touched a word with nothing between that orders the two.
bool unordered(const Mark& mark, const Mark& now) {
    if (mark.thread == NONE || mark.thread == now.thread || mark.epoch != now.epoch) return false;
    return mark.warp != now.warp || mark.syncs == now.syncs;
}

__attribute__((noinline)) void touch_shared(uintptr_t offset, size_t bytes, bool write) {
    if (offset + bytes > machine.shared_bytes) fail("beyond the shared memory of the launch");
    const uint32_t warp = machine.running / 32;
    const Mark now{machine.running, warp, machine.epoch, machine.warps[warp].syncs};
    for (size_t word = offset / 4; word <= (offset + bytes - 1) / 4; word++) {
        Touch& touch = machine.touches[word];
        if (unordered(touch.write, now) || (write && unordered(touch.read, now))) fail("a race for shared memory");
        if (write) {
            touch.write = now;
            continue;
        }
        Mark& read = touch.read;
        if (!unordered(read, now)) {
            read = now;
        } else {
            // Several readers: none of them may write.
            read.thread = MANY;
            if (read.warp != warp) read.warp = MANY;
        }
    }
}

void touch_device(Region& region, uintptr_t offset, size_t bytes, bool write) {
    if (offset + bytes > region.bytes) fail("across the end of an allocation");
    bool waited = machine.fibers[machine.running].waited;
    if (!waited && write) fail("has not waited for the launches ahead");
    if (write) region.launch = machine.launch;
    if (region.launch == 0 || machine.atomic) return;
    for (size_t half = offset / 2; half <= (offset + bytes - 1) / 2; half++) {
        Used& used = region.halves[half];
        // What no launch has written are weights.
        if (!waited && used.launch != 0) fail("has not waited for the launches ahead");
        if (used.launch == machine.launch && used.block != machine.block) {
            bool told = machine.asked && machine.published[used.block];
            if (!told) fail(write ? "two blocks write the same" : "a block reads what another writes in the same launch");
        }
        bool read = used.read_launch == machine.launch;
        if (!write) {
            used.reader = read && used.reader != machine.block ? MANY : machine.block;
            used.read_launch = machine.launch;
            continue;
        }
        if (read && used.reader != machine.block) fail("a block writes what another reads in the same launch");
        used.launch = machine.launch;
        used.block = machine.block;
    }
}

// A range of addresses.
bool within(uintptr_t at, const void* first, size_t bytes) { return at - reinterpret_cast<uintptr_t>(first) < bytes; }

__attribute__((noinline)) void touch_memory(uintptr_t at, size_t bytes, bool write) {
    // Most accesses are near one of the latest.
    for (Region* region : machine.recent) {
        if (at - region->start < region->bytes) return touch_device(*region, at - region->start, bytes, write);
    }
    auto next = machine.regions.upper_bound(at);
    if (next != machine.regions.begin()) {
        Region& region = std::prev(next)->second;
        if (at - region.start < region.bytes) {
            machine.recent[machine.turn++ % 4] = &region;
            return touch_device(region, at - region.start, bytes, write);
        }
    }
    fail(write ? "a write outside of all allocations" : "a read outside of all allocations");
}

inline void touch(uintptr_t at, size_t bytes, bool write) {
    // A thread's own: its stack, what it was called with, and the program's tables, where shared memory is too.
    if (within(at, machine.stacks, machine.stack_bytes)) return;
    if (within(at, shared_memory, sizeof shared_memory)) {
        return touch_shared(at - reinterpret_cast<uintptr_t>(shared_memory), bytes, write);
    }
    if (!write && within(at, &__executable_start, size_t(&end - &__executable_start))) return;
    if (!write && within(at, machine.params, machine.params_bytes)) return;
    touch_memory(at, bytes, write);
}

// What the lanes brought, when all of the mask have come with the same operation and mask.
const Brought* meet(Collective operation, uint32_t mask, const Brought& brought) {
    Fiber& fiber = machine.fibers[machine.running];
    uint32_t warp_index = machine.running / 32, own = 1u << lane(), parity = fiber.turn++ % 2;
    Warp& warp = machine.warps[warp_index];
    if (!(mask & own)) fail("a lane that is not in its own mask");
    if (warp.arrived[parity] == 0) {
        warp.mask[parity] = mask;
        warp.operation[parity] = operation;
    } else if (warp.mask[parity] != mask || warp.operation[parity] != operation) {
        fail("lanes of a warp do different things together");
    }
    warp.brought[parity][lane()] = brought;
    warp.arrived[parity] |= own;
    if (warp.arrived[parity] != mask) {
        fiber.state = State::InWarp;
        rest();
    } else {
        warp.arrived[parity] = 0;
        warp.syncs += operation == SYNC;
        for (uint32_t i = 0; i < 32; i++)
            if (mask >> i & 1) machine.fibers[32 * warp_index + i].state = State::Ready;
    }
    return warp.brought[parity];
}
}  // namespace

void enter(const char* name, Kernel kernel, size_t params) { kernels()[name] = {kernel, params}; }

void fail(const char* what) {
    machine.error = place() + ": " + what;
    rest();
    __builtin_unreachable();
}

void barrier() {
    machine.fibers[machine.running].state = State::AtBarrier;
    machine.waiting++;
    rest();
}

unsigned lane() { return machine.running % 32; }

uint64_t exchange(Collective operation, uint32_t mask, uint64_t value, unsigned from) {
    if (from >= 32 || !(mask >> from & 1)) fail("a shuffle reads a lane that takes no part");
    const Brought& other = meet(operation, mask, {{uint32_t(value), uint32_t(value >> 32)}})[from];
    return other.words[0] | uint64_t(other.words[1]) << 32;
}

void mma(int* sums, int a0, int a1, int b) {
    const Brought* all = meet(MMA, ~0u, {{uint32_t(a0), uint32_t(a1), uint32_t(b)}});
    const unsigned row = lane() / 4 * 4, column = lane() % 4 * 8;
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned part = 0; part < 4; part++) {
            sums[i] = __dp4a(int(all[row + part].words[i / 2]), int(all[column + i % 2 * 4 + part].words[2]), sums[i]);
        }
    }
}

void mma(float* sums, const uint4& a, const uint2& b) {
    const Brought* all = meet(MMA, ~0u, {{a.x, a.y, a.z, a.w, b.x, b.y}});
    const unsigned row = lane() / 4 * 4, column = lane() % 4 * 8;
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned pair = 0; pair < 8; pair++) {
            const unsigned part = pair / 2, half = pair % 2;
            const uint32_t x = all[row + part].words[2 * half + i / 2], y = all[column + i % 2 * 4 + part].words[4 + half];
            sums[i] = fmaf(__uint_as_float(x << 16), __uint_as_float(y << 16), sums[i]);
            sums[i] = fmaf(__uint_as_float(x & 0xffff0000), __uint_as_float(y & 0xffff0000), sums[i]);
        }
    }
}

uint32_t atomic_add(uint32_t* at, uint32_t value) {
    machine.asked = true;
    if (machine.fenced[machine.block]) machine.published[machine.block] = true;
    machine.atomic = true;
    touch(reinterpret_cast<uintptr_t>(at), 4, true);
    machine.atomic = false;
    uint32_t old = *at;
    *at = old + value;
    return old;
}

void wait_for_last() { machine.fibers[machine.running].waited = true; }

void fence() { machine.fenced[machine.block] = true; }
}  // namespace shim

using namespace shim;

// Instrumented code calls these before every access.
#define ACCESS(bytes)                                                                                          \
    extern "C" void __asan_load##bytes##_noabort(uintptr_t at) { touch(at, bytes, false); }                    \
    extern "C" void __asan_store##bytes##_noabort(uintptr_t at) { touch(at, bytes, true); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
extern "C" void __asan_loadN_noabort(uintptr_t at, size_t bytes) { touch(at, bytes, false); }
extern "C" void __asan_storeN_noabort(uintptr_t at, size_t bytes) { touch(at, bytes, true); }
extern "C" void __asan_handle_no_return() {}
extern "C" void __asan_before_dynamic_init(const char*) {}
extern "C" void __asan_after_dynamic_init() {}

extern "C" void shim_allocated(uintptr_t at, size_t bytes) {
    machine.regions[at] = {at, bytes, 0, std::vector<Used>((bytes + 1) / 2)};
}
extern "C" void shim_freed(uintptr_t at) {
    std::fill(std::begin(machine.recent), std::end(machine.recent), &machine.nothing);
    machine.regions.erase(at);
}

// The host has written: behind all launches, so that none has to be waited for.
extern "C" void shim_written(uintptr_t at, size_t bytes) {
    Region& region = std::prev(machine.regions.upper_bound(at))->second;
    if (region.launch == 0 || bytes == 0) return;
    for (size_t half = (at - region.start) / 2; half <= (at - region.start + bytes - 1) / 2; half++) region.halves[half].launch = 0;
}

// Bytes of a kernel's parameters, or 0 if there is no such kernel.
extern "C" size_t shim_params(const char* name) {
    const auto known = kernels().find(name);
    return known == kernels().end() ? 0 : known->second.params;
}

// Runs a launch; the message of what went wrong, or null. `seed` 0 takes blocks and threads in order, 1 backwards, and others
// shuffled.
extern "C" const char* shim_launch(const char* name, const Dim* grid, uint32_t threads, size_t shared_bytes,
                                   const void* params, size_t params_bytes, uint32_t seed) {
    machine.error.clear();
    machine.name = name;
    auto known = kernels().find(name);
    if (known == kernels().end()) return machine.error = "no kernel is called " + machine.name, machine.error.c_str();
    if (known->second.params != params_bytes)
        return machine.error = machine.name + ": takes other parameters", machine.error.c_str();
    if (threads == 0 || threads % 32 != 0 || threads > 1024 || shared_bytes > sizeof shared_memory)
        return machine.error = machine.name + ": no such block", machine.error.c_str();
    if (!machine.stacks) {
        void* stacks = mmap(nullptr, STACK * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stacks == MAP_FAILED) return machine.error = "no memory for stacks", machine.error.c_str();
        machine.stacks = static_cast<char*>(stacks);
    }
    machine.kernel = known->second.kernel;
    machine.params = params;
    machine.params_bytes = params_bytes;
    machine.shared_bytes = shared_bytes;
    machine.random.seed(seed);
    machine.launch++;
    grid_dim = *grid;
    block_dim = {threads, 1, 1};
    uint32_t blocks = grid->x * grid->y * grid->z;
    machine.fibers.resize(threads);
    machine.stack_bytes = STACK * threads;
    machine.warps.resize(threads / 32);
    machine.touches.resize(shared_bytes / 4 + 1);
    machine.fenced.assign(blocks, false);
    machine.published.assign(blocks, false);
    std::vector<uint32_t> order;
    arrange(order, blocks, seed);
    for (uint32_t i : order) {
        machine.block = i;
        block = {i % grid->x, i / grid->x % grid->y, i / grid->x / grid->y};
        arrange(machine.order, threads, seed);
        if (!run_block(threads)) return machine.error.c_str();
    }
    return nullptr;
}

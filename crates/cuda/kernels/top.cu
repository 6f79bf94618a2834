// The largest logits of rows, and what the others come to: a block takes a part of a row.
#include "base.cuh"

// How many are found; values of a part, the same for every row, and of a thread.
constexpr unsigned TOP = 64, TOP_PART = 4096, TOP_EACH = TOP_PART / THREADS;
constexpr uint64_t ALL_FINITE = ~uint64_t(0);

struct Draw {
    float temperature;
    uint32_t vocab;
};

// What is found in a part of a row, or in all of it.
struct Found {
    // Logit and id, so that a larger key comes first: a larger logit, of equal ones the lower id.
    uint64_t keys[TOP];
    // Sums of exponentials of logits less the highest: of all ids, and at the temperature of those that may be drawn.
    double all, drawn;
    // Lowest id of a logit that is not finite, and its bits below.
    uint64_t not_finite;
    float highest;
    uint32_t padding;
};

struct Top {
    // f32 `[rows, vocab]`
    uint64_t logits;
    // `[rows]`
    uint64_t draws;
    // Of each part, `[rows, parts]`, and a counter a row that is zero between launches.
    uint64_t parts, tickets;
    // `[rows]`
    uint64_t found;
    uint32_t vocab;
};

struct Room {
    uint64_t own[THREADS];
    uint64_t list[TOP * TOP_EACH];
    uint64_t best[TOP];
    uint64_t bound;
    uint64_t warps[THREADS / WARP];
    uint32_t counts[TOP];
    uint32_t count, last;
};

__device__ inline uint64_t key_of(unsigned id, float logit) {
    const uint32_t bits = __float_as_uint(logit);
    return uint64_t(bits ^ (bits >> 31 ? 0xffffffff : 0x80000000)) << 32 | ~id;
}

// Of a block, combined in one order; every thread has it.
template <class T, class Combine>
__device__ inline T combined(T value, uint64_t* warps, Combine combine) {
    T* room = reinterpret_cast<T*>(warps);
    for (int lanes = 16; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(ALL, value, lanes));
    __syncthreads();
    if (lane() == 0) room[warp()] = value;
    __syncthreads();
    value = room[0];
    for (unsigned i = 1; i < THREADS / WARP; i++) value = combine(value, room[i]);
    return value;
}

__device__ inline float highest_of(float value, Room& room) {
    return combined(value, room.warps, [](float a, float b) { return fmaxf(a, b); });
}

__device__ inline double sum_of(double value, Room& room) {
    return combined(value, room.warps, [](double a, double b) { return __dadd_rn(a, b); });
}

__device__ inline uint64_t lowest_of(uint64_t value, Room& room) {
    return combined(value, room.warps, [](uint64_t a, uint64_t b) { return a < b ? a : b; });
}

// The largest of the block's keys, which are all different, to `best`.
__device__ inline void select_largest(const uint64_t (&keys)[TOP_EACH], Room& room) {
    uint64_t own = 0;
    for (unsigned i = 0; i < TOP_EACH; i++) own = keys[i] > own ? keys[i] : own;
    room.own[threadIdx.x] = own;
    __syncthreads();
    unsigned rank = 0;
    for (unsigned i = 0; i < THREADS; i++) rank += room.own[i] > own;
    // As many threads as keys are wanted have one that is not below this, and no others have.
    if (rank == TOP - 1) room.bound = own;
    __syncthreads();
    const uint64_t bound = room.bound;
    unsigned count = 0;
    for (unsigned i = 0; i < TOP_EACH; i++) count += keys[i] >= bound;
    if (rank < TOP) room.counts[rank] = count;
    __syncthreads();
    if (rank < TOP) {
        unsigned at = 0;
        for (unsigned i = 0; i < rank; i++) at += room.counts[i];
        for (unsigned i = 0; i < TOP_EACH; i++) {
            if (keys[i] >= bound) room.list[at++] = keys[i];
        }
        if (rank == TOP - 1) room.count = at;
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < room.count; i += THREADS) {
        const uint64_t key = room.list[i];
        unsigned place = 0;
        for (unsigned other = 0; other < room.count; other++) place += room.list[other] > key;
        if (place < TOP) room.best[place] = key;
    }
    __syncthreads();
}

// One thread has the sums.
__device__ inline void write_found(Found& found, Found sums, const Room& room) {
    if (threadIdx.x < TOP) found.keys[threadIdx.x] = room.best[threadIdx.x];
    if (threadIdx.x > 0) return;
    found.all = sums.all;
    found.drawn = sums.drawn;
    found.not_finite = sums.not_finite;
    found.highest = sums.highest;
}

__device__ inline void find_part(const Top& p, const Draw& draw, Found& found, Room& room) {
    const float* logits = reinterpret_cast<const float*>(p.logits) + size_t(blockIdx.y) * p.vocab;
    const unsigned first = blockIdx.x * TOP_PART + threadIdx.x;
    float values[TOP_EACH], highest = -INFINITY;
    uint64_t not_finite = ALL_FINITE;
    for (unsigned i = 0; i < TOP_EACH; i++) {
        const unsigned id = first + i * THREADS;
        values[i] = id < p.vocab ? logits[id] : -INFINITY;
    }
    for (unsigned i = TOP_EACH; i-- > 0;) {
        const unsigned id = first + i * THREADS;
        const uint32_t bits = __float_as_uint(values[i]);
        highest = fmaxf(highest, values[i]);
        if (id < p.vocab && (bits & 0x7f800000) == 0x7f800000) not_finite = uint64_t(id) << 32 | bits;
    }
    highest = highest_of(highest, room);
    float all = 0.0f, drawn = 0.0f;
    for (unsigned i = 0; i < TOP_EACH; i++) {
        const unsigned id = first + i * THREADS;
        const float below = __fadd_rn(values[i], -highest);
        if (id < p.vocab) all = __fadd_rn(all, exponential(below));
        if (id < p.vocab && id < draw.vocab) drawn = __fadd_rn(drawn, exponential(__fdiv_rn(below, draw.temperature)));
    }
    Found sums;
    sums.all = sum_of(all, room);
    sums.drawn = sum_of(drawn, room);
    sums.not_finite = lowest_of(not_finite, room);
    sums.highest = highest;
    uint64_t keys[TOP_EACH];
    for (unsigned i = 0; i < TOP_EACH; i++) {
        const unsigned id = first + i * THREADS;
        keys[i] = id < p.vocab ? key_of(id, values[i]) : ~id;
    }
    select_largest(keys, room);
    write_found(found, sums, room);
}

__device__ inline void merge_parts(const Found* parts, unsigned count, const Draw& draw, Found& found, Room& room) {
    float highest = -INFINITY;
    uint64_t not_finite = ALL_FINITE;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        highest = fmaxf(highest, parts[i].highest);
        not_finite = parts[i].not_finite < not_finite ? parts[i].not_finite : not_finite;
    }
    highest = highest_of(highest, room);
    double all = 0.0, drawn = 0.0;
    for (unsigned i = threadIdx.x; i < count; i += THREADS) {
        const float below = __fadd_rn(parts[i].highest, -highest);
        all = __fma_rn(parts[i].all, double(exponential(below)), all);
        drawn = __fma_rn(parts[i].drawn, double(exponential(__fdiv_rn(below, draw.temperature))), drawn);
    }
    Found sums;
    sums.all = sum_of(all, room);
    sums.drawn = sum_of(drawn, room);
    sums.not_finite = lowest_of(not_finite, room);
    sums.highest = highest;
    // As many at a time as a block takes, with the best of those before.
    for (unsigned done = 0; done < count * TOP; done += TOP_PART - TOP) {
        uint64_t keys[TOP_EACH];
        for (unsigned i = 0; i < TOP_EACH; i++) {
            const unsigned slot = i * THREADS + threadIdx.x, next = done + slot - TOP;
            keys[i] = slot;
            if (slot < TOP && done > 0) keys[i] = room.best[slot];
            if (slot >= TOP && next < count * TOP) keys[i] = parts[next / TOP].keys[next % TOP];
        }
        __syncthreads();
        select_largest(keys, room);
    }
    write_found(found, sums, room);
}

KERNEL(top, Top) {
    start_next();
    wait_for_last();
    Room* shared = reinterpret_cast<Room*>(shared_memory);
    Room& room = *shared;
    const Draw draw = load<Draw>(p.draws, blockIdx.y);
    Found* parts = reinterpret_cast<Found*>(p.parts) + size_t(blockIdx.y) * gridDim.x;
    find_part(p, draw, parts[blockIdx.x], room);

    // The last block to come puts all parts together.
    __threadfence();
    __syncthreads();
    uint32_t* ticket = reinterpret_cast<uint32_t*>(p.tickets) + blockIdx.y;
    if (threadIdx.x == 0) room.last = atomicAdd(ticket, 1) == gridDim.x - 1;
    __syncthreads();
    if (!room.last) return;
    __threadfence();
    if (threadIdx.x == 0) *ticket = 0;
    merge_parts(parts, gridDim.x, draw, reinterpret_cast<Found*>(p.found)[blockIdx.y], room);
}

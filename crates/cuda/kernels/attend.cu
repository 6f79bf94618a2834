// Attention of rows of decoding sequences: a block takes one split of one kv head's positions for one row.
#include "attention.cuh"

struct AttendRow {
    Attend attend;
    // Of items of a launch: f32 `[items, heads, head_dim + 2]`, and a counter a kv head that is zero between launches.
    uint64_t partial, tickets;
};

// What a row's numbers are read as: halves or codes.
struct Halves {
    using Unit = uint4;
    using Pair = uint32_t;
};
struct Codes {
    using Unit = uint2;
    using Pair = uint16_t;
};

// What a split leaves behind for the queries of a kv head: largest score, sum of weights and outputs, `[splits, stride]`.
struct Partial {
    float* values;
    size_t stride;
    unsigned dim, splits;

    __device__ float* of(unsigned split, unsigned head) const { return values + split * stride + head * (dim + 2); }

    // A warp replaces a head's largest scores and sums by what is kept of the splits before and what counts of this one.
    __device__ float chain(unsigned head) const {
        float largest = LOWEST, total = 0.0f;
        for (unsigned done = 0; done < splits; done += WARP) {
            const unsigned count = min(WARP, splits - done), from = lane() < count ? lane() : 0;
            float* own = of(done + from, head);
            const Soft soft{own[0], own[1]};
            float after = fmaxf(largest, soft.largest);
            for (unsigned lanes = 1; lanes < WARP; lanes *= 2) {
                const float other = __shfl_sync(ALL, after, lane() >= lanes ? lane() - lanes : lane());
                after = fmaxf(after, other);
            }
            const float before = __shfl_sync(ALL, after, lane() ? lane() - 1 : 0);
            const float kept = decay(lane() ? before : largest, after), counted = decay(soft.largest, after);
            for (unsigned i = 0; i < count; i++) {
                const float keep = __shfl_sync(ALL, kept, i), count = __shfl_sync(ALL, counted, i);
                total = join(total, keep, __shfl_sync(ALL, soft.total, i), count);
            }
            if (lane() < count) own[0] = kept, own[1] = counted;
            largest = __shfl_sync(ALL, after, WARP - 1);
        }
        return total;
    }

    __device__ float sum(unsigned head, unsigned i) const {
        float sum = 0.0f;
#pragma unroll 8
        for (unsigned split = 0; split < splits; split++) {
            const float* own = of(split, head);
            sum = join(sum, own[0], own[2 + i], own[1]);
        }
        return sum;
    }
};

// A split of a row, in shared memory.
struct RowItem {
    unsigned row, split, position, table;
    // The row's first item, counted from the launch's: its items lie side by side.
    unsigned first;
    unsigned padding[3];
    Keys keys;

    __device__ void read(const Attend& p, unsigned item) {
        const uint2 work = load<uint2>(p.work, item);
        row = work.x, split = work.y;
        position = load<uint32_t>(p.positions, row), table = load<uint32_t>(p.tables, row);
        first = item - load<uint32_t>(p.range, 0) - index(p);
    }
    __device__ unsigned index(const Attend& p) const { return split - p.first(position) / SPLIT; }
    __device__ unsigned splits(const Attend& p) const { return position / SPLIT - p.first(position) / SPLIT + 1; }
};

// A block on a split of a row, with so many queries at a time.
template <class Format, unsigned QUERIES>
struct RowBlock {
    const AttendRow& params;
    // In shared memory: queries, their weights and softmax, and parts of sums.
    RowItem& item;
    float *q, *weights;
    Soft* soft;
    float* parts;

    // Between the parts of scores, so that lanes write side by side.
    static constexpr unsigned STRIDE = QUERIES * SPLIT + WARP / PARTS;
    __device__ const Attend& p() const { return params.attend; }
    __device__ unsigned width() const { return p().cache.units() * UNIT; }
    // Where the queries of the kv head begin.
    __device__ size_t head() const { return size_t(item.row) * p().heads + blockIdx.y * p().group(); }
    __device__ float* y() const { return reinterpret_cast<float*>(p().y) + head() * p().cache.dim; }
    __device__ Partial partial() const {
        const unsigned values = p().cache.dim + 2;
        const size_t first = size_t(item.first) * p().heads + blockIdx.y * p().group();
        float* own = reinterpret_cast<float*>(params.partial) + first * values;
        return {own, size_t(p().heads) * values, p().cache.dim, item.splits(p())};
    }
    // Which of the split's keys are seen: from the first one up to the other.
    __device__ unsigned first() const { return within(p().first(item.position), item.split); }
    __device__ unsigned end() const { return within(item.position + 1, item.split); }

    template <class T>
    __device__ const T* row(uint64_t store, unsigned key) const {
        const Cache& cache = p().cache;
        return reinterpret_cast<const T*>(cache.words(store, cache.place(blockIdx.y, item.keys.slots[key])));
    }

    __device__ void load_queries(unsigned done, unsigned count) const {
        const unsigned dim = p().cache.dim;
        for (unsigned i = threadIdx.x; i < QUERIES * width(); i += THREADS) {
            const unsigned n = i / width(), at = i % width();
            q[i] = n < count && at < dim ? load<float>(p().q, (head() + done + n) * dim + at) : 0.0f;
        }
    }

    // Four lanes take two keys, a part each.
    __device__ void score() const {
        constexpr unsigned EACH = SPLIT * PARTS / THREADS, NEXT = SPLIT / EACH;
        const unsigned part = threadIdx.x % PARTS, key = threadIdx.x / PARTS, units = p().cache.units();
        const typename Format::Unit* rows[EACH];
        for (unsigned e = 0; e < EACH; e++) rows[e] = row<typename Format::Unit>(p().cache.keys, key + e * NEXT);
        float sums[EACH][QUERIES] = {};
#pragma unroll 4
        for (unsigned unit = part; unit < units; unit += PARTS) {
            float k[EACH][UNIT];
            for (unsigned e = 0; e < EACH; e++) unpack(rows[e][unit], k[e]);
            for (unsigned n = 0; n < QUERIES; n++) {
                const float4* x = reinterpret_cast<const float4*>(q) + (n * units + unit) * 2;
                for (unsigned half = 0; half < 2; half++) {
                    const float4 four = x[half];
                    for (unsigned e = 0; e < EACH; e++) sums[e][n] = multiply_add(four, k[e] + 4 * half, sums[e][n]);
                }
            }
        }
        for (unsigned e = 0; e < EACH; e++) {
            for (unsigned n = 0; n < QUERIES; n++) parts[part * STRIDE + n * SPLIT + key + e * NEXT] = sums[e][n];
        }
    }

    // A warp a query.
    __device__ void weigh() const {
        float scores[PARTS];
        for (unsigned i = 0; i < PARTS; i++) {
            const unsigned key = i * WARP + lane();
            float sum = 0.0f;
            for (unsigned part = 0; part < PARTS; part++) {
                sum = __fadd_rn(sum, parts[part * STRIDE + warp() * SPLIT + key]);
            }
            scores[i] = __fmul_rn(sum, item.keys.keys[key]);
        }
        const Soft found = soften(scores, first(), end());
        if (lane() == 0) soft[warp()] = found;
        for (unsigned i = 0; i < PARTS; i++) {
            const unsigned key = i * WARP + lane();
            weights[warp() * SPLIT + key] = __fmul_rn(scores[i], item.keys.values[key]);
        }
    }

    // A thread takes a pair of values and a part of the keys.
    __device__ void add() const {
        constexpr unsigned AHEAD = 64 / QUERIES;
        const unsigned pairs = width() / 2;
        for (unsigned item = threadIdx.x; item < PARTS * pairs; item += THREADS) {
            const unsigned part = item / pairs, pair = item % pairs, behind = min(end(), (part + 1) * WARP);
            float2 sums[QUERIES] = {};
            for (unsigned key = max(first() / AHEAD * AHEAD, part * WARP); key < behind; key += AHEAD) {
                float2 v[AHEAD];
                for (unsigned i = 0; i < AHEAD; i++) {
                    v[i] = unpack_pair(row<typename Format::Pair>(p().cache.values, key + i)[pair]);
                }
                for (unsigned n = 0; n < QUERIES; n++) {
                    const float4* own = reinterpret_cast<const float4*>(weights + n * SPLIT + key);
                    for (unsigned four = 0; four < AHEAD / 4; four++) {
                        const float4 w = own[four];
                        const float weight[] = {w.x, w.y, w.z, w.w};
                        for (unsigned i = 0; i < 4; i++) {
                            sums[n].x = __fmaf_rn(weight[i], v[4 * four + i].x, sums[n].x);
                            sums[n].y = __fmaf_rn(weight[i], v[4 * four + i].y, sums[n].y);
                        }
                    }
                }
            }
            for (unsigned n = 0; n < QUERIES; n++) {
                reinterpret_cast<float2*>(parts)[(part * QUERIES + n) * pairs + pair] = sums[n];
            }
        }
    }

    // What the split comes to for a value of a query.
    __device__ float sum(unsigned query, unsigned i) const {
        float sum = 0.0f;
        for (unsigned part = 0; part < PARTS; part++) {
            sum = __fadd_rn(sum, parts[(part * QUERIES + query) * width() + i]);
        }
        return sum;
    }

    // The split is all there is, or is left for the last block.
    __device__ void leave(unsigned done, unsigned count) const {
        const Partial all = partial();
        const unsigned dim = p().cache.dim, index = item.index(p());
        for (unsigned i = threadIdx.x; i < count * dim; i += THREADS) {
            const unsigned n = i / dim, at = i % dim;
            const float value = sum(n, at);
            if (all.splits == 1) {
                y()[done * dim + i] = __fdiv_rn(value, soft[n].total);
            } else {
                all.of(index, done + n)[2 + at] = value;
            }
        }
        if (all.splits > 1 && threadIdx.x < count) {
            float* own = all.of(index, done + threadIdx.x);
            own[0] = soft[threadIdx.x].largest, own[1] = soft[threadIdx.x].total;
        }
    }

    __device__ void run(unsigned done, unsigned count) const {
        load_queries(done, count);
        __syncthreads();
        score();
        __syncthreads();
        if (warp() < QUERIES) weigh();
        __syncthreads();
        add();
        __syncthreads();
        leave(done, count);
        __syncthreads();
    }
};

// The last block to come joins all splits.
__device__ inline void join_splits(const Partial& partial, uint32_t* ticket, unsigned group, float* y, float* totals) {
    __threadfence();
    __syncthreads();
    uint32_t* last = reinterpret_cast<uint32_t*>(totals);
    if (threadIdx.x == 0) *last = atomicAdd(ticket, 1) == partial.splits - 1;
    __syncthreads();
    const bool joins = *last;
    __syncthreads();
    if (!joins) return;
    __threadfence();
    if (threadIdx.x == 0) *ticket = 0;
    for (unsigned head = warp(); head < group; head += THREADS / WARP) {
        const float total = partial.chain(head);
        if (lane() == 0) totals[head] = total;
    }
    __syncthreads();
    for (unsigned i = threadIdx.x; i < group * partial.dim; i += THREADS) {
        const unsigned head = i / partial.dim;
        y[i] = __fdiv_rn(partial.sum(head, i % partial.dim), totals[head]);
    }
}

template <class Format, unsigned QUERIES>
__device__ void attend(const AttendRow& params) {
    const Attend& p = params.attend;
    RowItem* item = reinterpret_cast<RowItem*>(shared_memory);
    float* q = reinterpret_cast<float*>(item + 1);
    float* weights = q + QUERIES * p.cache.units() * UNIT;
    Soft* soft = reinterpret_cast<Soft*>(weights + QUERIES * SPLIT);
    float* totals = reinterpret_cast<float*>(soft + QUERIES);
    float* parts = totals + (p.group() + 3) / 4 * 4;
    const RowBlock<Format, QUERIES> block{params, *item, q, weights, soft, parts};
    const unsigned start = load<uint32_t>(p.range, 0) + blockIdx.x;
    for (unsigned i = start; i < load<uint32_t>(p.range, 1); i += gridDim.x) {
        __syncthreads();
        if (threadIdx.x == 0) item->read(p, i);
        __syncthreads();
        item->keys.find(p, item->table, item->split, p.first(item->position), item->position + 1);
        for (unsigned done = 0; done < p.group(); done += QUERIES) block.run(done, min(QUERIES, p.group() - done));
        if (item->splits(p) == 1) continue;
        uint32_t* ticket = reinterpret_cast<uint32_t*>(params.tickets) + size_t(item->first) * p.cache.heads + blockIdx.y;
        join_splits(block.partial(), ticket, p.group(), block.y(), totals);
    }
}

template <unsigned QUERIES>
__device__ void attend(const AttendRow& p) {
    start_next();
    wait_for_last();
    if (p.attend.cache.bits == 8) {
        attend<Codes, QUERIES>(p);
    } else {
        attend<Halves, QUERIES>(p);
    }
}

KERNEL_OF(2, attend_4, AttendRow) { attend<4>(p); }
KERNEL_OF(2, attend_8, AttendRow) { attend<8>(p); }

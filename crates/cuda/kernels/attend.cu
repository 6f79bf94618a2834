// Attention over the paged cache: a block takes one split of one kv head's positions for one row.
#include "cache.cuh"

// Positions of a split: the same for every row, so that its bits depend on nothing else.
constexpr unsigned SPLIT = 128;
// Queries that share a pass over keys and values; a thread sums up four.
constexpr unsigned QUERIES = 8, EACH = 4;

struct Attend {
    Cache cache;
    // f32 `[rows, heads * head_dim]`
    uint64_t q, y;
    // Of each row: its position, and where its block table begins.
    uint64_t positions, tables, blocks;
    // f32 `[rows, heads, splits, head_dim + 2]`, and a counter a row and kv head that is zero between launches.
    uint64_t partial, tickets;
    uint32_t heads, splits, block, window;
    float scale;
};

struct Row {
    unsigned position, first, table;
    __device__ unsigned first_split() const { return first / SPLIT; }
    __device__ unsigned splits() const { return position / SPLIT - first / SPLIT + 1; }
};

__device__ inline size_t slot(const Attend& p, const Row& row, unsigned position) {
    return size_t(reinterpret_cast<const uint32_t*>(p.blocks)[row.table + position / p.block]) * p.block +
           position % p.block;
}

// Scores of up to eight queries, `[QUERIES, SPLIT]`: a thread takes a key, and every other four of the queries.
__device__ inline void score(const Attend& p, const Row& row, unsigned first, unsigned end, unsigned queries,
                             const float* q, float* scores) {
    const unsigned dim = p.cache.dim, key = threadIdx.x % SPLIT, from = threadIdx.x / SPLIT * EACH;
    float sums[EACH] = {};
    const bool inside = first + key < end;
    float scale = 0.0f;
    if (inside) {
        const Stored stored(p.cache, p.cache.keys, p.cache.place(blockIdx.y, unsigned(slot(p, row, first + key))));
        scale = __fmul_rn(stored.scale, p.scale);
        for (unsigned i = 0; i < dim; i++) {
            const float k = stored.at(i);
            for (unsigned n = 0; n < EACH; n++) sums[n] = __fmaf_rn(q[(from + n) * dim + i], k, sums[n]);
        }
    }
    for (unsigned n = 0; n < EACH && from + n < queries; n++) {
        scores[(from + n) * SPLIT + key] = inside ? __fmul_rn(sums[n], scale) : -1e30f;
    }
}

// A warp a query: scores become weights; their largest score and sum are left behind them.
__device__ inline void soften(unsigned count, float* scores, float& largest, float& total) {
    largest = -1e30f;
    for (unsigned i = lane(); i < SPLIT; i += WARP) largest = fmaxf(largest, scores[i]);
    largest = warp_max(largest);
    total = 0.0f;
    for (unsigned i = lane(); i < SPLIT; i += WARP) {
        const float weight = i < count ? exponential(__fadd_rn(scores[i], -largest)) : 0.0f;
        scores[i] = weight;
        total = __fadd_rn(total, weight);
    }
    total = warp_sum(total);
}

KERNEL(attend, Attend) {
    start_next();
    wait_for_last();
    Row row;
    row.position = reinterpret_cast<const uint32_t*>(p.positions)[blockIdx.z];
    row.table = reinterpret_cast<const uint32_t*>(p.tables)[blockIdx.z];
    row.first = p.window && row.position >= p.window ? row.position - p.window + 1 : 0;
    if (blockIdx.x >= row.splits()) return;
    const unsigned split = row.first_split() + blockIdx.x, dim = p.cache.dim, group = p.heads / p.cache.heads;
    const unsigned first = max(row.first, split * SPLIT), end = min(row.position + 1, (split + 1) * SPLIT);

    float* q = reinterpret_cast<float*>(shared_memory);
    float* scores = q + QUERIES * dim;
    float* ends = scores + QUERIES * SPLIT;
    const size_t head = size_t(blockIdx.z) * p.heads + blockIdx.y * group;
    const float* queries = reinterpret_cast<const float*>(p.q) + head * dim;
    float* y = reinterpret_cast<float*>(p.y) + head * dim;
    float* partial = reinterpret_cast<float*>(p.partial) + (head * p.splits + blockIdx.x) * (dim + 2);
    const size_t next_head = size_t(p.splits) * (dim + 2);
    for (unsigned done = 0; done < group; done += QUERIES) {
        const unsigned count = min(QUERIES, group - done);
        for (unsigned i = threadIdx.x; i < QUERIES * dim; i += THREADS) {
            q[i] = i < count * dim ? queries[done * dim + i] : 0.0f;
        }
        __syncthreads();
        score(p, row, first, end, count, q, scores);
        __syncthreads();
        if (warp() < count) {
            float largest, total;
            soften(end - first, scores + warp() * SPLIT, largest, total);
            if (lane() == 0) {
                ends[2 * warp()] = largest;
                ends[2 * warp() + 1] = total;
            }
        }
        __syncthreads();
        // A thread takes a value of four queries.
        for (unsigned item = threadIdx.x; item < dim * (QUERIES / EACH); item += THREADS) {
            const unsigned i = item % dim, from = item / dim * EACH;
            float sums[EACH] = {};
            for (unsigned key = 0; key < end - first && from < count; key++) {
                const Stored stored(p.cache, p.cache.values,
                                    p.cache.place(blockIdx.y, unsigned(slot(p, row, first + key))));
                const float v = __fmul_rn(stored.at(i), stored.scale);
                for (unsigned n = 0; n < EACH && from + n < count; n++) {
                    sums[n] = __fmaf_rn(scores[(from + n) * SPLIT + key], v, sums[n]);
                }
            }
            for (unsigned n = from; n < from + EACH && n < count; n++) {
                if (row.splits() == 1) {
                    y[(done + n) * dim + i] = __fdiv_rn(sums[n - from], ends[2 * n + 1]);
                } else {
                    partial[(done + n) * next_head + 2 + i] = sums[n - from];
                }
            }
        }
        if (row.splits() > 1 && threadIdx.x < 2 * count) {
            partial[(done + threadIdx.x / 2) * next_head + threadIdx.x % 2] = ends[threadIdx.x];
        }
        __syncthreads();
    }
    if (row.splits() == 1) return;

    // The last block to come adds all splits up, in their order.
    __threadfence();
    __syncthreads();
    uint32_t* ticket = reinterpret_cast<uint32_t*>(p.tickets) + size_t(blockIdx.z) * p.cache.heads + blockIdx.y;
    uint32_t* last = reinterpret_cast<uint32_t*>(ends);
    if (threadIdx.x == 0) *last = atomicAdd(ticket, 1) == row.splits() - 1;
    __syncthreads();
    if (!*last) return;
    __threadfence();
    if (threadIdx.x == 0) *ticket = 0;
    const float* all = reinterpret_cast<const float*>(p.partial) + head * next_head;
    for (unsigned item = threadIdx.x; item < group * dim; item += THREADS) {
        const float* own = all + item / dim * next_head;
        float largest = -1e30f;
        for (unsigned i = 0; i < row.splits(); i++) largest = fmaxf(largest, own[i * (dim + 2)]);
        float sum = 0.0f, total = 0.0f;
        for (unsigned i = 0; i < row.splits(); i++) {
            const float* part = own + i * (dim + 2);
            const float weight = exponential(__fadd_rn(part[0], -largest));
            total = __fmaf_rn(weight, part[1], total);
            sum = __fmaf_rn(weight, part[2 + item % dim], sum);
        }
        y[item] = __fdiv_rn(sum, total);
    }
}

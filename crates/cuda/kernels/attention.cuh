// What the kernels of attention have in common: whichever takes a row adds in the same order.
//
// A row's keys come in splits. A score is the sum of four parts, each over every fourth unit of a head; an output of a split is the
// sum of four parts, each over a quarter of its keys. Splits are joined in order: what there is counts as much less as the largest
// score has grown.
#pragma once

#include "cache.cuh"

// Positions of a split: the same for every row, so that its bits depend on nothing else.
constexpr unsigned SPLIT = 128;
// Parts of a sum; of a split's keys, one is a lane's each.
constexpr unsigned PARTS = SPLIT / WARP;
// Below all scores.
constexpr float LOWEST = -1e30f;

struct Attend {
    Cache cache;
    // f32 `[rows, heads * head_dim]`
    uint64_t q, y;
    // Of each row: its position, and where its block table begins.
    uint64_t positions, tables, blocks;
    // Pairs of numbers, and which of them are the launch's: the first, and the one behind the last.
    uint64_t work, range;
    uint32_t heads, block, window;
    float scale;

    __device__ unsigned group() const { return heads / cache.heads; }
    // The first position that one sees.
    __device__ unsigned first(unsigned position) const {
        return window && position >= window ? position - window + 1 : 0;
    }
};

// Largest score and sum of weights.
struct Soft {
    float largest, total;
};

// Of weights by an old largest score, to be those by a new one.
__device__ inline float decay(float from, float to) { return exponential(__fadd_rn(from, -to)); }

__device__ inline float join(float there, float kept, float more, float counted) {
    return __fmaf_rn(there, kept, __fmul_rn(more, counted));
}

__device__ inline float multiply_add(const float4& a, const float* b, float sum) {
    sum = __fmaf_rn(a.x, b[0], sum);
    sum = __fmaf_rn(a.y, b[1], sum);
    sum = __fmaf_rn(a.z, b[2], sum);
    return __fmaf_rn(a.w, b[3], sum);
}

// Where a split's positions are in the cache, and their scales. Positions that are not seen are as one that is.
struct Keys {
    uint32_t slots[SPLIT];
    float keys[SPLIT], values[SPLIT];

    // By all threads; keys from `first` to `end` are seen.
    __device__ void find(const Attend& p, unsigned table, unsigned split, unsigned first, unsigned end) {
        const uint32_t* blocks = reinterpret_cast<const uint32_t*>(p.blocks) + table;
        for (unsigned i = threadIdx.x; i < SPLIT; i += THREADS) {
            const unsigned position = min(max(split * SPLIT + i, first), end - 1);
            slots[i] = blocks[position / p.block] * p.block + position % p.block;
            const size_t place = p.cache.place(blockIdx.y, slots[i]);
            keys[i] = __fmul_rn(p.cache.scale(p.cache.keys, place), p.scale);
            values[i] = p.cache.scale(p.cache.values, place);
        }
    }
};

// A warp turns scores into weights. A lane has every 32nd key of the split; those from `first` to `end` are seen.
__device__ inline Soft soften(float (&scores)[PARTS], unsigned first, unsigned end) {
    Soft soft{LOWEST, 0.0f};
    const auto seen = [&](unsigned i) { return i * WARP + lane() >= first && i * WARP + lane() < end; };
    for (unsigned i = 0; i < PARTS; i++) soft.largest = seen(i) ? fmaxf(soft.largest, scores[i]) : soft.largest;
    soft.largest = warp_max(soft.largest);
    for (unsigned i = 0; i < PARTS; i++) {
        scores[i] = seen(i) ? decay(scores[i], soft.largest) : 0.0f;
        soft.total = __fadd_rn(soft.total, scores[i]);
    }
    soft.total = warp_sum(soft.total);
    return soft;
}

// A position within a split, or its end nearest to it.
__device__ inline unsigned within(unsigned position, unsigned split) {
    return min(max(position, split * SPLIT), (split + 1) * SPLIT) - split * SPLIT;
}

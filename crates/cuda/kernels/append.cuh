// Queries, keys and values of new tokens: turned by their positions, queries to where attention reads them, the others to the
// cache.
#pragma once

#include "cache.cuh"

struct Append {
    Cache cache;
    // f32 `[rows, (heads + 2 kv_heads) * head_dim]`: queries, keys, values; none if they are not stored on the way.
    uint64_t qkv;
    // f32 `[rows, heads * head_dim]`
    uint64_t q;
    // Weights of an RMS norm on the heads of queries and keys, or none.
    uint64_t q_norm, k_norm;
    // Cosine and sine, `[rows, rotated / 2]`.
    uint64_t rotation;
    // Cache slots of the rows.
    uint64_t slots;
    uint32_t rows, heads, rotated;
    // Pairs are neighbours; else they are half of what is turned apart, and only rows of the matrices are neighbours.
    uint32_t adjacent;
    float eps;

    // Which one of a head a row of the matrix is, for queries and keys.
    __device__ unsigned dimension(unsigned place) const {
        return adjacent || place >= rotated ? place : place % 2 * (rotated / 2) + place / 2;
    }
    __device__ float2 turn(unsigned row, unsigned pair) const {
        return load<float2>(rotation, size_t(row) * (rotated / 2) + pair);
    }
};

// One of a pair; the first has the other one's negative.
__device__ inline float turned(float value, float other, float2 turn) {
    return __fadd_rn(__fmul_rn(value, turn.x), __fmul_rn(other, turn.y));
}

// A result of the product for queries (0), keys (1) or values (2) goes where it belongs, turned with its partner, which the lane
// sixteen away has. All lanes call it; a cache of 16 bits, and heads of whole pairs.
__device__ inline void append_result(const Append& p, unsigned which, unsigned column, unsigned result, float value, bool inside) {
    const float other = __shfl_xor_sync(ALL, value, WARP / 2);
    if (!inside) return;
    const unsigned dim = p.cache.dim, head = result / dim, place = result % dim, i = which < 2 ? p.dimension(place) : place;
    if (which < 2 && place < p.rotated) {
        value = turned(value, place % 2 ? other : -other, p.turn(column, place / 2));
    }
    if (which == 0) {
        reinterpret_cast<float*>(p.q)[(size_t(column) * p.heads + head) * dim + i] = value;
        return;
    }
    const unsigned slot = load<uint32_t>(p.slots, column);
    if (slot == NONE) return;
    uint32_t* words = p.cache.words(which == 1 ? p.cache.keys : p.cache.values, p.cache.place(head, slot));
    reinterpret_cast<uint16_t*>(words)[i] = uint16_t(half_bits(value));
}

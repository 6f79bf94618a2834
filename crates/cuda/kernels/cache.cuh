// Keys and values of a layer, `[kv head, slot, head_dim]` each: f16, or 8 bits behind an f32 scale.
#pragma once

#include "base.cuh"

struct Cache {
    uint64_t keys, values;
    uint32_t heads, dim, slots, bits;

    // Of one position, in whole words.
    __device__ unsigned position_bytes() const { return bits == 8 ? 4 + (dim + 3) / 4 * 4 : (dim + 1) / 2 * 4; }
    __device__ size_t place(unsigned head, unsigned slot) const { return size_t(head) * slots + slot; }
    __device__ uint32_t* words(uint64_t store, size_t place) const {
        return reinterpret_cast<uint32_t*>(store) + place * (position_bytes() / 4);
    }
};

// A row as it lies in the cache; a value is one of its numbers times `scale`.
struct Stored {
    const uint32_t* words;
    float scale;
    bool bytes;

    __device__ Stored(const Cache& cache, uint64_t store, size_t place) {
        words = cache.words(store, place);
        bytes = cache.bits == 8;
        scale = bytes ? __uint_as_float(*words++) : 1.0f;
    }
    __device__ float at(unsigned i) const {
        if (bytes) return float(int8_t(words[i / 4] >> 8 * (i % 4)));
        return from_f16(uint16_t(words[i / 2] >> 16 * (i % 2)));
    }
};

// A warp writes a row.
__device__ inline void store(const Cache& cache, uint64_t to, size_t place, const float* values) {
    uint32_t* words = cache.words(to, place);
    const unsigned dim = cache.dim;
    if (cache.bits != 8) {
        for (unsigned i = lane(); i < (dim + 1) / 2; i += WARP) {
            uint32_t high = 2 * i + 1 < dim ? to_f16(values[2 * i + 1]) : 0;
            words[i] = to_f16(values[2 * i]) | high << 16;
        }
        return;
    }
    float largest = 0.0f;
    for (unsigned i = lane(); i < dim; i += WARP) largest = fmaxf(largest, fabsf(values[i]));
    largest = warp_max(largest);
    const float inverse = largest > 0.0f ? __fdiv_rn(127.0f, largest) : 0.0f;
    if (lane() == 0) words[0] = __float_as_uint(__fdiv_rn(largest, 127.0f));
    for (unsigned i = lane(); i < (dim + 3) / 4; i += WARP) {
        uint32_t packed = 0;
        for (unsigned b = 0; b < 4 && 4 * i + b < dim; b++) {
            packed |= (uint32_t(__float2int_rn(__fmul_rn(values[4 * i + b], inverse))) & 255) << 8 * b;
        }
        words[1 + i] = packed;
    }
}

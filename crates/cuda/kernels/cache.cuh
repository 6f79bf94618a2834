// Keys and values of a layer, `[kv head, slot, head_dim]` each: f16, or 8 bits and behind them all an f32 scale a row.
#pragma once

#include "base.cuh"

// Values that are read at once: rows are whole units, filled up with zeros.
constexpr unsigned UNIT = 8;

struct Cache {
    uint64_t keys, values;
    uint32_t heads, dim, slots, bits;

    __device__ unsigned units() const { return (dim + UNIT - 1) / UNIT; }
    __device__ unsigned row_words() const { return units() * bits / 4; }
    __device__ size_t place(unsigned head, unsigned slot) const { return size_t(head) * slots + slot; }
    __device__ uint32_t* words(uint64_t store, size_t place) const {
        return reinterpret_cast<uint32_t*>(store) + place * row_words();
    }
    // Of 8 bits alone.
    __device__ float* scales(uint64_t store) const {
        return reinterpret_cast<float*>(words(store, size_t(heads) * slots));
    }
    // What the numbers of a row are multiplied with.
    __device__ float scale(uint64_t store, size_t place) const { return bits == 8 ? scales(store)[place] : 1.0f; }
};

__device__ inline float2 unpack_pair(uint32_t halves) {
    return make_float2(from_f16(uint16_t(halves)), from_f16(uint16_t(halves >> 16)));
}

// Integers are put in front of 2 to the 23, which takes less time than a conversion.
__device__ inline float unpack_code(uint32_t biased, unsigned index) {
    return __fadd_rn(__uint_as_float((biased >> 8 * index & 255) | 0x4b000000), -8388736.0f);
}

__device__ inline float2 unpack_pair(uint16_t codes) {
    const uint32_t biased = codes ^ 0x8080;
    return make_float2(unpack_code(biased, 0), unpack_code(biased, 1));
}

__device__ inline void unpack(const uint4& halves, float (&values)[UNIT]) {
    const uint32_t words[] = {halves.x, halves.y, halves.z, halves.w};
    for (unsigned i = 0; i < 4; i++) {
        const float2 pair = unpack_pair(words[i]);
        values[2 * i] = pair.x, values[2 * i + 1] = pair.y;
    }
}

__device__ inline void unpack(const uint2& codes, float (&values)[UNIT]) {
    const uint32_t words[] = {codes.x ^ 0x80808080, codes.y ^ 0x80808080};
    for (unsigned i = 0; i < UNIT; i++) values[i] = unpack_code(words[i / 4], i % 4);
}

// A finite number: one that a row does not see is multiplied with zero.
__device__ inline uint32_t half_bits(float value) { return to_f16(fminf(fmaxf(value, -65504.0f), 65504.0f)); }

// Codes as halves, which they are exactly.
__device__ inline uint4 halves(const uint2& codes) {
    float values[UNIT];
    unpack(codes, values);
    uint32_t words[4];
    for (unsigned i = 0; i < 4; i++) words[i] = to_f16(values[2 * i]) | uint32_t(to_f16(values[2 * i + 1])) << 16;
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// A warp writes a row.
__device__ inline void store(const Cache& cache, uint64_t to, size_t place, const float* values) {
    uint32_t* words = cache.words(to, place);
    const unsigned dim = cache.dim;
    const auto at = [&](unsigned i) { return i < dim ? values[i] : 0.0f; };
    if (cache.bits != 8) {
        for (unsigned i = lane(); i < cache.row_words(); i += WARP) {
            words[i] = half_bits(at(2 * i)) | half_bits(at(2 * i + 1)) << 16;
        }
        return;
    }
    float largest = 0.0f;
    for (unsigned i = lane(); i < dim; i += WARP) largest = fmaxf(largest, fabsf(values[i]));
    largest = warp_max(largest);
    const float inverse = largest > 0.0f ? __fdiv_rn(127.0f, largest) : 0.0f;
    if (lane() == 0) cache.scales(to)[place] = __fdiv_rn(largest, 127.0f);
    for (unsigned i = lane(); i < cache.row_words(); i += WARP) {
        uint32_t packed = 0;
        for (unsigned b = 0; b < 4; b++) {
            packed |= (uint32_t(__float2int_rn(__fmul_rn(at(4 * i + b), inverse))) & 255) << 8 * b;
        }
        words[i] = packed;
    }
}

// A block copies rows.
__device__ inline void copy(const Cache& cache, uint64_t store, size_t from, size_t to, unsigned rows) {
    const auto each = [](auto* target, const auto* source, unsigned count) {
        for (unsigned i = threadIdx.x; i < count; i += THREADS) target[i] = source[i];
    };
    each(cache.words(store, to), cache.words(store, from), rows * cache.row_words());
    if (cache.bits == 8) each(cache.scales(store) + to, cache.scales(store) + from, rows);
}

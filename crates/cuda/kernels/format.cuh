// How weights are stored, and what 32 of them add to a product.
//
// A matrix is cut into panels of two rows, and a row into sixteen slots of consecutive groups of 32 values: half a warp has a
// row, each lane a slot. Group `i` of all slots of a panel lies together, so that a warp reads whole lines. A slot's groups are
// added in ascending order, then the slots: whatever kernel does so has the same bits.
#pragma once

#include "base.cuh"

constexpr unsigned GROUP = 32;
constexpr unsigned SLOTS = 16;
constexpr unsigned PANEL = 2;

enum Format : uint32_t { F32, F16, BF16, Q8_0, Q4_0, MXFP4, Q4_K, Q5_K, Q6_K };

struct Matrix {
    // Sixteen bytes a lane and plane: the low four bits of 32 values, or all of fewer.
    uint64_t codes;
    // Bits above four.
    uint64_t high;
    // A scale a group.
    uint64_t scales;
    // Scales of 256 values.
    uint64_t blocks;
    // f32 a row, or none.
    uint64_t bias;
    uint32_t format;
    uint32_t rows;
};

// Groups of a row, and of a slot.
__device__ inline unsigned row_groups(unsigned width) { return (width + GROUP - 1) / GROUP; }
__device__ inline unsigned slot_groups(unsigned width) { return (row_groups(width) + SLOTS - 1) / SLOTS; }

// Whether a product takes activations in eight bits.
__device__ inline bool rounds(uint32_t format) { return format >= Q8_0; }

// Where a group of 32 values is.
struct Place {
    // Panel and group of the slot.
    size_t step;
    // Row of the panel and slot.
    unsigned lane;
    size_t row;
    // Of the row, and how many it has.
    unsigned group, groups;

    __device__ size_t index() const { return step * WARP + lane; }
    __device__ size_t plane(unsigned plane, unsigned planes) const { return (step * planes + plane) * WARP + lane; }
    __device__ size_t block() const { return row * ((groups + 7) / 8) + group / 8; }
};

// 32 weights whose products with codes are integers: `scale * (factors * codes * a) - offset * (minima * a)`, where either
// half has its own factor and minimum.
struct Group {
    int words[8];
    float scale, offset;
    int factors[2], minima[2];
};

// 32 activations in eight bits: their sum in either half.
struct Rounded {
    int words[8];
    float scale;
    int sums[2];
};

__device__ inline void nibbles(const Matrix& m, const Place& place, int* words) {
    uint4 codes = load<uint4>(m.codes, place.index());
    uint32_t packed[4] = {codes.x, codes.y, codes.z, codes.w};
    for (int i = 0; i < 4; i++) {
        words[i] = packed[i] & 0x0f0f0f0f;
        words[i + 4] = packed[i] >> 4 & 0x0f0f0f0f;
    }
}

// Twice the value of a code of MXFP4.
__device__ inline int mxfp4(unsigned code) {
    int magnitude = 0xc8643210 >> 4 * (code & 7) & 15;
    return code & 8 ? -magnitude : magnitude;
}

// Half of two to the power of `exponent - 127`.
__device__ inline float mxfp4_scale(uint32_t exponent) {
    return __uint_as_float(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

// Six bits each of factor and minimum, in the twelve bytes behind two f16.
__device__ inline void k_scales(const uint4& header, unsigned group, int& factor, int& minimum) {
    unsigned shift = 8 * (group % 4);
    uint32_t low = header.y >> shift, high = header.z >> shift, rest = header.w >> shift;
    bool first = group % 8 < 4;
    factor = first ? low & 63 : (rest & 15) | (low >> 2 & 48);
    minimum = first ? high & 63 : (rest >> 4 & 15) | (high >> 2 & 48);
}

template <uint32_t FORMAT>
__device__ inline Group load_group(const Matrix& m, const Place& place) {
    Group g{};
    g.factors[0] = g.factors[1] = 1;
    if constexpr (FORMAT == Q8_0) {
        for (int half = 0; half < 2; half++) {
            uint4 codes = load<uint4>(m.codes, place.plane(half, 2));
            int* words = g.words + 4 * half;
            words[0] = codes.x, words[1] = codes.y, words[2] = codes.z, words[3] = codes.w;
        }
    } else {
        nibbles(m, place, g.words);
    }
    if constexpr (FORMAT == Q8_0 || FORMAT == Q4_0) g.scale = from_f16(load<uint16_t>(m.scales, place.index()));
    if constexpr (FORMAT == Q4_0) {
        g.offset = g.scale;
        g.minima[0] = g.minima[1] = 8;
    }
    if constexpr (FORMAT == MXFP4) {
        g.scale = mxfp4_scale(load<uint8_t>(m.scales, place.index()));
        for (int i = 0; i < 8; i++) {
            uint32_t word = 0;
            for (int shift = 0; shift < 32; shift += 8) {
                word |= (uint32_t(mxfp4(uint32_t(g.words[i]) >> shift & 15)) & 255) << shift;
            }
            g.words[i] = int(word);
        }
    }
    if constexpr (FORMAT == Q5_K) {
        uint32_t high = load<uint32_t>(m.high, place.index());
        for (int i = 0; i < 8; i++) g.words[i] |= int((high >> i & 0x01010101) << 4);
    }
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) {
        uint4 header = load<uint4>(m.blocks, place.block());
        g.scale = from_f16(uint16_t(header.x));
        g.offset = from_f16(uint16_t(header.x >> 16));
        k_scales(header, place.group, g.factors[0], g.minima[0]);
        g.factors[1] = g.factors[0];
        g.minima[1] = g.minima[0];
    }
    if constexpr (FORMAT == Q6_K) {
        uint2 high = load<uint2>(m.high, place.index());
        for (int i = 0; i < 4; i++) {
            g.words[i] |= int((high.x >> 2 * i & 0x03030303) << 4);
            g.words[i + 4] |= int((high.y >> 2 * i & 0x03030303) << 4);
        }
        uint32_t factors = load<uint16_t>(m.scales, place.index());
        g.factors[0] = int8_t(factors);
        g.factors[1] = int8_t(factors >> 8);
        g.minima[0] = 32 * g.factors[0];
        g.minima[1] = 32 * g.factors[1];
        g.scale = g.offset = from_f16(load<uint16_t>(m.blocks, place.block()));
    }
    return g;
}

// Adds the products of 32 weights and activations.
__device__ inline float add_group(const Group& g, const Rounded& a, float sum) {
    int dots[2] = {0, 0};
    for (int half = 0; half < 2; half++) {
        for (int i = 0; i < 4; i++) dots[half] = __dp4a(g.words[4 * half + i], a.words[4 * half + i], dots[half]);
    }
    int products = g.factors[0] * dots[0] + g.factors[1] * dots[1];
    int minima = g.minima[0] * a.sums[0] + g.minima[1] * a.sums[1];
    float value = __fmul_rn(g.scale, float(products));
    value = __fmaf_rn(-g.offset, float(minima), value);
    return __fmaf_rn(a.scale, value, sum);
}

// 32 weights as they are.
template <uint32_t FORMAT>
__device__ inline void load_floats(const Matrix& m, const Place& place, float* values) {
    constexpr unsigned PLANES = FORMAT == F32 ? 8 : 4, PER = GROUP / PLANES;
    for (unsigned plane = 0; plane < PLANES; plane++) {
        uint4 bits = load<uint4>(m.codes, place.plane(plane, PLANES));
        uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
        for (unsigned i = 0; i < PER; i++) {
            float& value = values[plane * PER + i];
            if constexpr (FORMAT == F32) value = __uint_as_float(words[i]);
            if constexpr (FORMAT == F16) value = from_f16(uint16_t(words[i / 2] >> 16 * (i % 2)));
            if constexpr (FORMAT == BF16) value = from_bf16(uint16_t(words[i / 2] >> 16 * (i % 2)));
        }
    }
}

// 32 weights of any format as numbers, for rows of an embedding.
template <uint32_t FORMAT>
__device__ inline void decode(const Matrix& m, const Place& place, float* values) {
    if constexpr (FORMAT == F32 || FORMAT == F16 || FORMAT == BF16) {
        load_floats<FORMAT>(m, place, values);
    } else {
        Group g = load_group<FORMAT>(m, place);
        for (int i = 0; i < int(GROUP); i++) {
            int code = g.words[i / 4] >> 8 * (i % 4);
            code = FORMAT == Q8_0 || FORMAT == MXFP4 ? int8_t(code) : uint8_t(code);
            float value = __fmul_rn(g.scale, float(g.factors[i / 16] * code));
            values[i] = __fmaf_rn(-g.offset, float(g.minima[i / 16]), value);
        }
    }
}

// Calls `f.run<FORMAT>()`.
template <class F>
__device__ inline void with_format(uint32_t format, F& f) {
    switch (format) {
        case F32: return f.template run<F32>();
        case F16: return f.template run<F16>();
        case BF16: return f.template run<BF16>();
        case Q8_0: return f.template run<Q8_0>();
        case Q4_0: return f.template run<Q4_0>();
        case MXFP4: return f.template run<MXFP4>();
        case Q4_K: return f.template run<Q4_K>();
        case Q5_K: return f.template run<Q5_K>();
        case Q6_K: return f.template run<Q6_K>();
    }
}

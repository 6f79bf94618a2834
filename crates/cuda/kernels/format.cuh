// How weights are stored, and what 32 of them add to a product.
//
// A matrix is cut into panels of two rows, and a row into sixteen slots of consecutive groups of 32 values: half a warp has a
// row, each lane a slot. Group `i` of all slots of a panel lies together, so that a warp reads whole lines. A slot's groups are
// added in ascending order, then the slots: whatever kernel does so has the same bits. Of a group only sums of products of codes
// are integers; its scales are f32.
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
    unsigned step;
    // Row of the panel and slot.
    unsigned lane;
    unsigned row;
    // Of the row, and how many it has.
    unsigned group, groups;

    __device__ unsigned index() const { return step * WARP + lane; }
    __device__ unsigned plane(unsigned plane, unsigned planes) const { return (step * planes + plane) * WARP + lane; }
    __device__ unsigned block() const { return row * ((groups + 7) / 8) + group / 8; }
};

// 32 weights: `scale * (code - offset) - minimum`, where either half has its own scale.
struct Group {
    int words[8];
    float scales[2], minimum;
};

// What is taken off the codes of a format.
__device__ constexpr int offset(uint32_t format) { return format == Q4_0 ? 8 : format == Q6_K ? 32 : 0; }

// A sum of integers that begins here is, as bits, a float of 1.5 * 2^23 more, so long as it stays below 2^22.
constexpr int WHOLE = 0x4b400000;

__device__ inline float whole(int sum) { return __fadd_rn(__uint_as_float(uint32_t(sum)), -12582912.0f); }

// 32 activations in eight bits, and the sums of both halves in sixteen bits each.
struct Rounded {
    int words[8];
    float scale;
    int sums;

    // Sums of the halves, each so many times.
    __device__ int sum(int first, int second) const {
        return __dp2a_lo(sums, (first & 255) | (second & 255) << 8, WHOLE);
    }
    __device__ int dot(const int* codes, int first, int count, int sum) const {
        for (int i = first; i < first + count; i++) sum = __dp4a(codes[i], words[i], sum);
        return sum;
    }
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

// Scales of a group, of which most formats have one, and its minimum, which few have.
template <uint32_t FORMAT>
__device__ inline void load_scales(const Matrix& m, const Place& place, float* scales, float& minimum) {
    minimum = 0.0f;
    if constexpr (FORMAT == Q8_0 || FORMAT == Q4_0) scales[0] = from_f16(load<uint16_t>(m.scales, place.index()));
    if constexpr (FORMAT == MXFP4) scales[0] = mxfp4_scale(load<uint8_t>(m.scales, place.index()));
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) {
        uint4 header = load<uint4>(m.blocks, place.block());
        int factor, least;
        k_scales(header, place.group, factor, least);
        scales[0] = __fmul_rn(from_f16(uint16_t(header.x)), float(factor));
        minimum = __fmul_rn(from_f16(uint16_t(header.x >> 16)), float(least));
    }
    if constexpr (FORMAT == Q6_K) {
        uint32_t factors = load<uint16_t>(m.scales, place.index());
        float scale = from_f16(load<uint16_t>(m.blocks, place.block()));
        scales[0] = __fmul_rn(scale, float(int8_t(factors)));
        scales[1] = __fmul_rn(scale, float(int8_t(factors >> 8)));
    } else {
        scales[1] = scales[0];
    }
}

template <uint32_t FORMAT>
__device__ inline Group load_group(const Matrix& m, const Place& place) {
    Group g{};
    if constexpr (FORMAT == Q8_0) {
        for (int half = 0; half < 2; half++) {
            uint4 codes = load<uint4>(m.codes, place.plane(half, 2));
            int* words = g.words + 4 * half;
            words[0] = codes.x, words[1] = codes.y, words[2] = codes.z, words[3] = codes.w;
        }
    } else {
        nibbles(m, place, g.words);
    }
    if constexpr (FORMAT == MXFP4) {
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
    if constexpr (FORMAT == Q6_K) {
        uint2 high = load<uint2>(m.high, place.index());
        for (int i = 0; i < 4; i++) {
            g.words[i] |= int((high.x >> 2 * i & 0x03030303) << 4);
            g.words[i + 4] |= int((high.y >> 2 * i & 0x03030303) << 4);
        }
    }
    load_scales<FORMAT>(m, place, g.scales, g.minimum);
    return g;
}

// Adds the products of 32 weights and activations.
template <uint32_t FORMAT>
__device__ inline float add_group(const Group& g, const Rounded& a, float sum) {
    constexpr int OFFSET = offset(FORMAT);
    float value;
    if constexpr (FORMAT == Q6_K) {
        value = __fmul_rn(g.scales[0], whole(a.dot(g.words, 0, 4, a.sum(-OFFSET, 0))));
        value = __fmaf_rn(g.scales[1], whole(a.dot(g.words, 4, 4, a.sum(0, -OFFSET))), value);
    } else {
        value = __fmul_rn(g.scales[0], whole(a.dot(g.words, 0, 8, OFFSET ? a.sum(-OFFSET, -OFFSET) : WHOLE)));
    }
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) value = __fmaf_rn(-g.minimum, whole(a.sum(1, 1)), value);
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
            values[i] = __fmaf_rn(g.scales[i / 16], float(code - offset(FORMAT)), -g.minimum);
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

// A group of a row as numbers.
struct DecodedGroup {
    const Matrix& matrix;
    Place place;
    float values[GROUP];

    __device__ DecodedGroup(const Matrix& matrix, unsigned row, unsigned group, unsigned width) : matrix(matrix) {
        const unsigned steps = slot_groups(width);
        place.step = size_t(row / PANEL) * steps + group % steps;
        place.lane = row % PANEL * SLOTS + group / steps;
        place.row = row;
        place.group = group;
        place.groups = row_groups(width);
        with_format(matrix.format, *this);
    }
    template <uint32_t FORMAT>
    __device__ void run() {
        decode<FORMAT>(matrix, place, values);
    }
};

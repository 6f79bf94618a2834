// How weights are stored, and what 32 of them add to a product.
//
// A matrix is cut into panels of two rows, and a row into sixteen slots of consecutive groups of 32 values: half a warp has a
// row, each lane a slot. Group `i` of all slots of a panel lies together, so that a warp reads whole lines. A slot's groups are
// added in ascending order, then the slots: whatever kernel does so has the same bits. Of a group only sums of products of codes
// are integers; its scales are f32. Matrices of floats lie as floats.cuh says.
#pragma once

#include "floats.cuh"

constexpr unsigned SLOTS = 16;
constexpr unsigned PANEL = 2;

struct Matrix {
    // Sixteen bytes a lane and plane: the low four bits of 32 values, or all of sixteen. Or floats.
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
__device__ constexpr bool rounds(uint32_t format) { return format >= Q8_0; }

// Where a group of 32 values is.
struct Place {
    // Among those of the matrix: step by step of its panels, 32 of a step, sixteen slots of either row.
    unsigned index;
    unsigned row;
    // Of the row, and how many it has.
    unsigned group, groups;

    __device__ unsigned plane(unsigned plane, unsigned planes) const {
        return index / WARP * planes * WARP + plane * WARP + index % WARP;
    }
    __device__ unsigned block() const { return row * row_blocks() + min(group, groups - 1) / 8; }
    __device__ unsigned last_block() const { return (row + 1) * row_blocks() - 1; }
    __device__ unsigned row_blocks() const { return (groups + 7) / 8; }
};

// Of a row and a slot, in the first step.
__device__ inline unsigned first_index(unsigned row, unsigned slot, unsigned steps) {
    return row / PANEL * steps * WARP + row % PANEL * SLOTS + slot;
}

// 32 weights: `scale * (code - offset) - minimum`, where either half has its own scale.
struct Group {
    int words[8];
    float scales[2], minimum;
};

// What is taken off the codes of a format.
__device__ constexpr int offset(uint32_t format) {
    return format == Q4_0 ? 8 : format == MXFP4 ? 16 : format == Q6_K ? 32 : 0;
}

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

// Planes of sixteen bytes a lane that a group's codes take.
__device__ constexpr unsigned planes(uint32_t format) { return format == Q8_0 ? 2 : 1; }

// A group as it lies in memory, without what it shares with its block of 256 values.
template <uint32_t FORMAT>
struct Packed {
    uint4 codes[planes(FORMAT)];
    uint2 high;
    uint32_t scale;
};

// Where the groups of a lane begin.
template <uint32_t FORMAT>
struct Lane {
    uint64_t codes, high, scales;

    __device__ Lane(const Matrix& m, const Place& first)
        : codes(m.codes + size_t(first.plane(0, planes(FORMAT))) * sizeof(uint4)),
          high(m.high + size_t(first.index) * (FORMAT == Q6_K ? 8 : 4)),
          scales(m.scales + size_t(first.index) * (FORMAT == MXFP4 ? 1 : 2)) {}

    __device__ void skip(unsigned steps) {
        codes += steps * planes(FORMAT) * WARP * sizeof(uint4);
        high += steps * WARP * (FORMAT == Q6_K ? 8 : 4);
        scales += steps * WARP * (FORMAT == MXFP4 ? 1 : 2);
    }
    // The group behind so many, if it is wanted.
    __device__ void fetch(Packed<FORMAT>& group, unsigned step, bool wanted) const {
        UNROLL for (unsigned i = 0; i < planes(FORMAT); i++) {
            load_once(group.codes[i], codes + (step * planes(FORMAT) + i) * WARP * sizeof(uint4), wanted);
        }
        if (!wanted) return;
        if constexpr (FORMAT == Q5_K) group.high.x = load_constant<uint32_t>(high, step * WARP);
        if constexpr (FORMAT == Q6_K) group.high = load_constant<uint2>(high, step * WARP);
        if constexpr (FORMAT == MXFP4) group.scale = load_constant<uint8_t>(scales, step * WARP);
        if constexpr (FORMAT == Q8_0 || FORMAT == Q4_0 || FORMAT == Q6_K) {
            group.scale = load_constant<uint16_t>(scales, step * WARP);
        }
    }
};

// What the groups of a block share.
template <uint32_t FORMAT>
__device__ inline uint4 fetch_block(const Matrix& m, unsigned block) {
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) return load_constant<uint4>(m.blocks, block);
    if constexpr (FORMAT == Q6_K) return make_uint4(load_constant<uint16_t>(m.blocks, block), 0, 0, 0);
    return make_uint4(0, 0, 0, 0);
}

// The same in numbers: scales of the block, and a byte a group of factors and minima.
struct BlockScales {
    float scale, minimum;
    uint32_t factors[2], minima[2];

    BlockScales() = default;
    // Two f16; then eight factors and eight minima of six bits in twelve bytes.
    __device__ explicit BlockScales(const uint4& header) {
        scale = from_f16(uint16_t(header.x));
        minimum = from_f16(uint16_t(header.x >> 16));
        factors[0] = header.y & 0x3f3f3f3f;
        minima[0] = header.z & 0x3f3f3f3f;
        factors[1] = (header.w & 0x0f0f0f0f) | (header.y >> 2 & 0x30303030);
        minima[1] = (header.w >> 4 & 0x0f0f0f0f) | (header.z >> 2 & 0x30303030);
    }
    // A group's byte, below 128: the bytes above it are copies of its sign.
    __device__ static float of(const uint32_t* bytes, unsigned group) {
        return float(int(permute(bytes[0], bytes[1], group % 8 * 0x1111 + 0x8880)));
    }
};

// Half of two to the power of `exponent - 127`.
__device__ inline float mxfp4_scale(uint32_t exponent) {
    return __uint_as_float(exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23);
}

// Scales of a group, of which most formats have one, and its minimum, which few have.
template <uint32_t FORMAT>
__device__ inline void unpack_scales(uint32_t bits, const BlockScales& block, unsigned group, float* scales, float& minimum) {
    minimum = 0.0f;
    if constexpr (FORMAT == Q8_0 || FORMAT == Q4_0) scales[0] = from_f16(uint16_t(bits));
    if constexpr (FORMAT == MXFP4) scales[0] = mxfp4_scale(bits);
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) {
        scales[0] = __fmul_rn(block.scale, BlockScales::of(block.factors, group));
        minimum = __fmul_rn(block.minimum, BlockScales::of(block.minima, group));
    }
    if constexpr (FORMAT == Q6_K) {
        scales[0] = __fmul_rn(block.scale, float(int8_t(bits)));
        scales[1] = __fmul_rn(block.scale, float(int8_t(bits >> 8)));
    } else {
        scales[1] = scales[0];
    }
}

// The same of a group where it lies.
template <uint32_t FORMAT>
__device__ inline void load_scales(const Matrix& m, const Place& place, float* scales, float& minimum) {
    uint32_t bits = 0;
    if constexpr (FORMAT == MXFP4) bits = load<uint8_t>(m.scales, place.index);
    if constexpr (FORMAT == Q8_0 || FORMAT == Q4_0 || FORMAT == Q6_K) bits = load<uint16_t>(m.scales, place.index);
    unpack_scales<FORMAT>(bits, BlockScales(fetch_block<FORMAT>(m, place.block())), place.group, scales, minimum);
}

// Sixteen more than twice the values of eight codes of MXFP4. One permutation finds those above zero and one those below: with its
// sign a selector finds a zero in the other's.
__device__ inline void mxfp4_codes(uint32_t codes, int* low, int* high) {
    uint32_t words[2];
    for (int half = 0; half < 2; half++) {
        const uint32_t above = permute(0x13121110, 0x1c181614, codes >> 16 * half);
        const uint32_t below = permute(0x0d0e0f10, 0x04080a0c, (codes ^ 0x88888888) >> 16 * half);
        words[half] = above | below;
    }
    *low = int(permute(words[0], words[1], 0x6420));
    *high = int(permute(words[0], words[1], 0x7531));
}

// What the blocks share that a lane's groups reach one after the other.
template <uint32_t FORMAT>
struct Blocks {
    const Matrix& matrix;
    unsigned next;
    const unsigned last;
    uint4 header;
    BlockScales scales;

    __device__ Blocks(const Matrix& m, const Place& first)
        : matrix(m), next(first.block()), last(first.last_block()), header(fetch_block<FORMAT>(m, next)), scales() {}

    // The next one, and asks for the one behind it.
    __device__ void advance() {
        scales = BlockScales(header);
        next = min(next + 1, last);
        header = fetch_block<FORMAT>(matrix, next);
    }
};

template <uint32_t FORMAT>
__device__ inline Group unpack(const Packed<FORMAT>& packed, const BlockScales& block, unsigned group) {
    Group g;
    unpack_scales<FORMAT>(packed.scale, block, group, g.scales, g.minimum);
    for (unsigned i = 0; i < 4; i++) {
        const uint4& codes = packed.codes[0];
        const uint32_t word = i == 0 ? codes.x : i == 1 ? codes.y : i == 2 ? codes.z : codes.w;
        int &low = g.words[i], &high = g.words[i + 4];
        if constexpr (FORMAT == Q8_0) {
            const uint4& rest = packed.codes[1];
            low = int(word);
            high = int(i == 0 ? rest.x : i == 1 ? rest.y : i == 2 ? rest.z : rest.w);
        } else if constexpr (FORMAT == MXFP4) {
            mxfp4_codes(word, &low, &high);
        } else {
            low = int(word & 0x0f0f0f0f);
            high = int(word >> 4 & 0x0f0f0f0f);
        }
        if constexpr (FORMAT == Q5_K) {
            low |= int((packed.high.x >> i & 0x01010101) << 4);
            high |= int(packed.high.x >> i & 0x10101010);
        }
        if constexpr (FORMAT == Q6_K) {
            low |= int((packed.high.x >> 2 * i & 0x03030303) << 4);
            high |= int((packed.high.y >> 2 * i & 0x03030303) << 4);
        }
    }
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

// 32 weights of any format as numbers, for rows of an embedding.
template <uint32_t FORMAT>
__device__ inline void decode(const Matrix& m, const Place& place, float* values) {
    if constexpr (!rounds(FORMAT)) {
        decode_floats<FORMAT>(m.codes, place.row, place.group, place.groups, values);
    } else {
        Packed<FORMAT> packed{};
        Lane<FORMAT>(m, place).fetch(packed, 0, true);
        const Group g = unpack<FORMAT>(packed, BlockScales(fetch_block<FORMAT>(m, place.block())), place.group);
        for (int i = 0; i < int(GROUP); i++) {
            int code = g.words[i / 4] >> 8 * (i % 4);
            code = FORMAT == Q8_0 ? int8_t(code) : uint8_t(code);
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
        place = {first_index(row, group / steps, steps) + group % steps * WARP, row, group, row_groups(width)};
        with_format(matrix.format, *this);
    }
    template <uint32_t FORMAT>
    __device__ void run() {
        decode<FORMAT>(matrix, place, values);
    }
};

// Weights that are floats, and products of them on tensor cores, to which they go in bf16 pieces.
//
// A matrix is cut into tiles of sixteen rows, whose groups of 32 values lie one behind the other. Lane `4 g + t` of a warp has values
// 8 t to 8 t + 7 of rows g and g + 8, in halves: a half of a group is what a lane gives tensor cores at once, first values 0 and 1 of
// both rows, then 2 and 3. Those of activations, 8 t to 8 t + 7 of column g, are in order.
#pragma once

#include "mma.cuh"

constexpr unsigned GROUP = 32;
// Rows of a tile of floats.
constexpr unsigned TILE_ROWS = 16;

enum Format : uint32_t { F32, F16, BF16, Q8_0, Q4_0, MXFP4, Q4_K, Q5_K, Q6_K };

// Bytes of a value, and bf16 that add up to it.
__device__ constexpr unsigned float_bytes(uint32_t format) { return format == F32 ? 4 : 2; }
__device__ constexpr unsigned pieces(uint32_t format) { return format == F32 ? 3 : format == F16 ? 2 : 1; }

// Bytes ahead of a lane's eight values of half a group.
template <uint32_t FORMAT>
__device__ inline size_t float_place(unsigned tile, unsigned group, unsigned groups, unsigned half, unsigned lane) {
    return (((size_t(tile) * groups + group) * 2 + half) * WARP + lane) * 8 * float_bytes(FORMAT);
}

// The upper halves of two floats: bf16, rounded towards zero.
__device__ inline uint32_t upper(float first, float second) {
    return permute(__float_as_uint(first), __float_as_uint(second), 0x7632);
}

__device__ inline float without_upper(float value) {
    return __fadd_rn(value, -__uint_as_float(__float_as_uint(value) & 0xffff0000));
}

// Eight values that lie together.
template <uint32_t FORMAT>
struct Eight {
    uint4 bits[float_bytes(FORMAT) / 2];

    __device__ void fetch(uint64_t from, bool wanted) {
        UNROLL for (unsigned i = 0; i < float_bytes(FORMAT) / 2; i++) load_once(bits[i], from + i * sizeof(uint4), wanted);
    }
    __device__ void values(float* to) const {
        UNROLL for (unsigned i = 0; i < float_bytes(FORMAT) / 2; i++) {
            const uint32_t words[4] = {bits[i].x, bits[i].y, bits[i].z, bits[i].w};
            UNROLL for (unsigned w = 0; w < 4; w++) {
                if constexpr (FORMAT == F32) {
                    to[4 * i + w] = __uint_as_float(words[w]);
                } else {
                    const uint16_t low = uint16_t(words[w]), high = uint16_t(words[w] >> 16);
                    to[2 * w] = FORMAT == F16 ? from_f16(low) : from_bf16(low);
                    to[2 * w + 1] = FORMAT == F16 ? from_f16(high) : from_bf16(high);
                }
            }
        }
    }
    // In bf16, from the largest to the smallest.
    __device__ void cut(uint4* to) const {
        if constexpr (FORMAT == BF16) {
            to[0] = bits[0];
        } else {
            float rest[8];
            values(rest);
            UNROLL for (unsigned i = 0; i < pieces(FORMAT); i++) {
                uint32_t words[4];
                UNROLL for (unsigned w = 0; w < 4; w++) words[w] = upper(rest[2 * w], rest[2 * w + 1]);
                to[i] = make_uint4(words[0], words[1], words[2], words[3]);
                UNROLL for (float& value : rest) value = without_upper(value);
            }
        }
    }
};

// Four values in bf16, to the nearest, and what is left of them.
struct SplitPart {
    uint2 first, second;

    __device__ explicit SplitPart(const float* values) {
        uint32_t words[2][2] = {};
        for (unsigned i = 0; i < 4; i++) {
            const uint16_t high = to_bf16(values[i]), low = to_bf16(__fadd_rn(values[i], -from_bf16(high)));
            words[0][i / 2] |= uint32_t(high) << 16 * (i % 2);
            words[1][i / 2] |= uint32_t(low) << 16 * (i % 2);
        }
        first = make_uint2(words[0][0], words[0][1]);
        second = make_uint2(words[1][0], words[1][1]);
    }
};

// Eight activations in two pieces.
struct Split {
    uint4 first, second;
};

// Adds the products of a group of sixteen rows, in both halves, and eight columns. What both sides leave out of their first pieces
// is too little to matter in a product.
template <uint32_t FORMAT>
__device__ inline void multiply(float* sums, const uint4 (&weights)[2][pieces(FORMAT)], const Split& column) {
    mma16(sums, weights[0][0], column.second.x, column.second.y);
    mma16(sums, weights[1][0], column.second.z, column.second.w);
    UNROLL for (unsigned i = pieces(FORMAT); i-- > 0;) {
        mma16(sums, weights[0][i], column.first.x, column.first.y);
        mma16(sums, weights[1][i], column.first.z, column.first.w);
    }
}

// Of a row, all 32 values of a group.
template <uint32_t FORMAT>
__device__ inline void decode_floats(uint64_t from, unsigned row, unsigned group, unsigned groups, float* to) {
    UNROLL for (unsigned eighth = 0; eighth < 8; eighth++) {
        const unsigned part = eighth / 2, half = eighth % 2;
        Eight<FORMAT> own{};
        own.fetch(from + float_place<FORMAT>(row / TILE_ROWS, group, groups, half, row % 8 * 4 + part), true);
        float values[8];
        own.values(values);
        const bool high = row % TILE_ROWS >= 8;
        UNROLL for (unsigned i = 0; i < 4; i++) to[4 * eighth + i] = high ? values[i / 2 * 4 + 2 + i % 2] : values[i / 2 * 4 + i % 2];
    }
}

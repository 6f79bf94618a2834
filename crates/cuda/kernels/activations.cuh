// Rows of activations in shared memory, as products read them: normed, and in eight bits or in pieces of bf16.
#pragma once

#include "format.cuh"

// Values in shared memory for the sums of a block.
constexpr unsigned ROOM = 2 * (THREADS / WARP);

// A row of activations as it is read: `x`, `[width]`, normed by the weights of an RMS norm or as it is.
struct ActivationRow {
    const float* x;
    const float* norm;
    unsigned width;
    float factor;

    // All threads of the block take part; `room` as for `block_sum`.
    __device__ ActivationRow(const float* x, unsigned width, const float* norm, float eps, float* room)
        : x(x), norm(norm), width(width), factor(1.0f) {
        if (!norm) return;
        float squares = 0.0f;
        for (unsigned i = threadIdx.x; i < width; i += THREADS) squares = __fmaf_rn(x[i], x[i], squares);
        factor = rms_factor(block_sum(squares, room), width, eps);
    }
    // Four of a group, the lane's of eight that have one; zeros behind the end.
    __device__ void load(unsigned group, float* values) const {
        for (unsigned i = 0; i < 4; i++) {
            unsigned at = group * GROUP + threadIdx.x % 8 * 4 + i;
            values[i] = 0.0f;
            if (at < width) values[i] = norm ? __fmul_rn(__fmul_rn(x[at], factor), norm[at]) : x[at];
        }
    }
};

// Where a group has the lane's part of eight: its first pieces, and behind all of those its second ones.
__device__ inline void put_split(const float* values, uint4* group, unsigned part) {
    const SplitPart own(values);
    uint2* to = reinterpret_cast<uint2*>(group);
    to[part] = own.first;
    to[8 + part] = own.second;
}

// What eight lanes make of a group, four values each: the codes of the lane's; scale, and sums of both halves in sixteen bits
// each, for the first lane.
struct RoundedPart {
    uint32_t codes;
    uint2 head;

    __device__ explicit RoundedPart(const float* values) {
        float largest = 0.0f;
        for (unsigned i = 0; i < 4; i++) largest = fmaxf(largest, fabsf(values[i]));
        for (int lanes = 4; lanes > 0; lanes /= 2) largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, lanes));
        float inverse = largest > 0.0f ? __fdiv_rn(127.0f, largest) : 0.0f;
        codes = 0;
        int sum = 0;
        for (unsigned i = 0; i < 4; i++) {
            int code = __float2int_rn(__fmul_rn(values[i], inverse));
            sum += code;
            codes |= (uint32_t(code) & 255) << 8 * i;
        }
        for (int lanes = 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(ALL, sum, lanes);
        int other = __shfl_xor_sync(ALL, sum, 4);
        uint32_t sums = (uint32_t(sum) & 0xffff) | uint32_t(other) << 16;
        head = make_uint2(__float_as_uint(__fdiv_rn(largest, 127.0f)), sums);
    }
};

// Rows in shared memory, one behind the other. A row has, for each step of the sixteen slots, two planes of codes and one of heads;
// then for each group both pieces of its values, and room that keeps columns apart.
struct Activations {
    unsigned width;
    bool rounded, split;
    unsigned columns;

    // Of a step, and of a group, in sixteen bytes.
    static constexpr unsigned HEADS = 2 * SLOTS, ROUNDED = HEADS + SLOTS / 2, SPLIT = 8;

    // Of a row, and of a slot.
    __device__ unsigned groups() const { return row_groups(width); }
    __device__ unsigned steps() const { return slot_groups(width); }
    __device__ unsigned rounded_size() const { return rounded ? steps() * ROUNDED : 0; }
    __device__ unsigned size() const { return rounded_size() + (split ? groups() * SPLIT + SPLIT / 2 : 0); }
    __device__ uint4* row(unsigned column) const { return shared_memory + column * size(); }

    __device__ int* codes(unsigned column, unsigned step, unsigned half, unsigned slot) const {
        return reinterpret_cast<int*>(row(column) + step * ROUNDED + half * SLOTS + slot);
    }
    // Scale, and the sums of both halves in sixteen bits each.
    __device__ uint2* scale(unsigned column, unsigned step, unsigned slot) const {
        return reinterpret_cast<uint2*>(row(column) + step * ROUNDED + HEADS) + slot;
    }
    // First pieces of a group; the second ones lie behind them.
    __device__ uint4* pieces(unsigned column, unsigned group) const { return row(column) + rounded_size() + group * SPLIT; }
    // Behind all rows: for the sums of a block, then what else a kernel needs.
    __device__ float* room() const { return reinterpret_cast<float*>(row(columns)); }

    // All threads of the block fill a row from `x`, `[width]`; `norm` has the weights of an RMS norm or is none.
    __device__ void fill(unsigned column, const float* x, const float* norm, float eps) const {
        const ActivationRow row(x, width, norm, eps, room() + column % 2 * (THREADS / WARP));
        // Eight lanes a group, four values each.
        const unsigned part = threadIdx.x % 8, steps = this->steps(), all = steps * SLOTS;
        for (unsigned first = threadIdx.x / WARP * 4; first < all; first += THREADS / 8) {
            unsigned group = first + lane() / 8, slot = group / steps, step = group % steps;
            float values[4];
            row.load(group, values);
            if (split && group < groups()) put_split(values, pieces(column, group), part);
            if (!rounded) continue;
            const RoundedPart own(values);
            if (group >= all) continue;
            codes(column, step, part / 4, slot)[part % 4] = int(own.codes);
            if (part == 0) *scale(column, step, slot) = own.head;
        }
    }

    // The same from rows in eight bits: codes and heads of its groups.
    __device__ void take(unsigned column, const uint4* from, const uint2* heads) const {
        const unsigned count = groups(), steps = this->steps();
        for (unsigned i = threadIdx.x; i < 2 * steps * SLOTS; i += THREADS) {
            const unsigned group = i / 2, half = i % 2, slot = group / steps, step = group % steps;
            row(column)[step * ROUNDED + half * SLOTS + slot] = group < count ? from[i] : make_uint4(0, 0, 0, 0);
            if (half == 0) *scale(column, step, slot) = group < count ? heads[group] : make_uint2(0, 0);
        }
    }
};

// A slot's groups of all rows.
struct Slot {
    const uint4* codes;
    const uint2* heads;
    // From one row to the next.
    unsigned row;

    __device__ Slot(const Activations& a, unsigned slot)
        : codes(a.row(0) + slot),
          heads(reinterpret_cast<const uint2*>(a.row(0) + Activations::HEADS) + slot),
          row(a.size()) {}

    __device__ void skip(unsigned steps) {
        codes += steps * Activations::ROUNDED;
        heads += steps * Activations::ROUNDED * 2;
    }
    // The group behind so many.
    __device__ Rounded rounded(unsigned column, unsigned step) const {
        const uint4* at = codes + column * row + step * Activations::ROUNDED;
        const uint4 low = at[0], high = at[SLOTS];
        const uint2 head = heads[(column * row + step * Activations::ROUNDED) * 2];
        return {{int(low.x), int(low.y), int(low.z), int(low.w), int(high.x), int(high.y), int(high.z), int(high.w)},
                __uint_as_float(head.x),
                int(head.y)};
    }
};

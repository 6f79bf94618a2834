// Weights as tensor cores take them: a lane has words `part` and `4 + part` of a group, where `part` is `lane % 4`.
#pragma once

#include "format.cuh"

// What the integers that stand for codes are multiplied with: those with an offset fill their bytes, so that taking it off flips
// the highest bit.
__device__ constexpr float unit(uint32_t format) {
    return format == Q4_0 ? 0.0625f : format == MXFP4 ? 0.125f : format == Q6_K ? 0.25f : 1.0f;
}

// Codes less their offset, in `unit`.
template <uint32_t FORMAT>
__device__ inline void load_words(const Matrix& m, const Place& place, unsigned part, int* words) {
    if constexpr (FORMAT == Q8_0) {
        for (int half = 0; half < 2; half++) words[half] = load<int>(m.codes, place.plane(half, 2) * 4 + part);
        return;
    }
    const uint32_t packed = load<uint32_t>(m.codes, place.index * 4 + part);
    if constexpr (FORMAT == Q4_0) {
        words[0] = int((packed << 4 & 0xf0f0f0f0) ^ 0x80808080);
        words[1] = int((packed & 0xf0f0f0f0) ^ 0x80808080);
    }
    if constexpr (FORMAT == MXFP4) {
        mxfp4_codes(packed, words, words + 1);
        for (int half = 0; half < 2; half++) words[half] = int(uint32_t(words[half]) << 3 ^ 0x80808080);
    }
    if constexpr (FORMAT == Q4_K || FORMAT == Q5_K) {
        words[0] = int(packed & 0x0f0f0f0f);
        words[1] = int(packed >> 4 & 0x0f0f0f0f);
    }
    if constexpr (FORMAT == Q5_K) {
        const uint32_t high = load<uint32_t>(m.high, place.index) >> part;
        words[0] |= int((high & 0x01010101) << 4);
        words[1] |= int(high & 0x10101010);
    }
    if constexpr (FORMAT == Q6_K) {
        const uint2 high = load<uint2>(m.high, place.index);
        words[0] = int(((packed << 2 & 0x3c3c3c3c) | (high.x << (6 - 2 * part) & 0xc0c0c0c0)) ^ 0x80808080);
        words[1] = int(((packed >> 2 & 0x3c3c3c3c) | (high.y << (6 - 2 * part) & 0xc0c0c0c0)) ^ 0x80808080);
    }
}

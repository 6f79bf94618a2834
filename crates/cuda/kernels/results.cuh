// What becomes of the results of products.
#pragma once

#include "base.cuh"

enum Action : uint32_t { STORE, ADD, GATE, LOGITS };

// Puts a result in its place; one of GATE is gated already.
__device__ inline void put(float* to, float value, uint32_t action, float scale, float cap) {
    if (action == ADD) value = __fadd_rn(*to, value);
    if (action == LOGITS) {
        value = __fmul_rn(value, scale);
        if (cap > 0.0f) value = __fmul_rn(cap, hyperbolic_tangent(__fdiv_rn(value, cap)));
    }
    *to = value;
}

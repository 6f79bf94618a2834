// What a library for products of matrices takes and gives: weights and activations in bf16, results in f32.
#include "activations.cuh"
#include "results.cuh"

struct WidenMatrix {
    Matrix matrix;
    // bf16 `[rows, stride]`, zeros behind the width.
    uint64_t out;
    uint32_t width, stride;
};

// A thread a group.
KERNEL(widen_matrix, WidenMatrix) {
    start_next();
    wait_for_last();
    const unsigned groups = row_groups(p.width);
    const size_t item = size_t(blockIdx.x) * THREADS + threadIdx.x;
    if (item >= size_t(p.matrix.rows) * groups) return;
    const unsigned row = unsigned(item / groups), group = unsigned(item % groups);
    const DecodedGroup decoded(p.matrix, row, group, p.width);
    uint16_t* out = reinterpret_cast<uint16_t*>(p.out) + size_t(row) * p.stride;
    UNROLL for (unsigned i = 0; i < GROUP; i++) {
        const unsigned at = group * GROUP + i;
        if (at < p.stride) out[at] = at < p.width ? to_bf16(decoded.values[i]) : 0;
    }
}

struct WidenRows {
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x, or none.
    uint64_t norm;
    // bf16 `[rows, stride]`, zeros behind the width.
    uint64_t out;
    uint32_t width, stride;
    float eps;
};

// A block a row, eight lanes a group.
KERNEL(widen_rows, WidenRows) {
    start_next();
    wait_for_last();
    const unsigned from = p.rows ? load<uint32_t>(p.rows, blockIdx.x) : blockIdx.x;
    const float* x = reinterpret_cast<const float*>(p.x) + size_t(from) * p.width;
    float* room = reinterpret_cast<float*>(shared_memory);
    const ActivationRow row(x, p.width, reinterpret_cast<const float*>(p.norm), p.eps, room);
    uint16_t* out = reinterpret_cast<uint16_t*>(p.out) + size_t(blockIdx.x) * p.stride;
    for (unsigned group = threadIdx.x / 8; group < row_groups(p.width); group += THREADS / 8) {
        float values[4];
        row.load(group, values);
        const unsigned at = group * GROUP + threadIdx.x % 8 * 4;
        for (unsigned i = 0; i < 4 && at + i < p.stride; i++) out[at + i] = to_bf16(values[i]);
    }
}

__device__ inline float biased(float value, const Matrix& matrix, unsigned row) {
    return matrix.bias ? __fadd_rn(value, load<float>(matrix.bias, row)) : value;
}

struct Finish {
    // Those that were multiplied: a gate and what it gates for GATE.
    Matrix matrices[3];
    // f32 `[columns, rows of all matrices]`
    uint64_t from;
    // f32 `[columns, stride]`
    uint64_t out;
    uint32_t count, action, from_stride, stride;
};

// A thread a result, blocks of a column side by side.
KERNEL(finish, Finish) {
    start_next();
    wait_for_last();
    const unsigned result = blockIdx.x * THREADS + threadIdx.x;
    unsigned row = result, index = 0;
    while (index < p.count && row >= p.matrices[index].rows) row -= p.matrices[index++].rows;
    if (index == p.count || (p.action == GATE && index > 0)) return;
    const float* from = reinterpret_cast<const float*>(p.from) + size_t(blockIdx.y) * p.from_stride;
    float value = biased(from[result], p.matrices[index], row);
    if (p.action == GATE) value = __fmul_rn(silu(value), biased(from[p.matrices[0].rows + row], p.matrices[1], row));
    put(reinterpret_cast<float*>(p.out) + size_t(blockIdx.y) * p.stride + result, value, p.action, 1.0f, 0.0f);
}

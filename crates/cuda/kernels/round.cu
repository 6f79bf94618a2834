// Rows of activations in eight bits, made once for all blocks that read them.
#include "activations.cuh"

struct RoundRows {
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x, or none.
    uint64_t norm;
    // int8 `[rows, groups * 32]`, zeros behind the end.
    uint64_t codes;
    // Scale, and the sums of both halves in sixteen bits each, `[rows, groups]`.
    uint64_t heads;
    uint32_t width;
    float eps;
};

// A block a row.
KERNEL(round_rows, RoundRows) {
    start_next();
    wait_for_last();
    const unsigned from = p.rows ? load<uint32_t>(p.rows, blockIdx.x) : blockIdx.x;
    const float* x = reinterpret_cast<const float*>(p.x) + size_t(from) * p.width;
    const ActivationRow row(x, p.width, reinterpret_cast<const float*>(p.norm), p.eps, reinterpret_cast<float*>(shared_memory));
    const unsigned part = threadIdx.x % 8, groups = row_groups(p.width);
    for (unsigned first = threadIdx.x / WARP * 4; first < groups; first += THREADS / 8) {
        const unsigned group = first + lane() / 8;
        float values[4];
        row.load(group, values);
        const RoundedPart rounded(values);
        if (group >= groups) continue;
        const size_t place = size_t(blockIdx.x) * groups + group;
        reinterpret_cast<uint32_t*>(p.codes)[place * 8 + part] = rounded.codes;
        if (part == 0) reinterpret_cast<uint2*>(p.heads)[place] = rounded.head;
    }
}

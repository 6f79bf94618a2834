// Rows of activations in eight bits, or in pieces of bf16, made once for all blocks that read them.
#include "activations.cuh"

struct Rows {
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x, or none.
    uint64_t norm;
    // int8 `[rows, groups * 32]`, zeros behind the end; or bf16 `[rows, groups, 2, 32]`, both pieces.
    uint64_t codes;
    // Scale, and the sums of both halves in sixteen bits each, `[rows, groups]`; or none.
    uint64_t heads;
    uint32_t width;
    float eps;
};

// A block a row, eight lanes a group: calls `each` with its place among all, the lane's four values, and whether there is one.
template <class Each>
__device__ void each_group(const Rows& p, Each each) {
    start_next();
    wait_for_last();
    const unsigned from = p.rows ? load<uint32_t>(p.rows, blockIdx.x) : blockIdx.x;
    const float* x = reinterpret_cast<const float*>(p.x) + size_t(from) * p.width;
    const ActivationRow row(x, p.width, reinterpret_cast<const float*>(p.norm), p.eps, reinterpret_cast<float*>(shared_memory));
    const unsigned groups = row_groups(p.width);
    for (unsigned first = threadIdx.x / WARP * 4; first < groups; first += THREADS / 8) {
        const unsigned group = first + lane() / 8;
        float values[4];
        row.load(group, values);
        each(size_t(blockIdx.x) * groups + group, values, group < groups);
    }
}

KERNEL(round_rows, Rows) {
    each_group(p, [&](size_t place, const float* values, bool inside) {
        const unsigned part = threadIdx.x % 8;
        const RoundedPart rounded(values);
        if (!inside) return;
        reinterpret_cast<uint32_t*>(p.codes)[place * 8 + part] = rounded.codes;
        if (part == 0) reinterpret_cast<uint2*>(p.heads)[place] = rounded.head;
    });
}

KERNEL(split_rows, Rows) {
    each_group(p, [&](size_t place, const float* values, bool inside) {
        if (inside) put_split(values, reinterpret_cast<uint4*>(p.codes) + place * Activations::SPLIT, threadIdx.x % 8);
    });
}

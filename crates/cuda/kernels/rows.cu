// What is done to rows apart from products.
#include "append.cuh"
#include "format.cuh"

struct Embed {
    Matrix matrix;
    uint64_t tokens;
    // f32 `[tokens, width]`
    uint64_t out;
    uint32_t width;
    float scale;
};

// A block a token, a thread a group.
KERNEL(embed, Embed) {
    start_next();
    wait_for_last();
    const unsigned token = load<uint32_t>(p.tokens, blockIdx.x);
    float* out = reinterpret_cast<float*>(p.out) + size_t(blockIdx.x) * p.width;
    if (token == NONE) {
        for (unsigned i = threadIdx.x; i < p.width; i += THREADS) out[i] = 0.0f;
        return;
    }
    for (unsigned group = threadIdx.x; group < row_groups(p.width); group += THREADS) {
        const DecodedGroup decoded(p.matrix, token, group, p.width);
        UNROLL for (unsigned i = 0; i < GROUP; i++) {
            const unsigned at = group * GROUP + i;
            if (at < p.width) out[at] = __fmul_rn(decoded.values[i], p.scale);
        }
    }
}

struct AddNormed {
    // f32 `[rows, width]`
    uint64_t from, x;
    // Weights of an RMS norm.
    uint64_t norm;
    uint32_t width;
    float eps;
};

// A block a row: `x += norm(from)`.
KERNEL(add_normed, AddNormed) {
    start_next();
    wait_for_last();
    const float* from = reinterpret_cast<const float*>(p.from) + size_t(blockIdx.x) * p.width;
    float* x = reinterpret_cast<float*>(p.x) + size_t(blockIdx.x) * p.width;
    float squares = 0.0f;
    for (unsigned i = threadIdx.x; i < p.width; i += THREADS) squares = __fmaf_rn(from[i], from[i], squares);
    squares = block_sum(squares, reinterpret_cast<float*>(shared_memory));
    const float factor = rms_factor(squares, p.width, p.eps);
    for (unsigned i = threadIdx.x; i < p.width; i += THREADS) {
        x[i] = __fadd_rn(x[i], __fmul_rn(__fmul_rn(from[i], factor), load<float>(p.norm, i)));
    }
}

// A warp a head of a row: norm, rotation, and where it belongs.
KERNEL(append, Append) {
    start_next();
    wait_for_last();
    const unsigned dim = p.cache.dim, heads = p.heads, all = heads + 2 * p.cache.heads;
    const unsigned item = blockIdx.x * (THREADS / WARP) + warp();
    if (item >= p.rows * all) return;
    const unsigned row = item / all, head = item % all;
    const float* from = reinterpret_cast<const float*>(p.qkv) + (size_t(row) * all + head) * dim;
    float* values = reinterpret_cast<float*>(shared_memory) + warp() * dim;
    const bool value = head >= heads + p.cache.heads;
    const uint64_t norm = value ? 0 : head < heads ? p.q_norm : p.k_norm;
    float squares = 0.0f;
    for (unsigned i = lane(); i < dim; i += WARP) squares = __fmaf_rn(from[i], from[i], squares);
    squares = warp_sum(squares);
    const float factor = rms_factor(squares, dim, p.eps);
    for (unsigned place = lane(); place < dim; place += WARP) {
        const unsigned i = value ? place : p.dimension(place);
        values[i] = norm ? __fmul_rn(__fmul_rn(from[place], factor), load<float>(norm, i)) : from[place];
    }
    __syncwarp();
    for (unsigned i = lane(); i < p.rotated / 2 && !value; i += WARP) {
        const float2 turn = p.turn(row, i);
        float& a = values[p.dimension(2 * i)];
        float& b = values[p.dimension(2 * i + 1)];
        const float x = a, y = b;
        a = turned(x, -y, turn);
        b = turned(y, x, turn);
    }
    __syncwarp();
    if (head < heads) {
        float* to = reinterpret_cast<float*>(p.q) + (size_t(row) * heads + head) * dim;
        for (unsigned i = lane(); i < dim; i += WARP) to[i] = values[i];
        return;
    }
    const unsigned slot = load<uint32_t>(p.slots, row);
    if (slot == NONE) return;
    store(p.cache, value ? p.cache.values : p.cache.keys, p.cache.place((head - heads) % p.cache.heads, slot), values);
}

// Pairs of blocks that a launch copies at most.
constexpr unsigned COPIED = 64;

struct CopyBlocks {
    Cache cache;
    // From and to, in order.
    uint2 pairs[COPIED];
    uint32_t count, block;
};

// A block a head: nothing else touches it.
KERNEL(copy_blocks, CopyBlocks) {
    start_next();
    wait_for_last();
    for (unsigned i = 0; i < p.count; i++) {
        const uint2 pair = p.pairs[i];
        const uint64_t stores[2] = {p.cache.keys, p.cache.values};
        for (uint64_t store : stores) {
            const size_t from = p.cache.place(blockIdx.x, pair.x * p.block);
            copy(p.cache, store, from, p.cache.place(blockIdx.x, pair.y * p.block), p.block);
        }
        __syncthreads();
    }
}

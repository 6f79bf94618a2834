// Products of matrices with few columns: a warp takes panels of two rows, one after the other.
#include "activations.cuh"
#include "append.cuh"
#include "results.cuh"

struct Matvec {
    // Results of one lie behind those of the other; a gate and what it gates for GATE.
    Matrix matrices[3];
    // f32 `[.., width]`, or codes of rows in eight bits, which have heads.
    uint64_t x, heads;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x, or none.
    uint64_t norm;
    // f32 `[columns, stride]`, or codes of rows in eight bits, which have heads: of GATE alone, with whole groups, and an even
    // number of turns.
    uint64_t out, out_heads;
    uint32_t count, action, width, columns, stride;
    // Panels of a warp.
    uint32_t turns;
    float eps, scale, cap;
    uint32_t padding;
};

// Groups that a lane has asked for ahead of the one it multiplies: 64 KiB or more of the sixteen warps of a multiprocessor.
__device__ constexpr unsigned ahead_of(uint32_t format) { return format == Q6_K ? 6 : 8 / planes(format); }

__device__ inline unsigned panels(const Matrix& m) { return (m.rows + PANEL - 1) / PANEL; }

// Products of a block, each of a panel with all columns.
template <unsigned COLUMNS>
struct Products {
    const Matvec& p;
    const unsigned first, columns, groups, steps;
    Activations activations;
    bool ready;
    // What the warp is at.
    const Matrix* matrix;
    unsigned panel;
    float sums[COLUMNS];

    __device__ explicit Products(const Matvec& p)
        : p(p),
          first(blockIdx.y * COLUMNS),
          columns(min(COLUMNS, p.columns - first)),
          groups(row_groups(p.width)),
          steps(slot_groups(p.width)),
          activations{steps, false, false, COLUMNS},
          ready(false) {
        for (unsigned i = 0; i < p.count; i++) {
            activations.rounded |= rounds(p.matrices[i].format);
            activations.floats |= !rounds(p.matrices[i].format);
        }
    }

    // Of the lane's row and the column of its slot's number.
    __device__ float of(const Matrix& matrix, unsigned panel) {
        this->matrix = &matrix;
        this->panel = panel;
        with_format(matrix.format, *this);
        const unsigned slot = lane() % SLOTS;
        unsigned row = lane() / SLOTS;
        float* room = this->room() + warp() * (PANEL * COLUMNS * SLOTS);
        for (unsigned c = 0; c < COLUMNS; c++) room[(row * COLUMNS + c) * SLOTS + slot] = sums[c];
        __syncwarp();
        float total = 0.0f;
        if (slot < COLUMNS) {
            const float* all = room + (row * COLUMNS + slot) * SLOTS;
            for (unsigned i = 0; i < SLOTS; i++) total = __fadd_rn(total, all[i]);
        }
        __syncwarp();
        row += panel * PANEL;
        return matrix.bias && row < matrix.rows ? __fadd_rn(total, load<float>(matrix.bias, row)) : total;
    }

    // For the sums of the warps' lanes, then for a group of results of each column.
    __device__ float* room() const { return activations.room() + ROOM; }
    __device__ float* results(unsigned column) const {
        return room() + WARPS * PANEL * COLUMNS * SLOTS + column * GROUP;
    }

    // Rounds the results, all of them together.
    __device__ void put_rounded(unsigned group) const {
        __syncthreads();
        const unsigned column = lane() / 8, part = lane() % 8;
        if (warp() == 0) {
            float values[4] = {};
            for (unsigned i = 0; i < 4 && column < columns; i++) values[i] = results(column)[part * 4 + i];
            const RoundedPart rounded(values);
            if (column < columns) {
                const size_t place = size_t(first + column) * (p.stride / GROUP) + group;
                reinterpret_cast<uint32_t*>(p.out)[place * 8 + part] = rounded.codes;
                if (part == 0) reinterpret_cast<uint2*>(p.out_heads)[place] = rounded.head;
            }
        }
        __syncthreads();
    }

    // Reads the activations, the first time: weights need not wait for those who compute them.
    __device__ void prepare() {
        if (ready) return;
        ready = true;
        wait_for_last();
        for (unsigned c = 0; c < columns; c++) {
            const unsigned row = p.rows ? load<uint32_t>(p.rows, first + c) : first + c;
            if (p.heads) {
                const size_t from = size_t(row) * groups;
                const uint4* codes = reinterpret_cast<const uint4*>(p.x) + 2 * from;
                activations.take(c, codes, reinterpret_cast<const uint2*>(p.heads) + from, groups);
            } else {
                const float* x = reinterpret_cast<const float*>(p.x) + size_t(row) * p.width;
                activations.fill(c, x, p.width, reinterpret_cast<const float*>(p.norm), p.eps);
            }
        }
        __syncthreads();
    }

    // The lane's slot of the panel. Groups behind the end of the row are zeros.
    template <uint32_t FORMAT>
    __device__ void run() {
        constexpr unsigned DEPTH = ahead_of(FORMAT);
        const unsigned slot = lane() % SLOTS;
        const Place place{panel * steps, lane(), panel * PANEL + lane() / SLOTS, slot * steps, groups};
        Lane<FORMAT> weights(*matrix, place);
        Packed<FORMAT> ahead[DEPTH]{};
        UNROLL for (unsigned i = 0; i < DEPTH; i++) weights.fetch(ahead[i], i, i < steps);
        Blocks<FORMAT> blocks(*matrix, place);
        prepare();
        Slot rows(activations, slot);
        for (unsigned c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
        for (unsigned begin = 0; begin < steps; begin += DEPTH) {
            UNROLL for (unsigned i = 0; i < DEPTH; i++) {
                const unsigned step = begin + i, group = place.group + step;
                if (step < steps) {
                    if (step == 0 || group % 8 == 0) blocks.advance();
                    add<FORMAT>(ahead[i], blocks.scales, group, rows, i);
                }
                weights.fetch(ahead[i], DEPTH + i, step + DEPTH < steps);
            }
            weights.skip(DEPTH);
            rows.skip(DEPTH);
        }
    }

    template <uint32_t FORMAT>
    __device__ void add(const Packed<FORMAT>& packed, const BlockScales& block, unsigned group, const Slot& rows, unsigned step) {
        if constexpr (rounds(FORMAT)) {
            const Group weights = unpack<FORMAT>(packed, block, group);
            for (unsigned c = 0; c < COLUMNS; c++) {
                if (COLUMNS > 1 && c >= columns) break;
                sums[c] = add_group<FORMAT>(weights, rows.rounded(c, step), sums[c]);
            }
        } else {
            float weights[GROUP];
            unpack_floats(packed, weights);
            UNROLL for (unsigned quad = 0; quad < GROUP / 4; quad++) {
                for (unsigned c = 0; c < COLUMNS; c++) {
                    if (COLUMNS > 1 && c >= columns) break;
                    const float4 a = rows.plain(c, step, quad);
                    sums[c] = __fmaf_rn(weights[4 * quad], a.x, sums[c]);
                    sums[c] = __fmaf_rn(weights[4 * quad + 1], a.y, sums[c]);
                    sums[c] = __fmaf_rn(weights[4 * quad + 2], a.z, sums[c]);
                    sums[c] = __fmaf_rn(weights[4 * quad + 3], a.w, sums[c]);
                }
            }
        }
    }
};

// What becomes of results: `(matrix, column, row of the matrix, row of all, result, whether it is one)`, of all lanes together.
template <unsigned COLUMNS, class Result>
__device__ void matvec(const Matvec& p, Result result) {
    start_next();
    Products<COLUMNS> products(p);
    // A gate has the panels of what it gates.
    const unsigned count = p.action == GATE ? 1 : p.count;
    for (unsigned turn = 0; turn < p.turns; turn++) {
        unsigned panel = (blockIdx.x * p.turns + turn) * WARPS + warp(), index = 0, start = 0;
        while (index < count && panel >= panels(p.matrices[index])) {
            panel -= panels(p.matrices[index]);
            start += p.matrices[index++].rows;
        }
        if (index == count) break;
        float value = 0.0f;
        for (unsigned i = index; i <= (p.action == GATE ? 1 : index); i++) {
            const float product = products.of(p.matrices[i], panel);
            value = i == index ? product : __fmul_rn(silu(value), product);
        }
        const unsigned row = panel * PANEL + lane() / SLOTS, column = lane() % SLOTS;
        const bool inside = row < p.matrices[index].rows && column < products.columns;
        if (p.out_heads) {
            if (inside) products.results(column)[row % GROUP] = value;
            if (turn % 2 == 1) products.put_rounded(row / GROUP);
        } else {
            result(index, products.first + column, row, start + row, value, inside);
        }
    }
    products.prepare();
}

template <unsigned COLUMNS>
__device__ void store_products(const Matvec& p) {
    matvec<COLUMNS>(p, [&](unsigned, unsigned column, unsigned, unsigned row, float value, bool inside) {
        if (!inside) return;
        put(reinterpret_cast<float*>(p.out) + size_t(column) * p.stride + row, value, p.action, p.scale, p.cap);
    });
}

struct Qkv {
    Matvec product;
    Append append;
};

// Queries, keys and values, which never lie anywhere else than attention reads them.
template <unsigned COLUMNS>
__device__ void append_products(const Qkv& p) {
    matvec<COLUMNS>(p.product, [&](unsigned matrix, unsigned column, unsigned row, unsigned, float value, bool inside) {
        append_result(p.append, matrix, column, row, value, inside);
    });
}

KERNEL_OF(2, matvec_1, Matvec) { store_products<1>(p); }
KERNEL_OF(2, matvec_4, Matvec) { store_products<4>(p); }
KERNEL_OF(2, qkv_1, Qkv) { append_products<1>(p); }
KERNEL_OF(2, qkv_4, Qkv) { append_products<4>(p); }

// Products of matrices with few columns: a warp takes panels of two rows, one after the other; those of a block are a tile of
// floats, of which each warp multiplies two slots.
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
// A call for every product, as older processors need it, leaves no registers for that.
__device__ constexpr unsigned ahead_of(uint32_t format) {
#if defined(__CUDACC__) && __CUDA_ARCH__ < 800
    if (!rounds(format)) return 1;
#endif
    return format == Q6_K ? 6 : rounds(format) ? 8 / planes(format) : 8 / float_bytes(format);
}

constexpr unsigned OWN_SLOTS = SLOTS / WARPS;
static_assert(TILE_ROWS == WARPS * PANEL && OWN_SLOTS == 2);

// All warps of a block are at the same matrix: the last ones may be behind its end.
__device__ inline unsigned panels(const Matrix& m) { return (m.rows + TILE_ROWS - 1) / TILE_ROWS * WARPS; }

// Products of a block, each of a panel with all columns.
template <unsigned COLUMNS>
struct Products {
    const Matvec& p;
    const unsigned first, columns;
    Activations activations;
    bool ready;
    // What the warp is at.
    const Matrix* matrix;
    unsigned panel;

    __device__ explicit Products(const Matvec& p)
        : p(p),
          first(blockIdx.y * COLUMNS),
          columns(min(COLUMNS, p.columns - first)),
          activations{p.width, false, false, COLUMNS},
          ready(false) {
        for (unsigned i = 0; i < p.count; i++) {
            activations.rounded |= rounds(p.matrices[i].format);
            activations.split |= !rounds(p.matrices[i].format);
        }
    }

    // Of the lane's row and the column of its slot's number.
    __device__ float of(const Matrix& matrix, unsigned panel) {
        this->matrix = &matrix;
        this->panel = panel;
        with_format(matrix.format, *this);
        const unsigned slot = lane() % SLOTS;
        unsigned row = lane() / SLOTS;
        float total = 0.0f;
        if (slot < COLUMNS) {
            const float* all = slots(warp(), row, slot);
            for (unsigned i = 0; i < SLOTS; i++) total = __fadd_rn(total, all[i]);
        }
        __syncwarp();
        row += panel * PANEL;
        return matrix.bias && row < matrix.rows ? __fadd_rn(total, load<float>(matrix.bias, row)) : total;
    }

    // For the sums of slots, then for a group of results of each column.
    __device__ float* room() const { return activations.room() + ROOM; }
    // Those of a row of a warp's panel.
    __device__ float* slots(unsigned warp, unsigned row, unsigned column) const {
        return room() + ((warp * PANEL + row) * COLUMNS + column) * SLOTS;
    }
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
                const size_t from = size_t(row) * row_groups(p.width);
                const uint4* codes = reinterpret_cast<const uint4*>(p.x) + 2 * from;
                activations.take(c, codes, reinterpret_cast<const uint2*>(p.heads) + from);
            } else {
                const float* x = reinterpret_cast<const float*>(p.x) + size_t(row) * p.width;
                activations.fill(c, x, reinterpret_cast<const float*>(p.norm), p.eps);
            }
        }
        __syncthreads();
    }

    // Leaves the sums of the panel's slots.
    template <uint32_t FORMAT>
    __device__ void run() {
        if constexpr (rounds(FORMAT)) {
            multiply_integers<FORMAT>();
        } else {
            multiply_floats<FORMAT>();
        }
    }

    // The lane's slot of the panel. Groups behind the end of the row are zeros.
    template <uint32_t FORMAT>
    __device__ void multiply_integers() {
        constexpr unsigned DEPTH = ahead_of(FORMAT);
        const unsigned groups = activations.groups(), steps = activations.steps();
        const unsigned slot = lane() % SLOTS;
        const Place place{panel * steps * WARP + lane(), panel * PANEL + lane() / SLOTS, slot * steps, groups};
        Lane<FORMAT> weights(*matrix, place);
        Packed<FORMAT> ahead[DEPTH]{};
        UNROLL for (unsigned i = 0; i < DEPTH; i++) weights.fetch(ahead[i], i, i < steps);
        Blocks<FORMAT> blocks(*matrix, place);
        prepare();
        Slot rows(activations, slot);
        float sums[COLUMNS] = {};
        for (unsigned begin = 0; begin < steps; begin += DEPTH) {
            UNROLL for (unsigned i = 0; i < DEPTH; i++) {
                const unsigned step = begin + i, group = place.group + step;
                if (step < steps) {
                    if (step == 0 || group % 8 == 0) blocks.advance();
                    const Group weights = unpack<FORMAT>(ahead[i], blocks.scales, group);
                    for (unsigned c = 0; c < COLUMNS; c++) {
                        if (COLUMNS > 1 && c >= columns) break;
                        sums[c] = add_group<FORMAT>(weights, rows.rounded(c, i), sums[c]);
                    }
                }
                weights.fetch(ahead[i], DEPTH + i, step + DEPTH < steps);
            }
            weights.skip(DEPTH);
            rows.skip(DEPTH);
        }
        for (unsigned c = 0; c < COLUMNS; c++) slots(warp(), lane() / SLOTS, c)[slot] = sums[c];
        __syncwarp();
    }

    // Two slots of the block's tile, one behind the other.
    template <uint32_t FORMAT>
    __device__ void multiply_floats() {
        constexpr unsigned DEPTH = ahead_of(FORMAT), HALF = WARP * 8 * float_bytes(FORMAT);
        const unsigned groups = activations.groups(), steps = activations.steps();
        const unsigned begin = min(OWN_SLOTS * warp() * steps, groups), middle = begin + steps, end = min(middle + steps, groups);
        uint64_t weights = matrix->codes + float_place<FORMAT>(panel / WARPS, begin, groups, 0, lane());
        Eight<FORMAT> ahead[DEPTH][2]{};
        const auto fetch = [&](Eight<FORMAT> (&to)[2], unsigned step, bool wanted) {
            UNROLL for (unsigned half = 0; half < 2; half++) to[half].fetch(weights + (2 * step + half) * HALF, wanted);
        };
        UNROLL for (unsigned i = 0; i < DEPTH; i++) fetch(ahead[i], i, begin + i < end);
        prepare();
        float sums[4] = {}, first[4] = {};
        const auto end_first = [&] {
            UNROLL for (unsigned r = 0; r < 4; r++) first[r] = sums[r], sums[r] = 0.0f;
        };
        for (unsigned at = begin; at < end; at += DEPTH) {
            UNROLL for (unsigned i = 0; i < DEPTH; i++) {
                const unsigned group = at + i;
                if (group < end) {
                    if (group == middle) end_first();
                    add<FORMAT>(ahead[i], group, sums);
                }
                fetch(ahead[i], DEPTH + i, group + DEPTH < end);
            }
            weights += 2 * DEPTH * HALF;
        }
        if (end <= middle) end_first();
        // Other warps may still read what was there.
        __syncthreads();
        UNROLL for (unsigned r = 0; r < 4; r++) {
            const unsigned row = lane() / 4 + r / 2 * 8, column = lane() % 4 * 2 + r % 2;
            if (column >= COLUMNS) continue;
            float* to = slots(row / PANEL, row % PANEL, column) + OWN_SLOTS * warp();
            to[0] = first[r];
            to[1] = sums[r];
        }
        __syncthreads();
    }

    // Adds a group.
    template <uint32_t FORMAT>
    __device__ void add(const Eight<FORMAT> (&weights)[2], unsigned group, float* sums) const {
        Split own{};
        const unsigned column = lane() / 4;
        if (column < columns) {
            const uint4* all = activations.pieces(column, group) + lane() % 4;
            own = {all[0], all[Activations::SPLIT / 2]};
        }
        uint4 pieces[2][::pieces(FORMAT)];
        UNROLL for (unsigned half = 0; half < 2; half++) weights[half].cut(pieces[half]);
        multiply<FORMAT>(sums, pieces, own);
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

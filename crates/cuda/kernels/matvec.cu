// Products of matrices with few columns: a warp takes a panel of two rows.
#include "activations.cuh"
#include "results.cuh"

struct Matvec {
    // Results of one lie behind those of the other; a gate and what it gates for GATE.
    Matrix matrices[3];
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x, or none.
    uint64_t norm;
    // f32 `[columns, stride]`.
    uint64_t out;
    uint32_t count, action, width, columns, stride;
    float eps, scale, cap;
};

// Rows of a panel, each with all columns.
template <unsigned COLUMNS>
struct Product {
    const Matrix& matrix;
    const Activations& activations;
    // For the sums of the warp's lanes, `[row, column, slot]`.
    float* room;
    unsigned panel, groups, columns;
    float sums[COLUMNS];
    // Of the lane's row and the column of its slot's number.
    float total;

    template <uint32_t FORMAT>
    __device__ void run() {
        for (unsigned c = 0; c < COLUMNS; c++) sums[c] = 0.0f;
        const unsigned slot = lane() % SLOTS, row = lane() / SLOTS, steps = activations.groups;
        const unsigned mine = slot * steps < groups ? min(steps, groups - slot * steps) : 0;
        for (unsigned step = 0; step < mine; step++) {
            Place place;
            place.step = size_t(panel) * steps + step;
            place.lane = lane();
            place.row = size_t(panel) * PANEL + row;
            place.group = slot * steps + step;
            place.groups = groups;
            add<FORMAT>(place, step, slot);
        }
        for (unsigned c = 0; c < COLUMNS; c++) room[(row * COLUMNS + c) * SLOTS + slot] = sums[c];
        __syncwarp();
        if (slot < COLUMNS) {
            const float* all = room + (row * COLUMNS + slot) * SLOTS;
            total = all[0];
            for (unsigned i = 1; i < SLOTS; i++) total = __fadd_rn(total, all[i]);
        }
        __syncwarp();
    }

    template <uint32_t FORMAT>
    __device__ void add(const Place& place, unsigned step, unsigned slot) {
        if constexpr (FORMAT == F32 || FORMAT == F16 || FORMAT == BF16) {
            float weights[GROUP];
            load_floats<FORMAT>(matrix, place, weights);
            for (unsigned c = 0; c < COLUMNS; c++) {
                if (c >= columns) break;
                for (unsigned i = 0; i < GROUP; i++) {
                    float a = activations.plain(c, step, i / 4, slot)[i % 4];
                    sums[c] = __fmaf_rn(weights[i], a, sums[c]);
                }
            }
        } else {
            Group group = load_group<FORMAT>(matrix, place);
            for (unsigned c = 0; c < COLUMNS; c++) {
                if (c >= columns) break;
                sums[c] = add_group<FORMAT>(group, activations.load(c, step, slot), sums[c]);
            }
        }
    }
};

__device__ inline unsigned panels(const Matrix& m) { return (m.rows + PANEL - 1) / PANEL; }

template <unsigned COLUMNS>
__device__ void matvec(const Matvec& p) {
    start_next();
    wait_for_last();
    Activations activations{slot_groups(p.width), false, false, COLUMNS};
    for (unsigned i = 0; i < p.count; i++) {
        activations.rounded |= rounds(p.matrices[i].format);
        activations.floats |= !rounds(p.matrices[i].format);
    }
    const unsigned first = blockIdx.y * COLUMNS, columns = min(COLUMNS, p.columns - first);
    for (unsigned c = 0; c < columns; c++) {
        unsigned row = p.rows ? load<uint32_t>(p.rows, first + c) : first + c;
        const float* x = reinterpret_cast<const float*>(p.x) + size_t(row) * p.width;
        activations.fill(c, x, p.width, reinterpret_cast<const float*>(p.norm), p.eps);
    }
    __syncthreads();

    // The warp's panel, and where its results begin.
    unsigned panel = blockIdx.x * (THREADS / WARP) + warp(), index = 0, start = 0;
    while (index < p.count && panel >= panels(p.matrices[index])) {
        if (p.action == GATE) return;
        panel -= panels(p.matrices[index]);
        start += p.matrices[index++].rows;
    }
    if (index == p.count) return;
    const unsigned groups = row_groups(p.width), row = panel * PANEL + lane() / SLOTS, column = lane() % SLOTS;
    const Matrix& matrix = p.matrices[index];
    float* room = activations.room() + ROOM + warp() * (PANEL * COLUMNS * SLOTS);
    Product<COLUMNS> product{matrix, activations, room, panel, groups, columns, {}, 0.0f};
    with_format(matrix.format, product);
    Product<COLUMNS> gated{p.matrices[1], activations, room, panel, groups, columns, {}, 0.0f};
    if (p.action == GATE) with_format(p.matrices[1].format, gated);
    if (row >= matrix.rows || column >= columns) return;
    float value = product.total;
    if (matrix.bias) value = __fadd_rn(value, load<float>(matrix.bias, row));
    if (p.action == GATE) {
        float other = gated.total;
        if (p.matrices[1].bias) other = __fadd_rn(other, load<float>(p.matrices[1].bias, row));
        value = __fmul_rn(silu(value), other);
    }
    float* to = reinterpret_cast<float*>(p.out) + size_t(first + column) * p.stride + start + row;
    put(to, value, p.action, p.scale, p.cap);
}

KERNEL(matvec_1, Matvec) { matvec<1>(p); }
KERNEL(matvec_4, Matvec) { matvec<4>(p); }

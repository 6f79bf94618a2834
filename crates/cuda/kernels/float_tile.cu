// Products of float matrices with many columns: a block takes 64 rows of a matrix and 64 columns, a thread four of each.
//
// Sums are those of products with few columns: of a slot in the order of its values, then of the slots.
#include "activations.cuh"
#include "results.cuh"

struct Factors {
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // f32 `[rows]`
    uint64_t out;
    uint32_t width;
    float eps;
};

// A block a row: what an RMS norm multiplies it with.
KERNEL(factors, Factors) {
    start_next();
    wait_for_last();
    const unsigned from = p.rows ? load<uint32_t>(p.rows, blockIdx.x) : blockIdx.x;
    const float* x = reinterpret_cast<const float*>(p.x) + size_t(from) * p.width;
    const ActivationRow row(x, p.width, x, p.eps, reinterpret_cast<float*>(shared_memory));
    if (threadIdx.x == 0) reinterpret_cast<float*>(p.out)[blockIdx.x] = row.factor;
}

struct FloatTile {
    // Results of one lie behind those of the other; a gate and what it gates for GATE.
    Matrix matrices[3];
    // f32 `[.., width]`.
    uint64_t x;
    // Which rows of x, or none for the first ones.
    uint64_t rows;
    // Weights of an RMS norm on x and what it multiplies rows with, or none.
    uint64_t norm, factors;
    // f32 `[columns, stride]`.
    uint64_t out;
    uint32_t count, action, width, columns, stride;
    float scale, cap;
    uint32_t padding;
};

// Rows and columns of a block, and of a thread; values of a row that a thread stages.
constexpr unsigned SIDE = 64, OWN_SIDE = 4, STAGED = SIDE * GROUP / THREADS;

// A group of all rows and columns, `[value, row or column]`, with room that keeps lanes apart.
struct FloatStage {
    float weights[GROUP][SIDE + 4], activations[GROUP][SIDE + 4];
};

struct FloatProduct {
    const FloatTile& p;
    FloatStage& stage;
    const Matrix* matrix;
    // Of the matrix.
    unsigned first_row;
    const unsigned first_column, groups, steps;
    float totals[OWN_SIDE][OWN_SIDE];

    __device__ FloatProduct(const FloatTile& p, FloatStage& stage)
        : p(p),
          stage(stage),
          matrix(nullptr),
          first_row(0),
          first_column(blockIdx.x * SIDE),
          groups(row_groups(p.width)),
          steps(slot_groups(p.width)) {}

    // Four threads have a row or column of the stage, eight values each.
    __device__ unsigned line() const { return threadIdx.x / (GROUP / STAGED); }
    __device__ unsigned part() const { return threadIdx.x % (GROUP / STAGED); }

    template <uint32_t FORMAT>
    __device__ void stage_weights(unsigned group) const {
        constexpr unsigned PER = GROUP / planes(FORMAT);
        const unsigned row = min(first_row + line(), matrix->rows - 1);
        const Place place{row / PANEL * steps + group % steps, row % PANEL * SLOTS + group / steps, row, group, groups};
        UNROLL for (unsigned i = 0; i < STAGED / PER; i++) {
            Packed<FORMAT> packed{};
            packed.codes[0] = load_constant<uint4>(matrix->codes, place.plane(part() * (STAGED / PER) + i, planes(FORMAT)));
            float values[GROUP];
            unpack_floats(packed, values);
            UNROLL for (unsigned v = 0; v < PER; v++) stage.weights[part() * STAGED + i * PER + v][line()] = values[v];
        }
    }

    __device__ void stage_activations(unsigned group) const {
        const unsigned column = min(first_column + line(), p.columns - 1);
        const unsigned row = p.rows ? load<uint32_t>(p.rows, column) : column;
        const float* x = reinterpret_cast<const float*>(p.x) + size_t(row) * p.width;
        const float factor = p.norm ? load<float>(p.factors, column) : 1.0f;
        UNROLL for (unsigned i = 0; i < STAGED; i++) {
            const unsigned value = part() * STAGED + i, at = group * GROUP + value;
            float activation = 0.0f;
            if (at < p.width) activation = p.norm ? __fmul_rn(__fmul_rn(x[at], factor), load<float>(p.norm, at)) : x[at];
            stage.activations[value][line()] = activation;
        }
    }

    __device__ void multiply(float (&sums)[OWN_SIDE][OWN_SIDE]) const {
        const unsigned row = threadIdx.x / (SIDE / OWN_SIDE) * OWN_SIDE, column = threadIdx.x % (SIDE / OWN_SIDE) * OWN_SIDE;
        for (unsigned i = 0; i < GROUP; i++) {
            const float4 w = *reinterpret_cast<const float4*>(&stage.weights[i][row]);
            const float4 a = *reinterpret_cast<const float4*>(&stage.activations[i][column]);
            const float ws[] = {w.x, w.y, w.z, w.w}, as[] = {a.x, a.y, a.z, a.w};
            UNROLL for (unsigned r = 0; r < OWN_SIDE; r++) {
                UNROLL for (unsigned c = 0; c < OWN_SIDE; c++) sums[r][c] = __fmaf_rn(ws[r], as[c], sums[r][c]);
            }
        }
    }

    template <uint32_t FORMAT>
    __device__ void run() {
        if constexpr (!rounds(FORMAT)) {
            float sums[OWN_SIDE][OWN_SIDE] = {};
            UNROLL for (auto& row : totals) {
                UNROLL for (float& total : row) total = 0.0f;
            }
            for (unsigned group = 0; group < groups; group++) {
                __syncthreads();
                stage_weights<FORMAT>(group);
                stage_activations(group);
                __syncthreads();
                multiply(sums);
                if ((group + 1) % steps > 0 && group + 1 < groups) continue;
                UNROLL for (unsigned r = 0; r < OWN_SIDE; r++) {
                    UNROLL for (unsigned c = 0; c < OWN_SIDE; c++) {
                        totals[r][c] = __fadd_rn(totals[r][c], sums[r][c]);
                        sums[r][c] = 0.0f;
                    }
                }
            }
            // Slots without a group add a zero, which a sum of negative zeros would show.
            if (groups <= (SLOTS - 1) * steps) {
                UNROLL for (auto& row : totals) {
                    UNROLL for (float& total : row) total = __fadd_rn(total, 0.0f);
                }
            }
        }
    }

    // The thread's results, with the matrix's biases.
    __device__ void of(const Matrix& matrix, unsigned first) {
        this->matrix = &matrix;
        first_row = first;
        with_format(matrix.format, *this);
        UNROLL for (unsigned r = 0; r < OWN_SIDE; r++) {
            const unsigned row = first + threadIdx.x / (SIDE / OWN_SIDE) * OWN_SIDE + r;
            if (!matrix.bias || row >= matrix.rows) continue;
            const float bias = load<float>(matrix.bias, row);
            UNROLL for (float& total : totals[r]) total = __fadd_rn(total, bias);
        }
    }
};

__device__ inline unsigned sides(const Matrix& m) { return (m.rows + SIDE - 1) / SIDE; }

KERNEL_OF(2, float_tile, FloatTile) {
    start_next();
    wait_for_last();
    unsigned index = 0, start = 0, block = blockIdx.y;
    while (p.action != GATE && block >= sides(p.matrices[index])) {
        block -= sides(p.matrices[index]);
        start += p.matrices[index++].rows;
    }
    FloatStage* stage = reinterpret_cast<FloatStage*>(shared_memory);
    FloatProduct product(p, *stage);
    float gates[OWN_SIDE][OWN_SIDE];
    product.of(p.matrices[index], block * SIDE);
    if (p.action == GATE) {
        UNROLL for (unsigned r = 0; r < OWN_SIDE; r++) {
            UNROLL for (unsigned c = 0; c < OWN_SIDE; c++) gates[r][c] = silu(product.totals[r][c]);
        }
        product.of(p.matrices[1], block * SIDE);
    }
    UNROLL for (unsigned r = 0; r < OWN_SIDE; r++) {
        UNROLL for (unsigned c = 0; c < OWN_SIDE; c++) {
            const unsigned row = block * SIDE + threadIdx.x / (SIDE / OWN_SIDE) * OWN_SIDE + r;
            const unsigned column = product.first_column + threadIdx.x % (SIDE / OWN_SIDE) * OWN_SIDE + c;
            if (row >= p.matrices[index].rows || column >= p.columns) continue;
            float value = product.totals[r][c];
            if (p.action == GATE) value = __fmul_rn(gates[r][c], value);
            float* to = reinterpret_cast<float*>(p.out) + size_t(column) * p.stride + start + row;
            put(to, value, p.action, p.scale, p.cap);
        }
    }
}

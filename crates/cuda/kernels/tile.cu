// Products of matrices with many columns, on tensor cores: a block takes 128 rows of a matrix and 64 columns.
//
// A warp has sixteen rows. A group of 32 values is one product of tiles, whose integers are then scaled and added in the order
// that format.cuh sets, so that results have the bits they have with few columns.
#include "activations.cuh"
#include "fragments.cuh"
#include "mma.cuh"
#include "results.cuh"

struct Tile {
    // Results of one lie behind those of the other; a gate and what it gates for GATE.
    Matrix matrices[3];
    // Rounded activations, as `round_rows` leaves them: `[columns, ..]`.
    uint64_t codes, heads;
    // f32 `[columns, stride]`.
    uint64_t out;
    uint32_t action, width, columns, stride;
    float scale, cap;
};

// Columns of a block, of which an mma takes sixteen; rows of a warp, of which it takes eight.
constexpr unsigned TILE_COLUMNS = 64, WARP_ROWS = 16;
// Groups that are staged together: as many heads of activations as threads.
constexpr unsigned STAGE = THREADS / TILE_COLUMNS;

// Activations of some groups.
struct Stage {
    // First and second half of a group.
    uint4 codes[STAGE][2][TILE_COLUMNS];
    // Scale, and the sum of the codes as f32.
    uint2 heads[STAGE][TILE_COLUMNS];
};

// Where a block finds its activations.
struct Columns {
    const uint4* codes;
    const uint2* heads;
    unsigned first, last, groups;

    // Begins to copy those of some groups. One that is not there is another, whose products go nowhere.
    __device__ void copy_to(Stage& stage, unsigned group) const {
        const unsigned column = threadIdx.x / STAGE, step = threadIdx.x % STAGE;
        const size_t place = size_t(min(first + column, last)) * groups + min(group + step, groups - 1);
        copy(&stage.codes[step][0][column], codes + place * 2);
        copy(&stage.codes[step][1][column], codes + place * 2 + 1);
        copy(&stage.heads[step][column], heads + place);
    }
    // Waits for what the thread copies.
    __device__ void finish(Stage& stage) const {
        copied();
        uint2& head = stage.heads[threadIdx.x % STAGE][threadIdx.x / STAGE];
        head.y = __float_as_uint(whole(__dp2a_lo(int(head.y), 0x0101, WHOLE)));
    }
};

// Sixteen rows, a warp's, with all columns of its block: `[t, j]` is what an mma adds to, sixteen columns by eight rows.
struct WarpTile {
    const Matrix& matrix;
    // The warp's first row; groups of a row, and of a slot.
    unsigned first, groups, steps;
    // The next group's slot, and its number there.
    unsigned slot, step;
    const Stage* stage;
    // Its first group, and the groups it has.
    unsigned group, count;
    float sums[TILE_COLUMNS / 16][2][4], totals[TILE_COLUMNS / 16][2][4];

    // Where the warp's row of a number has the group that so many follow.
    __device__ Place place(unsigned row, unsigned group, unsigned ahead) const {
        const bool next = step + ahead >= steps;
        Place place;
        place.row = min(first + row, matrix.rows - 1);
        place.step = place.row / PANEL * steps + (next ? step + ahead - steps : step + ahead);
        place.lane = place.row % PANEL * SLOTS + slot + next;
        place.group = group;
        place.groups = groups;
        return place;
    }

    // A stage, two groups at a time: half a warp has the scales of one each.
    template <uint32_t FORMAT>
    __device__ void run() {
        if constexpr (FORMAT >= Q8_0) {
            for (unsigned i = 0; i < count; i += 2) {
                const unsigned ahead = i + 1 < count ? lane() / WARP_ROWS : 0;
                float scales[2], minimum;
                load_scales<FORMAT>(matrix, place(lane() % WARP_ROWS, group + i + ahead, ahead), scales, minimum);
                const float scale = __fmul_rn(scales[0], unit(FORMAT));
                const float other = FORMAT == Q6_K ? __fmul_rn(scales[1], unit(FORMAT)) : -minimum;
                add<FORMAT>(i, 0, scale, other);
                if (i + 1 < count) add<FORMAT>(i + 1, WARP_ROWS, scale, other);
            }
        }
    }

    // A group, whose scales lie in the lanes behind `source`; the other is that of the second half, or the minimum.
    template <uint32_t FORMAT>
    __device__ void add(unsigned i, unsigned source, float scale, float other) {
        constexpr bool MINIMUM = FORMAT == Q4_K || FORMAT == Q5_K;
        int words[2][2];
        float scales[2][2], others[2][2], shifts[2][2];
        UNROLL for (unsigned j = 0; j < 2; j++) {
            load_words<FORMAT>(matrix, place(8 * j + lane() / 4, group + i, 0), lane() % 4, words[j]);
            UNROLL for (unsigned r = 0; r < 2; r++) {
                const unsigned from = source + 8 * j + lane() % 4 * 2 + r;
                scales[j][r] = __shfl_sync(ALL, scale, from);
                if (MINIMUM || FORMAT == Q6_K) others[j][r] = __shfl_sync(ALL, other, from);
                shifts[j][r] = __fmul_rn(scales[j][r], -12582912.0f);
            }
        }
        UNROLL for (unsigned t = 0; t < TILE_COLUMNS / 16; t++) {
            int a[4];
            load_rows(a, &stage->codes[i][0][16 * t], TILE_COLUMNS);
            float own[2], all[2];
            UNROLL for (unsigned c = 0; c < 2; c++) {
                const uint2 head = stage->heads[i][16 * t + 8 * c + lane() / 4];
                own[c] = __uint_as_float(head.x);
                all[c] = __uint_as_float(head.y);
            }
            UNROLL for (unsigned j = 0; j < 2; j++) {
                int dots[4] = {WHOLE, WHOLE, WHOLE, WHOLE}, rest[4] = {WHOLE, WHOLE, WHOLE, WHOLE};
                if constexpr (FORMAT == Q6_K) {
                    mma16(dots, a[0], a[1], words[j][0]);
                    mma16(rest, a[2], a[3], words[j][1]);
                } else {
                    mma32(dots, a, words[j]);
                }
                UNROLL for (unsigned r = 0; r < 4; r++) {
                    // The scale times the dot: what the dot began with goes away before anything is rounded.
                    float value = __fmaf_rn(scales[j][r % 2], __uint_as_float(uint32_t(dots[r])), shifts[j][r % 2]);
                    if (FORMAT == Q6_K) value = __fmaf_rn(others[j][r % 2], whole(rest[r]), value);
                    if (MINIMUM) value = __fmaf_rn(others[j][r % 2], all[r / 2], value);
                    sums[t][j][r] = __fmaf_rn(own[r / 2], value, sums[t][j][r]);
                }
            }
        }
        if (++step == steps || group + i + 1 == groups) end_slot();
    }

    __device__ void end_slot() {
        UNROLL for (unsigned t = 0; t < TILE_COLUMNS / 16; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                UNROLL for (unsigned r = 0; r < 4; r++) {
                    totals[t][j][r] = __fadd_rn(totals[t][j][r], sums[t][j][r]);
                    sums[t][j][r] = 0.0f;
                }
            }
        }
        step = 0;
        slot++;
    }

    // Calls `f` with totals, their rows, and their columns of the block.
    template <class F>
    __device__ void each(const F& f) {
        UNROLL for (unsigned t = 0; t < TILE_COLUMNS / 16; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                UNROLL for (unsigned r = 0; r < 4; r++) {
                    f(totals[t][j][r], first + 8 * j + lane() % 4 * 2 + r % 2, 16 * t + lane() / 4 + r / 2 * 8);
                }
            }
        }
    }
};

// Rows of a block.
constexpr unsigned TILE_ROWS = WARPS * WARP_ROWS;

__device__ inline unsigned row_blocks(const Matrix& m) { return (m.rows + TILE_ROWS - 1) / TILE_ROWS; }

KERNEL_OF(2, tile, Tile) {
    start_next();
    wait_for_last();
    // The warp's matrix and its first row there, and where the matrix's results begin. For GATE half of the warps have what is
    // gated.
    const bool gate = p.action == GATE;
    // The same in all lanes, which a compiler should see.
    const unsigned warp = __shfl_sync(ALL, threadIdx.x / WARP, 0);
    unsigned index = 0, start = 0, first = blockIdx.y * TILE_ROWS + warp * WARP_ROWS;
    if (gate) {
        index = warp / (WARPS / 2);
        first = blockIdx.y * (TILE_ROWS / 2) + warp % (WARPS / 2) * WARP_ROWS;
    } else {
        while (first >= row_blocks(p.matrices[index]) * TILE_ROWS) {
            first -= row_blocks(p.matrices[index]) * TILE_ROWS;
            start += p.matrices[index++].rows;
        }
    }
    const Matrix& matrix = p.matrices[index];
    const unsigned groups = row_groups(p.width);
    const Columns columns{reinterpret_cast<const uint4*>(p.codes), reinterpret_cast<const uint2*>(p.heads),
                          blockIdx.x * TILE_COLUMNS, p.columns - 1, groups};

    // While one stage is multiplied, the next is on its way.
    Stage* stages = reinterpret_cast<Stage*>(shared_memory);
    WarpTile product{matrix, first, groups, slot_groups(p.width), 0, 0, stages, 0, 0, {}, {}};
    columns.copy_to(stages[0], 0);
    for (unsigned group = 0; group < groups; group += STAGE) {
        Stage& stage = stages[group / STAGE % 2];
        columns.finish(stage);
        __syncthreads();
        if (group + STAGE < groups) columns.copy_to(stages[(group / STAGE + 1) % 2], group + STAGE);
        product.stage = &stage;
        product.group = group;
        product.count = min(STAGE, groups - group);
        if (first < matrix.rows) with_format(matrix.format, product);
    }

    product.each([&](float& total, unsigned row, unsigned) {
        if (matrix.bias && row < matrix.rows) total = __fadd_rn(total, load<float>(matrix.bias, row));
    });
    if (gate) {
        float* room = reinterpret_cast<float*>(shared_memory) + threadIdx.x % (THREADS / 2);
        __syncthreads();
        unsigned i = 0;
        if (index == 1) product.each([&](float total, unsigned, unsigned) { room[THREADS / 2 * i++] = total; });
        __syncthreads();
        if (index == 1) return;
        product.each([&](float& total, unsigned, unsigned) {
            total = __fmul_rn(silu(total), room[THREADS / 2 * i++]);
        });
    }
    product.each([&](float total, unsigned row, unsigned column) {
        column += blockIdx.x * TILE_COLUMNS;
        if (row >= matrix.rows || column >= p.columns) return;
        put(reinterpret_cast<float*>(p.out) + size_t(column) * p.stride + start + row, total, p.action, p.scale, p.cap);
    });
}

// Products of matrices with many columns, on tensor cores.
//
// A warp has sixteen rows of a matrix. A group of 32 values is one product of tiles, whose integers are then scaled and added in
// the order that format.cuh sets, so that results have the bits they have with few columns. Floats are added where they are
// multiplied.
#include "activations.cuh"
#include "fragments.cuh"
#include "results.cuh"

struct Tile {
    // Results of one lie behind those of the other; a gate and what it gates for GATE.
    Matrix matrices[3];
    // Rounded activations as `round_rows` leaves them, or pieces as `split_rows` does, which have no heads: `[columns, ..]`.
    uint64_t codes, heads;
    // f32 `[columns, stride]`.
    uint64_t out;
    uint32_t action, width, columns, stride;
    float scale, cap;
};

constexpr unsigned WARP_ROWS = 16;

// How the warps of a block share a product: of TILES times sixteen columns, and where PARTS of them, a team, have the same rows,
// each with slots of its own. And whether matrices are floats.
template <unsigned TILES_, unsigned PARTS_, bool FLOATS_>
struct Shape {
    static constexpr unsigned TILES = TILES_, PARTS = PARTS_;
    static constexpr bool FLOATS = FLOATS_;
    static constexpr unsigned COLUMNS = 16 * TILES, TEAMS = WARPS / PARTS, ROWS = TEAMS * WARP_ROWS;
    // Slots of a warp; groups of it that are staged together, whose weights are asked for at once.
    static constexpr unsigned OWN = SLOTS / PARTS, STAGED = (PARTS == 1 ? 2 : 4) / (FLOATS ? 2 : 1);
    // Groups of a stage, and of all its columns.
    static constexpr unsigned ENTRIES = PARTS * STAGED, COPIES = ENTRIES * COLUMNS;
    static_assert(COPIES <= THREADS && (FLOATS || COPIES % WARP == 0));
};

// Activations of some groups of every part.
template <class S, bool FLOATS = S::FLOATS>
struct Stage {
    // Threads that copy a group.
    static constexpr unsigned EACH = 1;
    // First and second half of a group.
    uint4 codes[S::ENTRIES][2][S::COLUMNS];
    // Scale, and the sum of the codes as f32.
    uint2 heads[S::ENTRIES][S::COLUMNS];

    // Begins to copy the thread's part of a group.
    __device__ void copy_from(const Tile& p, unsigned entry, unsigned column, size_t place, unsigned) {
        const uint4* from = reinterpret_cast<const uint4*>(p.codes) + 2 * place;
        copy(&codes[entry][0][column], from);
        copy(&codes[entry][1][column], from + 1);
        copy(&heads[entry][column], reinterpret_cast<const uint2*>(p.heads) + place);
    }
    // When a group is there.
    __device__ void finish(unsigned entry, unsigned column) {
        uint2& head = heads[entry][column];
        head.y = __float_as_uint(whole(__dp2a_lo(int(head.y), 0x0101, WHOLE)));
    }
};

template <class S>
struct Stage<S, true> {
    static constexpr unsigned EACH = Activations::SPLIT;
    // Both pieces of a group, four times eight values.
    uint4 pieces[S::ENTRIES][2][S::COLUMNS][4];

    __device__ void copy_from(const Tile& p, unsigned entry, unsigned column, size_t place, unsigned part) {
        copy(&pieces[entry][part / 4][column][part % 4], reinterpret_cast<const uint4*>(p.codes) + EACH * place + part);
    }
    __device__ void finish(unsigned, unsigned) {}
    // The lane's.
    __device__ Split of(unsigned entry, unsigned column) const {
        return {pieces[entry][0][column][lane() % 4], pieces[entry][1][column][lane() % 4]};
    }
};

// Where a block finds its activations.
template <class S>
struct Columns {
    const Tile& p;
    unsigned groups, steps;

    // Begins to copy. A group that is not there is another, whose products go nowhere.
    __device__ void copy_to(Stage<S>& stage, unsigned first) const {
        constexpr unsigned EACH = Stage<S>::EACH, ITEMS = EACH * S::COPIES;
        UNROLL for (unsigned begin = 0; begin < ITEMS; begin += THREADS) {
            const unsigned item = begin + threadIdx.x;
            if (ITEMS < THREADS && item >= ITEMS) break;
            const unsigned entry = item / EACH % S::ENTRIES, column = item / EACH / S::ENTRIES;
            const unsigned group = first + entry / S::STAGED * S::OWN * steps + entry % S::STAGED;
            const unsigned row = min(blockIdx.x * S::COLUMNS + column, p.columns - 1);
            stage.copy_from(p, entry, column, size_t(row) * groups + min(group, groups - 1), item % EACH);
        }
    }
    // Waits for what the thread copies.
    __device__ void finish(Stage<S>& stage) const {
        copied();
        if (threadIdx.x < S::COPIES) stage.finish(threadIdx.x % S::ENTRIES, threadIdx.x / S::ENTRIES);
    }
};

// A group of a row, and how far behind the row's first one it lies: its slot and 32 for every group of that ahead of it.
struct Cursor {
    unsigned group, offset;

    __device__ unsigned slot() const { return offset % WARP; }
    __device__ Cursor after(unsigned steps) const {
        const bool last = offset / WARP + 1 == steps;
        return {group + 1, last ? slot() + 1 : offset + WARP};
    }
};

// A warp's rows with all columns of its block: `[t, j]` is what an mma adds to, sixteen columns by eight rows; where they are floats,
// eight columns by sixteen rows.
template <class S>
struct WarpTile {
    const Matrix& matrix;
    // The warp's first row, of sixteen that are there; groups of a row, and of a slot.
    unsigned first, groups, steps;
    // Among those with other rows, and those with the same.
    unsigned team, part;
    Cursor next;
    // Of the lane's rows: of the first one whose codes it has, and of the one whose scales.
    unsigned words_at, scales_at;
    const Stage<S>* stage;
    // Groups that the stage has for the warp.
    unsigned count;
    float sums[S::TILES][2][4];

    // Adds a stage.
    template <uint32_t FORMAT>
    __device__ void run() {
        if (count == 0) return;
        if constexpr (!rounds(FORMAT) && S::FLOATS) {
            Eight<FORMAT> weights[S::STAGED][2];
            UNROLL for (unsigned i = 0; i < S::STAGED; i++) {
                const unsigned group = next.group + min(i, count - 1);
                UNROLL for (unsigned half = 0; half < 2; half++) {
                    const size_t place = float_place<FORMAT>(first / TILE_ROWS, group, groups, half, lane());
                    weights[i][half].fetch(matrix.codes + place, true);
                }
            }
            UNROLL for (unsigned i = 0; i < S::STAGED; i++) {
                if (i >= count) break;
                add_floats<FORMAT>(part * S::STAGED + i, weights[i]);
                go_on();
            }
        }
        if constexpr (rounds(FORMAT) && !S::FLOATS) {
            int words[S::STAGED][2][2];
            float scale[S::STAGED / 2], other[S::STAGED / 2];
            Cursor at = next;
            UNROLL for (unsigned i = 0; i < S::STAGED; i++) {
                const Cursor after = i + 1 < count ? at.after(steps) : at;
                UNROLL for (unsigned j = 0; j < 2; j++) {
                    const unsigned index = words_at + j * (8 / PANEL * WARP) * steps + at.offset;
                    load_words<FORMAT>(matrix, {index, 0, at.group, groups}, lane() % 4, words[i][j]);
                }
                // Half of the warp has the scales of this group, half those of the next.
                if (i % 2 == 0) {
                    const Cursor& own = lane() < WARP_ROWS ? at : after;
                    const Place place{scales_at + own.offset, first + lane() % WARP_ROWS, own.group, groups};
                    load_pair<FORMAT>(place, scale[i / 2], other[i / 2]);
                }
                at = after;
            }
            UNROLL for (unsigned i = 0; i < S::STAGED; i++) {
                if (i >= count) break;
                add<FORMAT>(part * S::STAGED + i, words[i], i % 2 * WARP_ROWS, scale[i / 2], other[i / 2]);
                go_on();
            }
        }
    }

    // The scale of a group, and that of its second half or its minimum.
    template <uint32_t FORMAT>
    __device__ void load_pair(const Place& place, float& scale, float& other) const {
        float scales[2], minimum;
        load_scales<FORMAT>(matrix, place, scales, minimum);
        scale = __fmul_rn(scales[0], unit(FORMAT));
        other = FORMAT == Q6_K ? __fmul_rn(scales[1], unit(FORMAT)) : -minimum;
    }

    // Adds a group, whose scales lie in the lanes behind `source`.
    template <uint32_t FORMAT>
    __device__ void add(unsigned entry, const int (&words)[2][2], unsigned source, float scale, float other) {
        constexpr bool MINIMUM = FORMAT == Q4_K || FORMAT == Q5_K;
        float scales[2][2], others[2][2], shifts[2][2];
        UNROLL for (unsigned j = 0; j < 2; j++) {
            UNROLL for (unsigned r = 0; r < 2; r++) {
                const unsigned from = source + 8 * j + lane() % 4 * 2 + r;
                scales[j][r] = __shfl_sync(ALL, scale, from);
                if (MINIMUM || FORMAT == Q6_K) others[j][r] = __shfl_sync(ALL, other, from);
                shifts[j][r] = __fmul_rn(scales[j][r], -12582912.0f);
            }
        }
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            int a[4];
            load_rows(a, &stage->codes[entry][0][16 * t], S::COLUMNS);
            float own[2], all[2];
            UNROLL for (unsigned c = 0; c < 2; c++) {
                const uint2 head = stage->heads[entry][16 * t + 8 * c + lane() / 4];
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
    }

    template <uint32_t FORMAT>
    __device__ void add_floats(unsigned entry, const Eight<FORMAT> (&weights)[2]) {
        uint4 pieces[2][::pieces(FORMAT)];
        UNROLL for (unsigned half = 0; half < 2; half++) weights[half].cut(pieces[half]);
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                multiply<FORMAT>(sums[t][j], pieces, stage->of(entry, 16 * t + 8 * j + lane() / 4));
            }
        }
    }

    // Behind a group.
    __device__ void go_on() {
        const unsigned slot = next.slot();
        next = next.after(steps);
        if (next.slot() != slot || next.group == groups) end_slot(slot);
    }

    // Where the lane has the sums of a slot until those ahead of it are added; a warp with all slots has their total.
    __device__ float4* room(unsigned team, unsigned slot, unsigned t, unsigned j) const {
        float4* rooms = reinterpret_cast<float4*>(shared_memory) + 2 * sizeof(Stage<S>) / sizeof(float4);
        if (S::PARTS == 1) slot = 0;
        return rooms + (((slot * S::TEAMS + team) * S::TILES + t) * 2 + j) * WARP + lane();
    }

    __device__ static float4 added(const float4& a, const float* b) {
        return make_float4(__fadd_rn(a.x, b[0]), __fadd_rn(a.y, b[1]), __fadd_rn(a.z, b[2]), __fadd_rn(a.w, b[3]));
    }

    __device__ void end_slot(unsigned slot) {
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                float4* to = room(team, slot, t, j);
                float* own = sums[t][j];
                *to = S::PARTS == 1 && slot > 0 ? added(*to, own) : make_float4(own[0], own[1], own[2], own[3]);
                own[0] = own[1] = own[2] = own[3] = 0.0f;
            }
        }
    }

    // Makes totals of the sums of all slots.
    __device__ void total() {
        const unsigned rooms = S::PARTS == 1 ? 1 : (groups + steps - 1) / steps;
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                float* own = sums[t][j];
                for (unsigned slot = 0; slot < rooms; slot++) {
                    const float4 all = added(*room(team, slot, t, j), own);
                    own[0] = all.x, own[1] = all.y, own[2] = all.z, own[3] = all.w;
                }
            }
        }
    }

    // Multiplies with what another team has left, for gates.
    __device__ void gate(unsigned team) {
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                const float4 other = *room(team, 0, t, j);
                const float others[4] = {other.x, other.y, other.z, other.w};
                UNROLL for (unsigned r = 0; r < 4; r++) sums[t][j][r] = __fmul_rn(silu(sums[t][j][r]), others[r]);
            }
        }
    }

    // Calls `f` with sums, their rows, and their columns of the block.
    template <class F>
    __device__ void each(const F& f) {
        UNROLL for (unsigned t = 0; t < S::TILES; t++) {
            UNROLL for (unsigned j = 0; j < 2; j++) {
                UNROLL for (unsigned r = 0; r < 4; r++) {
                    // Of what has sixteen, and of what has eight.
                    const unsigned of_sixteen = lane() / 4 + r / 2 * 8, of_eight = 8 * j + lane() % 4 * 2 + r % 2;
                    const unsigned row = S::FLOATS ? of_sixteen : of_eight, column = S::FLOATS ? of_eight : of_sixteen;
                    f(sums[t][j][r], first + row, 16 * t + column);
                }
            }
        }
    }
};

template <class S>
__device__ inline unsigned padded(const Matrix& m) {
    return (m.rows + S::ROWS - 1) / S::ROWS * S::ROWS;
}

template <class S>
__device__ void tile(const Tile& p) {
    start_next();
    wait_for_last();
    // The same in all lanes, which a compiler should see.
    const unsigned warp = __shfl_sync(ALL, threadIdx.x / WARP, 0), team = warp / S::PARTS, part = warp % S::PARTS;
    // The warp's matrix and its first row there, and where the matrix's results begin. For GATE half of the teams have what is
    // gated.
    const bool gate = p.action == GATE;
    unsigned index = 0, start = 0, first = blockIdx.y * S::ROWS + team * WARP_ROWS;
    if (gate) {
        index = team / (S::TEAMS / 2);
        first = blockIdx.y * (S::ROWS / 2) + team % (S::TEAMS / 2) * WARP_ROWS;
    } else {
        while (first >= padded<S>(p.matrices[index])) {
            first -= padded<S>(p.matrices[index]);
            start += p.matrices[index++].rows;
        }
    }
    const Matrix& matrix = p.matrices[index];
    const unsigned groups = row_groups(p.width), steps = slot_groups(p.width);
    // Of a part, and those of the warp's that are there.
    const unsigned span = min(S::OWN * steps, groups), begin = part * S::OWN * steps;
    const unsigned own = first < matrix.rows && begin < groups ? min(span, groups - begin) : 0;

    // While one stage is multiplied, the next is on its way.
    const Columns<S> columns{p, groups, steps};
    Stage<S>* stages = reinterpret_cast<Stage<S>*>(shared_memory);
    WarpTile<S> rows{matrix, first, groups, steps, team, part, {begin, part * S::OWN}, first_index(first + lane() / 4, 0, steps),
                     first_index(first + lane() % WARP_ROWS, 0, steps), stages, 0, {}};
    columns.copy_to(stages[0], 0);
    for (unsigned at = 0; at < span; at += S::STAGED) {
        Stage<S>& stage = stages[at / S::STAGED % 2];
        columns.finish(stage);
        __syncthreads();
        if (at + S::STAGED < span) columns.copy_to(stages[(at / S::STAGED + 1) % 2], at + S::STAGED);
        rows.stage = &stage;
        rows.count = at < own ? min(S::STAGED, own - at) : 0;
        with_format(matrix.format, rows);
    }
    __syncthreads();
    const bool last = part == 0;
    if (last && own > 0) rows.total();
    rows.each([&](float& value, unsigned row, unsigned) {
        if (matrix.bias && row < matrix.rows) value = __fadd_rn(value, load<float>(matrix.bias, row));
    });
    if (gate) {
        if (last && index == 1) rows.end_slot(0);
        __syncthreads();
        if (last && index == 0) rows.gate(team + S::TEAMS / 2);
    }
    if (!last || (gate && index == 1)) return;
    rows.each([&](float value, unsigned row, unsigned column) {
        column += blockIdx.x * S::COLUMNS;
        if (row >= matrix.rows || column >= p.columns) return;
        put(reinterpret_cast<float*>(p.out) + size_t(column) * p.stride + start + row, value, p.action, p.scale, p.cap);
    });
}

KERNEL_OF(2, tile_16, Tile) { tile<Shape<1, 4, false>>(p); }
KERNEL_OF(2, tile_64, Tile) { tile<Shape<4, 1, false>>(p); }
KERNEL_OF(2, float_tile_16, Tile) { tile<Shape<1, 4, true>>(p); }
KERNEL_OF(2, float_tile_64, Tile) { tile<Shape<4, 1, true>>(p); }

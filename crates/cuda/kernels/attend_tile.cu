// Attention of rows of longer sequences: a block takes rows of a tile and heads that share keys, and walks all splits in order.
#include "attention.cuh"

// Queries of a warp, and keys in shared memory at a time: a thread has eight queries and two keys.
constexpr unsigned OWN = 8, PIECE = 64;
constexpr unsigned MINE = PIECE / WARP;
// Rows of a tile at most.
constexpr unsigned TILE = 64;

struct AttendTile {
    Attend attend;
    // Of a block: rows, heads, and the queries they are at most.
    uint32_t rows, heads, queries, padding;
};

// What is kept of the splits before and what counts of one more; nothing does of one that a row does not see.
__device__ inline float2 join(Soft& soft, const Soft& more) {
    if (more.total == 0.0f) return make_float2(1.0f, 0.0f);
    const float largest = fmaxf(soft.largest, more.largest);
    const float2 factors = make_float2(decay(soft.largest, largest), decay(more.largest, largest));
    soft = {largest, join(soft.total, factors.x, more.total, factors.y)};
    return factors;
}

// Of a lane: halves in so many words.
template <unsigned EACH>
struct Outputs {
    alignas(2 * EACH) uint32_t words[EACH / 2];
};

template <unsigned EACH>
__device__ inline void unpack(const Outputs<EACH>& halves, float (&values)[EACH]) {
    for (unsigned i = 0; i < EACH / 2; i++) {
        const float2 pair = unpack_pair(halves.words[i]);
        values[2 * i] = pair.x, values[2 * i + 1] = pair.y;
    }
}

// What a block has of a tile: rows, heads and outputs; position and block table of the first row; the splits' keys, one by one.
struct TilePart {
    unsigned row, rows, head, heads, value, position, table, padding;
    Keys keys;
    // Of each query: its softmax so far, and what is kept and what counts when a split is joined.
    Soft soft[WARPS * OWN];
    float2 factors[WARPS * OWN];

    // Blocks on one tile count by outputs, then heads, then rows.
    __device__ void read(const AttendTile& params, unsigned item, unsigned values) {
        const Attend& p = params.attend;
        const uint2 work = load<uint2>(p.work, item);
        const unsigned slices = (p.cache.dim + values - 1) / values, index = blockIdx.z / slices;
        const unsigned parts = (p.group() + params.heads - 1) / params.heads, first = index / parts * params.rows;
        value = blockIdx.z % slices * values;
        head = index % parts * params.heads, heads = min(params.heads, p.group() - head);
        row = work.x + first, rows = first < work.y ? min(params.rows, work.y - first) : 0;
        if (rows > 0) position = load<uint32_t>(p.positions, row), table = load<uint32_t>(p.tables, row);
    }
};

// A block on its part of a tile; `EACH` outputs of every query are a lane's.
template <unsigned EACH>
struct TileBlock {
    const Attend& p;
    // In shared memory: weights of queries, the queries, and a piece of keys or values as halves.
    TilePart& tile;
    float *weights, *q;
    uint4* piece;

    // Outputs of a block, and units from one row of a piece to the next: one more than it has, so that lanes read side by side.
    static constexpr unsigned VALUES = EACH * WARP, VALUE_STRIDE = VALUES / UNIT + 1;
    __device__ unsigned key_stride() const { return units() + 1; }
    __device__ unsigned units() const { return p.cache.units(); }
    __device__ unsigned value_units() const { return min(units() - tile.value / UNIT, VALUES / UNIT); }
    __device__ bool works() const { return warp() * OWN < tile.rows * tile.heads; }
    // Of a query of the warp; the last one where there are fewer.
    __device__ unsigned query(unsigned i) const { return min(warp() * OWN + i, tile.rows * tile.heads - 1); }
    __device__ size_t head_of(unsigned query) const {
        return size_t(tile.row + query / tile.heads) * p.heads + blockIdx.y * p.group() + tile.head + query % tile.heads;
    }

    // As `[warp, unit, query, UNIT]`.
    __device__ void load_queries() const {
        const unsigned width = units() * UNIT, warps = (tile.rows * tile.heads + OWN - 1) / OWN;
        for (unsigned i = threadIdx.x; i < warps * OWN * width; i += THREADS) {
            const unsigned n = i / UNIT % OWN, at = i / (UNIT * OWN) % units() * UNIT + i % UNIT;
            const unsigned query = min(i / (OWN * width) * OWN + n, tile.rows * tile.heads - 1);
            q[i] = at < p.cache.dim ? load<float>(p.q, head_of(query) * p.cache.dim + at) : 0.0f;
        }
    }

    // Units of a piece's rows from the first one on.
    __device__ void stage(uint64_t store, unsigned first, unsigned unit, unsigned count, unsigned stride) const {
        __syncthreads();
#pragma unroll 4
        for (unsigned i = threadIdx.x; i < PIECE * count; i += THREADS) {
            const unsigned key = i / count, at = i % count;
            const uint32_t* row = p.cache.words(store, p.cache.place(blockIdx.y, tile.keys.slots[first + key]));
            piece[key * stride + at] = p.cache.bits == 8
                                         ? halves(reinterpret_cast<const uint2*>(row)[unit + at])
                                         : reinterpret_cast<const uint4*>(row)[unit + at];
        }
        __syncthreads();
    }

    // A score of a query of the warp, and later its weight: a lane has every 32nd key.
    __device__ float& score(unsigned n, unsigned i) const {
        return weights[(warp() * OWN + n) * SPLIT + i * WARP + lane()];
    }

    // Scores of the warp's queries with the lane's keys of a piece.
    __device__ void multiply(unsigned index) const {
        const float4* own = reinterpret_cast<const float4*>(q) + warp() * units() * (OWN * UNIT / 4);
        const uint4* keys = piece + lane() * key_stride();
        float scores[OWN][MINE] = {};
#pragma unroll 1
        for (unsigned part = 0; part < PARTS; part++) {
            float sums[OWN][MINE] = {};
            for (unsigned unit = part; unit < units(); unit += PARTS) {
                float k[MINE][UNIT];
                for (unsigned i = 0; i < MINE; i++) unpack(keys[i * WARP * key_stride() + unit], k[i]);
                for (unsigned n = 0; n < OWN; n++) {
                    for (unsigned half = 0; half < 2; half++) {
                        const float4 x = own[(unit * OWN + n) * 2 + half];
                        for (unsigned i = 0; i < MINE; i++) sums[n][i] = multiply_add(x, k[i] + 4 * half, sums[n][i]);
                    }
                }
            }
            for (unsigned n = 0; n < OWN; n++) {
                for (unsigned i = 0; i < MINE; i++) scores[n][i] = __fadd_rn(scores[n][i], sums[n][i]);
            }
        }
        for (unsigned n = 0; n < OWN; n++) {
            for (unsigned i = 0; i < MINE; i++) score(n, index * MINE + i) = scores[n][i];
        }
    }

    // Scores of a split become weights, and the softmax of the warp's queries goes on.
    __device__ void weigh(unsigned split) const {
#pragma unroll 1
        for (unsigned n = 0; n < OWN; n++) {
            const unsigned at = tile.position + query(n) / tile.heads;
            float scores[PARTS];
            for (unsigned i = 0; i < PARTS; i++) scores[i] = __fmul_rn(score(n, i), tile.keys.keys[i * WARP + lane()]);
            const Soft soft = soften(scores, within(p.first(at), split), within(at + 1, split));
            for (unsigned i = 0; i < PARTS; i++) {
                score(n, i) = __fmul_rn(scores[i], tile.keys.values[i * WARP + lane()]);
            }
            if (lane() == 0) tile.factors[warp() * OWN + n] = join(tile.soft[warp() * OWN + n], soft);
        }
        __syncwarp();
    }

    // Adds what one quarter of a split's keys comes to, which is the piece's quarter of another number.
    __device__ void add(float (&totals)[OWN][EACH], unsigned part) const {
        constexpr unsigned AHEAD = 2;
        const float2* own = reinterpret_cast<const float2*>(weights + warp() * OWN * SPLIT + part * WARP);
        const Outputs<EACH>* rows = reinterpret_cast<const Outputs<EACH>*>(piece + part % MINE * WARP * VALUE_STRIDE) + lane();
        float sums[OWN][EACH] = {};
        for (unsigned key = 0; key < WARP; key += AHEAD) {
            float v[AHEAD][EACH];
            for (unsigned i = 0; i < AHEAD; i++) unpack(rows[(key + i) * (VALUE_STRIDE * UNIT / EACH)], v[i]);
            for (unsigned n = 0; n < OWN; n++) {
                const float2 weight = own[n * (SPLIT / 2) + key / 2];
                for (unsigned d = 0; d < EACH; d++) sums[n][d] = __fmaf_rn(weight.x, v[0][d], sums[n][d]);
                for (unsigned d = 0; d < EACH; d++) sums[n][d] = __fmaf_rn(weight.y, v[1][d], sums[n][d]);
            }
        }
        for (unsigned n = 0; n < OWN; n++) {
            for (unsigned d = 0; d < EACH; d++) totals[n][d] = __fadd_rn(totals[n][d], sums[n][d]);
        }
    }

    __device__ void run() const {
        const unsigned seen = p.first(tile.position), behind = tile.position + tile.rows;
        float outputs[OWN][EACH] = {};
        load_queries();
        if (threadIdx.x < WARPS * OWN) tile.soft[threadIdx.x] = {LOWEST, 0.0f};
        for (unsigned split = seen / SPLIT; split * SPLIT < behind; split++) {
            const unsigned first = within(seen, split), end = within(behind, split);
            const auto skipped = [&](unsigned index) { return index * PIECE >= end || (index + 1) * PIECE <= first; };
            __syncthreads();
            tile.keys.find(p, tile.table, split, seen, behind);
            for (unsigned index = 0; index < SPLIT / PIECE; index++) {
                if (skipped(index)) continue;
                stage(p.cache.keys, index * PIECE, 0, units(), key_stride());
                if (works()) multiply(index);
            }
            if (works()) weigh(split);
            float totals[OWN][EACH] = {};
            for (unsigned index = 0; index < SPLIT / PIECE; index++) {
                if (skipped(index)) continue;
                stage(p.cache.values, index * PIECE, tile.value / UNIT, value_units(), VALUE_STRIDE);
                for (unsigned i = 0; i < MINE && works(); i++) add(totals, index * MINE + i);
            }
            for (unsigned n = 0; n < OWN && works(); n++) {
                const float2 factors = tile.factors[warp() * OWN + n];
                for (unsigned d = 0; d < EACH && factors.y > 0.0f; d++) {
                    outputs[n][d] = join(outputs[n][d], factors.x, totals[n][d], factors.y);
                }
            }
        }
        for (unsigned n = 0; n < OWN && warp() * OWN + n < tile.rows * tile.heads; n++) {
            const float total = tile.soft[warp() * OWN + n].total;
            float* y = reinterpret_cast<float*>(p.y) + head_of(query(n)) * p.cache.dim;
            for (unsigned d = 0; d < EACH; d++) {
                const unsigned value = tile.value + lane() * EACH + d;
                if (value < p.cache.dim) y[value] = __fdiv_rn(outputs[n][d], total);
            }
        }
    }
};

template <unsigned EACH>
__device__ void attend_tile(const AttendTile& params) {
    start_next();
    wait_for_last();
    const Attend& p = params.attend;
    TilePart* tile = reinterpret_cast<TilePart*>(shared_memory);
    float* weights = reinterpret_cast<float*>(tile + 1);
    float* q = weights + params.queries * SPLIT;
    uint4* piece = reinterpret_cast<uint4*>(q + params.queries * p.cache.units() * UNIT);
    const TileBlock<EACH> block{p, *tile, weights, q, piece};
    const unsigned start = load<uint32_t>(p.range, 0) + blockIdx.x;
    for (unsigned i = start; i < load<uint32_t>(p.range, 1); i += gridDim.x) {
        __syncthreads();
        if (threadIdx.x == 0) tile->read(params, i, TileBlock<EACH>::VALUES);
        __syncthreads();
        if (tile->rows > 0) block.run();
    }
}

KERNEL_OF(2, attend_tile_64, AttendTile) { attend_tile<2>(p); }
KERNEL_OF(2, attend_tile_128, AttendTile) { attend_tile<4>(p); }

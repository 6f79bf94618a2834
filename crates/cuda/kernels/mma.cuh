// Products of tiles on tensor cores, and what feeds them.
//
// Of a warp, lane `4 g + t` holds: of a, `[16, 32]` in int8, rows g and g + 8, columns 4 t to 4 t + 3, then both 16 columns
// further; of b, `[32, 8]`, rows 4 t to 4 t + 3 of column g, then 16 rows further; of the sums, `[16, 8]`, columns 2 t and 2 t + 1 of
// row g, then those of row g + 8.
#pragma once

#include "base.cuh"

// `sums += a * b` over 16 values.
__device__ inline void mma16(int* sums, int a0, int a1, int b) {
#ifndef __CUDACC__
    shim::mma(sums, a0, a1, b);
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a0), "r"(a1), "r"(b));
#else
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(sums[0]), "+r"(sums[1])
        : "r"(a0), "r"(b));
    asm("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0, %1}, {%2}, {%3}, {%0, %1};"
        : "+r"(sums[2]), "+r"(sums[3])
        : "r"(a1), "r"(b));
#endif
}

// `sums += a * b` over 32 values.
__device__ inline void mma32(int* sums, const int* a, const int* b) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    mma16(sums, a[0], a[1], b[0]);
    mma16(sums, a[2], a[3], b[1]);
#endif
}

// The a of 16 rows in shared memory: their first 16 bytes side by side, their last 16 `stride` behind.
__device__ inline void load_rows(int* a, const uint4* rows, unsigned stride) {
#ifdef __CUDACC__
    const uint4* row = rows + lane() % 16 + lane() / 16 * stride;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(uint32_t(__cvta_generic_to_shared(row))));
#else
    for (unsigned i = 0; i < 4; i++) {
        const uint4* row = rows + lane() / 4 + i % 2 * 8 + i / 2 * stride;
        a[i] = reinterpret_cast<const int*>(row)[lane() % 4];
    }
#endif
}

// What the next one does, without tensor cores.
__device__ NOINLINE inline float4 mma_plain(float4 sums, uint4 a, uint2 b) {
    const unsigned row = lane() / 4 * 4, column = lane() % 4 * 8;
    float all[] = {sums.x, sums.y, sums.z, sums.w};
    for (unsigned part = 0; part < 4; part++) {
        UNROLL for (unsigned half = 0; half < 2; half++) {
            uint32_t rows[2], columns[2];
            UNROLL for (unsigned i = 0; i < 2; i++) {
                rows[i] = __shfl_sync(ALL, half == 0 ? i == 0 ? a.x : a.y : i == 0 ? a.z : a.w, row + part);
                columns[i] = __shfl_sync(ALL, half == 0 ? b.x : b.y, column + 4 * i + part);
            }
            UNROLL for (unsigned i = 0; i < 4; i++) {
                const uint32_t x = rows[i / 2], y = columns[i % 2];
                all[i] = __fmaf_rn(from_bf16(uint16_t(x)), from_bf16(uint16_t(y)), all[i]);
                all[i] = __fmaf_rn(from_bf16(uint16_t(x >> 16)), from_bf16(uint16_t(y >> 16)), all[i]);
            }
        }
    }
    return make_float4(all[0], all[1], all[2], all[3]);
}

// `sums += a * b` over sixteen values in bf16, of which lane `4 g + t` has 2 t, 2 t + 1, and both eight further: of rows g and
// g + 8 of a in turn, and of column g of b.
__device__ inline void mma16(float* sums, const uint4& a, uint32_t b0, uint32_t b1) {
#ifndef __CUDACC__
    shim::mma(sums, a, make_uint2(b0, b1));
#elif __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
#else
    const float4 all = mma_plain(make_float4(sums[0], sums[1], sums[2], sums[3]), a, make_uint2(b0, b1));
    sums[0] = all.x, sums[1] = all.y, sums[2] = all.z, sums[3] = all.w;
#endif
}

// Begins to copy eight or sixteen bytes to shared memory, past the registers where the processor can; `copied` waits for those of
// the thread.
template <class T>
__device__ inline void copy(T* to, const T* from) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    const uint32_t at = uint32_t(__cvta_generic_to_shared(to));
    if constexpr (sizeof(T) == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(from) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(at), "l"(from) : "memory");
    }
#else
    *to = *from;
#endif
}

__device__ inline void copied() {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

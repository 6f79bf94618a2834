// What a kernel source sees instead of CUDA: threads are fibers, a block runs at a time, and every access to memory is
// checked. Included ahead of the unmodified source (g++ -include).
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict
#define __align__(n) alignas(n)
// Shared memory is what a launch asks for, and nothing else: `extern __shared__ uint4 shared[];`
#define __shared__

struct Dim {
    unsigned x, y, z;
};

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace shim {
extern Dim thread, block, block_dim, grid_dim;

// What all lanes of a mask do together.
enum Collective : uint32_t { SHUFFLE, SHUFFLE_XOR, SHUFFLE_DOWN, SYNC, BALLOT, MMA };

void barrier();
// What `lane` brought, when all of the mask have come with the same operation and mask.
uint64_t exchange(Collective operation, uint32_t mask, uint64_t value, unsigned lane);
// mma.m16n8k16.s32.s8.s8.s32: sums `[16, 8]` += a `[16, 16]` * b `[16, 8]`. Lane `4 g + t` has columns 4 t to 4 t + 3 of rows g and
// g + 8 of a, rows 4 t to 4 t + 3 of column g of b, and columns 2 t and 2 t + 1 of rows g and g + 8 of the sums.
void mma(int* sums, int a0, int a1, int b);
// mma.m16n8k16.f32.bf16.bf16.f32: the same of bf16, of which lane `4 g + t` has columns 2 t, 2 t + 1, and both eight further, of
// rows g and g + 8 of a in turn, and those rows of column g of b.
void mma(float* sums, const uint4& a, const uint2& b);
unsigned lane();
uint32_t atomic_add(uint32_t* at, uint32_t value);
void fence();
// The next launch runs when this one is over, whatever it was told.
inline void start_next() {}
void wait_for_last();
[[noreturn]] void fail(const char* what);

using Kernel = void (*)(const void* params);
void enter(const char* name, Kernel kernel, size_t params);

template <class T>
T from_lane(Collective operation, uint32_t mask, T value, unsigned lane) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = exchange(operation, mask, bits, lane);
    memcpy(&value, &bits, sizeof value);
    return value;
}

// `prmt`: four bits a byte of the result.
inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t pick = selector >> 4 * i, byte = uint32_t((uint64_t(b) << 32 | a) >> 8 * (pick & 7)) & 255;
        bytes |= (pick & 8 ? byte >> 7 ? 255 : 0 : byte) << 8 * i;
    }
    return bytes;
}

struct Entry {
    Entry(const char* name, Kernel kernel, size_t params) { enter(name, kernel, params); }
};
}  // namespace shim

#define threadIdx (shim::thread)
#define blockIdx (shim::block)
#define blockDim (shim::block_dim)
#define gridDim (shim::grid_dim)

inline void __syncthreads() { shim::barrier(); }
inline void __syncwarp(uint32_t mask = ~0u) { shim::exchange(shim::SYNC, mask, 0, shim::lane()); }
inline void __threadfence() { shim::fence(); }

template <class T>
T __shfl_sync(uint32_t mask, T value, int lane, int width = 32) {
    unsigned first = shim::lane() & ~unsigned(width - 1);
    return shim::from_lane(shim::SHUFFLE, mask, value, first + (unsigned(lane) & unsigned(width - 1)));
}
template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int lanes) {
    return shim::from_lane(shim::SHUFFLE_XOR, mask, value, shim::lane() ^ unsigned(lanes));
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32) {
    unsigned lane = shim::lane(), last = lane | unsigned(width - 1);
    return shim::from_lane(shim::SHUFFLE_DOWN, mask, value, lane + delta <= last ? lane + delta : lane);
}

template <class T>
T __ldg(const T* at) {
    return *at;
}

inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 4; i++) sum += int(int8_t(a >> 8 * i)) * int(int8_t(b >> 8 * i));
    return sum;
}
inline int __dp4a(unsigned a, int b, int sum) = delete;  // CUDA has no mixed one
inline int __dp2a_lo(int a, int b, int sum) {
    for (int i = 0; i < 2; i++) sum += int(int16_t(a >> 16 * i)) * int(int8_t(b >> 8 * i));
    return sum;
}

inline uint32_t atomicAdd(uint32_t* at, uint32_t value) { return shim::atomic_add(at, value); }

// Four of the eight bytes of b and a, each by the low three bits of four of `selector`.
inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t bytes = a | uint64_t(b) << 32;
    uint32_t chosen = 0;
    for (int i = 0; i < 4; i++) chosen |= uint32_t(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
    return chosen;
}

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline int __float2int_rn(float a) { return int(__builtin_rintf(a)); }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline uint32_t __float_as_uint(float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
inline float __uint_as_float(uint32_t bits) {
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

#define UNROLL
#define NOINLINE

// A kernel takes one struct. On the CPU it is found by its name.
#define KERNEL(name, Params)                                                                                    \
    static void name(const Params p);                                                                           \
    static shim::Entry entry_##name(                                                                            \
        #name, [](const void* params) { name(*static_cast<const Params*>(params)); }, sizeof(Params));          \
    static void name(const Params p)
#define KERNEL_OF(blocks, name, Params) KERNEL(name, Params)

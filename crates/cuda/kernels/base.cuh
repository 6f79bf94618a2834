// What all kernels stand on. Arithmetic is spelled out (`__fmaf_rn`, `__fadd_rn`) and compiled without contraction, so that the
// same source gives the same bits on every device, and on a CPU.
#pragma once

#ifdef __CUDACC__
// A kernel takes one struct, which the host has as `#[repr(C)]`.
#define KERNEL(name, Params) extern "C" __global__ void name(const __grid_constant__ Params p)
// One whose registers leave room for so many blocks on a multiprocessor.
#define KERNEL_OF(blocks, name, Params) \
    extern "C" __global__ void __launch_bounds__(256, blocks) name(const __grid_constant__ Params p)
// Of a loop whose arrays belong in registers.
#define UNROLL _Pragma("unroll")
// Of a function too long to be repeated wherever it is called.
#define NOINLINE __noinline__
#include <stdint.h>
#endif

// Shared memory as the launch sized it.
extern __shared__ uint4 shared_memory[];

constexpr unsigned WARP = 32;
constexpr unsigned ALL = 0xffffffff;
// Token and cache slot of a row that is only there to fill up.
constexpr uint32_t NONE = 0xffffffff;
// Threads of every block: sums over a block are taken in an order that depends on it.
constexpr unsigned THREADS = 256, WARPS = THREADS / WARP;

// Launches overlap where the GPU can do that: the next one may start as soon as all blocks of this one have.
__device__ inline void start_next() {
#if !defined(__CUDACC__)
    shim::start_next();
#elif __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

// Until all launches ahead are over, and what they wrote can be read. Every thread calls it before it touches anything but
// weights, and before it returns.
__device__ inline void wait_for_last() {
#if !defined(__CUDACC__)
    shim::wait_for_last();
#elif __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ inline unsigned lane() { return threadIdx.x % WARP; }
__device__ inline unsigned warp() { return threadIdx.x / WARP; }

__device__ inline float from_f16(uint16_t bits) {
#ifdef __CUDACC__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
#else
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    return half;
#endif
}

__device__ inline uint16_t to_f16(float value) {
#ifdef __CUDACC__
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
#else
    _Float16 half = _Float16(value);
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
#endif
}

// To the nearest, of two equally near to the even one.
__device__ inline uint16_t to_bf16(float value) {
    const uint32_t bits = __float_as_uint(value);
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ inline float from_bf16(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }

// e to the x, within 2 ulp, for x between -87 and 88; beyond them what it is there.
__device__ inline float exponential(float x) {
    x = fminf(fmaxf(x, -87.0f), 88.0f);
    float n = rintf(__fmul_rn(x, 1.44269504f));
    float r = __fmaf_rn(n, -0.693359375f, x);
    r = __fmaf_rn(n, 2.12194440e-4f, r);
    float y = 1.9875691500e-4f;
    y = __fmaf_rn(y, r, 1.3981999507e-3f);
    y = __fmaf_rn(y, r, 8.3334519073e-3f);
    y = __fmaf_rn(y, r, 4.1665795894e-2f);
    y = __fmaf_rn(y, r, 1.6666665459e-1f);
    y = __fmaf_rn(y, r, 5.0000001201e-1f);
    y = __fmaf_rn(y, __fmul_rn(r, r), __fadd_rn(r, 1.0f));
    return __fmul_rn(y, __uint_as_float(uint32_t(int(n) + 127) << 23));
}

__device__ inline float silu(float x) { return __fdiv_rn(x, __fadd_rn(1.0f, exponential(-x))); }

__device__ inline float hyperbolic_tangent(float x) {
    float e = exponential(__fmul_rn(2.0f, fminf(fabsf(x), 40.0f)));
    float value = __fdiv_rn(__fadd_rn(e, -1.0f), __fadd_rn(e, 1.0f));
    return x < 0.0f ? -value : value;
}

// Of a warp, in the order of a butterfly; every lane has it.
__device__ inline float warp_sum(float value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value = __fadd_rn(value, __shfl_xor_sync(ALL, value, lanes));
    return value;
}

__device__ inline float warp_max(float value) {
    for (int lanes = 16; lanes > 0; lanes /= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, lanes));
    return value;
}

// Of a block; every thread has it. `room` is for a value a warp, and free again behind the next barrier.
__device__ inline float block_sum(float value, float* room) {
    value = warp_sum(value);
    if (lane() == 0) room[warp()] = value;
    __syncthreads();
    value = 0.0f;
    for (unsigned i = 0; i < THREADS / WARP; i++) value = __fadd_rn(value, room[i]);
    return value;
}

// What an RMS norm multiplies with.
__device__ inline float rms_factor(float squares, unsigned width, float eps) {
    return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(squares, float(width)), eps)));
}

// Four bytes of the eight of `a` and `b`, each picked by four bits: where the highest is set, copies of the byte's sign.
__device__ inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t bytes;
#ifdef __CUDACC__
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(bytes) : "r"(a), "r"(b), "r"(selector));
#else
    bytes = shim::permute(a, b, selector);
#endif
    return bytes;
}

// Weights, if they are wanted: read once, so they are not kept in the nearest cache.
__device__ inline void load_once(uint4& bits, uint64_t at, bool wanted) {
#ifdef __CUDACC__
    asm volatile(
        "{ .reg .pred wanted;\n"
        "setp.ne.u32 wanted, %5, 0;\n"
        "@wanted ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4]; }"
        : "+r"(bits.x), "+r"(bits.y), "+r"(bits.z), "+r"(bits.w)
        : "l"(at), "r"(unsigned(wanted)));
#else
    if (wanted) bits = *reinterpret_cast<const uint4*>(at);
#endif
}

// Of what no launch writes.
template <class T>
__device__ inline T load_constant(uint64_t base, size_t index) {
    return __ldg(reinterpret_cast<const T*>(base) + index);
}

template <class T>
__device__ inline T load(uint64_t base, size_t index) {
    return reinterpret_cast<const T*>(base)[index];
}

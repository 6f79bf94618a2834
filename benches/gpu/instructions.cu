// Whether a GPU does what the kernels take for granted, an instruction a process: `instructions NAME`, built there by
// `nvcc -arch=native`. Prints a JSON object.
#include <cstdint>
#include <cstdio>
#include <cstring>

constexpr unsigned WARP = 32;

__device__ int byte_of(unsigned i) { return int(i * 37 % 251) - 125; }

__device__ int bytes_of(unsigned i) {
    uint32_t word = 0;
    for (unsigned j = 0; j < 4; j++) word |= uint32_t(byte_of(4 * i + j) & 255) << 8 * j;
    return int(word);
}

// Each kernel counts lanes that found something else than plain arithmetic does.
__global__ void dp4a(const uint4*, unsigned* wrong) {
    unsigned i = threadIdx.x;
    int expected = 7;
    for (unsigned j = 0; j < 4; j++) expected += byte_of(4 * i + j) * byte_of(4 * i + j + 128);
    if (__dp4a(bytes_of(i), bytes_of(i + WARP), 7) != expected) atomicAdd(wrong, 1);
}

__global__ void byte_permute(const uint4*, unsigned* wrong) {
    if (__byte_perm(0x33221100 + threadIdx.x, 0x77665544, 0x7531) != 0x77553311) atomicAdd(wrong, 1);
}

__global__ void half_precision(const uint4*, unsigned* wrong) {
    float value = float(threadIdx.x) / 4, back;
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    asm("cvt.f32.f16 %0, %1;" : "=f"(back) : "h"(bits));
    if (back != value) atomicAdd(wrong, 1);
}

__global__ void load_once(const uint4* data, unsigned* wrong) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(data + threadIdx.x));
    if (v.x != 4 * threadIdx.x || v.w != 4 * threadIdx.x + 3) atomicAdd(wrong, 1);
}

__global__ void copy_async(const uint4* data, unsigned* wrong) {
    __shared__ uint4 room[WARP];
    unsigned at = unsigned(__cvta_generic_to_shared(room + threadIdx.x));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at), "l"(data + threadIdx.x) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    if (room[WARP - 1 - threadIdx.x].y != 4 * (WARP - 1 - threadIdx.x) + 1) atomicAdd(wrong, 1);
}

// Rows of A and columns of B are those of the lane's group of four; a lane has eight bytes of a row, and two results of it.
__global__ void mma(const uint4*, unsigned* wrong) {
    unsigned group = threadIdx.x / 4, lane = threadIdx.x % 4;
    // A is [16, 32], B is [32, 8]: byte (row, k) is that of number 32 row + k, and B's of column c that of 1000 + 32 c + k.
    auto a = [&](unsigned row, unsigned k) { return bytes_of((32 * row + k) / 4); };
    auto b = [&](unsigned column, unsigned k) { return bytes_of((1000 + 32 * column + k) / 4); };
    int c[4] = {1, 2, 3, 4};
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a(group, 4 * lane)), "r"(a(group + 8, 4 * lane)), "r"(a(group, 4 * lane + 16)),
          "r"(a(group + 8, 4 * lane + 16)), "r"(b(group, 4 * lane)), "r"(b(group, 4 * lane + 16)));
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = group + 8 * (i / 2), column = 2 * lane + i % 2;
        int expected = int(i) + 1;
        for (unsigned k = 0; k < 32; k++) expected += byte_of(32 * row + k) * byte_of(1000 + 32 * column + k);
        if (c[i] != expected) atomicAdd(wrong, 1);
    }
}

// The same of bf16, sixteen values of a row: sums of integers, which are exact; and what a column gives does not depend on its place.
__global__ void mma_bf16(const uint4*, unsigned* wrong) {
    unsigned group = threadIdx.x / 4, lane = threadIdx.x % 4;
    auto pair = [](unsigned i) {
        auto bits = [](unsigned i) { return __float_as_uint(float(byte_of(i))) >> 16; };
        return bits(i) | bits(i + 1) << 16;
    };
    auto a = [&](unsigned row, unsigned k) { return pair(16 * row + k); };
    auto multiply = [&](float* c, unsigned column) {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a(group, 2 * lane)), "r"(a(group + 8, 2 * lane)), "r"(a(group, 2 * lane + 8)), "r"(a(group + 8, 2 * lane + 8)),
              "r"(pair(1000 + 16 * column + 2 * lane)), "r"(pair(1000 + 16 * column + 2 * lane + 8)));
    };
    float c[4] = {1, 2, 3, 4};
    multiply(c, group);
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = group + 8 * (i / 2), column = 2 * lane + i % 2;
        float expected = float(i + 1);
        for (unsigned k = 0; k < 16; k++) expected += float(byte_of(16 * row + k) * byte_of(1000 + 16 * column + k));
        if (c[i] != expected) atomicAdd(wrong, 1);
    }
    // Sums that are rounded, of one column in all places.
    float thirds[4] = {1.0f / 3, 1.0f / 3, 1.0f / 3, 1.0f / 3};
    multiply(thirds, 5);
    if (__float_as_uint(thirds[0]) != __float_as_uint(__shfl_sync(~0u, thirds[1], 4 * group))) atomicAdd(wrong, 1);
    if (__float_as_uint(thirds[3]) != __float_as_uint(__shfl_sync(~0u, thirds[2], 4 * group + 3))) atomicAdd(wrong, 1);
}

// Lets the next launch begin, and waits for the one ahead.
__global__ void overlap(const uint4*, unsigned* wrong) {
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (threadIdx.x == 0 && *wrong > 1000) *wrong = 0;
}

struct Probe {
    const char* name;
    void (*kernel)(const uint4*, unsigned*);
} probes[] = {{"dp4a", dp4a},           {"byte_permute", byte_permute}, {"half_precision", half_precision},
              {"load_once", load_once}, {"copy_async", copy_async},     {"mma", mma},
              {"mma_bf16", mma_bf16},   {"overlap", overlap}};

int run(const Probe& probe) {
    uint32_t numbers[4 * WARP];
    for (unsigned i = 0; i < 4 * WARP; i++) numbers[i] = i;
    uint4* data;
    unsigned *wrong, found = ~0u;
    cudaMalloc(&data, sizeof numbers);
    cudaMalloc(&wrong, sizeof found);
    cudaMemcpy(data, numbers, sizeof numbers, cudaMemcpyHostToDevice);
    cudaMemset(wrong, 0, sizeof found);
    cudaLaunchAttribute serial{};
    serial.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    serial.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(1), config.blockDim = dim3(WARP), config.attrs = &serial, config.numAttrs = 1;
    for (int i = 0; i < 2; i++) cudaLaunchKernelEx(&config, probe.kernel, (const uint4*)data, wrong);
    cudaError_t error = cudaDeviceSynchronize();
    if (error == cudaSuccess) error = cudaMemcpy(&found, wrong, sizeof found, cudaMemcpyDeviceToHost);
    bool ok = error == cudaSuccess && found == 0;
    printf("{\"stage\":\"instruction\",\"name\":\"%s\",\"wrong\":%u,\"error\":\"%s\",\"ok\":%s}\n", probe.name, found,
           cudaGetErrorName(error), ok ? "true" : "false");
    return !ok;
}

int main(int count, char** words) {
    for (const Probe& probe : probes) {
        if (count == 1) puts(probe.name);
        if (count == 2 && !strcmp(words[1], probe.name)) return run(probe);
    }
    return count != 1;
}

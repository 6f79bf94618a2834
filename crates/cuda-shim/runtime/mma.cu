// Tensor cores against what takes their place where there are none.
#include "mma.cuh"

struct Mma {
    // Of each lane of a warp; then what both make of it, `[32, 4]`.
    const uint4* a;
    const uint2* b;
    float *sums, *plain;
};

KERNEL(mma_twice, Mma) {
    shim::wait_for_last();
    const unsigned i = threadIdx.x;
    float sums[4] = {1.0f, 2.0f, 3.0f, 4.0f};
    const float4 plain = mma_plain(make_float4(sums[0], sums[1], sums[2], sums[3]), p.a[i], p.b[i]);
    mma16(sums, p.a[i], p.b[i].x, p.b[i].y);
    for (unsigned r = 0; r < 4; r++) p.sums[4 * i + r] = sums[r];
    p.plain[4 * i] = plain.x, p.plain[4 * i + 1] = plain.y, p.plain[4 * i + 2] = plain.z, p.plain[4 * i + 3] = plain.w;
}

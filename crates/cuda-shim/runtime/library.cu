// What a library for products of matrices does, in its order of summation.

struct Gemm {
    // bf16 `[rows, stride]` and `[columns, stride]`.
    const uint16_t *w, *x;
    // f32 `[columns, out_stride]`
    float* out;
    uint32_t rows, columns, width, stride, out_stride;
};

static float from_bfloat(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }

// A block a column, a thread every 32nd row.
KERNEL(library_gemm, Gemm) {
    shim::wait_for_last();
    for (uint32_t row = threadIdx.x; row < p.rows; row += 32) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < p.width; i++) {
            const float w = from_bfloat(p.w[size_t(row) * p.stride + i]);
            sum += w * from_bfloat(p.x[size_t(blockIdx.x) * p.stride + i]);
        }
        p.out[size_t(blockIdx.x) * p.out_stride + row] = sum;
    }
}

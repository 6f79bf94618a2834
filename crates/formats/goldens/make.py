"""Makes the goldens of block decoders and encoders with the `gguf` package (0.19).

    python crates/formats/goldens/make.py [libggml-base.so]

decode/TYPE.bin: blocks, then the f32 values they decode to. encode/TYPE.bin: f32 values, then their blocks.
Each has `BLOCKS` blocks, or `FLOATS` of the unquantized types, whose blocks are single values.
The package cannot quantize to Q4_K and Q6_K: these two come from ggml's own library (built with -ffp-contract=off), and
stay as they are where none is given.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

HERE = Path(__file__).parent
FLOATS, BLOCKS = 256, {32: 16, 256: 4}
# Byte offsets of the f16 scales in a block.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}
ENCODED = ["F32", "F16", "BF16", "Q4_0", "Q8_0"]
# Scales that are easily mishandled: zeros, subnormals, the largest, negative ones.
EDGES = np.array([0.0, -0.0, 6e-8, -6e-8, 6.0e-5, 65504.0, -65504.0, -0.125], np.float16)


def floats(rng, dtype):
    """Every kind of finite number, none of them NaN."""
    bits = rng.integers(0, 1 << 16, FLOATS, dtype=np.uint16)
    bits[:10] = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00]
    values = bits.view(np.float16)
    if dtype == Type.BF16:
        values = (bits.astype(np.uint32) << 16).view(np.float32)
    return np.where(np.isnan(values), 1, values).astype(np.float32)


def random_blocks(rng, name, size, count):
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for place, at in enumerate(SCALES[name]):
        scales = rng.normal(0, 0.01, count).astype(np.float16)
        edges = np.roll(EDGES, -place)[: count // 2]
        scales[: len(edges)] = edges
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
    if name == "MXFP4":
        blocks[:6, 0] = [0, 1, 2, 127, 254, 255]
    return blocks


def values_to_encode(rng, values, count):
    """Random rows, and rows of zeros, ties of the extreme, halves, tiny and large numbers."""
    rows = rng.normal(0, 1, (count, values)).astype(np.float32)
    rows[0] = 0
    rows[1, :2] = [4, -4]
    rows[2] = np.arange(values) / 2 - values / 4
    rows[3] *= 1e-6
    rows[4] *= 1e4
    rows[5] = np.abs(rows[5])
    return rows


def ggml_quantize(library, name, rows, size):
    blocks = np.zeros((len(rows), size), np.uint8)
    quantize_row = getattr(library, f"quantize_row_{name[:2].lower()}_K_ref")
    quantize_row(rows.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(rows.size))
    return blocks


def main():
    rng = np.random.default_rng(20)
    for folder in ("decode", "encode"):
        (HERE / folder).mkdir(exist_ok=True)
    for name in ["F32", "F16", "BF16", *SCALES]:
        dtype = Type[name]
        values, size = GGML_QUANT_SIZES[dtype]
        if values == 1:
            numbers = floats(rng, dtype)
            blocks = quantize(numbers, dtype).view(np.uint8)
        else:
            blocks = random_blocks(rng, name, size, BLOCKS[values])
        decoded = dequantize(blocks.reshape(-1), dtype).astype(np.float32)
        (HERE / "decode" / f"{name}.bin").write_bytes(blocks.tobytes() + decoded.tobytes())
    for name in ENCODED:
        dtype = Type[name]
        values, _ = GGML_QUANT_SIZES[dtype]
        rows = floats(rng, Type.BF16) if values == 1 else values_to_encode(rng, values, BLOCKS[values])
        with np.errstate(over="ignore"):
            blocks = quantize(rows, dtype)
        (HERE / "encode" / f"{name}.bin").write_bytes(rows.tobytes() + blocks.tobytes())
    for name in ["Q4_K", "Q6_K"] if len(sys.argv) > 1 else []:
        values, size = GGML_QUANT_SIZES[Type[name]]
        rows = values_to_encode(rng, values, 6)
        blocks = ggml_quantize(ctypes.CDLL(sys.argv[1]), name, rows, size)
        (HERE / "encode" / f"{name}.bin").write_bytes(rows.tobytes() + blocks.tobytes())


if __name__ == "__main__":
    main()

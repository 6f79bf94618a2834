"""Writes a model as GGUF with the names, keys and layout of llama.cpp's converter."""

import math
from pathlib import Path

import gguf
import numpy as np
import torch

ARCHS = {
    "llama": gguf.MODEL_ARCH.LLAMA,
    "mistral": gguf.MODEL_ARCH.LLAMA,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
    "glm4": gguf.MODEL_ARCH.GLM4,
}
FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "bf16": gguf.LlamaFileType.MOSTLY_BF16,
}
QUANTS = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
}


def tensors(model, fused: bool) -> dict:
    """GGUF name -> f32 array in file order; q and k are permuted for the llama arch."""
    config = model.config
    arch = ARCHS[config.model_type]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    out = {}
    if config.rope_parameters["rope_type"] == "llama3":
        out["rope_freqs.weight"] = llama3_factors(config)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = tensor.float().numpy()
        if arch == gguf.MODEL_ARCH.LLAMA:
            array = adjacent_pairs(name, array, config)
        out[names.get_name(name, (".weight", ".bias"))] = array
    return fuse_qkv(out) if fused else out


def adjacent_pairs(name: str, array: np.ndarray, config) -> np.ndarray:
    """Reorders the rows of q and k from rotated halves to adjacent pairs."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return array
    halves = array.reshape(heads, 2, -1, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def llama3_factors(config) -> np.ndarray:
    """[head_dim / 2] divisors of the frequencies: 1 for short wavelengths, `factor` for long, a blend between."""
    rope = config.rope_parameters
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    original = rope["original_max_position_embeddings"]
    dim = config.head_dim
    factors = []
    for i in range(dim // 2):
        turns = original / (2 * math.pi * rope["rope_theta"] ** (2 * i / dim))
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - blend) / factor + blend))
    return np.array(factors, dtype=np.float32)


def fuse_qkv(arrays: dict) -> dict:
    """Stacks attn_q, attn_k, attn_v, weights and biases, into attn_qkv."""
    out = {}
    for name, array in arrays.items():
        if ".attn_q." in name:
            parts = [arrays[name.replace("attn_q", part)] for part in ("attn_q", "attn_k", "attn_v")]
            out[name.replace("attn_q", "attn_qkv")] = np.concatenate(parts)
        elif ".attn_k." not in name and ".attn_v." not in name:
            out[name] = array
    return out


def add_parameters(writer: gguf.GGUFWriter, config, storage: str, legacy_keys: bool) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    rope = config.rope_parameters
    add_rope_scaling(writer, rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None)
    if head_dim is not None and not legacy_keys:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_file_type(FILE_TYPES[storage])
    if ARCHS[config.model_type] == gguf.MODEL_ARCH.LLAMA:
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)
    if config.model_type == "glm4":
        writer.add_rope_dimension_count(int(head_dim * rope["partial_rotary_factor"]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def add_rope_scaling(writer: gguf.GGUFWriter, rope: dict) -> None:
    kind = rope["rope_type"]
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])


def write(path: Path, model, storage: str, *, fused=False, split=False, legacy_keys=False, add_tokenizer=None) -> None:
    """`split` writes PREFIX-00001-of-00002.gguf and its sibling instead of `path`."""
    arrays = tensors(model, fused)
    half = -(-len(arrays) // 2) if split else 0
    arch = gguf.MODEL_ARCH_NAMES[ARCHS[model.config.model_type]]
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=half)
    writer.add_name(path.parent.name)
    add_parameters(writer, model.config, storage, legacy_keys)
    if add_tokenizer:
        add_tokenizer(writer)
    for name, array in arrays.items():
        small = array.ndim == 1 or name.endswith("_norm.weight")
        quant = QUANTS["f32" if small else storage]
        writer.add_tensor(name, gguf.quants.quantize(array, quant), raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

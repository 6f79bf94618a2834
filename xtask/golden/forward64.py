"""An independent check of the goldens: a forward in f64 which knows only a GGUF file and llama.cpp's conventions."""

from pathlib import Path

import gguf
import numpy as np

ADJACENT = {"llama", "glm4"}


class File:
    """Keys and tensors of a GGUF, all shards of it."""

    def __init__(self, first: Path):
        stem, _, count = first.stem.partition("-00001-of-")
        paths = [first.with_name(f"{stem}-{i + 1:05}-of-{count}.gguf") for i in range(int(count))] if count else [first]
        readers = [gguf.GGUFReader(path) for path in paths]
        self.keys = {name: field.contents() for name, field in readers[0].fields.items()}
        self.arch = self.keys["general.architecture"]
        self.tensors = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
            for reader in readers for tensor in reader.tensors
        }

    def key(self, name, default=None):
        return self.keys.get(f"{self.arch}.{name}", default)


def rms(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def angles(file: File, count: int, dim: int):
    """cos and sin [T, dim / 2], scaled as the keys say."""
    theta, factor = file.key("rope.freq_base", 10000.0), file.key("rope.scaling.factor", 1.0)
    i = np.arange(dim // 2)
    freqs = theta ** (-2.0 * i / dim)
    magnitude = 1.0
    kind = file.key("rope.scaling.type")
    if kind == "linear":
        freqs = freqs / factor
    elif kind == "yarn":
        original = file.key("rope.scaling.original_context_length")
        bound = [dim * np.log(original / (2 * np.pi * file.key(f"rope.scaling.yarn_beta_{b}"))) / (2 * np.log(theta))
                 for b in ("fast", "slow")]
        low, high = max(np.floor(bound[0]), 0), min(np.ceil(bound[1]), dim - 1)
        ramp = np.clip((i - low) / max(high - low, 0.001), 0, 1)
        freqs = freqs * (1 - ramp) + freqs / factor * ramp
        magnitude = 1 + 0.1 * np.log(factor)
    if "rope_freqs.weight" in file.tensors:
        freqs = freqs / file.tensors["rope_freqs.weight"]
    angle = np.arange(count)[:, None] * freqs
    return np.cos(angle) * magnitude, np.sin(angle) * magnitude


def rotate(x, cos, sin, adjacent: bool):
    """x [T, heads, d]; only the first 2 * cos.shape[-1] entries turn."""
    half = cos.shape[-1]
    first, second = (np.s_[0:2 * half:2], np.s_[1:2 * half:2]) if adjacent else (np.s_[:half], np.s_[half:2 * half])
    a, b, out = x[..., first], x[..., second], x.copy()
    cos, sin = cos[:, None], sin[:, None]
    out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
    return out


def logits(file: File, ids: list, windows: list) -> np.ndarray:
    """ids [T] -> [T, vocab]; windows: per layer the number of visible keys, or none."""
    t, eps, count = file.tensors, file.key("attention.layer_norm_rms_epsilon"), len(ids)
    heads, kv_heads = file.key("attention.head_count"), file.key("attention.head_count_kv")
    head_dim = file.key("attention.key_length", file.key("embedding_length") // heads)
    cos, sin = angles(file, count, file.key("rope.dimension_count", head_dim))
    distance = np.arange(count)[:, None] - np.arange(count)

    def linear(x, name):
        return x @ t[name + ".weight"].T + t.get(name + ".bias", 0.0)

    def attention(x, blk, window):
        if blk + "attn_qkv.weight" in t:
            qkv = np.split(linear(x, blk + "attn_qkv"), [heads * head_dim, (heads + kv_heads) * head_dim], axis=-1)
        else:
            qkv = [linear(x, blk + "attn_" + part) for part in "qkv"]
        q, k, v = (y.reshape(count, -1, head_dim) for y in qkv)
        if blk + "attn_q_norm.weight" in t:
            q, k = rms(q, t[blk + "attn_q_norm.weight"], eps), rms(k, t[blk + "attn_k_norm.weight"], eps)
        q, k = (rotate(y, cos, sin, file.arch in ADJACENT) for y in (q, k))
        k, v = (np.repeat(y, heads // kv_heads, axis=1) for y in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(head_dim)
        hidden = (distance < 0) | (distance >= (window or count))
        scores = np.where(hidden, -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return linear(np.einsum("hij,jhd->ihd", weights, v).reshape(count, -1), blk + "attn_output")

    def mlp(x, blk):
        up = linear(x, blk + "ffn_up")
        gate, up = (linear(x, blk + "ffn_gate"), up) if blk + "ffn_gate.weight" in t else np.split(up, 2, axis=-1)
        return linear(gate / (1 + np.exp(-gate)) * up, blk + "ffn_down")

    def post(x, name):
        return rms(x, t[name], eps) if name in t else x

    x = t["token_embd.weight"][ids]
    for layer, window in enumerate(windows):
        blk = f"blk.{layer}."
        mixed = attention(rms(x, t[blk + "attn_norm.weight"], eps), blk, window)
        x = x + post(mixed, blk + "post_attention_norm.weight")
        fed = mlp(rms(x, t[blk + "ffn_norm.weight"], eps), blk)
        x = x + post(fed, blk + "post_ffw_norm.weight")
    return rms(x, t["output_norm.weight"], eps) @ t.get("output.weight", t["token_embd.weight"]).T

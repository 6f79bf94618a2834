"""Random weights with which attention, norms, biases and positions all matter."""

import numpy as np
import torch
from torch import nn

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# Standard deviation by parameter name, first match wins. "fan" is divided by sqrt(row length).
# Queries and keys are large enough for peaked attention; the embedding is small enough that the layers outweigh it.
SCALES = [
    ("embed_tokens", 0.3, "plain"),
    ("lm_head", 2.0, "fan"),
    ("bias", 0.3, "plain"),
    ("q_proj", 1.3, "fan"),
    ("k_proj", 1.3, "fan"),
    ("", 1.2, "fan"),
]


def randomize(model: nn.Module, seed: int, storage: str, quiet: list) -> None:
    """Fills every parameter and rounds it to the stored type; tokens of `quiet` get small logits."""
    rng = np.random.default_rng(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = rng.standard_normal(tuple(parameter.shape))
        if "norm" in name:
            value = 1.0 + 0.25 * draw
        else:
            scale, kind = next((scale, kind) for part, scale, kind in SCALES if part in name)
            value = draw * scale / (np.sqrt(parameter.shape[-1]) if kind == "fan" else 1.0)
        rounded = torch.from_numpy(value).to(DTYPES[storage]).to(torch.float32)
        parameter.data.copy_(rounded)
    model.lm_head.weight.data[quiet] /= 8

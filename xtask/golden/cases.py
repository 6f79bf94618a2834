"""The golden cases: one entry is one tiny model.

`config` is the whole `config.json`. Under style "hub" it is stored as written here, the way files on the Hub look;
under style "v5" it is stored as transformers 5 saves it (`rope_parameters`, every default).
"""

from dataclasses import dataclass, field

import chat


@dataclass(frozen=True)
class Case:
    name: str
    style: str
    config: dict
    storage: str = "f32"
    """Element type of the matrices in both containers; the reference computes in f32 on these rounded weights."""
    ggufs: tuple = ("plain",)
    """Which GGUF layouts to store, of "plain", "fused" (attn_qkv) and "split" (two shards)."""
    shards: int = 1
    """Number of safetensors shards, roughly."""
    legacy_keys: bool = False
    """GGUF without key_length and value_length, as converters of 2023 wrote it."""
    matters: tuple = ()
    """Config changes which must each move the logits: the proof that the case tests what its name says."""
    generation: dict = field(default_factory=dict)
    """More entries of `generation_config.json`."""
    chat: bool = False
    """With the tokenizer and template of chat.py, and texts.json."""
    note: str = ""


def llama(**fields):
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 32,
        "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 97,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2,
    } | fields


def mistral(**fields):
    return llama(architectures=["MistralForCausalLM"], model_type="mistral", num_key_value_heads=2) | fields


def qwen2(**fields):
    return llama(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", num_key_value_heads=2, rms_norm_eps=1e-6,
    ) | fields


def qwen3(**fields):
    return qwen2(architectures=["Qwen3ForCausalLM"], model_type="qwen3", head_dim=16, attention_bias=False) | fields


def glm4(**fields):
    return llama(
        architectures=["Glm4ForCausalLM"], model_type="glm4", num_key_value_heads=2, head_dim=16, attention_bias=True,
        pad_token_id=0, eos_token_id=[0, 5, 7], bos_token_id=None,
    ) | fields


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
YARN = {"type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "beta_fast": 8.0, "beta_slow": 1.0}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10000.0}

CASES = [
    Case("llama-mha", "hub", llama(), legacy_keys=True,
         note="Llama 2: no num_key_value_heads, head_dim, rope_theta or rope_scaling in the file"),
    Case("llama-gqa-tied", "hub",
         llama(num_key_value_heads=2, head_dim=12, tie_word_embeddings=True, rope_theta=5000.0, rope_scaling=LLAMA3,
               hidden_size=48, num_hidden_layers=3, vocab_size=128, eos_token_id=[2, 5, 7]),
         storage="bf16", matters=({"rope_scaling": None}, {"rope_theta": 10000.0}),
         generation={"eos_token_id": [2, 5, 7, 9]},
         note="Llama 3.2: eos ids in generation_config.json are a superset"),
    Case("llama-linear", "v5",
         llama(num_key_value_heads=2, attention_bias=True, mlp_bias=True,
               rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}),
         storage="f16", ggufs=("plain", "fused"), matters=({"rope_parameters": PLAIN_ROPE},)),
    Case("llama-odd", "v5",
         llama(hidden_size=36, head_dim=10, num_attention_heads=9, num_key_value_heads=3, intermediate_size=52,
               vocab_size=131, rope_parameters={"rope_type": "default", "rope_theta": 500000.0}), storage="f16"),
    Case("llama-yarn", "hub",
         llama(num_key_value_heads=1, num_attention_heads=2, rope_theta=10000.0,
               rope_scaling=YARN),
         matters=({"rope_scaling": None},)),
    Case("mistral-window", "hub", mistral(sliding_window=8, rope_theta=10000.0), storage="bf16", ggufs=(),
         matters=({"sliding_window": None},), note="no GGUF: arch llama has no window key"),
    Case("mistral-absent-window", "hub", mistral(rope_theta=1e6), storage="f16",
         shards=2, ggufs=(), note="an absent sliding_window means 4096: no effect at these lengths"),
    Case("mistral-nemo", "v5",
         mistral(head_dim=16, sliding_window=None, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
         storage="bf16", ggufs=("split",)),
    Case("qwen2", "hub",
         qwen2(use_sliding_window=False, sliding_window=8, max_window_layers=0, rope_theta=1e6), shards=3,
         matters=({"use_sliding_window": True},)),
    Case("qwen2-slide", "v5",
         qwen2(use_sliding_window=True, sliding_window=8, max_window_layers=1, num_hidden_layers=3,
               rope_parameters=PLAIN_ROPE),
         storage="f16", ggufs=(),
         matters=({"layer_types": ["full_attention"] * 3}, {"layer_types": ["sliding_attention"] * 3}),
         note="no GGUF: arch qwen2 has no window key"),
    Case("qwen3", "v5", qwen3(tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}),
         storage="f32", ggufs=("fused",)),
    Case("qwen3-untied", "hub", qwen3(hidden_size=48, head_dim=12, num_attention_heads=6, num_key_value_heads=3,
                                      vocab_size=113, rope_theta=1e6, rope_scaling=None), storage="bf16"),
    Case("glm4", "hub", glm4(partial_rotary_factor=0.5, rope_theta=10000.0), storage="f16",
         matters=({"partial_rotary_factor": 1.0},)),
    Case("glm4-no-bias", "v5",
         glm4(attention_bias=False, rms_norm_eps=1.5625e-7, head_dim=12,
              rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}),
         storage="bf16"),
    Case("chat-llama", "v5",
         llama(num_key_value_heads=2, vocab_size=chat.VOCAB, max_position_embeddings=512, bos_token_id=chat.BOS,
               eos_token_id=[chat.EOS, chat.EOT], rope_parameters={"rope_type": "default", "rope_theta": 500000.0}),
         storage="bf16", chat=True),
]

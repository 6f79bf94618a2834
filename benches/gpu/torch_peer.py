"""Speed of transformers' Llama of 8B in bf16 on random weights, the peer that a machine with PyTorch has:
`python3 torch_peer.py (prefill | eager | graph | compile)`. Prints a JSON object like those of `plimsoll-gpu speed`."""

import argparse
import json
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

DEPTH, TOKENS, PROMPT, REPETITIONS = 1024, 64, 2048, 3


class Static:
    """Keys and values of fixed size, written at positions that lie on the device, so that a step can be captured."""

    def __init__(self, config, length, device):
        shape = (config.num_hidden_layers, 2, 1, config.num_key_value_heads, length, config.head_dim)
        self.kv = torch.zeros(shape, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)

    def update(self, keys, values, layer, *_, **__):
        kv = self.kv[layer]
        kv[0].index_copy_(2, self.position, keys)
        kv[1].index_copy_(2, self.position, values)
        return kv[0], kv[1]

    def get_seq_length(self, *_):
        return 0


def model(layers, device):
    config = LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=layers, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, max_position_embeddings=131_072, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        return LlamaForCausalLM(config).eval()


def prefill(llama, device):
    """Reads a prompt; logits of its last token."""
    ids = torch.randint(0, llama.config.vocab_size, (1, PROMPT), device=device)
    return lambda: llama(ids, logits_to_keep=1, use_cache=True)


def eager(llama, device):
    """Writes an answer step by step, as transformers does by default."""
    ids = torch.randint(0, llama.config.vocab_size, (1, DEPTH), device=device)

    def run():
        past = llama(ids, logits_to_keep=1, use_cache=True).past_key_values
        synchronize(device)
        start = time.perf_counter()
        token = ids[:, -1:]
        for _ in range(TOKENS):
            token = llama(token, past_key_values=past, use_cache=True).logits.argmax(-1)
        synchronize(device)
        return time.perf_counter() - start

    return run


def graph(llama, device, compiled=False):
    """The same with a cache of fixed size, every step a replay of one graph; the step compiled before, if asked for."""
    cache = Static(llama.config, DEPTH + TOKENS, device)
    token = torch.zeros((1, 1), dtype=torch.long, device=device)
    mask = torch.zeros((1, 1, 1, DEPTH + TOKENS), device=device)
    places = torch.arange(DEPTH + TOKENS, device=device)

    def step():
        mask.zero_().masked_fill_(places > cache.position, float("-inf"))
        found = llama(token, attention_mask=mask, position_ids=cache.position[None], past_key_values=cache, use_cache=True)
        token.copy_(found.logits.argmax(-1))
        cache.position.add_(1)

    once = torch.compile(step) if compiled else step
    cache.position.fill_(DEPTH)
    replay = captured(once) if device == "cuda" else once

    def run():
        cache.position.fill_(DEPTH)
        synchronize(device)
        start = time.perf_counter()
        for _ in range(TOKENS):
            replay()
        synchronize(device)
        return time.perf_counter() - start

    return run


def captured(step):
    """A step as a CUDA graph, run a few times before on another stream, as PyTorch wants it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    found = torch.cuda.CUDAGraph()
    with torch.cuda.graph(found):
        step()
    return found.replay


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(run, device):
    """Of one run: what it says itself, or what it takes."""
    synchronize(device)
    start = time.perf_counter()
    found = run()
    synchronize(device)
    return found if isinstance(found, float) else time.perf_counter() - start


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["prefill", "eager", "graph", "compile"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(1)
    llama = model(args.layers, args.device)
    modes = {"prefill": prefill, "eager": eager, "graph": graph, "compile": lambda *given: graph(*given, compiled=True)}
    run = modes[args.mode](llama, args.device)
    seconds(run, args.device)
    tokens = PROMPT if args.mode == "prefill" else TOKENS
    rates = sorted(tokens / seconds(run, args.device) for _ in range(REPETITIONS))
    weights = sum(parameter.nbytes for parameter in llama.parameters()) - llama.get_input_embeddings().weight.nbytes
    print(json.dumps({
        "stage": f"torch {args.mode}",
        "model": "llama-8b-bf16",
        "phase": "prefill" if args.mode == "prefill" else "decode",
        "tokens": tokens,
        "depth": 0 if args.mode == "prefill" else DEPTH,
        "sequences": 1,
        "tok_s": rates[REPETITIONS // 2],
        "all": rates,
        "step_bytes": weights,
        "torch": torch.__version__,
    }))


if __name__ == "__main__":
    main()

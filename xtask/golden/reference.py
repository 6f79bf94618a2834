"""Reference runs with Hugging Face transformers: one sequence at a time, no cache, no padding, f32."""

from dataclasses import dataclass

import numpy as np
import torch

GREEDY_TOKENS = 64
PROMPT_LENGTHS = (1, 5, 17, 40, 70)
# Around the edges of 16- and 32-token cache blocks; the ends of prompt and sequence are added per prompt.
POSITIONS = (0, 7, 15, 16, 31, 32)


@dataclass
class Run:
    ids: list
    greedy: list
    margin: float
    """Smallest distance between the two best logits over the greedy steps."""
    positions: list
    """Indices into `ids + greedy` whose logits are stored."""
    logits: np.ndarray
    """[positions, vocab], f32."""


@torch.no_grad()
def logits(model, ids) -> np.ndarray:
    """ids [T] -> [T, vocab]."""
    return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy()


def prompts(vocab: int, seed: int) -> list:
    rng = np.random.default_rng(seed + 1_000_000)
    return [rng.integers(0, vocab, n).tolist() for n in PROMPT_LENGTHS]


def run(model, ids: list, wanted_margin: float) -> Run | None:
    """Decodes greedily; none when some step is closer than `wanted_margin`."""
    sequence, margin = list(ids), float("inf")
    for _ in range(GREEDY_TOKENS):
        last = logits(model, sequence)[-1]
        best, second = np.sort(last)[:-3:-1]
        margin = min(margin, float(best - second))
        if margin < wanted_margin:
            return None
        sequence.append(int(last.argmax()))
    end = len(sequence) - 2
    positions = sorted({p for p in POSITIONS if p < len(ids)} | {len(ids) - 1, end})
    rows = logits(model, sequence[:-1])[positions]
    return Run(list(ids), sequence[len(ids):], margin, positions, rows)


def varied(run: Run, least: int = 6) -> bool:
    """A model that repeats one token forever tests nothing."""
    return len(set(run.greedy)) >= least


def sees_early_tokens(model, ids: list, reach: int, least: float = 0.05) -> bool:
    """Whether the order of the tokens `reach` to 2 before the last matters to the last logits."""
    start = max(0, len(ids) - reach)
    early = ids[start:-2]
    shuffled = ids[:start] + early[::-1] + ids[-2:]
    return float(np.abs(logits(model, ids)[-1] - logits(model, shuffled)[-1]).max()) > least

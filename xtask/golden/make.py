"""Makes the goldens: `cargo xtask golden [CASE...]` runs this file in a virtual environment of requirements.txt.

Every case of cases.py becomes goldens/CASE with a tiny random model (safetensors and GGUF), `golden.json` (prompts and
greedy tokens) and `logits.f32`. A seed is taken only if every greedy step is decided by more than WANTED_MARGIN, and if
order, positions and whatever the case is named after really move the logits. Nothing is stored that an independent f64
forward over the GGUF does not confirm.
"""

import copy
import json
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import chat
import forward64
import reference
import to_gguf
import weights
from cases import CASES, Case

ROOT = Path(__file__).resolve().parents[2] / "goldens"
WANTED_MARGIN = 2e-3
WANTED_EFFECT = 0.05
ALLOWED_ERROR = 4e-5
TOKENIZER = chat.build()
QUIET = chat.unprintable(TOKENIZER)
LAYOUTS = {"plain": "model.gguf", "fused": "model-fused.gguf", "split": "model-split.gguf"}


def config_of(fields: dict):
    fields = copy.deepcopy(fields)  # transformers writes into nested dicts
    return AutoConfig.for_model(fields.pop("model_type"), **fields, attn_implementation="eager")


def model_of(case: Case, seed: int, changes: dict | None = None):
    model = AutoModelForCausalLM.from_config(config_of(case.config | (changes or {}))).eval().float()
    weights.randomize(model, seed, case.storage, QUIET if case.chat else [])
    return model


def attempt(case: Case, seed: int):
    """The model and its runs, or none where the seed is not good enough."""
    model = model_of(case, seed)
    runs = []
    for ids in reference.prompts(case.config["vocab_size"], seed):
        run = reference.run(model, ids, WANTED_MARGIN)
        if run is None or not reference.varied(run):
            return None
        runs.append(run)
    reach = min(case.config.get("sliding_window") or 1000, 1000)
    if not all(reference.sees_early_tokens(model, run.ids, reach) for run in runs if len(run.ids) > 4):
        return None
    if case.chat and chat.answers(TOKENIZER, model, WANTED_MARGIN) is None:
        return None
    return (model, runs) if all(effect > WANTED_EFFECT for effect in effects(case, seed, runs[-1])) else None


def effects(case: Case, seed: int, run: reference.Run):
    """How far each change of `case.matters` moves the logits of a run."""
    for changes in case.matters:
        changed = model_of(case, seed, changes)
        yield float(np.abs(reference.logits(changed, run.ids + run.greedy[:-1])[run.positions] - run.logits).max())


def save_model(folder: Path, case: Case, model) -> None:
    """model.safetensors (or shards with an index), config.json, generation_config.json."""
    stored = model_of(case, 0)
    stored.load_state_dict(model.state_dict())
    stored.to(weights.DTYPES[case.storage])
    size = sum(p.numel() * p.element_size() for p in stored.parameters())
    shard = "1GB" if case.shards == 1 else f"{size // case.shards // 1000 + 1}KB"
    stored.save_pretrained(folder, max_shard_size=shard)
    if case.style == "hub":
        write_json(folder / "config.json", case.config | {"torch_dtype": str(stored.dtype).removeprefix("torch.")})
    ids = {key: case.config[key] for key in ("bos_token_id", "eos_token_id") if case.config.get(key) is not None}
    write_json(folder / "generation_config.json", {"_from_model_config": True} | ids | case.generation)


def windows(config) -> list:
    """Window of every layer, as transformers reads the config."""
    layers = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    width = getattr(config, "sliding_window", None)
    return [width if kind == "sliding_attention" else None for kind in kinds]


def check(folder: Path, case: Case, runs: list, ggufs: list) -> float:
    """Reloads every stored file; returns the largest distance of the stored logits from f64."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    worst = 0.0
    for run in runs:
        ids = run.ids + run.greedy[:-1]
        again = np.abs(reference.logits(model, ids)[run.positions] - run.logits).max()
        assert again < 1e-6, f"{case.name}: reloading moved the logits by {again}"
        for path in ggufs:
            exact = forward64.logits(forward64.File(path), ids, windows(model.config))
            worst = max(worst, float(np.abs(exact[run.positions] - run.logits).max()))
            chosen = exact[len(run.ids) - 1:].argmax(-1).tolist()
            assert chosen == run.greedy, f"{case.name}: {path.name} decodes differently"
    assert worst < ALLOWED_ERROR, f"{case.name}: {worst} away from f64"
    return worst


def save_ggufs(folder: Path, case: Case, model) -> list:
    """Stores the case's layouts; a case without any still gets one in `folder`, to be checked."""
    paths = []
    for layout in case.ggufs or ("plain",):
        path = folder / LAYOUTS[layout]
        to_gguf.write(path, model, case.storage, fused=layout == "fused", split=layout == "split",
                      legacy_keys=case.legacy_keys,
                      add_tokenizer=partial(chat.add_to_gguf, TOKENIZER) if case.chat else None)
        paths.append(folder / "model-split-00001-of-00002.gguf" if layout == "split" else path)
    return paths


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def save_golden(folder: Path, case: Case, seed: int, runs: list, ggufs: list, error: float) -> None:
    rows = np.concatenate([run.logits for run in runs]).astype("<f4")
    rows.tofile(folder / "logits.f32")
    prompts, first = [], 0
    for run in runs:
        prompts.append({"ids": run.ids, "greedy": run.greedy, "min_margin": round(run.margin, 6),
                        "positions": run.positions, "first_row": first})
        first += len(run.positions)
    lines = ",\n".join("    " + json.dumps(prompt) for prompt in prompts)
    head = {"case": case.name, "note": case.note, "seed": seed, "storage": case.storage, "gguf": ggufs,
            "min_margin": round(min(run.margin for run in runs), 6), "error_against_f64": float(f"{error:.2g}"),
            "logits": {"file": "logits.f32", "rows": rows.shape[0], "columns": rows.shape[1]}}
    text = json.dumps(head, indent=2).removesuffix("\n}")
    (folder / "golden.json").write_text(f'{text},\n  "prompts": [\n{lines}\n  ]\n}}\n')


def make(case: Case) -> str:
    seed, (model, runs) = next((s, found) for s in range(1000) if (found := attempt(case, s)))
    folder = ROOT / case.name
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary) / case.name
        draft.mkdir()
        save_model(draft, case, model)
        ggufs = save_ggufs(draft, case, model)
        error = check(draft, case, runs, ggufs)
        if not case.ggufs:
            ggufs.pop().unlink()
        if case.chat:
            TOKENIZER.save_pretrained(draft)
            chat.save_texts(draft / "texts.json", TOKENIZER, chat.answers(TOKENIZER, model, WANTED_MARGIN))
        save_golden(draft, case, seed, runs, [path.name for path in ggufs], error)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(draft, folder, copy_function=shutil.copyfile)
    size = sum(path.stat().st_size for path in folder.iterdir())
    margin = min(run.margin for run in runs)
    return f"{case.name:24} seed {seed:3}  margin {margin:.4f}  error {error:.1e}  {size / 1000:.0f} kB"


def main(wanted: list) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for case in CASES:
        if not wanted or case.name in wanted:
            print(make(case), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

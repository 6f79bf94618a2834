"""A byte-level BPE of the Llama 3 kind, trained on one paragraph: end-to-end text tests talk to it."""

import json
from pathlib import Path

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import reference

TEXT = """A ship carries as much as her line allows. The mark on her side is called the load line: when the water reaches
the mark, the ship is full, and when the water is above the mark, the ship is in danger. Before the line was law, owners
loaded their ships until the decks were wet, and the men who sailed in them had no say. The line says how much the ship
may carry in summer, in winter, in fresh water and in salt water. The men who sail the ship can read the line, and so can
everybody on the shore. That is the whole idea: say what is carried, say how much, and let everybody read it."""

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LEARNED = 300
SPECIALS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
VOCAB = LEARNED + len(SPECIALS)
BOS, EOS, EOT = (LEARNED + SPECIALS.index(text) for text in ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"))

TEMPLATE = """{{- bos_token }}
{%- for message in messages %}
    {{- "<|start_header_id|>" + message["role"] + "<|end_header_id|>\\n\\n" + message["content"] | trim + "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
{%- endif %}
"""

ENCODED = ["", "The ship", " how much?", "it's 12345 tonnes\n\n  of salt", "Größe 船 🚢", "a<|eot_id|>b", "\r\n \t."]
CONVERSATIONS = [
    [{"role": "user", "content": "How much may the ship carry?"}],
    [
        {"role": "system", "content": "Answer in one line.  "},
        {"role": "user", "content": "Is it safe?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Why? 🚢"},
    ],
]


def build() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=LEARNED, initial_alphabet=alphabet,
                                                              show_progress=False))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
        special_tokens=[("<|begin_of_text|>", BOS)],
    )
    assert tokenizer.get_vocab_size() == VOCAB
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>",
                                   chat_template=TEMPLATE, clean_up_tokenization_spaces=False)


def unprintable(tokenizer) -> list:
    """Ids which greedy decoding should not choose: special tokens, controls and fragments of UTF-8."""
    texts = [tokenizer.decode([id]) for id in range(LEARNED)]
    hidden = [id for id, text in enumerate(texts) if not (text.isascii() and text.isprintable())]
    return hidden + list(range(LEARNED, VOCAB))


def add_to_gguf(tokenizer, writer: gguf.GGUFWriter) -> None:
    tokens = tokenizer.convert_ids_to_tokens(range(VOCAB))
    control = [gguf.TokenType.CONTROL] * len(SPECIALS)
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * LEARNED + control)
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(BOS)
    writer.add_eos_token_id(EOT)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)


def answers(tokenizer, model, wanted_margin: float) -> list | None:
    """The conversations rendered, encoded and answered greedily; none where a step is too close a call."""
    chats = []
    for messages in CONVERSATIONS:
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        run = reference.run(model, tokenizer.encode(prompt, add_special_tokens=False), wanted_margin)
        if run is None:
            return None
        chats.append({"messages": messages, "prompt": prompt, "ids": run.ids, "greedy": run.greedy,
                      "answer": tokenizer.decode(run.greedy)})
    return chats


def save_texts(path: Path, tokenizer, chats: list) -> None:
    """Writes encodings without and with the special tokens, and the answered conversations."""
    encoded = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False),
                "with_special": tokenizer.encode(text)} for text in ENCODED]
    lines = {"encode": encoded, "chat": chats}
    body = ",\n".join(
        f'  "{key}": [\n' + ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in rows) + "\n  ]"
        for key, rows in lines.items())
    path.write_text("{\n" + body + "\n}\n")

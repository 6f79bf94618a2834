"""Goldens for chat templates, rendered by the Jinja2 environment of transformers.

    python xtask/golden/templates.py [FOLDER]

Writes crates/text/tests/data/snippets.golden.json (full texts, of our own snippets) and, where FOLDER (default
../shared/data/templates) is there, templates.golden.json: length and beginning of the SHA-256 of each rendering of each template in it, which
hold nothing of the templates' text. Needs transformers 5.
"""

import datetime
import hashlib
import json
import pathlib
import sys

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "crates/text/tests/data"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 4, 5, 6, 7)


chat_template_utils.datetime = Clock


def render(source, conversation, tools, generation):
    """What `apply_chat_template` renders."""
    messages = [{k: v for k, v in m.items() if v is not None} for m in conversation["messages"]]
    texts, _ = chat_template_utils.render_jinja_template(
        [messages],
        tools=tools,
        documents=conversation.get("documents"),
        chat_template=source,
        add_generation_prompt=generation,
        **{**SPECIAL, **conversation.get("vars", {})},
    )
    return texts[0]


def variants(conversation, tools):
    """Each conversation with and without tools, with and without a generation prompt."""
    for generation in (True, False):
        if not conversation.get("tools"):
            yield generation, None
        if not conversation.get("no_tools"):
            yield generation, tools


def template_goldens(folder, conversations, tools):
    goldens = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_bytes().decode()
        lines = goldens[path.stem] = {}
        for conversation in conversations:
            for generation, given in variants(conversation, tools):
                key = f"{conversation['name']}/{'tools' if given else 'plain'}/{'open' if generation else 'closed'}"
                try:
                    text = render(source, conversation, given, generation).encode("utf-8", "surrogatepass")
                    lines[key] = f"{len(text)} {hashlib.sha256(text).hexdigest()[:16]}"
                except Exception:
                    lines[key] = "error"
    return goldens


def snippet_goldens(snippets):
    goldens = {}
    conversation = {"messages": [{"role": "user", "content": "hi"}], "vars": snippets["vars"]}
    for name, template in snippets["templates"].items():
        try:
            goldens[name] = render(template, conversation, None, True)
        except Exception:
            goldens[name] = None
    return goldens


def write(name, goldens):
    (DATA / name).write_text(json.dumps(goldens, indent=1, ensure_ascii=True) + "\n")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "../shared/data/templates"
    snippets = json.loads((DATA / "snippets.json").read_text())
    write("snippets.golden.json", snippet_goldens(snippets))
    if folder.is_dir():
        conversations = json.loads((DATA / "conversations.json").read_text())
        tools = json.loads((DATA / "tools.json").read_text())
        write("templates.golden.json", template_goldens(folder, conversations, tools))


if __name__ == "__main__":
    main()

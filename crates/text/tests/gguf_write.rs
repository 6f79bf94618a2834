//! Tokenizers of Hugging Face written as keys of a GGUF file, and read back.

use plimsoll_formats::gguf::{self, Metadata, Writer};
use plimsoll_text::{EndTokens, Error, Special, Tokenizer};
use serde_json::{Value, json};

/// The patterns of Llama 3 and of Qwen 2 as their files spell them.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn split(pattern: &str) -> Value {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
    ]})
}

/// A few byte-level tokens; id 5 is a hole.
fn byte_level(pre_tokenizer: &Value, nfc: bool, ignore_merges: bool) -> Value {
    let added = |id: u32, content: &str, special: bool| json!({"id": id, "content": content, "special": special});
    json!({
        "added_tokens": [added(6, "<s>", true), added(7, "<stop>", true), added(8, "<think>", false)],
        "normalizer": if nfc { json!({"type": "NFC"}) } else { Value::Null },
        "pre_tokenizer": pre_tokenizer,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "ignore_merges": ignore_merges,
                  "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4}, "merges": ["a b", "Ġ ab"]}
    })
}

/// What the converter of transformers makes of a SentencePiece model with scores that fall with the id.
fn sentence_piece(merges: &Value) -> Value {
    let mut vocab: serde_json::Map<_, _> =
        [("<unk>", 0), ("<s>", 1), ("</s>", 2)].map(|(t, id)| (t.into(), json!(id))).into_iter().collect();
    vocab.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), json!(3 + byte))));
    vocab.extend(["▁", "a", "b", "▁a", "ab", "▁ab"].iter().zip(259..).map(|(t, id)| ((*t).to_owned(), json!(id))));
    let added = |id: u32, content: &str| json!({"id": id, "content": content, "special": true});
    json!({
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true, "vocab": vocab, "merges": merges}
    })
}

/// The tokenizer of a JSON, its end tokens and more, and the keys written of it.
fn write(json: &Value, config: &Value, ends: &[u32]) -> Result<(Tokenizer, EndTokens, Metadata), Error> {
    let (json, config) = (json.to_string(), config.to_string());
    let tokenizer = Tokenizer::from_hf(json.as_bytes(), Some(config.as_bytes()))?;
    let mut end = EndTokens::new(&tokenizer);
    ends.iter().for_each(|&id| end.add(id));
    let mut writer = Writer::new();
    tokenizer.write_gguf(json.as_bytes(), 12, &end, &mut writer)?;
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    Ok((tokenizer, end, gguf::parse("tiny.gguf", &file).unwrap().metadata))
}

/// Both tokenizers give the same ids and bytes.
fn assert_same(a: &Tokenizer, b: &Tokenizer) {
    for text in ["ab", " ab ab", "<s>ab<stop>", "<think>abba", "", " a b", "é\n"] {
        for special in [Special::PROMPT, Special::TEMPLATE, Special::TEXT] {
            assert_eq!(a.encode(text, special).unwrap(), b.encode(text, special).unwrap(), "{text}");
        }
    }
    for id in 0..u32::try_from(a.vocab_size()).unwrap() {
        if let Some(bytes) = a.token_bytes(id) {
            assert_eq!((b.token_bytes(id), b.kind(id)), (Some(bytes), a.kind(id)), "{id}");
        }
    }
    assert_eq!((a.special_ids().bos, a.special_ids().unknown), (b.special_ids().bos, b.special_ids().unknown));
}

#[test]
fn byte_level_tokenizers_come_back() {
    let config = json!({"bos_token": "<s>", "add_bos_token": true, "add_eos_token": false});
    let gpt2 = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
    let cases = [
        (split(LLAMA3), false, true, "llama-bpe"),
        (split(LLAMA3), false, false, "chatglm-bpe"),
        (split(QWEN2), true, false, "qwen2"),
        (gpt2, false, false, "gpt-2"),
    ];
    for (pre_tokenizer, nfc, ignore_merges, name) in cases {
        let (tokenizer, end, metadata) = write(&byte_level(&pre_tokenizer, nfc, ignore_merges), &config, &[7]).unwrap();
        assert_eq!(metadata.text("tokenizer.ggml.pre").unwrap(), Some(name));
        let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap();
        assert_eq!((tokens.len(), &tokens[5][..], &tokens[11][..]), (12, &b"[PAD5]"[..], &b"[PAD11]"[..]));
        let read = Tokenizer::from_gguf(&metadata).unwrap();
        assert_same(&tokenizer, &read);
        assert_eq!(EndTokens::new(&read), end);
    }
}

#[test]
fn sentence_piece_comes_back() {
    let config = json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": true});
    let merges = json!([["▁", "a"], ["a", "b"], ["▁a", "b"], ["▁", "ab"]]);
    let (tokenizer, end, metadata) = write(&sentence_piece(&merges), &config, &[]).unwrap();
    let read = Tokenizer::from_gguf(&metadata).unwrap();
    assert_same(&tokenizer, &read);
    assert_eq!(EndTokens::new(&read), end);
}

#[test]
fn ends_beyond_the_known_texts_are_named_by_role() {
    let json = byte_level(&split(LLAMA3), false, true);
    let id = |metadata: &Metadata, key: &str| metadata.int(&format!("tokenizer.ggml.{key}_token_id")).unwrap();
    let (_, end, metadata) = write(&json, &json!({"eos_token": "<stop>"}), &[3, 4]).unwrap();
    assert_eq!(["eos", "eot", "eom"].map(|key| id(&metadata, key)), [Some(7), Some(3), Some(4)]);
    assert_eq!(EndTokens::new(&Tokenizer::from_gguf(&metadata).unwrap()), end);
    let (.., metadata) = write(&json, &json!({}), &[]).unwrap();
    assert_eq!(id(&metadata, "eos"), None);
}

#[test]
fn what_the_keys_cannot_say_is_refused() {
    let lowercase = {
        let mut json = byte_level(&split(LLAMA3), false, true);
        json["normalizer"] = json!({"type": "Lowercase"});
        json
    };
    let digits = json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}]});
    let cases = [
        (byte_level(&split(QWEN2), false, false), "pre_tokenizer"),
        (
            byte_level(&split("[0-9]+"), false, false),
            "`[0-9]+ (NFC false, ignore_merges false)` is not supported, only those of llama-bpe",
        ),
        (byte_level(&digits, false, false), "pre_tokenizer: `another step` is not supported"),
        (lowercase, "normalizer: `another than NFC` is not supported"),
        (
            sentence_piece(&json!([["▁", "ab"], ["a", "b"]])),
            "tokenizer.json: model.merges: `2 others` is not supported",
        ),
    ];
    for (json, expected) in cases {
        let message = write(&json, &json!({}), &[]).map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
